"""What we add to the original's API below `/registry/api/` (contract 2.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from core import api, errors, paging
from registry import dialect, selectors, serializers
from registry.formats import report
from registry.models import HarvestRun, HarvestType, RunChange
from registry.services import harvests
from registry.views import callers

PAGE: Final = 100
LARGEST_PAGE: Final = 1000


def window(request: Request, total: int) -> paging.Window:
    """`limit` (1-1000, 100) and `offset` of the query."""
    query = request._request.GET
    limit = _number(query.get("limit"), "limit", default=PAGE, least=1, most=LARGEST_PAGE)
    offset = _number(query.get("offset"), "offset", default=0, least=0, most=10**12)
    return paging.Window(offset, limit, total)


def _number(text: str | None, name: str, *, default: int, least: int, most: int) -> int:
    if text is None:
        return default
    message = f"must be a whole number from {least} to {most}"
    return paging.whole_number(text, field=name, least=least, most=most, message=message)


def flag(request: Request, name: str) -> bool | None:
    """A boolean filter: `true`, `false`, `1`, `0`."""
    text = request._request.GET.get(name)
    if text is None:
        return None
    if text not in ("true", "false", "1", "0"):
        raise errors.Invalid("must be true or false", field=name)
    return text in ("true", "1")


def word(request: Request, name: str, known: Iterable[str] = ()) -> str:
    """A text filter, one of `known` if given."""
    text = request._request.GET.get(name, "")
    if "\0" in text:
        raise errors.Invalid("must not hold NUL", field=name)
    options = tuple(known)
    if text and options and text not in options:
        raise errors.Invalid(f"must be one of {', '.join(options)}", field=name)
    return text


def cached(request: Request, response: HttpResponse) -> HttpResponseBase:
    """ETag over the body, and 304 for who has it already."""
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    answer = get_conditional_response(request._request, etag=etag, response=response) or response
    answer["ETag"] = etag
    answer["Cache-Control"] = "private, no-cache"
    return answer


def page(request: Request, rows: QuerySet[Any], item: Callable[[Any], dict[str, Any]]) -> HttpResponseBase:
    """One page of a list in the envelope."""
    shown = window(request, rows.count())
    data = [item(row) for row in rows[shown.offset : shown.offset + shown.limit]]
    envelope = {"status": "success", "data": data, "total": shown.total, "limit": shown.limit, "offset": shown.offset}
    return cached(request, api.json_response(envelope))


class Harvests(dialect.View):
    """The harvests the caller may see, filtered and paged."""

    def get(self, request: Request) -> HttpResponseBase:
        access = callers.access_of(request)
        found = selectors.find_harvests(
            access,
            organization=word(request, "organization"),
            type=word(request, "type", HarvestType.values),
            status=word(request, "status", selectors.STATUSES),
            publish=flag(request, "publish"),
            q=word(request, "q"),
        )
        with_contact = access.user is not None
        return page(request, found, lambda row: serializers.harvest_element(row, with_contact=with_contact))


class Records(dialect.View):
    """The records of a harvest."""

    def get(self, request: Request, uid: str) -> HttpResponseBase:
        harvest = selectors.visible_harvest(uid, callers.access_of(request))
        found = selectors.find_records(
            harvest,
            valid=flag(request, "valid"),
            stale=flag(request, "stale"),
            standard=word(request, "standard", selectors.STANDARDS),
            q=word(request, "q"),
        )
        base = serializers.public_base()
        rows = found.select_related("harvest", "organization")
        return page(request, rows, lambda row: serializers.record_item(row, base_url=base))


class Record(dialect.View):
    """One record."""

    def get(self, request: Request, number: str) -> HttpResponseBase:
        record = selectors.record(int(number), callers.access_of(request))
        item = serializers.record_item(record, base_url=serializers.public_base())
        return cached(request, api.json_response({"status": "success", "data": item}))


class Runs(dialect.View):
    """The runs of a harvest, newest first."""

    def get(self, request: Request, uid: str) -> HttpResponseBase:
        harvest = selectors.visible_harvest(uid, callers.access_of(request))
        return page(request, selectors.runs_of(harvest), serializers.run_item)


class Removed(dialect.View):
    """The documents a harvest no longer has, newest first."""

    def get(self, request: Request, uid: str) -> HttpResponseBase:
        harvest = selectors.visible_harvest(uid, callers.access_of(request))
        return page(request, selectors.removed_documents(harvest), serializers.removed_item)


class Run(dialect.View):
    """One run."""

    def get(self, request: Request, number: str) -> HttpResponseBase:
        run = selectors.run(int(number), callers.access_of(request))
        return cached(request, api.json_response({"status": "success", "data": serializers.run_item(run)}))


class Report(dialect.View):
    """All issues of a run, as CSV or JSON, streamed."""

    def get(self, request: Request, number: str, kind: str) -> HttpResponseBase:
        run = selectors.run(int(number), callers.access_of(request))
        rows = selectors.report_rows(run)
        return streamed(report.COLUMNS, rows, kind=kind, name=f"run-{run.pk}-report")


class Changes(dialect.View):
    """What a run added, changed and removed, streamed."""

    def get(self, request: Request, number: str) -> HttpResponseBase:
        run = selectors.run(int(number), callers.access_of(request))
        rows = selectors.change_rows(run, kind=word(request, "kind", RunChange.Kind.values))
        return streamed(selectors.CHANGE_COLUMNS, rows, kind="json", name=f"run-{run.pk}-changes")


def streamed(columns: Iterable[str], rows: Iterable[tuple[Any, ...]], *, kind: str, name: str) -> StreamingHttpResponse:
    """Rows as a file of unknown length in flat memory."""
    blocks = (report.csv_blocks if kind == "csv" else report.json_blocks)(tuple(columns), rows)
    content_type = "text/csv; charset=utf-8" if kind == "csv" else "application/json"
    response = StreamingHttpResponse(blocks, content_type=content_type)
    if kind == "csv":
        response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


class ActOnRun(dialect.View):
    """Do something with a run, whose state is then `state`; checks as PATCH."""

    allow = ("POST", "OPTIONS")
    act: Callable[[HarvestRun], None]
    state: str

    def post(self, request: Request, number: str) -> HttpResponse:
        run = harvests.manageable_run(int(number), user=callers.required_token(request).user)
        self.act(run)
        return api.json_response({"status": "success", "data": {"state": self.state}})


class Cancel(ActOnRun):
    """Stop an active run."""

    act = staticmethod(harvests.cancel)
    state = "cancelling"


class Undo(ActOnRun):
    """Undo a harvest's last swap."""

    act = staticmethod(harvests.undo)
    state = "undone"
