"""`repo_items`: one, several, or a page (contract 2.8, 2.9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        shown = envelopes.needed(self.format, fields)
        if is_link_free(fields):
            return [rows.plain_item(title, base=self.base, fields=shown or ()) for title in titles]
        opened = links.open_titles(titles, asked=self.asked(request, caller))
        return [rows.chosen(rows.item(title, opened, base=self.base), shown) for title in titles]

    def kept_or_not(
        self,
        request: Request,
        titles: Sequence[items.Title],
        render: Callable[[], HttpResponse],
        *,
        fields: Sequence[str] | None,
        also: object = None,
    ) -> HttpResponse:
        """What may hold links is made anew; metadata may be kept and is confirmed by its tag before it is rendered.

        `also`: what else the answer says besides the titles.
        """
        if fields is None or not is_link_free(fields):
            return render()
        shown = [name for name in rows.ITEM_KEYS if name in fields]
        said = (self.base, self.format, shown, [(one.id, one.revision) for one in titles], also)
        headers = {"ETag": f'W/"{base.hash_of(repr(said).encode("utf-8", "surrogatepass"))}"'}
        if titles:
            headers["Last-Modified"] = http.http_date(int(max(one.changed for one in titles).timestamp()))
        if base.matches(request._request, headers["ETag"]):
            response = HttpResponse(status=304)
            del response["Content-Type"]
        else:
            response = render()
        response["Cache-Control"] = "private, no-cache"
        for name, value in headers.items():
            response[name] = value
        return response


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

        def render() -> HttpResponse:
            (row,) = self.rows(request, [title], caller=caller, fields=fields)
            return self._one(row, title)

        return self.kept_or_not(request, [title], render, fields=fields)

    def _one(self, row: envelopes.Row, title: items.Title) -> HttpResponse:
        response = self.answer(
            envelopes.one(self.format, row, kind=self.kind, href=rows.item_href(self.base, title.id))
        )
        response["Link"] = f'<{self.base}/api/repo_items/{title.id}>; rel="canonical"'
        return response

    def _several(
        self, request: Request, ids: str, *, caller: callers.Caller, fields: Sequence[str] | None
    ) -> HttpResponse:
        titles = reading.several(ids, account=caller.account)
        href = f"{self.collection_href}/{base.segment(ids)}"

        def render() -> HttpResponse:
            found = self.rows(request, titles, caller=caller, fields=fields)
            return self.answer(envelopes.several(self.format, found, kind=self.kind, href=href))

        return self.kept_or_not(request, titles, render, fields=fields, also=href)

    def described_href(self, request: Request, **kwargs: Any) -> str:
        return f"{self.collection_href}/{base.segment(kwargs['ids'])}"


class Items(_Items):
    """A page of published items."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request)
        if self.params.get("deleted") == "1":
            return self._harvest(request, caller)
        asked = reading.parse_listing(self.params)
        titles, count = items.page(asked)
        extra = self.facets(facets.parse(self.params.get("facets", "")), asked)

        def render() -> HttpResponse:
            found = self.rows(request, titles, caller=caller, fields=asked.fields)
            return self.page_answer(found, asked=asked, count=count, href=self.collection_href, extra=extra)

        # The other parameters stand in the links.
        paged = envelopes.paging(self.collection_href, self.query, page=asked.page, size=asked.range, count=count)
        return self.kept_or_not(request, titles, render, fields=asked.fields, also=(paged, count, extra))

    def _harvest(self, request: Request, caller: callers.Caller) -> HttpResponse:
        """The same with tombstones among the titles."""
        asked = reading.parse_harvest(self.params)
        found, count = items.harvest(asked)
        titles = [one for one in found if isinstance(one, items.Title)]

        def render() -> HttpResponse:
            shown = iter(self.rows(request, titles, caller=caller, fields=asked.fields))
            fields = envelopes.needed(self.format, asked.fields)
            both: list[envelopes.Row] = [
                rows.chosen(rows.tombstone(one, base=self.base), fields) if isinstance(one, items.Gone) else next(shown)
                for one in found
            ]
            return self.page_answer(both, asked=asked, count=count, href=self.collection_href)

        paged = envelopes.paging(self.collection_href, self.query, page=asked.page, size=asked.range, count=count)
        gone = [(one.id, one.changed) for one in found if isinstance(one, items.Gone)]
        return self.kept_or_not(request, titles, render, fields=asked.fields, also=(paged, count, gone))

    def facets(self, names: list[str], asked: listing.Listing) -> dict[str, Any] | None:
        """Values and counts of the asked fields, each with the listing it narrows to."""
        if not names:
            return None
        counted = facets.count(names, asked.conditions)
        return {
            "facets": envelopes.counts(counted, href=self.collection_href, query=self.query, chosen=asked.conditions)
        }
