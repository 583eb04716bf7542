"""How this API speaks: problems, headers, media types (contract 2.2, 2.3, 2.11)."""

from __future__ import annotations

import re
import unicodedata

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from core import api, errors
from nnels.formats import wire
from nnels.services import reading

PROBLEM = "application/problem+json; charset=utf-8"
_TYPE = "http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html"
# status: (fragment of the type, detail). RFC 2616 knows no 422 and no 429.
_WORDS: dict[int, tuple[str, str]] = {
    400: ("#sec10.4.1", "Bad Request"),
    401: ("#sec10.4.2", "Unauthorized"),
    403: ("#sec10.4.4", "Forbidden"),
    404: ("#sec10.4.5", "Not Found"),
    406: ("#sec10.4.7", "Not Acceptable"),
    413: ("#sec10.4.14", "Request Entity Too Large"),
    415: ("#sec10.4.16", "Unsupported Media Type"),
    422: ("", "Unprocessable Entity; Validation errors."),
    429: ("", "Too Many Requests"),
    500: ("#sec10.5.1", "Internal Server Error"),
    503: ("#sec10.5.4", "Service Unavailable"),
}
# Restful: a method that a path does not have is a bad request, as is anything else that has no row above.
_STATUS = {405: 400, 409: 400, 410: 404}
TITLE_LENGTH = 200
VARY = "Accept, Authorization, access-token, Origin, X-API-Version"
_EXPOSED = (
    "Link, ETag, Retry-After, WWW-Authenticate, X-API-Version, X-Rate-Limit-Limit, X-Rate-Limit-Remaining, "
    "X-Rate-Limit-Reset"
)
_ALLOWED_HEADERS = "access-token, authorization, content-type, x-api-version"


class Dialect(api.Dialect):
    """Problem documents and the headers of every answer."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        status = status_of(fact)
        response = HttpResponse(api.json_bytes(problem(request, fact, status)), status=status, content_type=PROBLEM)
        response["Cache-Control"] = "no-store"
        if isinstance(fact, (errors.Throttled, errors.Unavailable)):
            response["Retry-After"] = str(fact.retry_after)
        if isinstance(fact, api.MethodNotAllowed):
            response["Allow"] = ", ".join(fact.allowed)
        if isinstance(fact, errors.Unauthenticated):
            challenge(response, is_token_presented=bool(fact.details.get("is_token_presented")))
        return response

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        version = getattr(request, "nnels_version", None)
        if version:
            response["X-API-Version"] = f"v{version[0]}.{version[1]}"
        for name, value in getattr(request, "nnels_rate", {}).items():
            response[name] = value
        response["Vary"] = VARY
        response.headers.setdefault("Cache-Control", "private, no-store")
        response["X-Content-Type-Options"] = "nosniff"
        _cross_origin(request, response)
        if getattr(request, "nnels_is_head", False) and isinstance(response, HttpResponse):
            response.content = b""
        return response


DIALECT = Dialect()


def status_of(fact: errors.Fact) -> int:
    """The HTTP status of a fact in this API."""
    if isinstance(fact, reading.Unprocessable):
        return 422
    status = api.status_of(fact)
    return _STATUS.get(status, status)


def problem(request: HttpRequest, fact: errors.Fact, status: int) -> dict[str, object]:
    """The problem document of a fact."""
    fragment, detail = _WORDS[status]
    body: dict[str, object] = {
        "type": _TYPE + fragment if fragment else _TYPE,
        "title": printable(_title(request, fact, detail)),
        "status": status,
        "detail": detail,
    }
    if said := fact.details.get("errors"):
        body["errors"] = {printable(str(name)): [printable(str(one)) for one in lines] for name, lines in said.items()}
    return body


def _title(request: HttpRequest, fact: errors.Fact, detail: str) -> str:
    if isinstance(fact, api.MethodNotAllowed):
        return f"The http method {request.method} is not allowed for this path."
    if fact.code == "no_such_path":
        return "Invalid URL path."
    if isinstance(fact, api.Internal):
        return "The service met an unexpected condition."
    return fact.message or detail


def printable(text: str) -> str:
    """At most 200 characters, none of them a control character or half a surrogate pair."""
    shown = "".join(
        " " if unicodedata.category(mark) in ("Cc", "Cs", "Cf") else mark for mark in text[: TITLE_LENGTH * 2]
    )
    return shown[:TITLE_LENGTH]


def challenge(response: HttpResponseBase, *, is_token_presented: bool) -> None:
    """Both challenges (RFC 7235) in one field; the original sent none."""
    bearer = 'Bearer realm="nnels"' + (', error="invalid_token"' if is_token_presented else "")
    response["WWW-Authenticate"] = f'Basic realm="nnels", charset="UTF-8", {bearer}'


def preflight(response: HttpResponseBase, methods: list[str]) -> None:
    """What a browser asks before a request from another origin: every OPTIONS answer is one."""
    response["Allow"] = ", ".join(methods)
    response["Access-Control-Allow-Methods"] = ", ".join(methods)
    response["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
    response["Access-Control-Max-Age"] = "600"


def _cross_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    origins = settings.NNELS_CORS_ORIGINS
    origin = request.headers.get("Origin", "")
    if "*" in origins:
        response["Access-Control-Allow-Origin"] = "*"
    elif origin in origins:
        response["Access-Control-Allow-Origin"] = origin
    else:
        return
    response["Access-Control-Expose-Headers"] = _EXPOSED


# --- media types ----------------------------------------------------------------------------------------------------

_BY_MEDIA_TYPE = {media_type: name for name, media_type in wire.MEDIA_TYPES.items()}


def negotiate(accept: str) -> str:
    """The format for an Accept header; `NotAcceptable` when none matches."""
    default = wire.JSON_API if settings.NNELS_DEFAULT_FORMAT == wire.JSON_API else wire.SIMPLE
    if not accept.strip():
        return default
    best, best_quality = "", 0.0
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        # Restful: a browser's */* gets the default, whatever else it lists and however it weighs it.
        if media_type == "*/*":
            return default
        found = default if media_type == "application/*" else _BY_MEDIA_TYPE.get(media_type, "")
        quality = _quality(parameters)
        if found and quality > best_quality:
            best, best_quality = found, quality
    if not best:
        raise api.NotAcceptable("None of the available formats matches the Accept header.")
    return best


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        match = re.fullmatch(r"q\s*=\s*([0-9](?:\.[0-9]{0,3})?)", parameter)
        if match:
            return float(match[1])
    return 1.0


def content_type(format_name: str) -> str:
    """The Content-Type of a format."""
    return f"{wire.MEDIA_TYPES[format_name]}; charset=utf-8"
