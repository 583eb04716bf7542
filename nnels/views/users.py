"""`users`: oneself, and everybody for staff (contract 2.7)."""

from __future__ import annotations

from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from nnels import dialect
from nnels.selectors import accounts, listing
from nnels.serializers import envelopes, rows
from nnels.services import callers, people
from nnels.views import base


class _Users(base.Resource):
    kind = "users"
    versions = ((1, 0), (1, 1))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # The document's hrefs say v1.0 even where no version was asked for: 1.1 only when the path says so.
        self.shown_version: base.Version = (1, 1) if kwargs.get("version") == "v1.1" else (1, 0)
        super().initial(request, *args, **kwargs)

    @property
    def collection_href(self) -> str:
        major, minor = self.shown_version
        return f"{self.base}/api/v{major}.{minor}/users"

    def href(self, number: int) -> str:
        """Where an account is."""
        return rows.user_href(self.base, number, self.shown_version)

    def row(self, account: accounts.Account) -> envelopes.Row:
        """An account's row, cut to `fields`."""
        return self.cut(rows.user(account, base=self.base, version=self.shown_version))

    def cut(self, row: dict[str, Any]) -> envelopes.Row:
        """A row with only the asked keys."""
        return rows.chosen(row, envelopes.needed(self.format, listing.fields(self.params)))


class Me(_Users):
    """The caller's own row; uid 0 for everybody else, which tells a client that its token has expired."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        presented = self.presented(request)
        caller = callers.identify(presented)
        self.count(request, caller)
        if caller is not None:
            href = self.href(caller.account.id)
            return self.answer(envelopes.one(self.format, self.row(caller.account), kind=self.kind, href=href))
        row = self.cut(rows.anonymous(base=self.base, version=self.shown_version))
        response = self.answer(envelopes.one(self.format, row, kind=self.kind, href=self.href(0)))
        if presented.is_anything:
            dialect.challenge(response, is_token_presented=bool(presented.tokens))
        return response

    def described_href(self, request: Request, **kwargs: Any) -> str:
        caller = callers.identify(self.presented(request))
        return self.href(caller.account.id) if caller else f"{self.collection_href}/me"

    def options(  # type: ignore[override]
        self, request: Request, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        response = super().options(request, *args, **kwargs)
        response["Cache-Control"] = "private, no-cache"
        return response


class User(_Users):
    """One account, several, or one by another field."""

    def get(self, request: Request, ids: str, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request).account
        field = self.params.get("loadByFieldName")
        if field is None and "," in ids:
            found = people.several(ids, caller=caller)
            href = f"{self.collection_href}/{base.segment(ids)}"
            body = envelopes.several(self.format, [self.row(one) for one in found], kind=self.kind, href=href)
            return self.answer(body)
        account = people.one(ids, caller=caller, field=field)
        body = envelopes.one(self.format, self.row(account), kind=self.kind, href=self.href(account.id))
        return self.answer(body)

    def described_href(self, request: Request, **kwargs: Any) -> str:
        return f"{self.collection_href}/{base.segment(kwargs['ids'])}"


class Users(_Users):
    """All accounts, for staff."""

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request).account
        asked, found, count = people.page(self.params, caller=caller)
        return self.page_answer([self.row(one) for one in found], asked=asked, count=count, href=self.collection_href)
