"""The swap: one transaction in which a run's staged documents become the harvest's records (contract 4.1).

Readers see the old set or the new one. The number of statements does not depend on the number of documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from registry.formats import validation
from registry.jobs import stage
from registry.models import HarvestRun


@dataclass(frozen=True, slots=True)
class Counts:
    """What the swap did and what the harvest has now."""

    records: int
    good: int
    bad: int
    added: int
    changed: int
    removed: int
    unchanged: int
    stale: int


# A changed or new document; what it was is kept for as long as the swap may be undone.
_NOTE_CHANGES = """
INSERT INTO registry_runchange (run_id, identity, kind, title, old_sha256, new_sha256, before)
SELECT %(run)s, s.identity, CASE WHEN r.id IS NULL THEN 'added' ELSE 'changed' END, s.title,
    coalesce(r.content_sha256, ''), s.content_sha256, CASE WHEN r.id IS NOT NULL THEN to_jsonb(r) END
FROM registry_stagedrecord s
LEFT JOIN registry_record r ON r.harvest_id = %(harvest)s AND r.identity_sha256 = s.identity_sha256
WHERE s.run_id = %(run)s AND s.outcome = 'fetched' AND r.content_sha256 IS DISTINCT FROM s.content_sha256
ORDER BY s.id
"""

_REMOVE = """
WITH gone AS (
    DELETE FROM registry_record r WHERE r.harvest_id = %(harvest)s AND NOT EXISTS (
        SELECT 1 FROM registry_stagedrecord s WHERE s.run_id = %(run)s AND s.identity_sha256 = r.identity_sha256)
    RETURNING r.*)
INSERT INTO registry_runchange (run_id, identity, kind, title, old_sha256, new_sha256, before)
SELECT %(run)s, r.identity, 'removed', r.title, r.content_sha256, '', to_jsonb(r)
FROM gone r ORDER BY r.identity
"""

# Proven the same: the bytes and what they say stay, the headers of the last answer are new. Carried: nobody asked, so
# what was stale stays so.
_KEEP = """
UPDATE registry_record r SET
    last_seen = %(now)s,
    stale_since = CASE WHEN s.outcome = 'carried' THEN r.stale_since END,
    fetch_issue = CASE WHEN s.outcome = 'carried' THEN r.fetch_issue END,
    etag = CASE WHEN s.outcome = 'unchanged' THEN s.etag ELSE r.etag END,
    last_modified = CASE WHEN s.outcome = 'unchanged' THEN s.last_modified ELSE r.last_modified END,
    settled = CASE WHEN s.outcome = 'unchanged' THEN s.settled ELSE r.settled END,
    listed_date = CASE WHEN s.outcome = 'unchanged' THEN s.listed_date ELSE r.listed_date END,
    listed_size = CASE WHEN s.outcome = 'unchanged' THEN s.listed_size ELSE r.listed_size END,
    fetched_at = CASE WHEN s.outcome = 'unchanged' THEN s.fetched_at ELSE r.fetched_at END
FROM registry_stagedrecord s
WHERE s.run_id = %(run)s AND s.outcome IN ('unchanged', 'carried')
    AND r.harvest_id = %(harvest)s AND r.identity_sha256 = s.identity_sha256
"""

# Listed but not to be had: the previous bytes stay served, marked stale.
_MARK_STALE = """
UPDATE registry_record r SET
    last_seen = %(now)s, fetch_issue = s.fetch_issue,
    stale_since = CASE WHEN r.content_sha256 <> '' THEN coalesce(r.stale_since, %(now)s) END
FROM registry_stagedrecord s
WHERE s.run_id = %(run)s AND s.outcome = 'failed'
    AND r.harvest_id = %(harvest)s AND r.identity_sha256 = s.identity_sha256
"""

_UPDATES: Final = ", ".join(
    f"{name} = EXCLUDED.{name}" for name in (*stage.CONTENT_COLUMNS, *stage.HEADER_COLUMNS, "url", "waf_name")
)
_COLUMNS: Final = ", ".join(stage.ALL_COLUMNS)
_PLACE = f"""
INSERT INTO registry_record AS r (harvest_id, organization_id, {_COLUMNS},
    stale_since, fetch_issue, first_seen, last_seen, changed_at)
SELECT %(harvest)s, %(organization)s, {_COLUMNS}, NULL, fetch_issue, %(now)s, %(now)s, %(now)s
FROM registry_stagedrecord s
WHERE s.run_id = %(run)s AND (s.outcome = 'fetched' OR s.outcome = 'failed' AND NOT EXISTS (
    SELECT 1 FROM registry_record o WHERE o.harvest_id = %(harvest)s AND o.identity_sha256 = s.identity_sha256))
ORDER BY s.id
ON CONFLICT (harvest_id, identity_sha256) DO UPDATE SET {_UPDATES},
    stale_since = CASE WHEN %(stored)s THEN r.stale_since END,
    fetch_issue = CASE WHEN %(stored)s THEN r.fetch_issue END, last_seen = %(now)s,
    changed_at = CASE WHEN r.content_sha256 = EXCLUDED.content_sha256
        AND (NOT %(widened)s OR r.repaired_sha256 = EXCLUDED.repaired_sha256)
        THEN r.changed_at ELSE EXCLUDED.changed_at END
"""

# A report tells the whole state of the source: what was wrong with documents nobody looked at still is, and what could
# not be fetched before a run that did not ask still could not.
_REPEAT_ISSUES = """
INSERT INTO registry_runissue (run_id, url, identifier, stage, severity, code, line, "column", message)
SELECT %(run)s, r.url, r.file_id, i.stage, i.severity, i.code, i.line, i."column", i.message
FROM registry_stagedrecord s
JOIN registry_record r ON r.harvest_id = %(harvest)s AND r.identity_sha256 = s.identity_sha256
CROSS JOIN LATERAL jsonb_to_recordset(
    CASE WHEN r.fetch_issue IS NULL OR r.issues @> jsonb_build_array(r.fetch_issue) THEN '[]'
        ELSE jsonb_build_array(r.fetch_issue) END
    || CASE WHEN s.outcome = 'fetched' THEN '[]' ELSE r.issues END) AS i(
    stage text, severity text, code text, line integer, "column" integer, message text)
WHERE s.run_id = %(run)s AND (
    s.outcome IN ('unchanged', 'carried') AND (r.error_count + r.warning_count > 0 OR r.fetch_issue IS NOT NULL)
    OR %(stored)s AND s.outcome = 'fetched' AND r.fetch_issue IS NOT NULL)
ORDER BY s.id
"""

# A record holds the first of its issues only; the others are in the report before.
_REPEAT_THE_OTHERS = """
WITH long AS MATERIALIZED (
    SELECT s.id, r.url, r.file_id
    FROM registry_stagedrecord s
    JOIN registry_record r ON r.harvest_id = %(harvest)s AND r.identity_sha256 = s.identity_sha256
    WHERE s.run_id = %(run)s AND s.outcome IN ('unchanged', 'carried')
        AND r.error_count + r.warning_count > jsonb_array_length(r.issues)),
told AS (
    SELECT long.id AS place, i.*, row_number() OVER (PARTITION BY long.id ORDER BY i.id) AS number
    FROM long
    JOIN registry_runissue i ON i.url = long.url AND i.identifier = long.file_id
        AND i.stage IN ('parse', 'schema', 'rules') AND i.code <> 'duplicate_identifier'
    WHERE i.run_id = (SELECT max(id) FROM registry_harvestrun
        WHERE harvest_id = %(harvest)s AND id < %(run)s AND state = 'ok' AND undone_at IS NULL))
INSERT INTO registry_runissue (run_id, url, identifier, stage, severity, code, line, "column", message)
SELECT %(run)s, url, identifier, stage, severity, code, line, "column", message
FROM told WHERE number > %(shown)s ORDER BY place, number
"""

_DUPLICATES = """
INSERT INTO registry_runissue (run_id, url, identifier, stage, severity, code, message)
SELECT %(run)s, a.url, a.file_id, 'rules', 'warning', 'duplicate_identifier',
    'The identifier is also used by ' || b.url
FROM registry_record a
CROSS JOIN LATERAL (
    SELECT o.url FROM registry_record o WHERE o.file_id = a.file_id AND o.id <> a.id
    ORDER BY o.harvest_id = a.harvest_id DESC, o.id LIMIT 1) b
WHERE a.harvest_id = %(harvest)s AND a.file_id <> ''
ORDER BY a.id
"""

_COUNT = """
SELECT count(*), count(*) FILTER (WHERE valid AND stale_since IS NULL), count(*) FILTER (WHERE stale_since IS NOT NULL),
    (SELECT count(*) FROM registry_runchange WHERE run_id = %(run)s AND kind = 'added')
FROM registry_record WHERE harvest_id = %(harvest)s
"""

_CLEAR = "DELETE FROM registry_stagedrecord WHERE run_id = %(run)s"

_TOUCH_FOLDER = """
UPDATE registry_organization SET waf_version = waf_version + 1, waf_changed_at = %(now)s WHERE id = %(organization)s
"""


# Held to the end of the transaction, so that the harvest is not moved to another organisation meanwhile.
_OWNER = "SELECT organization_id, widen_points FROM registry_harvest WHERE id = %(harvest)s FOR NO KEY UPDATE"


def swap(run: HarvestRun, *, now: datetime, stored: bool = False) -> Counts:
    """Make the staged documents the harvest's records; must run inside the transaction that finishes the job.

    `stored`: the source was not asked, so what could not be fetched before stays stale.
    """
    keys: dict[str, Any] = {
        "run": run.pk,
        "harvest": run.harvest_id,
        "now": now,
        "stored": stored,
        "shown": validation.MAX_ISSUES,
    }
    with connection.cursor() as cursor:
        cursor.execute(_OWNER, keys)
        keys["organization"], keys["widened"] = cursor.fetchone()

        def do(statement: str) -> int:
            cursor.execute(statement, keys)
            return int(cursor.rowcount)

        noted = do(_NOTE_CHANGES)
        removed = do(_REMOVE)
        kept = do(_KEEP)
        do(_REPEAT_ISSUES)
        do(_REPEAT_THE_OTHERS)
        do(_MARK_STALE)
        placed = do(_PLACE)
        do(_DUPLICATES)
        cursor.execute(_COUNT, keys)
        records, good, stale, added = cursor.fetchone()
        do(_CLEAR)
        if placed or removed:
            do(_TOUCH_FOLDER)
    changed = noted - added
    return Counts(records, good, records - good, added, changed, removed, kept, stale)
