"""The web-accessible folder for downstream harvesters (contract 2.9)."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime
from typing import Final, TypeVar

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, blobs, errors
from core.models import User
from registry import selectors
from registry.formats import boxes, headers, waf
from registry.jobs import fetch
from registry.models import Record
from registry.views import callers

Answer = TypeVar("Answer", bound=HttpResponseBase)

RETRY_SECONDS: Final = 60
NOT_FOUND: Final = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Not found</title></head>'
    "<body><h1>Not found</h1></body></html>\n"
)


class Dialect(api.Dialect):
    """Plain pages: 404 in HTML, and 503 while the store is down, because CKAN deletes what is 404."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        if isinstance(fact, errors.NotFound) and not isinstance(fact, blobs.Missing):
            return HttpResponse(NOT_FOUND, status=404, content_type="text/html")
        if isinstance(fact, (errors.Unavailable, blobs.Missing)):
            response = HttpResponse("Service unavailable\n", status=503, content_type="text/plain")
            response["Retry-After"] = str(RETRY_SECONDS)
            return response
        response = HttpResponse("Error\n", status=api.status_of(fact), content_type="text/plain")
        if isinstance(fact, api.MethodNotAllowed):
            response["Allow"] = ", ".join(fact.allowed)
        return response


class View(api.View):
    """Base: GET and HEAD, public."""

    dialect = Dialect()

    @property
    def allowed_methods(self) -> list[str]:
        return ["GET", "HEAD", "OPTIONS"]


def not_modified(request: Request, *, etag: str, changed: datetime) -> bool:
    """RFC 9110, 13.2.2: `If-None-Match` wins over `If-Modified-Since`."""
    given = request.META.get("HTTP_IF_NONE_MATCH")
    if given is not None:
        tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
        return "*" in tags or etag in tags
    since = headers.date(request.META.get("HTTP_IF_MODIFIED_SINCE", ""))
    return since is not None and changed.replace(microsecond=0) <= since


def validated(request: Request, *, etag: str, changed: datetime) -> HttpResponse | None:
    """A 304 for who has this state already."""
    if not not_modified(request, etag=etag, changed=changed):
        return None
    return with_validators(HttpResponse(status=304), etag=etag, changed=changed)


def with_validators(response: Answer, *, etag: str, changed: datetime) -> Answer:
    """The response with both validators."""
    response["ETag"] = etag
    response["Last-Modified"] = format_datetime(changed, usegmt=True)
    response["Cache-Control"] = "public, no-cache"
    return response


class Root(View):
    """`/waf/`: a folder for each organisation that has something to show."""

    def get(self, request: Request) -> HttpResponseBase:
        state, changed = selectors.folders_state()
        etag = f'"root-{state}"'
        body = waf.root_listing(selectors.folders())
        return validated(request, etag=etag, changed=changed) or with_validators(
            HttpResponse(body, content_type="text/html; charset=utf-8"), etag=etag, changed=changed
        )


class Folder(View):
    """`/waf/<slug>/`: the organisation's records."""

    def get(self, request: Request, slug: str) -> HttpResponseBase:
        folder = selectors.folder(slug)
        etag, changed = f'"{folder.pk}-{folder.waf_version}"', folder.waf_changed_at
        answer = validated(request, etag=etag, changed=changed)
        if answer is not None:
            return answer
        blocks = waf.folder_listing(slug=folder.slug, files=selectors.folder_files(folder))
        listing = StreamingHttpResponse(blocks, content_type="text/html; charset=utf-8")
        return with_validators(listing, etag=etag, changed=changed)


class File(View):
    """`/waf/<slug>/<file>.xml`: the bytes as fetched, or with point boxes widened where the source wants that."""

    def get(self, request: Request, slug: str, name: str) -> HttpResponseBase:
        record = selectors.served_file(slug, name)
        etag = f'"{record.repaired_sha256 if record.is_repaired else record.content_sha256}"'
        answer = validated(request, etag=etag, changed=record.changed_at)
        if answer is None:
            answer = self._bytes(request, record)
            with_validators(answer, etag=etag, changed=record.changed_at)
        return _fenced(answer)

    def _bytes(self, request: Request, record: Record) -> HttpResponse:
        key = fetch.blob_key(record.content_sha256)
        if request.method == "HEAD":
            if blobs.stat(key) is None:  # as GET would find out
                raise blobs.Missing(key)
            answer = HttpResponse(content_type="application/xml")
            answer["Content-Length"] = str(record.repaired_size if record.is_repaired else record.size)
            return answer
        with blobs.reader(key) as reader:
            body = reader.read()
        return HttpResponse(boxes.widened(body) if record.is_repaired else body, content_type="application/xml")


def _fenced(response: HttpResponse) -> HttpResponse:
    """Other people's XML must not run in our origin (contract 8, output)."""
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


class Original(View):
    """The bytes of any stored record, bad ones too, for who may see its harvest; by session or token."""

    def get(self, request: Request, number: str) -> HttpResponseBase:
        user = request._request.user
        session = selectors.access_of(user if isinstance(user, User) else None)
        access = session if session.user else callers.access_of(request)
        record = selectors.record(int(number), access)
        if not record.content_sha256:
            raise errors.NotFound(code="no_file")
        response = _fenced(self._bytes(record))
        response["Cache-Control"] = "private, no-cache"
        return response

    def _bytes(self, record: Record) -> HttpResponse:
        with blobs.reader(fetch.blob_key(record.content_sha256)) as reader:
            return HttpResponse(reader.read(), content_type="application/xml")


class Nothing(View):
    """Anything else below `/waf/`."""

    def get(self, request: Request) -> HttpResponseBase:
        raise errors.NotFound(code="no_file")
