"""What a request would come to, without making anything (`dry_run`, contract 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import OperationalError, connection
from django.db.models import Sum

from core import db
from downloads.formats import members
from downloads.jobs.build import selection
from downloads.jobs.build.sqltext import Sql
from downloads.jobs.ingest import publish
from downloads.models import Build
from downloads.selectors import request

COUNTING_MS = 5000
_BYTES_PER_ROW = 300.0
_ROWS_PER_SECOND = 40_000.0
_CANCELLED = "57014"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Rows per kind (exact unless counting took too long), and rough guesses at bytes and seconds."""

    records: int
    mediarecords: int
    bytes_estimate: int
    seconds_estimate: int
    data_version: int
    is_exact: bool


def estimate(asked: request.DownloadRequest) -> Estimate:
    """Count the rows of a request on the newest data version; beyond five seconds the planner's guess serves.

    What changed since another download is not worked out here: all rows are counted, which is said not to be exact.
    """
    version = publish.current_version()
    chosen = selection.Selection(asked, version, selection.hidden_at(version))
    queries = {entity: "SELECT 1 " + chosen.source(entity) for entity in selection.ENTITIES}
    if asked.form == "geojson":  # rows without a point are not in it
        queries["records"] = queries["records"] + " AND r.lat IS NOT NULL"
    try:
        with db.statement_timeout(COUNTING_MS):
            rows = {entity: _count(query) for entity, query in queries.items()}
        is_exact = not asked.since
    except OperationalError as fault:
        if getattr(fault.__cause__, "pgcode", "") != _CANCELLED:
            raise
        rows = {entity: _guess(query) for entity, query in queries.items()}
        is_exact = False
    lines = _lines(asked, rows)
    return Estimate(
        records=rows["records"],
        mediarecords=rows["media"],
        bytes_estimate=round(lines * _bytes_per_row()),
        seconds_estimate=max(1, round(lines / _ROWS_PER_SECOND)),
        data_version=version,
        is_exact=is_exact,
    )


def _count(query: Sql) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({query.text}) q", query.params or None)
        return int(cursor.fetchone()[0])


def _guess(query: Sql) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {query.text}", query.params or None)
        (plan,) = cursor.fetchone()[0]
    return int(plan["Plan"]["Plan Rows"])


def _lines(asked: request.DownloadRequest, rows: dict[selection.Entity, int]) -> int:
    """Rows over all files, as far as they are known without the raw columns."""
    files = members.members(
        form=asked.form if asked.form not in ("parquet", "geojson") else "csv",
        core_type=asked.core_type,
        core_source=asked.core_source,
        record_fields=asked.record_fields,
        mediarecord_fields=asked.mediarecord_fields,
        raw_record_columns=("dwc:genus",),
        raw_media_columns=("ac:accessURI",),
    )
    return sum(rows["media" if file.entity == "media" else "records"] for file in files)


def _bytes_per_row() -> float:
    """From the last builds, else from experience."""
    recent = Build.objects.filter(state=Build.State.DONE, rows_done__gt=0).order_by("-finished_at")[:20]
    sums = Build.objects.filter(pk__in=list(recent.values_list("pk", flat=True))).aggregate(
        size=Sum("size"), rows=Sum("rows_done")
    )
    return float(sums["size"]) / float(sums["rows"]) if sums["rows"] else _BYTES_PER_ROW
