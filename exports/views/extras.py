"""Extra files beside an export (contract §10.6)."""

import base64
from typing import Any

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, blobs
from exports import dialect
from exports.formats import stamps
from exports.models import ExtraFile
from exports.serializers import extras as serializer
from exports.services import extras as services
from exports.views import base, delivery


class ExtraFiles(base.View):
    """Which files there are."""

    finds = "version"
    refuses_head = True
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = ExtraFile.objects.filter(version=self.version).order_by("name")
        return dialect.json_response([serializer.document(one, self.version) for one in found])


class OneExtraFile(base.View):
    """One file: anybody who sees the repository reads it, its administrators write it."""

    finds = "version"
    refuses_head = True
    http_method_names = ["get", "head", "put", "delete", "options"]

    def get(self, request: Request, *, key: str, **_: Any) -> HttpResponseBase:
        file = services.find(self.version, key)
        if request.META.get("HTTP_IF_NONE_MATCH", "").strip() == f'"{file.sha256}"':
            return self.told(HttpResponse(status=304), file)
        if request.method == "HEAD":
            return self.told(HttpResponse(), file)
        blocks = delivery.opened(iter(blobs.reader(file.key)))
        return self.told(StreamingHttpResponse(blocks), file)

    def told(self, response: HttpResponseBase, file: ExtraFile) -> HttpResponseBase:
        response["ETag"] = f'"{file.sha256}"'
        response["Last-Modified"] = stamps.http_date(file.updated_at)
        if response.status_code == 304:
            return response
        response["Content-Type"] = file.content_type
        response["Content-Length"] = str(file.size)
        response["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(file.sha256)).decode()}:"
        # somebody else's bytes on our host: never shown as a page of ours
        response["Content-Disposition"] = f'attachment; filename="{file.name}"'
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "sandbox"
        return response

    def put(self, request: Request, *, key: str, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        self.demand("admin")
        data = api.body(request, limit=settings.EXPORTS_EXTRA_MAX_BYTES)
        kind = request.META.get("CONTENT_TYPE", "")
        file, is_new = services.put(self.version, name=key, data=data, content_type=kind, user=user)
        body = serializer.document(file, self.version)
        return self.created(body, body["url"]) if is_new else dialect.json_response(body)

    def delete(self, request: Request, *, key: str, **_: Any) -> HttpResponseBase:
        self.signed_in()
        self.demand("admin")
        services.delete(services.find(self.version, key))
        return HttpResponse(status=204)
