"""Between the passes: who the staged rows are, which are set aside, and what differs from the store.

    known_record, known_media   staged rows with their final uuid; `reason` is set where a row is set aside
    stage_link, new_link, gone_link
    todo_record, todo_media     rows to be written, in uuid order (`k`), with the uuids they are linked to
    gone_record, gone_media     uuids to be closed without successor

Called with the ingest lock held: nobody else changes the store meanwhile.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db import connection

from downloads.jobs.ingest import options

_STORE = {"record": "downloads_record", "media": "downloads_mediarecord"}
_CALLED = {"record": "records", "media": "media records"}

_KNOWN = """
CREATE TEMP TABLE id_{kind} AS
    SELECT s.n, t.text COLLATE "C" AS text FROM stage_{kind} s, json_array_elements_text(s.ids::json) t(text);
CREATE INDEX ON id_{kind} (text);
ANALYZE id_{kind} (text);
CREATE TEMP TABLE known_{kind} AS
    SELECT s.n, s.file, s.line, s.ref, s.recordset, s.etag,
        CASE WHEN s.is_given THEN s.uuid ELSE coalesce(k.uuid, s.uuid) END AS uuid,
        CASE WHEN k.uuids > 1 OR (s.is_given AND k.uuid <> s.uuid) THEN 'identifier_conflict' END AS reason
    FROM stage_{kind} s LEFT JOIN (
        SELECT i.n, min(d.uuid::text)::uuid AS uuid, count(DISTINCT d.uuid) AS uuids
        FROM id_{kind} i JOIN downloads_identifier d ON d.text = i.text GROUP BY i.n
    ) k ON k.n = s.n;
CREATE UNIQUE INDEX ON known_{kind} (n);
CREATE INDEX ON known_{kind} (uuid);
CREATE INDEX ON known_{kind} (ref);
ANALYZE known_{kind} (n, uuid, ref, reason);
UPDATE known_{kind} k SET reason = CASE WHEN k.etag = f.etag THEN 'duplicate_row' ELSE 'duplicate_identifier' END
    FROM (SELECT i.n, min(d.first) AS first FROM id_{kind} i JOIN (
            SELECT text, min(n) AS first FROM id_{kind} GROUP BY text HAVING count(*) > 1
        ) d ON d.text = i.text WHERE i.n > d.first GROUP BY i.n) later
    JOIN known_{kind} f ON f.n = later.first
    WHERE k.n = later.n AND k.reason IS NULL;
UPDATE known_{kind} k SET reason = CASE WHEN k.etag = f.etag THEN 'duplicate_row' ELSE 'duplicate_identifier' END
    FROM (SELECT uuid, min(n) AS first FROM known_{kind} WHERE reason IS NULL GROUP BY uuid HAVING count(*) > 1) d
    JOIN known_{kind} f ON f.n = d.first
    WHERE k.uuid = d.uuid AND k.n > d.first AND k.reason IS NULL;
UPDATE known_{kind} k SET reason = 'identifier_conflict' FROM {store} c
    WHERE c.uuid = k.uuid AND c.v_to IS NULL AND c.recordset_id <> k.recordset AND k.reason IS NULL;
"""

_ORPHANS = """
UPDATE known_media k SET reason = 'orphan_extension'
    FROM stage_media s
    WHERE s.n = k.n AND k.reason IS NULL AND k.ref <> '' AND s.refs = '[]'
        AND NOT EXISTS (SELECT 1 FROM known_record r WHERE r.ref = k.ref AND r.reason IS NULL);
INSERT INTO stage_reject (file, line, reason, message, row)
    SELECT o.file, o.line, 'orphan_extension', 'The row belongs to no record of the archive.', left(o.raw, 8192)
    FROM stage_other o
    WHERE o.ref = '' OR NOT EXISTS (SELECT 1 FROM known_record r WHERE r.ref = o.ref AND r.reason IS NULL);
"""

_REJECTS = """
INSERT INTO stage_reject (file, line, reason, message, row)
    SELECT k.file, k.line, k.reason, CASE k.reason
            WHEN 'duplicate_row' THEN 'The same row came before.'
            WHEN 'duplicate_identifier' THEN 'Another row before has the same identifier.'
            WHEN 'orphan_extension' THEN 'The row belongs to no record of the archive.'
            ELSE 'The identifiers of the row belong to another record.' END,
        left(s.raw, 8192)
    FROM known_{kind} k JOIN stage_{kind} s ON s.n = k.n WHERE k.reason IS NOT NULL;
"""

_LINKS = """
CREATE TEMP TABLE stage_link AS
    SELECT DISTINCT ON (record, media) record, media, position FROM (
        SELECT r.uuid AS record, m.uuid AS media, m.n * 1000 AS position
        FROM known_media m JOIN known_record r ON r.ref = m.ref AND r.reason IS NULL
        WHERE m.reason IS NULL AND m.ref <> ''
        UNION ALL
        SELECT t.text::uuid, m.uuid, m.n * 1000 + least(t.place, 999)
        FROM known_media m JOIN stage_media s ON s.n = m.n,
            json_array_elements_text(s.refs::json) WITH ORDINALITY t(text, place)
        WHERE m.reason IS NULL AND s.refs <> '[]'
    ) all_links ORDER BY record, media, position;
CREATE INDEX ON stage_link (record, media);
ANALYZE stage_link;
CREATE TEMP TABLE new_link AS
    SELECT s.* FROM stage_link s WHERE NOT EXISTS (
        SELECT 1 FROM downloads_recordmedia l WHERE l.record = s.record AND l.media = s.media AND l.v_to IS NULL);
CREATE TEMP TABLE gone_link AS
    SELECT l.id, l.record, l.media FROM downloads_recordmedia l
    WHERE l.v_to IS NULL
        AND (l.media IN (SELECT uuid FROM known_media WHERE reason IS NULL) OR l.media IN (SELECT uuid FROM gone_media))
        AND NOT EXISTS (SELECT 1 FROM stage_link s WHERE s.record = l.record AND s.media = l.media);
CREATE INDEX ON new_link (record);
CREATE INDEX ON new_link (media);
CREATE INDEX ON gone_link (record);
CREATE INDEX ON gone_link (media);
ANALYZE new_link, gone_link;
"""

# A row that is set aside for whose it is has not vanished: what the store has under its identifiers stays.
_GONE = """
CREATE TEMP TABLE gone_{kind} AS
    SELECT c.uuid FROM {store} c
    WHERE c.v_to IS NULL AND c.recordset_id = ANY(%(recordsets)s) AND %(closes)s
        AND NOT EXISTS (SELECT 1 FROM known_{kind} k WHERE k.uuid = c.uuid AND k.reason IS NULL)
        AND c.uuid NOT IN (
            SELECT d.uuid FROM known_{kind} k JOIN id_{kind} i ON i.n = k.n
            JOIN downloads_identifier d ON d.text = i.text WHERE k.reason = 'identifier_conflict');
CREATE INDEX ON gone_{kind} (uuid);
ANALYZE gone_{kind};
"""

# A row is written when it is new, has come back, says something else, or is linked otherwise than before.
_TODO = """
CREATE TEMP TABLE todo_{kind} AS
WITH staged AS (
    SELECT k.n, k.uuid, k.recordset, CASE
            WHEN c.uuid IS NOT NULL THEN CASE WHEN c.etag <> k.etag THEN 'changed' ELSE 'same' END
            WHEN EXISTS (SELECT 1 FROM {store} o WHERE o.uuid = k.uuid) THEN 'restored'
            ELSE 'added' END AS what
    FROM known_{kind} k LEFT JOIN {store} c ON c.uuid = k.uuid AND c.v_to IS NULL
    WHERE k.reason IS NULL
), relinked AS (
    SELECT {kind} AS uuid FROM new_link UNION SELECT {kind} FROM gone_link
), wanted AS (
    SELECT n, uuid, recordset, what FROM staged WHERE what <> 'same'
    UNION ALL
    SELECT NULL, c.uuid, c.recordset_id, 'linked' FROM relinked l JOIN {store} c ON c.uuid = l.uuid AND c.v_to IS NULL
    WHERE NOT EXISTS (SELECT 1 FROM staged s WHERE s.uuid = l.uuid AND s.what <> 'same')
        AND NOT EXISTS (SELECT 1 FROM gone_{kind} g WHERE g.uuid = l.uuid)
), linked AS (
    SELECT uuid, array_agg(other ORDER BY position, other) AS others FROM (
        SELECT l.{kind} AS uuid, l.{other} AS other, l.position FROM downloads_recordmedia l
        WHERE l.v_to IS NULL AND NOT EXISTS (SELECT 1 FROM gone_link g WHERE g.id = l.id)
            AND l.{kind} IN (SELECT uuid FROM wanted)
        UNION ALL
        SELECT {kind}, {other}, position FROM new_link
    ) every_link GROUP BY uuid
)
SELECT row_number() OVER (ORDER BY w.uuid) AS k, w.n, w.uuid, w.recordset, w.what,
    coalesce(l.others, '{{}}'::uuid[]) AS others
FROM wanted w LEFT JOIN linked l ON l.uuid = w.uuid;
CREATE UNIQUE INDEX ON todo_{kind} (k);
CREATE INDEX ON todo_{kind} (uuid);
ANALYZE todo_{kind} (k, n, uuid, what);
"""


def resolve(recordsets: Iterable[uuid.UUID], roles: set[str], opts: options.Options) -> options.Report:
    """Make the tables above and count what would happen."""
    report = options.Report(dry_run=opts.dry_run, recordsets=sorted(map(str, recordsets)))
    with connection.cursor() as cursor:
        for kind, store in _STORE.items():
            cursor.execute(_KNOWN.format(kind=kind, store=store))
        cursor.execute(_ORPHANS)
        report.attached = -cursor.rowcount
        cursor.execute("SELECT count(*) FROM stage_other")
        report.attached += cursor.fetchone()[0]
        for kind in _STORE:
            cursor.execute(_REJECTS.format(kind=kind))
        for kind, store in _STORE.items():
            closes = ("records" if kind == "record" else "media") in roles and not opts.keep_missing
            values: dict[str, Any] = {"recordsets": list(recordsets), "closes": closes}
            cursor.execute(_GONE.format(kind=kind, store=store), values)
        cursor.execute(_LINKS)
        for kind, other in (("record", "media"), ("media", "record")):
            cursor.execute(_TODO.format(kind=kind, other=other, store=_STORE[kind]))
        _count(cursor, report)
    return report


def refuse(report: options.Report, recordsets: Iterable[uuid.UUID], opts: options.Options) -> None:
    """Raise `Refused` where the limits of 6.1 and 6.3 say so."""
    if report.rejects * 2 > max(report.read, 1):
        raise options.Refused(
            f"{report.rejects:,} of {report.read:,} rows would be rejected, more than half: {report.reasons()}.",
            code="too_many_rejects",
        )
    with connection.cursor() as cursor:
        _refuse_mass_delete(cursor, recordsets, opts)


def _count(cursor: Any, report: options.Report) -> None:
    cursor.execute("SELECT reason, count(*) FROM stage_reject GROUP BY reason ORDER BY reason")
    report.rejected = dict(cursor.fetchall())
    for kind in _STORE:
        cursor.execute(f"SELECT what, count(*) FROM todo_{kind} GROUP BY what")
        counts = dict(cursor.fetchall())
        cursor.execute(
            f"SELECT (SELECT count(*) FROM known_{kind} WHERE reason IS NULL), (SELECT count(*) FROM gone_{kind})"
        )
        staged, gone = cursor.fetchone()
        written = {what: counts.get(what, 0) for what in ("added", "restored", "changed")}
        report.added += written["added"]
        report.restored += written["restored"]
        report.changed += written["changed"]
        report.unchanged += staged - sum(written.values())
        report.removed += gone
    cursor.execute("SELECT (SELECT count(*) FROM new_link) + (SELECT count(*) FROM gone_link)")
    (report.links,) = cursor.fetchone()


def _refuse_mass_delete(cursor: Any, recordsets: Iterable[uuid.UUID], opts: options.Options) -> None:
    if opts.allow_mass_delete:
        return
    for kind, store in _STORE.items():
        cursor.execute(
            f"SELECT (SELECT count(*) FROM gone_{kind}), "
            f"(SELECT count(*) FROM {store} WHERE v_to IS NULL AND recordset_id = ANY(%s))",
            [list(recordsets)],
        )
        gone, there = cursor.fetchone()
        if gone * 2 > there:
            raise options.Refused(
                f"The archive lacks {gone:,} of the {there:,} {_CALLED[kind]} in the store, more than half; "
                "ingest it with allow mass delete (--allow-mass-delete) if that is meant.",
                code="mass_delete",
            )
