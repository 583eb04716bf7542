"""How this API says errors, what every answer carries, and the two dialects of the export resource (contract §2)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from core import api, errors
from exports.formats import text

EXPOSED = ", ".join(
    ("Location", "URL", "Link", "X-Export-Status", "X-Export-Progress", "X-Export-Rebuild", "X-Export-Error",
     "X-Export-Size", "X-Export-Filename", "X-Export-Stale", "Last-Updated", "Last-Updated-Timezone", "Last-Modified",
     "ETag", "Retry-After", "Preference-Applied", "X-Total-Concepts", "X-Total-Mappings", "X-Updated-Since",
     "num_found", "num_returned", "offset", "pages", "page_number", "next", "previous", "Content-Range",
     "Accept-Ranges", "Content-Disposition", "Repr-Digest", "WWW-Authenticate", "Allow", "Date", "Vary",
     "X-Content-Type-Options")
)  # fmt: skip


@dataclass(frozen=True)
class Statuses:
    """The statuses in which the two generations differ; every other one is the same in both."""

    ready: int
    pending: int
    post_active: int
    deleted: int
    nothing_to_delete: int
    post_ready_location: bool


STATUSES = {
    "ocl2016": Statuses(303, 204, 409, 200, 204, post_ready_location=True),
    "oclapi2": Statuses(302, 208, 208, 204, 404, post_ready_location=False),
}


def json_response(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """JSON as the export file writes it, so that one document reads the same wherever it comes from."""
    return HttpResponse(text.dumps(data), status=status, content_type="application/json", headers=headers)


def absolute(request: HttpRequest, path: str) -> str:
    """The fully specified URL of a path of ours."""
    base = settings.PUBLIC_BASE_URL or f"{request.scheme}://{request.get_host()}"
    return f"{base}{path}"


class ExportsDialect(api.Dialect):
    """``{"detail": …}`` or ``{"<field>": [ … ]}``, in the original's words."""

    WORDS: ClassVar[dict[type[errors.Fact], str]] = {
        errors.Denied: "You do not have permission to perform this action.",
        errors.NotFound: "Not found.",
        errors.Conflict: "Conflict.",
        errors.Gone: "Gone.",
        api.Internal: "A server error occurred.",
    }

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        response = json_response(self._body(fact), status=api.status_of(fact))
        if isinstance(fact, errors.Unauthenticated):
            response["WWW-Authenticate"] = "Token"
        if isinstance(fact, api.MethodNotAllowed):
            response["Allow"] = ", ".join(fact.allowed)
        if isinstance(fact, (errors.Throttled, errors.Unavailable)):
            response["Retry-After"] = str(fact.retry_after)
        for name, value in fact.details.get("headers", {}).items():
            response[name] = value
        return response

    def _body(self, fact: errors.Fact) -> dict[str, Any]:
        if "fields" in fact.details:
            return dict(fact.details["fields"])
        if fact.field:
            return {fact.field: [fact.message]}
        if fact.code == "parse_error" and not fact.message.startswith("JSON parse error"):
            return {"detail": f"JSON parse error - {fact.message}"}
        return {"detail": self._detail(fact)}

    def _detail(self, fact: errors.Fact) -> str:
        if isinstance(fact, api.MethodNotAllowed):
            return f'Method "{fact.method}" not allowed.'
        if isinstance(fact, errors.Throttled):
            unit = "second" if fact.retry_after == 1 else "seconds"
            return f"Request was throttled. Expected available in {fact.retry_after} {unit}."
        if isinstance(fact, errors.Unauthenticated):
            return fact.message or "Authentication credentials were not provided."
        if isinstance(fact, errors.Unavailable):
            return self._outage(fact)
        if isinstance(fact, (errors.Denied, errors.NotFound)):
            # one sentence each, whatever the reason: the words must not tell more than the status
            return self.WORDS[errors.Denied if isinstance(fact, errors.Denied) else errors.NotFound]
        return fact.message or self.WORDS.get(type(fact), "The request is invalid.")

    @staticmethod
    def _outage(fact: errors.Unavailable) -> str:
        if fact.code in ("store_unavailable", "storage_unavailable"):
            return "Storage is unavailable. Try again later."
        return fact.message or "The service is unavailable. Try again later."

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        response.headers.setdefault("Access-Control-Expose-Headers", EXPOSED)
        if response.status_code == 204 and "Content-Type" in response.headers:
            del response["Content-Type"]
        if request.method == "OPTIONS":
            response["Access-Control-Allow-Methods"] = response.get("Allow", "GET, HEAD, OPTIONS")
            response["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Prefer, Range, If-Range, Compress"
            response["Access-Control-Max-Age"] = "600"
        if "Cache-Control" not in response.headers:
            response["Cache-Control"] = "private, no-cache"
            patch_vary_headers(response, ("Authorization", "Accept-Encoding"))
        return response


DIALECT = ExportsDialect()
