"""The one view base of the five APIs: any exception → a fact → the app's dialect.

A view parses, makes one domain call and renders. Whatever it raises becomes a fact of ``core.errors`` (or one of the
HTTP-only facts below), and the view's ``dialect`` says that fact in the words of the API it stands in for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

import orjson
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.views import APIView

from core import errors

log = structlog.get_logger(__name__)

MAX_JSON_DEPTH = 50


class MethodNotAllowed(errors.Fact):
    """The path exists, the method does not; ``allowed`` lists those that do."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        super().__init__(f"The method {method} is not allowed here.")
        self.method, self.allowed = method, list(allowed)


class UnsupportedMedia(errors.Fact):
    """The body is of a type this path does not read."""

    code = "unsupported_media_type"


class NotAcceptable(errors.Fact):
    """The caller accepts none of the types this path can write."""

    code = "not_acceptable"


class Internal(errors.Fact):
    """A bug of ours; it is in the log, not in the answer."""

    code = "internal_error"


STATUS: dict[type[errors.Fact], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    MethodNotAllowed: 405,
    NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    UnsupportedMedia: 415,
    errors.Throttled: 429,
    Internal: 500,
    errors.Unavailable: 503,
}


def status_of(fact: errors.Fact) -> int:
    """The usual HTTP status of a fact; subclasses share their parent's."""
    return next((STATUS[kind] for kind in type(fact).__mro__ if kind in STATUS), 500)


class Dialect:
    """How one API speaks. Subclass per app; both methods must not raise."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        """The answer that states ``fact``: here RFC 9457 problem details, the core's own dialect."""
        status = status_of(fact)
        body = {"type": "about:blank", "title": fact.message or fact.code.replace("_", " "), "status": status}
        response = json_response(body, status=status, content_type="application/problem+json")
        if isinstance(fact, (errors.Throttled, errors.Unavailable)):
            response["Retry-After"] = str(fact.retry_after)
        if isinstance(fact, MethodNotAllowed):
            response["Allow"] = ", ".join(fact.allowed)
        return response

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the headers every answer of this API carries."""
        return response


class View(APIView):
    """The base of every API view: set ``dialect`` and write one method per verb.

    No authentication, permission, throttle or negotiation of the framework runs; cookies are ignored and no CSRF
    token is asked for. GET serves HEAD, the server drops the body.
    """

    dialect: ClassVar[Dialect] = Dialect()
    authentication_classes = []
    permission_classes = []
    throttle_classes = []

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """No negotiation by the framework: each dialect has its own rules."""
        return None, ""

    def perform_authentication(self, request: Request) -> None:
        """No authentication by the framework: each API has its own credentials."""

    def check_permissions(self, request: Request) -> None:
        """Rights are decided by services, which know the thing that is asked for."""

    def check_throttles(self, request: Request) -> None:
        """Throttles are applied by the views that have one."""

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed(request.method or "", self.allowed_methods)

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """An empty 200 with ``Allow``; dialects that say more override it."""
        response = HttpResponse(b"", content_type="application/json")
        response["Allow"] = ", ".join(self.allowed_methods)
        return response

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        return self.dialect.error(self.request._request, as_fact(exc))

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        return self.dialect.finish(request._request, response)


def as_fact(exc: Exception) -> errors.Fact:
    """What an exception says about the request; anything unforeseen is logged and becomes ``Internal``."""
    if isinstance(exc, errors.Fact):
        return exc
    if isinstance(exc, Http404):
        return errors.NotFound()
    if isinstance(exc, PermissionDenied):
        return errors.Denied()
    if isinstance(exc, drf.APIException):
        return _framework_fact(exc)
    if isinstance(exc, RequestDataTooBig):
        return errors.TooLarge("The request body is too large.")
    if isinstance(exc, (SuspiciousOperation, DataError, MultiPartParserError)) or _is_of_nul(exc):
        return errors.Invalid("The request cannot be read.")
    if isinstance(exc, (OperationalError, InterfaceError)):
        log.warning("database_unavailable", error=str(exc))
        code = "timeout" if "statement timeout" in str(exc) else "database_unavailable"
        return errors.Unavailable("The database did not answer in time.", code=code)
    log.error("unhandled_exception", exc_info=exc)
    return Internal()


def _is_of_nul(exc: Exception) -> bool:
    """The driver's refusal of NUL, which no text of the database can hold."""
    return isinstance(exc, ValueError) and "NUL (0x00)" in str(exc)


def _framework_fact(exc: drf.APIException) -> errors.Fact:
    if isinstance(exc, drf.ParseError):
        return errors.Invalid(str(exc.detail), code="parse_error")
    if isinstance(exc, drf.UnsupportedMediaType):
        return UnsupportedMedia(str(exc.detail))
    if isinstance(exc, drf.NotAcceptable):
        return NotAcceptable(str(exc.detail))
    return errors.Invalid(str(exc.detail))


def catch_all(dialect: Dialect) -> Any:
    """A view that answers NotFound in the app's accent, for the last line of its ``urls``."""

    class NoSuchPath(View):
        def initial(self, request: Request, *args: Any, **kwargs: Any) -> NoReturn:
            raise errors.NotFound(code="no_such_path")

    NoSuchPath.dialect = dialect
    return NoSuchPath.as_view()


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3): named or ``*``, and not with weight 0."""
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        coding, _, rest = item.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        weights[coding.strip()] = float(weight.group(1)) if weight else 1.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def body(request: HttpRequest | Request, *, limit: int | None = None) -> bytes:
    """The raw request body; ``TooLarge`` beyond ``limit`` bytes (default: the project's limit of 1 MiB)."""
    plain = request._request if isinstance(request, Request) else request
    if limit is None:
        return plain.body
    declared = plain.META.get("CONTENT_LENGTH") or "0"
    if declared.isdigit() and int(declared) > limit:
        raise errors.TooLarge(f"The request is larger than {limit} bytes.", limit=limit)
    if not hasattr(plain, "_body"):
        plain._body = plain.read(limit + 1)
    if len(plain.body) > limit:
        raise errors.TooLarge(f"The request is larger than {limit} bytes.", limit=limit)
    return plain.body


def json_value(raw: bytes, *, is_storable: bool = True) -> Any:
    """The value of a JSON text: ``Invalid(code="parse_error")`` when broken, too deep, or holding NUL or surrogates.

    With ``is_storable`` False the texts are the caller's to look at.
    """
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise errors.Invalid(f"JSON parse error - {error}", code="parse_error") from None
    _refuse(value, depth=0, is_storable=is_storable)
    return value


def json_object(request: HttpRequest | Request, *, limit: int | None = None) -> dict[str, Any]:
    """The request body as a JSON object, else ``Invalid(code="parse_error")``."""
    value = json_value(body(request, limit=limit))
    if not isinstance(value, dict):
        raise errors.Invalid("JSON parse error - an object is expected", code="parse_error")
    return value


def _refuse(value: Any, *, depth: int, is_storable: bool) -> None:
    if depth >= MAX_JSON_DEPTH and isinstance(value, (dict, list)):
        raise errors.Invalid("JSON parse error - nested too deeply", code="parse_error")
    if isinstance(value, str):
        if not is_storable:
            return
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise errors.Invalid("JSON parse error - a character that cannot be stored", code="parse_error")
        return
    children: Iterable[Any] = ()
    if isinstance(value, dict):
        children = (*value.keys(), *value.values())
    elif isinstance(value, list):
        children = value
    for child in children:
        _refuse(child, depth=depth + 1, is_storable=is_storable)


def json_bytes(data: Any) -> bytes:
    """Compact UTF-8 JSON, keys in the order given."""
    return orjson.dumps(data)


def json_response(
    data: Any, *, status: int = 200, headers: dict[str, str] | None = None, content_type: str = "application/json"
) -> HttpResponse:
    """A compact JSON answer."""
    return HttpResponse(json_bytes(data), status=status, content_type=content_type, headers=headers)
