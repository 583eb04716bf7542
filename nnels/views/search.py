"""`basic_search`: titles by keyword (contract 2.10)."""

from __future__ import annotations

from typing import Any
from urllib import parse

from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from nnels.formats import text
from nnels.selectors import conditions, facets, listing
from nnels.selectors import search as searching
from nnels.serializers import envelopes, rows
from nnels.views import base


class Search(base.Resource):
    """Flat rows without links, best first."""

    kind = "basic_search"
    versions = ((1, 1),)

    def get(self, request: Request, keywords: str = "", **kwargs: Any) -> HttpResponseBase:
        self.caller(request)
        asked = listing.parse(
            self.params, sortable=searching.SORTS, filterable=conditions.ITEM_FIELDS, cap=settings.NNELS_RANGE
        )
        query = text.query(keywords)
        hits, count = searching.find(query, asked)
        found = [rows.chosen(rows.hit(hit.doc, hit.relevance, base=self.base), asked.fields) for hit in hits]
        href, extra = self.search_href(keywords), None
        if names := facets.parse(self.params.get("facets", "")):
            match, bound = searching.matching(query)
            counted = facets.count(names, asked.conditions, match=match, bound=bound)
            extra = {"facets": envelopes.facets(counted, href=href, query=self.query)}
        return self.page_answer(found, asked=asked, count=count, href=href, cache="private, no-cache", extra=extra)

    def search_href(self, keywords: str) -> str:
        """The collection of a search: its keywords, words joined by `+` as the document writes them."""
        return f"{self.collection_href}/{parse.quote(keywords.strip('/'), safe='+').replace('%20', '+')}"

    def described_href(self, request: Request, **kwargs: Any) -> str:
        keywords = kwargs.get("keywords", "")
        return self.search_href(keywords) if keywords else self.collection_href
