"""Who is calling, and what they sent (contract 2.1, 2.4, 2.5)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpRequest
from rest_framework.request import Request

from core import api, errors, net
from core.models import ApiToken
from registry import selectors
from registry.services import sessions


def token_of(request: Request | HttpRequest) -> ApiToken | None:
    """The live token of the two headers; only they authenticate, never a cookie."""
    return sessions.authenticate(request.META.get("HTTP_X_USER_ID", ""), request.META.get("HTTP_X_AUTH_TOKEN", ""))


def required_token(request: Request) -> ApiToken:
    """The same, or the standard 401."""
    token = token_of(request)
    if token is None:
        raise errors.Unauthenticated(code="unauthenticated")
    return token


def access_of(request: Request) -> selectors.Access:
    """The rights of the caller; without or with a bad pair nobody's."""
    token = token_of(request)
    return selectors.access_of(token.user if token else None)


def address_of(request: Request) -> str:
    """What counts as one caller for throttling."""
    return net.throttle_key(net.caller_address(request._request))


def values_of(request: Request) -> tuple[dict[str, Any], bool]:
    """The body's values and whether it was JSON. Other content types count as an empty body (up).

    Broken JSON, a scalar, and bytes that are no UTF-8 are a bad request; an array is an empty object (up).
    """
    kind = (request._request.content_type or "").lower()
    raw = api.body(request)
    if kind == "application/json":
        return _json_values(raw), True
    if kind == "application/x-www-form-urlencoded":
        return _form_values(raw), False
    return {}, False


def _json_values(raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        return {}
    value = api.json_value(raw, is_storable=False)  # what a text may hold depends on what it is for
    if isinstance(value, list):
        return {}
    if not isinstance(value, dict):
        raise errors.Invalid(code="parse_error")
    return value


def _form_values(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise errors.Invalid(code="parse_error") from error
    return dict(pairs)
