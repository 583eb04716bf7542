"""How the registry's API speaks: the words of the original Restivus service (contract 2.1)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_vary_headers
from rest_framework.request import Request

from core import api, errors

CORS_HEADERS = "Origin, X-Requested-With, Content-Type, Accept, X-User-Id, X-Auth-Token"
NO_SUCH_ENDPOINT = {"status": "error", "message": "API endpoint does not exist"}

# code of the fact -> (status, body); the trigger's two odd answers carry a charset (up)
WORDS: dict[str, tuple[int, dict[str, str]]] = {
    "no_such_path": (404, NO_SUCH_ENDPOINT),
    "unauthenticated": (401, {"status": "error", "message": "You must be logged in to do this."}),
    "login_failed": (401, {"status": "error", "message": "Unauthorized"}),
    "login_throttled": (429, {"status": "error", "message": "Too many login attempts"}),
    "denied": (403, {"status": "error", "message": "You do not have permission to do this."}),
    "not_found": (404, {"status": "fail", "message": "Item not found"}),
    "parse_error": (400, {"status": "error", "message": "Bad Request"}),
    "trigger_not_found": (404, {"status": "Not Found"}),
    "trigger_denied": (401, {"status": "Unauthorized"}),
    "run_not_active": (409, {"status": "error", "message": "Run is not active"}),
}
WITH_CHARSET = ("trigger_not_found", "trigger_denied")


class _Gzip(GZipMiddleware):
    """Django's compression of one answer, with no random padding: HEAD must tell the length of GET."""

    max_random_bytes = 0


_GZIP = _Gzip(lambda _request: HttpResponse())
_REFUSED = re.compile(r"\bgzip\s*;\s*q=0(\.0*)?\s*(,|$)")


def squeezed(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The answer in gzip for who asks for it (contract 2.1)."""
    if _REFUSED.search(request.headers.get("Accept-Encoding", "").lower()):
        return response
    return _GZIP.process_response(request, response)


class Dialect(api.Dialect):
    """Errors as `{"status":"error","message":…}`, CORS and `no-store` on every answer."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        status, body = self._words(fact)
        content_type = "application/json;charset=utf-8" if fact.code in WITH_CHARSET else "application/json"
        response = api.json_response(body, status=status, content_type=content_type)
        if isinstance(fact, (errors.Throttled, errors.Unavailable)):
            response["Retry-After"] = str(30 if isinstance(fact, errors.Unavailable) else fact.retry_after)
        if isinstance(fact, api.MethodNotAllowed):
            response["Allow"] = ", ".join(fact.allowed)
        return response

    def _words(self, fact: errors.Fact) -> tuple[int, dict[str, Any]]:
        if isinstance(fact, api.MethodNotAllowed):
            return 405, NO_SUCH_ENDPOINT
        if fact.code in WORDS:
            return WORDS[fact.code]
        if isinstance(fact, errors.TooLarge):
            return 413, {"status": "error", "message": "Request entity too large"}
        if isinstance(fact, errors.Unavailable):
            return 503, {"status": "error", "message": "Service unavailable"}
        if isinstance(fact, api.Internal):
            return 500, {"status": "error", "message": "Internal server error"}
        message = f"{fact.field}: {fact.message}" if fact.field else fact.message
        return api.status_of(fact), {"status": "error", "message": message}

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["Access-Control-Allow-Origin"] = "*"
        response["Access-Control-Allow-Headers"] = CORS_HEADERS
        if "Cache-Control" not in response:
            response["Cache-Control"] = "no-store"
            response["Pragma"] = "no-cache"
        else:
            patch_vary_headers(response, ["X-User-Id", "X-Auth-Token"])  # the same path answers owners more
        return response


class View(api.View):
    """Base of the registry's API views: `allow` is the `Allow` header of the contract's table."""

    dialect = Dialect()
    may_squeeze: ClassVar[bool] = True
    allow: ClassVar[tuple[str, ...]] = ("GET", "OPTIONS")

    @property
    def allowed_methods(self) -> list[str]:
        return list(self.allow)

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        finished = super().finalize_response(request, response, *args, **kwargs)
        return squeezed(request._request, finished) if self.may_squeeze else finished

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """200 and empty, whoever asks; no `Access-Control-Allow-Methods` (up)."""
        return HttpResponse(b"", content_type="application/json")
