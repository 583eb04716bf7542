"""`login-token` and `refresh-token` (contract 2.5)."""

from __future__ import annotations

from typing import Any
from urllib import parse

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api
from nnels.formats import wire
from nnels.services import tokens
from nnels.views import base

BODY_LIMIT = 4096


class _Tokens(base.Resource):
    """Flat JSON whatever is accepted. HEAD would spend a token that nobody receives."""

    versions = ((1, 0),)

    def choose_format(self, accept: str) -> str:
        media_types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
        return wire.SINGLE if wire.MEDIA_TYPES[wire.SINGLE] in media_types else wire.SIMPLE

    def described_href(self, request: Request, **kwargs: Any) -> str:
        return f"{self.base}/api/{self.kind}"

    def grant(self, grant: tokens.Grant) -> HttpResponse:
        """The documented body."""
        body: dict[str, object] = {"access_token": grant.access_token, "type": "Bearer", "expires_in": grant.expires_in}
        if grant.refresh_token is not None:
            body["refresh_token"] = grant.refresh_token
        response = self.answer(api.json_bytes(body), cache="no-store")
        response["Pragma"] = "no-cache"
        response["Referrer-Policy"] = "no-referrer"
        return response


class Login(_Tokens):
    """Name and password (or an access token) for the account's token pair."""

    kind = "login-token"
    http_method_names = ["get", "options"]

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        caller = self.caller(request)
        if caller.pair is not None and caller.token is not None:
            return self.grant(tokens.peek(caller.token, caller.pair))
        return self.grant(tokens.login(caller.account.id))


class Refresh(_Tokens):
    """A refresh token in the path for a new pair."""

    kind = "refresh-token"
    http_method_names = ["get", "options"]

    def get(self, request: Request, token: str, **kwargs: Any) -> HttpResponseBase:
        self.count(request, None)
        return self.grant(tokens.refresh(token))


class RefreshBody(_Tokens):
    """A refresh token in the body, where no log keeps it."""

    kind = "refresh-token"
    http_method_names = ["post", "options"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.format = self.choose_format(request.headers.get("Accept", ""))

    def post(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        self.count(request, None)
        return self.grant(tokens.refresh(_token_in_body(request)))


def _token_in_body(request: Request) -> str:
    media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        value = api.json_object(request, limit=BODY_LIMIT).get("refresh_token", "")
        return value if isinstance(value, str) else ""
    if media_type == "application/x-www-form-urlencoded":
        raw = api.body(request, limit=BODY_LIMIT).decode("utf-8", "replace")
        return dict(parse.parse_qsl(raw, keep_blank_values=True)).get("refresh_token", "")
    if not api.body(request, limit=BODY_LIMIT):
        return ""
    raise api.UnsupportedMedia("The body is JSON or a form with refresh_token.")
