"""Ingest runs with progress and report; rows set aside, to look at and to take away as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html

from downloads.admin.lists import BigList, one_of
from downloads.jobs import ingest
from downloads.models import IngestRun, RejectedRow

_RUNS_OFFERED = 50
_REFRESH_SECONDS = 3
_LONGEST_ID = 18
"""Digits that a 64-bit id can always hold; int() refuses thousands of them."""
_COLUMNS = ("run_id", "file", "line", "reason", "message", "row")


@admin.register(IngestRun)
class IngestRuns(BigList):
    list_display = ("source", "state", "stage", "read", "added", "changed", "removed", "rejected", "created_at")
    list_filter = ("state", "created_at")
    search_fields = ("source", "recordset__name")
    list_select_related = ("job",)
    exclude = ("report",)
    readonly_fields = ("stage", "counts")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of a run; while it is active it looks again by itself."""
        response = super().change_view(request, object_id, form_url, extra_context)
        shown = getattr(response, "context_data", None) or {}
        run = shown.get("original")
        if run is not None and run.state == IngestRun.State.RUNNING:
            response["Refresh"] = str(_REFRESH_SECONDS)
        return response

    @admin.display(description="stage")
    def stage(self, run: IngestRun) -> str:
        if run.state == IngestRun.State.DONE and run.report.get("dry_run"):
            return "dry run: nothing was changed"
        if run.job is None or run.state != IngestRun.State.RUNNING:
            return str(run.state)
        return f"{run.job.progress.get('stage', 'queued')} {run.job.progress.get('rows', '')}".strip()

    @admin.display(description="report")
    def counts(self, run: IngestRun) -> str:
        link = ""
        if run.report.get("rejected"):
            address = reverse("admin:downloads_rejectedrow_changelist")
            link = format_html('<p><a href="{}?run={}">The rows that were set aside</a></p>', address, run.pk)
        said = ingest.Report.from_json(run.report).sentence() if run.state == IngestRun.State.DONE else ""
        return format_html("<p>{}</p><pre>{}</pre>{}", said, json.dumps(run.report, ensure_ascii=False, indent=1), link)

    @admin.display(description="read")
    def read(self, run: IngestRun) -> Any:
        return run.report.get("read")

    @admin.display(description="added")
    def added(self, run: IngestRun) -> Any:
        return _done(run, "added")

    @admin.display(description="changed")
    def changed(self, run: IngestRun) -> Any:
        return _done(run, "changed")

    @admin.display(description="removed")
    def removed(self, run: IngestRun) -> Any:
        return _done(run, "removed")

    @admin.display(description="rejected")
    def rejected(self, run: IngestRun) -> Any:
        return sum(run.report.get("rejected", {}).values())


def _done(run: IngestRun, name: str) -> Any:
    """A count of what was done; the report of a refused archive only tells what would have been."""
    return run.report.get(name) if run.state == IngestRun.State.DONE else None


class _Echo:
    """A file for the csv writer that gives each line back."""

    def write(self, line: str) -> str:
        return line


class OfRun(admin.SimpleListFilter):
    """The newest runs to choose from; a page of a run is `?run=<number>`."""

    title = parameter_name = "run"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(run.pk), str(run)) for run in IngestRun.objects.order_by("-id")[:_RUNS_OFFERED]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RejectedRow]) -> QuerySet[RejectedRow]:
        wanted = self.value() or ""
        return queryset.filter(run_id=int(wanted)) if wanted.isdecimal() and len(wanted) <= _LONGEST_ID else queryset


@admin.register(RejectedRow)
class RejectedRows(BigList):
    list_display = ("run", "file", "line", "reason", "message")
    list_filter = (one_of("reason", RejectedRow.REASONS), OfRun)
    list_select_related = ("run",)
    ordering = ("-id",)
    actions = ("export_csv",)

    @admin.action(description="Export as CSV")
    def export_csv(self, request: HttpRequest, queryset: QuerySet[RejectedRow]) -> StreamingHttpResponse:
        response = StreamingHttpResponse(_lines(queryset), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="rejected-rows.csv"'
        return response


def _lines(rows: QuerySet[RejectedRow]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(_COLUMNS)
    for row in rows.order_by("id").values_list(*_COLUMNS).iterator(chunk_size=1000):
        yield writer.writerow(row)
