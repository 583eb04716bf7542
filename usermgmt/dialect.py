"""How the CyVerse user API says what went wrong, and the headers on all it says (contract 2.4 and 2.7)."""

from __future__ import annotations

import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import http, text

from core import api, errors
from usermgmt.formats import wire

GZIP_FROM_BYTES = 200
# Random bytes in the gzip header hide the exact length (BREACH), as Django's own middleware does.
GZIP_PADDING = 100
BASIC_CHALLENGE = 'Basic realm="User API", charset="UTF-8"'
BEARER_CHALLENGE = 'Bearer realm="User API"'

DUPLICATE = "User {user} already has requested {service}. Multiple requests not permitted for the same service."
SENTENCES = {
    "ssl_required": ("HTTP", "SSL required"),
    "no_such_path": ("HTTP", "Not Found"),
    "invalid_key": ("Auth", "Invalid API Key"),
    "invalid_secret": ("Auth", "Invalid API Secret"),
    "not_approved": ("Auth", "API Client not yet Approved for Access"),
    "unrecognized": ("Auth", "Unrecognized API Client"),
    "invalid_token": ("Auth", "Invalid Access Token"),
    "basic_disabled": ("Auth", "Basic authentication is no longer accepted; use an OAuth2 access token"),
    "scope": ("Auth", "API Client not permitted to use this resource"),
    "throttled": ("HTTP", "Too Many Requests"),
    "too_short": ("Validation", "Search terms must have at least 3 characters"),
    "range_syntax": ("HTTP", "Malformed range header. Should be 'Range: records=0-50'"),
    "search_type": ("Exception", "Search type is not recognized: must be one of: username, name, or email"),
    "service": ("HTTP", "Service Not Found"),
    "user": ("HTTP", "User Not Found"),
    "too_large": ("HTTP", "Request Entity Too Large"),
}


class UserApi(api.Dialect):
    """The accent of `/api/v1/users` and `/api/v1/service`; `only` names the methods in the 405 sentence."""

    def __init__(self, *, only: str = "GET") -> None:
        self.only = only

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponse:
        response = HttpResponse(
            wire.encode({"error": self.body(fact)}), status=api.status_of(fact), content_type="application/json"
        )
        if isinstance(fact, api.MethodNotAllowed):
            response["Allow"] = ", ".join(fact.allowed)
        if isinstance(fact, errors.Throttled):
            response["Retry-After"] = str(fact.retry_after)
        if isinstance(fact, errors.Unavailable):
            response["Retry-After"] = "5"
        if isinstance(fact, errors.Unauthenticated):
            response["WWW-Authenticate"] = f"{BASIC_CHALLENGE}, {_bearer_challenge(fact)}"
        if fact.code == "scope" and fact.details.get("scheme") == "bearer":
            response["WWW-Authenticate"] = f'{BEARER_CHALLENGE}, error="insufficient_scope"'
        return response

    def body(self, fact: errors.Fact) -> dict[str, object]:
        """`{"<Kind>": "<text>"}` of a fact; a bug and an outage tell their name and nothing else."""
        if isinstance(fact, api.MethodNotAllowed):
            return {"HTTP": f"Method not supported; only {self.only} requests are accepted"}
        if fact.code == "range_values":
            return {"HTTP": "Invalid range values: start={start} and end={end}".format(**fact.details)}
        if fact.code == "has_access":
            return {"LogicException": "User {user} already has access to {service}".format(**fact.details)}
        if fact.code == "duplicate":
            return {"LogicException": DUPLICATE.format(**fact.details)}
        if isinstance(fact, errors.Unavailable):
            return {"Exception": {"code": 0, "message": "Service Unavailable"}}
        if isinstance(fact, api.Internal):
            return {"Exception": {"code": 0, "message": "Internal Server Error"}}
        kind, sentence = SENTENCES.get(fact.code, ("HTTP", fact.message or "Bad Request"))
        return {kind: sentence}

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["Content-Type"] = "application/json"
        response["Cache-Control"] = "no-cache, max-age=0"
        response["Expires"] = http.http_date(time.time())  # CyVerse: equal to Date, which the web server adds
        response["Vary"] = "Accept-Encoding, User-Agent"
        if getattr(request, "used_basic", False):
            announce_end_of_basic(response)
        if isinstance(response, HttpResponse):
            _compress(request, response)
            response["Content-Length"] = str(len(response.content))
        return response


def announce_end_of_basic(response: HttpResponseBase) -> None:
    """Say on an answer to a Basic-authenticated call when that scheme ends, as far as configured (RFC 9745, 8594)."""
    if settings.USERMGMT_BASIC_DEPRECATION:
        response["Deprecation"] = f"@{settings.USERMGMT_BASIC_DEPRECATION}"
    if settings.USERMGMT_BASIC_SUNSET:
        response["Sunset"] = settings.USERMGMT_BASIC_SUNSET
    if settings.USERMGMT_BASIC_LINK:
        response["Link"] = f'<{settings.USERMGMT_BASIC_LINK}>; rel="deprecation"'


def _bearer_challenge(fact: errors.Fact) -> str:
    return f'{BEARER_CHALLENGE}, error="invalid_token"' if fact.code == "invalid_token" else BEARER_CHALLENGE


def _compress(request: HttpRequest, response: HttpResponse) -> None:
    if len(response.content) < GZIP_FROM_BYTES or response.has_header("Content-Encoding"):
        return
    if api.accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "")):
        response.content = text.compress_string(response.content, max_random_bytes=GZIP_PADDING)
        response["Content-Encoding"] = "gzip"
