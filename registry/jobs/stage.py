"""The staging table: what a run has listed and fetched so far, kept where a takeover finds it.

Every write of a batch is one statement that also checks the lease, so a worker that lost its run changes nothing.
Batches travel as one JSON parameter, which costs Python least.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from django.db import connection

from core import jobs as core_jobs
from registry.formats import validation, waf
from registry.jobs import client
from registry.models import HarvestRun

BATCH: Final = 500
# The code of a document whose stored bytes are gone.
LOST: Final = "blob_missing"

# Columns of Record that validation fills; their values when nothing was fetched.
CONTENT_COLUMNS: Final = (
    "file_id",
    "title",
    "titles",
    "description",
    "metadata_date",
    "standard",
    "kind",
    "services",
    "links",
    "bbox",
    "content_sha256",
    "size",
    "repaired_sha256",
    "repaired_size",
    "validator_version",
    "well_formed",
    "valid",
    "error_count",
    "warning_count",
    "issues",
)
HEADER_COLUMNS: Final = ("etag", "last_modified", "settled", "listed_date", "listed_size", "fetched_at")
KEY_COLUMNS: Final = ("identity", "identity_sha256", "url", "waf_name")
ALL_COLUMNS: Final = (*KEY_COLUMNS, *CONTENT_COLUMNS, *HEADER_COLUMNS)


@dataclass(frozen=True, slots=True)
class Listed:
    """One document a source lists."""

    identity: str
    url: str
    date: datetime | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A listed document that must be looked at, with what we know of its previous state."""

    id: int
    identity: str
    url: str
    listed_date: datetime | None
    listed_size: int | None
    etag: str
    last_modified: str
    content_sha256: str
    validator_version: str
    same_listing: bool
    valid: bool


@dataclass(slots=True)
class Result:
    """What became of one document: an outcome of StagedRecord, its columns, and all its issues for the report."""

    id: int
    outcome: str
    url: str
    columns: dict[str, Any] = field(default_factory=dict)
    issues: list[dict[str, Any]] = field(default_factory=list)
    fetch_issue: dict[str, Any] | None = None
    is_good: bool = False
    received: int = 0


def identity_hash(identity: str) -> bytes:
    """The key of a document within its harvest."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()


def content_columns(verdict: validation.Verdict, *, url: str, sha256: str, size: int) -> dict[str, Any]:
    """Record columns of a validated document; what is no ISO record keeps its URL as title."""
    extract = verdict.extract
    issues = [issue.as_dict() for issue in verdict.issues]
    columns: dict[str, Any] = {
        "content_sha256": sha256,
        "size": size,
        "repaired_sha256": verdict.repaired.sha256 if verdict.repaired else "",
        "repaired_size": verdict.repaired.size if verdict.repaired else 0,
        "validator_version": validation.VALIDATOR_VERSION,
        "well_formed": extract is not None,
        "valid": verdict.is_valid,
        "error_count": verdict.errors,
        "warning_count": verdict.warnings,
        "issues": issues[: validation.MAX_ISSUES],
    }
    if extract is None:
        return {**columns, **empty_content(url)}
    return {
        **columns,
        "file_id": extract.file_id,
        "title": extract.title or url,
        "titles": extract.titles,
        "description": extract.description,
        "metadata_date": extract.metadata_date,
        "standard": extract.standard,
        "kind": extract.kind,
        "services": extract.services,
        "links": extract.links,
        "bbox": extract.bbox,
    }


def empty_content(url: str) -> dict[str, Any]:
    """What a document that says nothing says."""
    return {
        "file_id": "",
        "title": url,
        "titles": [],
        "description": "",
        "metadata_date": "",
        "standard": "unknown",
        "kind": "other",
        "services": [],
        "links": [],
        "bbox": None,
    }


_LEASE = """lease AS MATERIALIZED (
    SELECT 1 FROM core_job WHERE id = %(job)s AND lease_token = %(token)s AND state IN ('running', 'cancelling')
    FOR SHARE)"""

# Written with the documents it counts, so that whoever takes a run over goes on from it.
_TALLY = """tallied AS (
    UPDATE registry_harvestrun SET good = %(good)s, bad = %(bad)s, bytes = %(bytes)s, requests = %(requests)s
    FROM lease WHERE id = %(run)s)"""

_LIST = f"""
WITH {_LEASE},
{_TALLY},
input AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS x(identity text, url text, date timestamptz, size bigint)),
placed AS (
    INSERT INTO registry_stagedrecord (run_id, outcome, identity, identity_sha256, url, listed_date, listed_size,
        file_id, title, titles, description, metadata_date, standard, kind, services, links, bbox, content_sha256, size,
        repaired_sha256, repaired_size, etag, last_modified, settled, fetched_at, validator_version, well_formed, valid,
        error_count, warning_count, issues, waf_name, fetch_issue)
    SELECT %(run)s, '', identity, sha256(convert_to(identity, 'UTF8')), url, date, size,
        '', '', '[]', '', '', 'unknown', 'other', '[]', '[]', NULL, '', 0,
        '', 0, '', '', false, NULL, '', false, false, 0, 0, '[]', '', NULL
    FROM input, lease
    ON CONFLICT (run_id, identity_sha256) DO NOTHING
    RETURNING 1)
SELECT (SELECT count(*) FROM lease), (SELECT count(*) FROM placed)
"""

_FETCHED = f"""
WITH {_LEASE},
{_TALLY},
input AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS x(
        id bigint, outcome text, url text, file_id text, title text, titles jsonb, description text, metadata_date text,
        standard text, kind text, services jsonb, links jsonb, bbox jsonb, content_sha256 text, size bigint,
        repaired_sha256 text, repaired_size bigint, etag text,
        last_modified text, settled boolean, fetched_at timestamptz, validator_version text, well_formed boolean,
        valid boolean, error_count integer, warning_count integer, issues jsonb, all_issues jsonb, waf_name text,
        fetch_issue jsonb)),
written AS (
    UPDATE registry_stagedrecord s SET
        outcome = x.outcome, file_id = x.file_id, title = x.title, titles = x.titles, description = x.description,
        metadata_date = x.metadata_date, standard = x.standard, kind = x.kind, services = x.services,
        links = x.links, bbox = CASE WHEN jsonb_typeof(x.bbox) = 'array' THEN
            ARRAY(SELECT value::float8 FROM jsonb_array_elements_text(x.bbox)) END,
        content_sha256 = x.content_sha256, size = x.size, repaired_sha256 = x.repaired_sha256,
        repaired_size = x.repaired_size, etag = x.etag, last_modified = x.last_modified,
        settled = x.settled, fetched_at = x.fetched_at, validator_version = x.validator_version,
        well_formed = x.well_formed, valid = x.valid, error_count = x.error_count,
        warning_count = x.warning_count, issues = x.issues, waf_name = x.waf_name,
        fetch_issue = CASE WHEN jsonb_typeof(x.fetch_issue) = 'object' THEN x.fetch_issue END
    FROM input x, lease
    WHERE s.id = x.id AND s.run_id = %(run)s AND s.outcome = ''
    RETURNING s.id),
reported AS (
    INSERT INTO registry_runissue (run_id, url, identifier, stage, severity, code, line, "column", message)
    SELECT %(run)s, x.url, x.file_id, i.stage, i.severity, i.code, i.line, i."column", i.message
    FROM written w JOIN input x ON x.id = w.id
    CROSS JOIN LATERAL jsonb_to_recordset(x.all_issues) AS i(
        stage text, severity text, code text, line integer, "column" integer, message text)
    RETURNING 1)
SELECT (SELECT count(*) FROM lease), (SELECT count(*) FROM written)
"""

# What was lost here is fetched as if we never had it: a 304 would not bring it back.
_WAITING_COLUMNS = f"""
SELECT s.id, s.identity, s.url, s.listed_date, s.listed_size,
    coalesce(r.etag, ''), coalesce(r.last_modified, ''),
    CASE WHEN r.fetch_issue ->> 'code' = '{LOST}' THEN '' ELSE coalesce(r.content_sha256, '') END,
    coalesce(r.validator_version, ''),
    coalesce(s.listed_date = r.listed_date AND s.listed_size = r.listed_size AND r.settled
        AND r.stale_since IS NULL AND NOT %(full)s, false),
    coalesce(r.valid, false)
FROM registry_stagedrecord s
LEFT JOIN registry_record r ON r.harvest_id = %(harvest)s AND r.identity_sha256 = s.identity_sha256
WHERE s.run_id = %(run)s AND s.outcome = ''"""

_WAITING = f"{_WAITING_COLUMNS} AND s.id > %(after)s ORDER BY s.id LIMIT %(limit)s"
_WAITING_OF = f"{_WAITING_COLUMNS} AND s.identity_sha256 = ANY(%(hashes)s) ORDER BY s.id"

_UNCHANGED = f"""
WITH {_LEASE}
UPDATE registry_stagedrecord s SET outcome = 'carried'
FROM registry_record r, lease
WHERE s.run_id = %(run)s AND s.outcome = '' AND r.harvest_id = %(harvest)s
    AND r.identity_sha256 = s.identity_sha256 AND s.listed_date = r.listed_date AND s.listed_size = r.listed_size
    AND r.settled AND r.stale_since IS NULL AND r.content_sha256 <> '' AND r.validator_version = %(version)s
"""

_CARRY = f"""
WITH {_LEASE}
INSERT INTO registry_stagedrecord (run_id, outcome, identity, identity_sha256, url, listed_date, listed_size,
    file_id, title, titles, description, metadata_date, standard, kind, services, links, bbox, content_sha256, size,
    repaired_sha256, repaired_size, etag, last_modified, settled, fetched_at, validator_version, well_formed, valid,
    error_count, warning_count, issues, waf_name, fetch_issue)
SELECT %(run)s, %(outcome)s, r.identity, r.identity_sha256, r.url, r.listed_date, r.listed_size,
    '', '', '[]', '', '', 'unknown', 'other', '[]', '[]', NULL, '', 0,
    '', 0, '', '', false, NULL, '', false, false, 0, 0, '[]', '', NULL
FROM registry_record r, lease
WHERE r.harvest_id = %(harvest)s AND starts_with(r.identity, %(prefix)s)
ON CONFLICT (run_id, identity_sha256) DO NOTHING
"""


class Tally:
    """What a run got so far, by all its workers: good and bad documents, their bytes, requests to the source."""

    def __init__(self, run: HarvestRun, *, asked_before: int) -> None:
        self.good, self.bad, self.bytes = run.good, run.bad, run.bytes
        self._asked_before = max(asked_before, run.requests)
        self._network: client.Network | None = None

    def watch(self, network: client.Network) -> None:
        """Count the requests of this worker's network too."""
        self._network = network

    @property
    def requests(self) -> int:
        return self._asked_before + (self._network.requests if self._network else 0)

    def add(self, results: Sequence[Result]) -> None:
        good = sum(result.is_good for result in results)
        self.good += good
        self.bad += len(results) - good
        self.bytes += sum(result.received for result in results)

    def forget_documents(self) -> None:
        """For a run that starts over; what it asked for was asked for."""
        self.good = self.bad = self.bytes = 0

    def columns(self) -> dict[str, int]:
        """By the names of HarvestRun."""
        return {"good": self.good, "bad": self.bad, "bytes": self.bytes, "requests": self.requests}


class Stage:
    """The staged rows of one run, written under one attempt's lease."""

    def __init__(self, attempt: core_jobs.Run, run: HarvestRun) -> None:
        self._attempt = attempt
        self._run = run
        # a worker that died while listing had staged less than its heartbeat told
        self.tally = Tally(run, asked_before=attempt.job.progress.get("requests", 0))
        self._keys: dict[str, Any] = {
            "job": attempt.job_id,
            "token": attempt.lease_token,
            "run": run.pk,
            "harvest": run.harvest_id,
        }

    def place(self, documents: Sequence[Listed]) -> int:
        """Add listed documents, repeats once; how many were new."""
        rows = [{"identity": d.identity, "url": d.url, "date": d.date, "size": d.size} for d in documents]
        return self._write(_LIST, rows)

    def store(self, results: Sequence[Result], *, resume: Mapping[str, Any] | None = None) -> int:
        """Write what became of a batch of documents, with their issues; how many rows were still waiting.

        `resume`: where a takeover goes on, written with them or not at all.
        """
        rows = [self._row(result) for result in results]
        self.tally.add(results)
        if resume is None:
            return self._write(_FETCHED, rows)
        with self._attempt.fenced():
            HarvestRun.objects.filter(pk=self._run.pk).update(resume=resume)
            return self._write(_FETCHED, rows)

    def carry_unchanged(self) -> int:
        """Settle all documents whose listed date and size equal the stored ones, without a request (4.4, step 1)."""
        with connection.cursor() as cursor:
            cursor.execute(_UNCHANGED, {**self._keys, "version": validation.VALIDATOR_VERSION})
            return int(cursor.rowcount)

    def carry_folder(self, prefix: str, *, outcome: str = "carried") -> int:
        """Stage the stored records below `prefix` (a folder that could not be listed, or all for re-validation)."""
        with connection.cursor() as cursor:
            cursor.execute(_CARRY, {**self._keys, "prefix": prefix, "outcome": outcome})
            return int(cursor.rowcount)

    def waiting(self, *, full: bool = False) -> Iterator[list[Waiting]]:
        """Batches of documents that still have no outcome, in listing order. `full`: trust no listing."""
        after = 0
        while True:
            with connection.cursor() as cursor:
                cursor.execute(_WAITING, {**self._keys, "after": after, "limit": BATCH, "full": full})
                batch = [Waiting(*row) for row in cursor.fetchall()]
            if not batch:
                return
            after = batch[-1].id
            yield batch

    def waiting_of(self, identities: Sequence[str]) -> list[Waiting]:
        """Those of the given documents that still have no outcome."""
        hashes = [identity_hash(identity) for identity in identities]
        with connection.cursor() as cursor:
            cursor.execute(_WAITING_OF, {**self._keys, "hashes": hashes, "full": False})
            return [Waiting(*row) for row in cursor.fetchall()]

    def clear(self) -> None:
        """Forget what was staged and reported, for a run that starts over."""
        with self._attempt.fenced():
            self._run.staged.all().delete()
            self._run.issues.all().delete()
        self.tally.forget_documents()

    def rewind(self) -> None:
        """Forget what came after the place where a run goes on: documents without an outcome, words on the listing."""
        with self._attempt.fenced():
            self._run.staged.filter(outcome="").delete()
            self._run.issues.filter(stage="list").delete()

    def _row(self, result: Result) -> dict[str, Any]:
        row: dict[str, Any] = {**_BLANK, **result.columns}
        row.update(
            id=result.id,
            outcome=result.outcome,
            url=result.url,
            all_issues=result.issues,
            fetch_issue=result.fetch_issue,
        )
        return row

    def _write(self, statement: str, rows: Sequence[dict[str, Any]]) -> int:
        if not rows:
            return 0
        with connection.cursor() as cursor:
            # JSON is UTF-8 and PostgreSQL's text holds no NUL, which no XML document and no checked URL has
            told = orjson.dumps(rows).decode().replace("\\u0000", "")
            cursor.execute(statement, {**self._keys, **self.tally.columns(), "rows": told})
            lease, written = cursor.fetchone()
        if not lease:
            raise core_jobs.LeaseLost
        return int(written)

    def failed(self, waiting: Waiting, code: str, message: str) -> Result:
        """A document that could not be had: counted bad; its previous copy, if there is one, stays (4.4)."""
        issue = validation.Issue("fetch", "error", code, message).as_dict()
        columns = {
            "title": waiting.url,
            "issues": [issue],
            "error_count": 1,
            "waf_name": self.waf_name(waiting.identity),
        }
        return Result(waiting.id, "failed", waiting.url, columns, [issue], fetch_issue=issue)

    def waf_name(self, identity: str) -> str:
        return waf.file_name(harvest_uid=self._run.settings["uid"], identity=identity)


_BLANK: Final[dict[str, Any]] = {
    **empty_content(""),
    "content_sha256": "",
    "size": 0,
    "repaired_sha256": "",
    "repaired_size": 0,
    "validator_version": "",
    "well_formed": False,
    "valid": False,
    "error_count": 0,
    "warning_count": 0,
    "issues": [],
    "etag": "",
    "last_modified": "",
    "settled": False,
    "fetched_at": None,
    "waf_name": "",
}
