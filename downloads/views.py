"""The two faces, the link, and what goes with them (contract §2)."""

import base64
import datetime
import hashlib
import re
from typing import Any, ClassVar, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request

from core import api, auth, blobs, errors, net, views
from downloads import dialect, services
from downloads.formats import citation
from downloads.selectors import request as asking
from downloads.serializers import inputs, outputs, params

NO_KEY: Final = "An API key is needed to list downloads."
WRONG_KEY: Final = "This API key is not valid."
NOT_YOURS: Final = "This token does not belong to this download."
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_MOST_LISTED: Final = 100


class View(api.View):
    """A view of this service."""

    dialect: ClassVar[api.Dialect] = dialect.Dialect()


def caller(request: HttpRequest) -> services.Caller:
    """Who asks; a project API key raises quotas and owns downloads."""
    secret = auth.authorization(request, "Token")
    token = auth.resolve_token("downloads", secret) if secret else None
    if secret and token is None:
        raise errors.Unauthenticated(WRONG_KEY)
    address = net.caller_address(request)
    return services.Caller(address=str(address) if address else None, user=token.user if token else None)


def ask(request: HttpRequest, face: asking.Face) -> HttpResponse:
    """Validate a request; unless the method is HEAD, place it."""
    sent = params.read(request, face, is_strict=settings.DOWNLOADS_STRICT)
    asked = inputs.seed(sent) if face == "seed" else inputs.v2(sent)
    if request.method == "HEAD":
        return dialect.respond({})
    if asked.is_dry_run:
        if asked.request.fault:  # there will be no job to state it
            raise errors.Invalid(asked.request.fault)
        return dialect.respond(outputs.estimate_body(asked.request, services.estimate(asked.request)))
    base_url = views.base_url(request)
    placed = services.request_download(asked.request, caller=caller(request), base_url=base_url)
    render = outputs.seed_body if face == "seed" else outputs.v2_body
    body = render(placed.download, base_url, asked=asked.request)
    if asked.warnings:
        body["warnings"] = list(asked.warnings)
    return dialect.respond(body, headers={"Download-Token": placed.token, "Cache-Control": "no-store"})


class SeedRequest(View):
    """`/` as the seed face."""

    def get(self, request: Request) -> HttpResponseBase:
        return ask(request._request, "seed")

    def post(self, request: Request) -> HttpResponseBase:
        return ask(request._request, "seed")


@csrf_exempt
def root(request: HttpRequest) -> HttpResponseBase:
    """`/`: a download request, or without a query the landing page of the whole service, which fails as a page."""
    if request.method in ("GET", "HEAD") and not params.has_query(request):
        return views.landing(request)
    return _seed_request(request)


_seed_request = SeedRequest.as_view()


class V2Request(View):
    """`/v2/download`."""

    def get(self, request: Request) -> HttpResponseBase:
        return ask(request._request, "v2")

    def post(self, request: Request) -> HttpResponseBase:
        return ask(request._request, "v2")


def _status(request: Request, body: dict[str, Any]) -> HttpResponse:
    """A status body with its ETag and polling hint."""
    response = dialect.respond(body, headers={"Cache-Control": "no-cache"})
    tag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    if hint := outputs.polling_hint(body):
        response["Retry-After"] = str(hint)
    if _matches(request.headers.get("If-None-Match", ""), tag):
        response = HttpResponse(status=304, headers={"Cache-Control": "no-cache"})
    response["ETag"] = tag
    return response


def _matches(header: str, tag: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in header.split(",")]
    return tag in tags or "*" in tags


class SeedStatus(View):
    """`/status/<uuid>`: 200 in every state."""

    def get(self, request: Request, ident: str) -> HttpResponseBase:
        return _status(request, outputs.seed_body(services.find(ident), views.base_url(request._request)))


class V2Status(View):
    """`/v2/download/<uuid>`."""

    def get(self, request: Request, ident: str) -> HttpResponseBase:
        return _status(request, outputs.v2_body(services.find(ident), views.base_url(request._request)))

    def delete(self, request: Request, ident: str) -> HttpResponseBase:
        plain = request._request
        found = services.withdraw(ident, token=auth.bearer(plain) or "", caller=caller(plain))
        return dialect.respond(outputs.v2_body(found, views.base_url(plain)))


class Citation(View):
    """`/v2/download/<uuid>/citation`."""

    def get(self, request: Request, ident: str) -> HttpResponseBase:
        form = request.GET.get("format", "txt")
        text = services.cite(ident, form, base_url=views.base_url(request._request))
        return HttpResponse(text, content_type=citation.FORMATS[form], headers={"Cache-Control": "no-cache"})


class OwnDownloads(View):
    """`/v2/downloads`: what the owner of an API key has asked for."""

    def get(self, request: Request) -> HttpResponseBase:
        plain = request._request
        user = caller(plain).user
        if user is None:
            raise errors.Unauthenticated(NO_KEY)
        limit, offset = _whole(plain, "limit", 20, _MOST_LISTED), _whole(plain, "offset", 0, 1_000_000)
        count, page = services.owned(user, limit=limit, offset=offset)
        base_url = views.base_url(plain)
        items = [outputs.listed_body(download, base_url) for download in page]
        return dialect.respond({"itemCount": count, "items": items})


def _whole(request: HttpRequest, name: str, default: int, most: int) -> int:
    text = request.GET.get(name, "") or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > most:
        raise errors.Invalid(f"The parameter {name} needs a whole number from 0 to {most}.", parameter=name, limit=most)
    return int(text)


class Link(View):
    """`/downloads/<uuid>.<ext>`: the stable link to the file."""

    def get(self, request: Request, ident: str, extension: str) -> HttpResponseBase:
        found = services.deliver(ident, extension)
        if settings.DOWNLOADS_DELIVERY == "stream":
            return _stream(request._request, found)
        headers = {"Location": found.url(), "Cache-Control": "private, no-store"}
        return HttpResponse(status=302, headers=headers)

    def head(self, request: Request, ident: str, extension: str) -> HttpResponseBase:
        # answered here: a URL signed for GET refuses HEAD
        found = services.deliver(ident, extension)
        response = HttpResponse(content_type=found.content_type, headers=_described(found))
        response["Content-Length"] = str(found.size)
        return response


def _described(found: services.Delivery) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(found.sha256)).decode()
    headers = {
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",
        "Content-Disposition": blobs.disposition(found.filename),
        "Cache-Control": "private, no-store",
    }
    if found.etag:
        headers["ETag"] = f'"{found.etag}"'
    if isinstance(found.modified, datetime.datetime):
        headers["Last-Modified"] = http_date(found.modified.timestamp())
    return headers


def _stream(request: HttpRequest, found: services.Delivery) -> HttpResponseBase:
    """The bytes themselves, whole (200) or a range of them (206)."""
    headers = _described(found)
    start, end = 0, found.size
    status = 200
    condition = request.headers.get("If-Range", "")
    if condition in ("", headers.get("ETag"), headers.get("Last-Modified")):
        wanted = _range(request.headers.get("Range", ""), found.size)
        if wanted == (0, 0):
            headers["Content-Range"] = f"bytes */{found.size}"
            return HttpResponse(status=416, headers=headers)
        if wanted:
            (start, end), status = wanted, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    headers["Content-Length"] = str(end - start)
    content = blobs.reader(found.key, start=start, end=end)
    return StreamingHttpResponse(content, status=status, content_type=found.content_type, headers=headers)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single byte range; (0, 0) if it cannot be satisfied; None if there is none."""
    match = _RANGE.fullmatch(header.strip())
    if not match or not (match[1] or match[2]):
        return None  # several ranges, or another unit: the whole file (RFC 9110 §14.2)
    if not match[1]:
        count = min(int(match[2]), size)
        return (size - count, size) if count else (0, 0)
    start = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    if match[2] and int(match[2]) < start:
        return None
    return (start, end) if start < size else (0, 0)
