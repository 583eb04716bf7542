"""The one-time download link (contract §2.5)."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, blobs
from exports import dialect
from exports.formats import names
from exports.models import ExportBuild
from exports.selectors import files
from exports.serializers import exports as serializer
from exports.services import links
from exports.views import delivery

#: how long the store's own link lives after the hand-over
STORE_SECONDS = 60

api.STATUS[delivery.Unsatisfiable] = 416


class Download(api.View):
    """Takes no credentials: a client that sends them along again is not refused for it."""

    dialect = dialect.DIALECT
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, *, token: str, filename: str, **_: Any) -> HttpResponseBase:
        link = links.read(token)
        build = links.build_of(link)
        size, etag = files.size(build, link.form), serializer.etag(build, link.form)
        asked, if_range = request.META.get("HTTP_RANGE", ""), request.META.get("HTTP_IF_RANGE", "")
        try:
            span = delivery.asked_range(asked, if_range, etag=etag, form=link.form, size=size)
        except delivery.Unsatisfiable:
            links.check(link)  # what is gone has no ranges to be outside of
            raise
        resumes = span is not None and span[0] > 0 and if_range.strip() == etag
        hands_over = settings.EXPORTS_LINK_DELIVERY == "redirect" and link.form in names.STORED
        links.check(link, resumes=resumes or (hands_over and span is not None), whole=span is None)
        if request.method == "HEAD":
            return delivery.ranged(build, link.form, span=span, blocks=iter(()), head=True)
        if hands_over:
            return self.handed_over(link, build, repeats=span is not None)
        return self.streamed(link, build, span, size=size, resumes=resumes)

    def head(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        return self.get(request, **kwargs)

    def handed_over(self, link: links.Link, build: ExportBuild, *, repeats: bool) -> HttpResponseBase:
        """302 to the store, which then answers ranges itself."""
        links.start(link, whole=not repeats, resumes=repeats, hands_over=True)
        response = HttpResponse(status=302)
        del response["Content-Type"]
        response["Location"] = blobs.url(
            files.key(build, link.form),
            STORE_SECONDS,
            filename=serializer.filename(build, link.form),
            content_type=names.CONTENT_TYPES[link.form],
        )
        response["Cache-Control"] = "private, no-store, no-transform"
        return response

    def streamed(
        self, link: links.Link, build: ExportBuild, span: tuple[int, int] | None, *, size: int, resumes: bool
    ) -> HttpResponseBase:
        first, end = span or (0, size)
        blocks = delivery.opened(files.read(build, link.form, first=first, end=end if span else None))
        # a range over everything is a whole body by another name
        links.start(link, whole=(first, end) == (0, size), resumes=resumes)
        watched: Iterator[bytes] = delivery.Watched(
            blocks,
            done=lambda: links.delivered(link, first=first, end=end, size=size),
            broken=lambda sent: links.interrupted(link, first=first, reached=first + sent),
        )
        return delivery.ranged(build, link.form, span=span, blocks=watched, head=False)
