"""`/api`: which resources there are (contract 2.6)."""

from __future__ import annotations

import operator
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from nnels.selectors import conditions, listing
from nnels.serializers import discovery, envelopes, rows
from nnels.views import base


class Discovery(base.Resource):
    """The newest version of each resource; `?all=1` every version. The same for everybody."""

    kind = "discovery"

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        self.count(request, None)
        asked = listing.parse(
            {name: value for name, value in self.params.items() if name not in ("page", "range")},
            sortable=discovery.KEYS,
            filterable=discovery.KEYS,
            cap=50,
        )
        found = discovery.rows(self.base, is_all=self.params.get("all") == "1")
        found = [row for row in found if all(conditions.holds(one, row[one.field]) for one in asked.conditions)]
        for name, descending in reversed(asked.sort):
            found.sort(key=operator.itemgetter(name), reverse=descending)
        fields = envelopes.needed(self.format, asked.fields)
        shown: list[envelopes.Row] = [rows.chosen(row, fields) for row in found]
        body = envelopes.several(self.format, shown, kind=self.kind, href=f"{self.base}/api")
        return base.conditional(
            request._request,
            self.answer(body, cache="public, max-age=300"),
            etag=f'"{base.hash_of(body)}"',
        )

    def described_href(self, request: Request, **kwargs: Any) -> str:
        return f"{self.base}/api"
