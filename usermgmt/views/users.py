"""`/api/v1/users/{username|name|email}/{term}` (contract 2.3 and 2.4)."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from core import api, errors
from usermgmt.formats import ranges, wire
from usermgmt.models.clients import SEARCH_SCOPE
from usermgmt.selectors import directory
from usermgmt.services import usage
from usermgmt.views import gate, raw_path

PREFIX = b"/api/v1/users/"


class Users(gate.ApiView):
    """Finds people. CyVerse: POST and PUT run the same read, whatever their body."""

    def get(self, request: Request, kind: str) -> HttpResponse:
        visit = gate.admit(request._request, endpoint=usage.USERS, scope=SEARCH_SCOPE)
        search = usage.Search(kind=kind)
        try:
            response = _found(request._request, search)
        except errors.Fact as fact:
            visit.note(status=api.status_of(fact), search=search)
            raise
        visit.note(status=response.status_code, search=search)
        return response

    post = put = get


def _found(request: HttpRequest, search: usage.Search) -> HttpResponse:
    kind = search.kind
    term = _term(request, kind)
    if term is None:
        return _nobody()
    search.term = term
    directory.check_length(term)
    window = ranges.parse(
        request.headers.get("Range"), default_rows=settings.USERMGMT_DEFAULT_LIMIT, max_rows=settings.USERMGMT_MAX_LIMIT
    )
    if kind not in directory.STATEMENTS:
        raise errors.Invalid(code="search_type")
    if not directory.can_match(kind, term) or not window.rows:
        return _nobody()
    found = directory.search(kind, term, start=window.start, rows=window.rows)
    search.ids = [row[0] for row in found.rows]
    return _people(found, window) if found.rows else _nobody()


def _nobody() -> HttpResponse:
    # CyVerse: nobody is an error with an empty list.
    return HttpResponse(wire.NO_USERS, status=404, content_type="application/json")


def _people(found: directory.Found, window: ranges.Window) -> HttpResponse:
    is_part = window.is_asked and (found.has_more or window.start > 0)
    response = HttpResponse(wire.users(found.rows), status=206 if is_part else 200, content_type="application/json")
    response["Accept-Ranges"] = "records"
    if is_part:
        response["Content-Range"] = ranges.content_range(window.start, len(found.rows))
    if found.has_more:
        response["X-Result-Truncated"] = "true"
    return response


def _term(request: HttpRequest, kind: str) -> str | None:
    """The search term of the path, percent-decoded once; None when its bytes are not UTF-8.

    Django's own `path` re-escapes broken bytes, so the path is read as the server gave it.
    """
    try:
        path = raw_path.of(request).partition(PREFIX)[2].decode("utf-8")
    except UnicodeDecodeError:
        return None
    term = path.partition("/")[2]
    if not _ends_escaped(request):
        term = term.removesuffix("/")
    # CyVerse: FIRST+LAST. Elsewhere a plus is itself, or plus-addresses could not be searched for.
    return term.replace("+", " ") if kind == "name" else term


def _ends_escaped(request: HttpRequest) -> bool:
    """Tell whether a slash at the end belongs to the term because it was sent as `%2F` (gunicorn tells; else not)."""
    sent = str(request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or "")
    return sent.partition("?")[0].lower().endswith("%2f")
