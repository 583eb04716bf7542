"""What every resource of this API shares: versions, verbs, formats, credentials, rate limit (contract 2.1-2.4)."""

from __future__ import annotations

import hashlib
import re
from typing import Any, ClassVar
from urllib import parse

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import http
from rest_framework.request import Request

from core import api, auth, errors, net, throttle, views
from nnels import dialect
from nnels.formats import rate
from nnels.selectors import listing
from nnels.serializers import envelopes, options
from nnels.services import callers, links

Version = tuple[int, int]
_OVERRIDABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Resource(api.View):
    """A resource: `kind` is its machine name, `versions` those served, newest last (none: unversioned)."""

    dialect = dialect.DIALECT
    kind: ClassVar[str] = ""
    versions: ClassVar[tuple[Version, ...]] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.overridden = request.headers.get("X-HTTP-Method-Override") if request.method == "POST" else None
        if self.overridden is not None and self.overridden.upper() in _OVERRIDABLE:
            request.method = self.overridden.upper()
            request.nnels_is_head = request.method == "HEAD"  # type: ignore[attr-defined]
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        plain = request._request
        self.version = self._version(kwargs.pop("version", None))
        plain.nnels_version = self.version if self.versions else None  # type: ignore[attr-defined]
        if self.overridden is not None and self.overridden.upper() not in _OVERRIDABLE:
            raise errors.Invalid(f"Invalid overridden method: {self.overridden}.")
        self.base = views.base_url(plain)
        self.query = [(name, values[-1]) for name, values in plain.GET.lists()]
        self.params = _parameters(plain)
        if request.method in ("GET", "HEAD"):
            self.format = self.choose_format(plain.headers.get("Accept", ""))

    def choose_format(self, accept: str) -> str:
        """The format of the answer."""
        return dialect.negotiate(accept)

    def _version(self, named: str | None) -> Version:
        """The version asked for by path, else by header, else the newest."""
        if not self.versions:
            return (1, 0)
        if named is None:
            named = self.request.headers.get("X-API-Version")
            if named is None:
                return self.versions[-1]
            match = re.fullmatch(r"v?([0-9]{1,4})(?:\.([0-9]{1,4}))?", named.strip())
            if match is None:
                raise errors.Denied("Access denied.")
        else:
            match = re.fullmatch(r"v([0-9]{1,4})(?:\.([0-9]{1,4}))?", named)
        for version in reversed(self.versions):
            if match and version[0] == int(match[1]) and match[2] in (None, str(version[1])):
                return version
        raise errors.NotFound(code="no_such_path")

    # --- OPTIONS ----------------------------------------------------------------------------------------------------

    def options(  # type: ignore[override]
        self, request: Request, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """The structure of the resource, exactly as published; `?all=1` appends what we added."""
        is_all = self.params.get("all") == "1"
        href = self.described_href(request, **kwargs)
        body = options.structure(self.kind, is_all=is_all, href=href)
        response = api.json_response(body, content_type="application/json; charset=utf-8")
        dialect.preflight(response, self.allowed_methods)
        response["Link"] = f'<{href}?all=1>; rel="describedby"'
        response["Cache-Control"] = "public, max-age=300"
        return _conditional(request._request, response)

    def described_href(self, request: Request, **kwargs: Any) -> str:
        """What OPTIONS calls itself."""
        return self.collection_href

    @property
    def collection_href(self) -> str:
        """The versioned path of the resource."""
        return f"{self.base}/api/v{self.version[0]}.{self.version[1]}/{self.kind}"

    # --- callers ----------------------------------------------------------------------------------------------------

    def presented(self, request: Request) -> callers.Presented:
        """The credentials of a request, as they came."""
        token = request.headers.get("access-token")
        if settings.NNELS_QUERY_TOKEN:
            # Restful: the query token replaces the header's.
            token = request.GET.get("access_token") or request.GET.get("access-token") or token
        # Any valid one suffices: a stale header must not hide a good Bearer token.
        tokens = dict.fromkeys(one for one in (token, auth.bearer(request)) if one)
        is_basic_tried = auth.authorization(request, "Basic") is not None
        return callers.Presented(
            tokens=tuple(tokens),
            basic=auth.basic(request) if is_basic_tried else None,
            is_basic_tried=is_basic_tried,
            address=net.caller_address(request._request),
        )

    def caller(self, request: Request) -> callers.Caller:
        """The caller, counted against the rate limit; `Unauthenticated` otherwise."""
        presented = self.presented(request)
        caller = callers.identify(presented)
        # Who cannot be told is counted by address.
        self.count(request, caller)
        if caller is None:
            raise callers.unauthenticated(presented)
        return caller

    def count(self, request: Request, caller: callers.Caller | None) -> None:
        """Count the request against `NNELS_RATE_LIMIT`, per account or else per address."""
        limit = rate.parse(settings.NNELS_RATE_LIMIT)
        if limit is None:
            return
        plain = request._request
        key = f"account {caller.account.id}" if caller else net.throttle_key(net.caller_address(plain))
        taken = throttle.take("nnels.rate", key, *limit)
        plain.nnels_rate = {  # type: ignore[attr-defined]
            "X-Rate-Limit-Limit": str(limit[0]),
            "X-Rate-Limit-Remaining": str(taken.remaining),
            "X-Rate-Limit-Reset": str(taken.reset),
        }
        if taken.retry_after:
            raise errors.Throttled("Rate limit reached", retry_after=taken.retry_after)

    def asked(self, request: Request, caller: callers.Caller, *, purpose: str = "api") -> links.Asked:
        """Who asks for links, for the issue log."""
        return links.Asked(
            account=caller.account,
            purpose=purpose,
            request_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
            address=net.caller_address(request._request),
            is_logged=request.method != "HEAD",
        )

    # --- answers ----------------------------------------------------------------------------------------------------

    def answer(self, body: bytes, *, cache: str = "private, no-store") -> HttpResponse:
        """A body in the chosen format."""
        response = HttpResponse(body, content_type=dialect.content_type(self.format))
        response["Cache-Control"] = cache
        return response

    def page_answer(
        self,
        rows: list[envelopes.Row],
        *,
        asked: listing.Listing,
        count: int,
        href: str,
        cache: str = "private, no-store",
        extra: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One page of a listing."""
        paging = envelopes.paging(href, self.query, page=asked.page, size=asked.range, count=count)
        body = envelopes.listing(self.format, rows, kind=self.kind, href=href, count=count, links=paging, extra=extra)
        return self.answer(body, cache=cache)


def _parameters(request: HttpRequest) -> dict[str, str]:
    """Query parameters, the last of repeated ones; `name[]` repeated is `name[0]`, `name[1]`, …"""
    found: dict[str, str] = {}
    for name, values in request.GET.lists():
        if name.endswith("[]"):
            found |= {f"{name[:-2]}[{place}]": value for place, value in enumerate(values)}
        else:
            found[name] = values[-1]
    return found


def _conditional(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A weak ETag of the body, and 304 when the caller has it."""
    return conditional(request, response, etag=http.quote_etag(f"{hash_of(response.content)}"))


def hash_of(body: bytes) -> str:
    """A short digest for entity tags."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def conditional(request: HttpRequest, response: HttpResponse, *, etag: str) -> HttpResponse:
    """304 when `If-None-Match` names the (weak) tag, else the response with it."""
    weak = etag if etag.startswith("W/") else f"W/{etag}"
    if matches(request, weak):
        not_modified = HttpResponse(status=304)
        for name in ("Cache-Control", "Link", "Last-Modified"):
            if name in response:
                not_modified[name] = response[name]
        del not_modified["Content-Type"]
        not_modified["ETag"] = weak
        return not_modified
    response["ETag"] = weak
    return response


def matches(request: HttpRequest, etag: str) -> bool:
    """Weak comparison (RFC 9110, 13.1.2) of `If-None-Match` with a tag."""
    asked = http.parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in asked or etag.removeprefix("W/") in {one.removeprefix("W/") for one in asked}


def segment(text: str) -> str:
    """A path segment for a link."""
    return parse.quote(text, safe=",=:@")
