"""How the download service says errors: one sentence under `error`, and where to look (contract §2.6)."""

import json
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from core import api, errors, views
from downloads.jobs import status
from downloads.models import Download

METHODS: Final = "GET, HEAD, POST, DELETE, OPTIONS"
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, If-Range, Range",
    "Access-Control-Expose-Headers": (
        "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Download-Token, ETag, "
        "Last-Modified, Repr-Digest, Retry-After, WWW-Authenticate, X-Request-ID"
    ),
    "Access-Control-Max-Age": "21600",
}
_SHOWN: Final = (
    "parameter",
    "fields",
    "operator",
    "path",
    "position",
    "suggestion",
    "allowed",
    "limit",
    "hint",
    "query",
)
WAIT: Final = 2
"""Seconds: polling hint where nothing better is known."""


def respond(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """Compact UTF-8 JSON. The standard library writes it: queries may hold integers beyond 64 bits.

    Half a surrogate pair, should one get this far, is written as its JSON escape.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(
        text.encode(errors="backslashreplace"), status=status, content_type="application/json", headers=headers
    )


class Dialect(api.Dialect):
    """The accent of both faces."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        """`{"error": sentence}` and those keys that apply."""
        body: dict[str, Any] = {"error": _sentence(fact)}
        headers = {"Cache-Control": "no-store"}
        if fact.field:
            body["field"] = fact.field
        body |= {name: fact.details[name] for name in _SHOWN if name in fact.details}
        if isinstance(fact, errors.TooLarge):
            body.pop("limit", None)
        if isinstance(fact, (errors.Throttled, errors.Unavailable)):
            headers["Retry-After"] = str(fact.retry_after)
        if isinstance(fact, api.MethodNotAllowed):
            headers["Allow"] = ", ".join(fact.allowed)
        if isinstance(fact, errors.Unauthenticated):
            headers["WWW-Authenticate"] = "Token"
        download = fact.details.get("download")
        if isinstance(download, Download):
            body["status_url"] = status.status_url(download, views.base_url(request))
            if fact.code == "not_ready":
                headers["Retry-After"] = str(WAIT)
        return respond(body, status=api.status_of(fact), headers=headers)

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """CORS on everything, and nothing is kept by caches unless the view says how."""
        for name, value in CORS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def _sentence(fact: errors.Fact) -> str:
    if isinstance(fact, api.MethodNotAllowed):
        return f"Method {fact.method} is not allowed here."
    if isinstance(fact, errors.Unavailable):
        return "The download service cannot take requests right now."
    if isinstance(fact, errors.TooLarge):
        return fact.message if "limit" in fact.details else "The request is larger than 2097152 bytes."
    if isinstance(fact, api.Internal):
        return "Something went wrong on our side; it has been noted."
    if isinstance(fact, errors.NotFound):
        return fact.message or "There is nothing at this address."
    return fact.message or fact.code
