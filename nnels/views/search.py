"""`basic_search`: titles by keyword (contract 2.10)."""

from __future__ import annotations

from typing import Any
from urllib import parse

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import paging
from nnels.formats import text
from nnels.selectors import conditions, facets, listing, suggestions
from nnels.selectors import search as searching
from nnels.serializers import envelopes, rows
from nnels.views import base


class Search(base.Resource):
    """Flat rows without links, best first."""

    kind = "basic_search"
    versions = ((1, 1),)

    def get(self, request: Request, keywords: str = "", **kwargs: Any) -> HttpResponseBase:
        self.caller(request)
        keywords = keywords.removesuffix("/")
        if "suggest" in self.params:
            return self.suggest(keywords)
        asked = listing.parse(
            self.params, sortable=searching.SORTS, filterable=conditions.ITEM_FIELDS, cap=settings.NNELS_RANGE
        )
        query = text.query(keywords)
        hits, count = searching.find(query, asked)
        fields = envelopes.needed(self.format, asked.fields)
        found = [rows.chosen(rows.hit(hit.doc, hit.relevance, base=self.base), fields) for hit in hits]
        href = self.search_href(keywords)
        extra: dict[str, Any] = {}
        if names := facets.parse(self.params.get("facets", "")):
            match, bound = searching.matching(query, asked)
            counted = facets.count(names, asked.conditions, match=match, bound=bound)
            extra["facets"] = envelopes.counts(counted, href=href, query=self.query, chosen=asked.conditions)
        if count == 0:
            # Nothing found: say what there is that resembles it.
            extra["suggestions"] = self.suggestions(keywords, most=5)
        page = self.page_answer(found, asked=asked, count=count, href=href, cache="private, no-cache", extra=extra)
        return base.conditional(request._request, page, etag=f'"{base.hash_of(page.content)}"')

    def suggest(self, keywords: str) -> HttpResponseBase:
        """`?suggest=10`: what somebody may mean, for completion while they type."""
        text.query(keywords)
        most = paging.whole_number(
            self.params["suggest"], field="suggest", least=1,
            message='"Suggest" property should be numeric and equal or higher than 1.',
        )  # fmt: skip
        found = self.suggestions(keywords, most=min(most, suggestions.MOST))
        href = self.search_href(keywords)
        body = envelopes.several(self.format, list(found), kind="suggestions", href=href)
        return self.answer(body, cache="private, no-cache")

    def suggestions(self, keywords: str, *, most: int) -> list[dict[str, Any]]:
        """Rows `label`, `kind`, `href`: titles lead to their item, creators to their search."""
        words = keywords.replace("+", " ").strip("/ ")
        return [
            {
                "label": one.label,
                "kind": one.kind,
                "href": rows.item_href(self.base, one.nid) if one.nid else self.search_href(one.label),
            }
            for one in suggestions.find(words, most=most)
        ]

    def search_href(self, keywords: str) -> str:
        """The collection of a search: its keywords, words joined by `+` as the document writes them."""
        return f"{self.collection_href}/{parse.quote(keywords.strip('/'), safe='+').replace('%20', '+')}"

    def described_href(self, request: Request, **kwargs: Any) -> str:
        keywords = kwargs.get("keywords", "")
        return self.search_href(keywords) if keywords else self.collection_href
