"""OPDS 2.0 for reading systems (contract 10.1): feeds that may be kept, acquisition by redirect."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, errors, views
from nnels import dialect
from nnels.formats import text, wire
from nnels.selectors import conditions, facets, items, listing
from nnels.selectors import search as searching
from nnels.serializers import envelopes, opds
from nnels.services import links, reading
from nnels.views import base

FACETS = ["languages", "formats", "accessibilityFeature"]


class Dialect(dialect.Dialect):
    """As the rest of this API, but who is not logged in is told how in OPDS's own document."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        response = super().error(request, fact)
        if isinstance(fact, errors.Unauthenticated) and isinstance(response, HttpResponse):
            response.content = api.json_bytes(opds.authentication(views.base_url(request)))
            response["Content-Type"] = opds.AUTHENTICATION
        return response


class _Opds(base.Resource):
    dialect = Dialect()
    kind = "discovery"

    def choose_format(self, accept: str) -> str:
        return wire.SIMPLE

    def described_href(self, request: Request, **kwargs: Any) -> str:
        return f"{self.base}/opds"

    def tagged(self, request: Request, body: dict[str, Any], *, content_type: str = opds.FEED) -> HttpResponse:
        """A document that may be kept and is confirmed by its tag."""
        raw = api.json_bytes(body)
        response = HttpResponse(raw, content_type=content_type)
        response["Cache-Control"] = "private, no-cache"
        return base.conditional(request._request, response, etag=f'"{base.hash_of(raw)}"')


class Start(_Opds):
    """The navigation feed."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        self.caller(request)
        return self.tagged(request, opds.start(self.base))


class Publications(_Opds):
    """All titles, paged, sorted and filtered as `repo_items` is."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        self.caller(request)
        asked = reading.parse_listing(self.params)
        titles, count = items.page(asked)
        counted = facets.count(FACETS, asked.conditions)
        paging = envelopes.paging(
            f"{self.base}/opds/publications", self.query, page=asked.page, size=asked.range, count=count
        )
        body = opds.feed(
            self.base, "All titles", [title.doc for title in titles], links=paging, page=asked.page, size=asked.range,
            count=count, groups=opds.facet_groups(self.base, counted, query=self.query, chosen=asked.conditions),
        )  # fmt: skip
        return self.tagged(request, body)


class Search(_Opds):
    """Titles by keyword."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        self.caller(request)
        asked = listing.parse(
            self.params, sortable=searching.SORTS, filterable=conditions.ITEM_FIELDS, cap=settings.NNELS_RANGE
        )
        hits, count = searching.find(text.query(self.params.get("query", "")), asked)
        paging = envelopes.paging(
            f"{self.base}/opds/search", self.query, page=asked.page, size=asked.range, count=count
        )
        body = opds.feed(
            self.base, "Search", [hit.doc for hit in hits], links=paging, page=asked.page, size=asked.range, count=count
        )
        return self.tagged(request, body)


class Publication(_Opds):
    """One title."""

    def get(self, request: Request, uuid: str, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request)
        title = _title(uuid, caller.account)
        return self.tagged(request, opds.publication(title.doc, base=self.base), content_type=opds.PUBLICATION)


class File(_Opds):
    """A redirect to a fresh link, for who may have it."""

    def get(self, request: Request, uuid: str, code: str, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request)
        title = _title(uuid, caller.account)
        part = self.params.get("part", "1")
        # The link is in a header: it leaves with HEAD too, and is logged with it.
        asked = dataclasses.replace(self.asked(request, caller, purpose="opds"), is_logged=True)
        url = links.by_format(title, code, part=part, asked=asked)
        response = HttpResponse(status=303, headers={"Location": url})
        response["Cache-Control"] = "private, no-store"
        return response


def _title(uuid: str, account: Any) -> items.Title:
    """A published title by UUID; what is not there is a plain 404 here, as OPDS knows no 422."""
    try:
        return reading.one(uuid, account=account, field="uuid")
    except reading.Unprocessable as fact:
        raise errors.NotFound(fact.message) from None
