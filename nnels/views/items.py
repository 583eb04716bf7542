"""`repo_items`: one, several, or a page (contract 2.8, 2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import http
from rest_framework.request import Request

from nnels.selectors import facets, items, listing
from nnels.serializers import envelopes, rows
from nnels.services import callers, links, reading
from nnels.views import base


class _Items(base.Resource):
    kind = "repo_items"
    versions = ((1, 0),)

    def rows(
        self, request: Request, titles: Sequence[items.Title], *, caller: callers.Caller, fields: Sequence[str] | None
    ) -> list[envelopes.Row]:
        """Rows with links, or without when the asked fields hold none."""
        if is_link_free(fields):
            return [rows.plain_item(title, base=self.base, fields=fields or ()) for title in titles]
        opened = links.open_titles(titles, asked=self.asked(request, caller))
        return [rows.chosen(rows.item(title, opened, base=self.base), fields) for title in titles]


def is_link_free(fields: Sequence[str] | None) -> bool:
    """Whether an answer with these fields can hold no link."""
    return fields is not None and rows.LINKED_KEYS.isdisjoint(fields)


class Item(_Items):
    """One item by nid or another field, or a comma list of nids."""

    def get(self, request: Request, ids: str, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request)
        field = self.params.get("loadByFieldName")
        fields = listing.fields(self.params)
        if field is None and "," in ids:
            return self._several(request, ids, caller=caller, fields=fields)
        title = reading.one(ids, account=caller.account, field=field)
        if is_link_free(fields):
            return self._without_links(request, title, caller=caller, fields=fields or ())
        (row,) = self.rows(request, [title], caller=caller, fields=fields)
        return self._one(row, title)

    def _one(self, row: envelopes.Row, title: items.Title, *, cache: str = "private, no-store") -> HttpResponse:
        body = envelopes.one(self.format, row, kind=self.kind, href=rows.item_href(self.base, title.id))
        response = self.answer(body, cache=cache)
        response["Link"] = f'<{self.base}/api/repo_items/{title.id}>; rel="canonical"'
        return response

    def _several(
        self, request: Request, ids: str, *, caller: callers.Caller, fields: Sequence[str] | None
    ) -> HttpResponse:
        titles = reading.several(ids, account=caller.account)
        found = self.rows(request, titles, caller=caller, fields=fields)
        href = f"{self.collection_href}/{base.segment(ids)}"
        return self.answer(envelopes.several(self.format, found, kind=self.kind, href=href))

    def _without_links(
        self, request: Request, title: items.Title, *, caller: callers.Caller, fields: Sequence[str]
    ) -> HttpResponse:
        """Metadata only: may be kept, and is confirmed by its tag before anything is rendered."""
        kept = ",".join(name for name in rows.ITEM_KEYS if name in fields)
        tag = f'W/"{title.id}-{title.revision}-{self.format}-{base.hash_of((self.base + kept).encode())}"'
        modified = http.http_date(int(title.changed.timestamp()))
        if base.matches(request._request, tag):
            response = HttpResponse(status=304, headers={"ETag": tag, "Last-Modified": modified})
            response["Cache-Control"] = "private, no-cache"
            del response["Content-Type"]
            return response
        (row,) = self.rows(request, [title], caller=caller, fields=fields)
        response = self._one(row, title, cache="private, no-cache")
        response["ETag"], response["Last-Modified"] = tag, modified
        return response

    def described_href(self, request: Request, **kwargs: Any) -> str:
        return f"{self.collection_href}/{base.segment(kwargs['ids'])}"


class Items(_Items):
    """A page of published items."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request)
        asked = reading.parse_listing(self.params)
        titles, count = items.page(asked)
        found = self.rows(request, titles, caller=caller, fields=asked.fields)
        cache = "private, no-cache" if is_link_free(asked.fields) else "private, no-store"
        extra = self.facets(facets.parse(self.params.get("facets", "")), asked)
        return self.page_answer(found, asked=asked, count=count, href=self.collection_href, cache=cache, extra=extra)

    def facets(self, names: list[str], asked: listing.Listing) -> dict[str, Any] | None:
        """Values and counts of the asked fields, each with the listing it narrows to."""
        if not names:
            return None
        counted = facets.count(names, asked.conditions)
        return {"facets": envelopes.facets(counted, href=self.collection_href, query=self.query)}
