"""The pages of the download service, rendered here and complete without JavaScript (contract §7)."""

import functools
import json
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core import api, errors, net, views
from downloads import forms, models, services
from downloads.formats import citation, terms
from downloads.jobs import status
from downloads.selectors import parse
from downloads.serializers import inputs, params

P = ParamSpec("P")
CLOSED: Final = "The download service cannot take requests right now."
REFRESH: Final = 3
"""Seconds between two looks at a download that is being made."""

_EXAMPLES: Final[dict[str, str]] = {
    "text": '"acer", ["acer", "quercus"], {"type": "prefix", "value": "ace"}',
    "word": '"rio grande" (consecutive words), {"type": "exact", "text": "…"}, {"type": "fuzzy", "text": "…"}',
    "list": '"geopoint_datum_missing" (any element)',
    "float": '100, {"type": "range", "gte": 100, "lt": 200}',
    "int": '233, {"type": "range", "gte": 1, "lte": 31}',
    "date": '"1987", "1987-08", {"type": "range", "gte": "1987", "lt": "1990"}',
    "bool": "true, false",
    "point": '{"type": "geo_distance", "lat": 29.6, "lon": -82.3, "distance": "10km"}',
}
_KINDS: Final = {
    "text": "text",
    "word": "text, by words",
    "list": "list",
    "float": "number",
    "int": "whole number",
    "date": "date",
    "bool": "true or false",
    "point": "point",
}


def _guarded(page: Callable[Concatenate[HttpRequest, P], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The page, or while the database is away one that says so and asks it nothing."""

    @functools.wraps(page)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return page(request, *args, **kwargs)
        except (OperationalError, InterfaceError) as fault:
            fact = api.as_fact(fault)
        # Without the request: the frame would look for the account in the session.
        text = render_to_string("downloads/fault.html", {"fact": errors.Unavailable(CLOSED)})
        return _hinted(HttpResponse(text, status=api.status_of(fact)), fact)

    return guarded


def _hinted(response: HttpResponse, fact: errors.Fact) -> HttpResponse:
    """The response, with the time to wait where there is one."""
    if isinstance(fact, (errors.Throttled, errors.Unavailable)):
        response["Retry-After"] = str(fact.retry_after)
    return response


def _fault(request: HttpRequest, fact: errors.Fact) -> HttpResponse:
    """A page that says what is the matter."""
    if isinstance(fact, errors.NotFound):
        found: Any = views.not_found(request)
        return found  # type: ignore[no-any-return]
    return _hinted(render(request, "downloads/fault.html", {"fact": fact}, status=api.status_of(fact)), fact)


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
@_guarded
def order(request: HttpRequest) -> HttpResponseBase:
    """Ask for a download, or for an estimate of it."""
    if request.method != "POST":
        return _show(request, forms.Order(initial=request.GET.dict()))
    form = forms.Order(request.POST)
    if not form.is_valid():
        return _show(request, form, status=400)
    try:
        asked = inputs.v2(params.Params("v2", form.values())).request
        if "estimate" in request.POST:
            return _show(request, form, estimate=services.estimate(asked))
        placed = _place(request, asked)
    except errors.Invalid as fault:
        form.show(fault)
        return _show(request, form, status=400)
    except errors.Fact as fact:
        form.add_error(None, fact.message)
        return _hinted(_show(request, form, status=api.status_of(fact)), fact)
    response = HttpResponseRedirect(f"/downloads/{placed.download.uuid}", status=303)
    response.set_signed_cookie(
        _cookie(str(placed.download.uuid)),
        placed.token,
        max_age=settings.DOWNLOADS_KEEP_DAYS * 86400,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
        path=f"/downloads/{placed.download.uuid}",
    )
    return response


def _place(request: HttpRequest, asked: Any) -> services.Placed:
    address = net.caller_address(request)
    caller = services.Caller(address=str(address) if address else None)
    return services.request_download(asked, caller=caller, base_url=views.base_url(request))


def _show(
    request: HttpRequest, form: forms.Order, *, status: int = 200, estimate: services.Estimate | None = None
) -> HttpResponse:
    return render(request, "downloads/order.html", {"form": form, "estimate": estimate}, status=status)


def _cookie(uuid: str) -> str:
    return f"download-{uuid}"


def _token(request: HttpRequest, uuid: str) -> str:
    """The caller's token, if this browser placed the download."""
    found = request.get_signed_cookie(_cookie(uuid), default=None)
    return found or ""


def nowhere(said: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Whatever else is asked for among the pages: a page for browsers, what the API says for everybody else."""

    @csrf_exempt
    def page(request: HttpRequest) -> HttpResponseBase:
        return views.not_found(request) if "text/html" in request.headers.get("Accept", "") else said(request)

    return page


@login_not_required
@never_cache
@require_safe
@_guarded
def download(request: HttpRequest, ident: str) -> HttpResponseBase:
    """How a download stands, and its file once it is made."""
    try:
        found = services.find(ident)
    except errors.Gone as gone:
        return _gone(request, gone)
    except errors.NotFound as fact:
        return _fault(request, fact)
    base_url = views.base_url(request)
    body = status.v2_body(found, base_url, position=services.position(found))
    asked = status.asked(found)
    context = {
        "download": found,
        "body": body,
        "query": json.dumps(asked.seven, ensure_ascii=False, indent=2) if asked else "",
        "refresh": None if body["complete"] or "still" in request.GET else REFRESH,
        "may_cancel": not body["complete"] and bool(_token(request, str(found.uuid))),
        "citations": list(citation.FORMATS),
        "again": forms.initial(asked.seven) if asked else {},
    }
    return render(request, "downloads/download.html", context)


def _gone(request: HttpRequest, gone: errors.Gone) -> HttpResponse:
    query = gone.details.get("query")
    if not isinstance(query, dict):
        query = {}
    # a v2 download shows the object of seven, one of the seed face its query
    again = forms.initial(query if "core_source" in query else {"rq": query})
    return render(request, "downloads/gone.html", {"fact": gone, "again": again}, status=410)


@login_not_required
@require_POST
@_guarded
def cancel(request: HttpRequest, ident: str) -> HttpResponseBase:
    """Withdraw from a download, with the token this browser was given."""
    try:
        services.withdraw(ident, token=_token(request, ident.lower()))
    except errors.Fact as fact:
        return _fault(request, fact)
    return HttpResponseRedirect(f"/downloads/{ident.lower()}", status=303)


@login_not_required
@require_safe
@_guarded
def fields(request: HttpRequest) -> HttpResponseBase:
    """Every field a query may name, with what can be asked of it."""
    tables = [("Records", _rows(terms.RECORD_TERMS)), ("Media records", _rows(terms.MEDIA_TERMS))]
    kinds = [(kind, _EXAMPLES[name]) for name, kind in _KINDS.items()]
    context = {"tables": tables, "operators": parse.OPERATORS, "kinds": kinds}
    return render(request, "downloads/fields.html", context)


def _rows(table: tuple[terms.Term, ...]) -> list[dict[str, Any]]:
    return [{"term": term, "kind": _KINDS[term.kind], "sources": ", ".join(term.sources)} for term in table]


@login_not_required
@require_safe
@_guarded
def recordsets(request: HttpRequest) -> HttpResponseBase:
    """The collections of the store."""
    found = models.Recordset.objects.filter(is_public=True).defer("eml")
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    return render(request, "downloads/recordsets.html", {"page": page})


@login_not_required
@require_safe
@_guarded
def recordset(request: HttpRequest, ident: str) -> HttpResponseBase:
    """One collection: its counts, licence and citation, and a way to ask for all of it."""
    found = models.Recordset.objects.filter(is_public=True, pk=ident).first()
    if found is None:
        return views.not_found(request)
    return render(request, "downloads/recordset.html", {"recordset": found})
