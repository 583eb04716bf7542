"""Bulk imports: upload, watch, read the report, cancel (contract §6)."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, errors
from exports import dialect
from exports.formats import addresses, text
from exports.models import ImportJob
from exports.serializers import imports as serializer
from exports.services import imports as services
from exports.views import base

BLOCK = 256 * 1024
LONGEST_URL = 8192
#: what a raw body may call itself; what it is is told by its first bytes
RAW = (
    "", "application/json", "text/json", "application/x-ndjson", "application/ndjson", "application/jsonl",
    "application/json-lines", "text/plain", "application/octet-stream", "application/gzip", "application/x-gzip",
    "application/zip", "application/x-zip-compressed", "application/x-tar", "application/x-gtar",
)  # fmt: skip


class _Task(base.View):
    """What the two addresses of an import share."""

    def of_mine(self, task: str) -> ImportJob:
        """The caller's own import; others' are unknown to them."""
        user = self.signed_in()
        try:
            key = uuid.UUID(task)
        except ValueError:
            raise errors.NotFound from None
        found = ImportJob.objects.select_related("job", "user").filter(pk=key).first()
        if found is None or (found.user_id != user.pk and not user.is_staff):
            raise errors.NotFound
        return found

    def shown(self, importing: ImportJob) -> HttpResponseBase:
        result = self.request.query_params.get("result", "json")
        if result not in ("summary", "report", "json"):
            raise errors.Invalid(f'"{result}" is not one of summary, report, json.', field="result")
        if result == "report":
            return StreamingHttpResponse(serializer.report(importing), content_type="application/json")
        if result == "summary":
            return dialect.json_response({"summary": serializer.summary(serializer.counted(importing))})
        body = serializer.document(importing)
        return dialect.json_response(body)


class Imports(_Task):
    http_method_names = ["get", "post", "delete", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        if "task" in request.query_params:
            return self.shown(self.of_mine(request.query_params["task"]))
        mine = ImportJob.objects.filter(user=user).select_related("job", "user")[:100]
        return dialect.json_response([serializer.document(one) for one in mine])

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        blocks, name, more = self.upload(request)
        options = self.options_of({**request.query_params.dict(), **more})
        made = services.request(blocks, user=user, name=name, options=options)
        return dialect.json_response(serializer.document(made), status=202)

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        self.signed_in()
        task = self.data().get("task_id")
        services.cancel(self.of_mine(str(task)))
        return HttpResponse(status=204)

    def upload(self, request: Request) -> tuple[Iterable[bytes], str, dict[str, Any]]:
        """The bytes to import, their name, and options sent beside them."""
        plain = request._request
        declared = plain.META.get("CONTENT_LENGTH") or "0"
        if declared.isdigit() and int(declared) > settings.EXPORTS_IMPORT_MAX_BYTES:
            raise errors.TooLarge("The upload is too large.", limit=settings.EXPORTS_IMPORT_MAX_BYTES)
        if (request.content_type or "").lower().startswith("multipart/form-data"):
            return self._form(plain)
        if url := request.query_params.get("file_url") or _url_in(plain):
            services.check_url(url)
            return services.fetch(url), url.rsplit("/", 1)[-1], {}
        kind = (request.content_type or "").split(";")[0].strip().lower()
        if kind not in RAW and not kind.endswith("+json"):
            raise api.UnsupportedMedia(f'Unsupported media type "{kind}" in request.')
        return _read(plain), self.word("name", "import"), {}

    def _form(self, plain: Any) -> tuple[Iterable[bytes], str, dict[str, Any]]:
        fields = plain.POST.dict()
        found = plain.FILES.get("file")
        if isinstance(found, UploadedFile):
            return found.chunks(BLOCK), str(found.name), fields
        if url := fields.get("file_url"):
            services.check_url(url)
            return services.fetch(url), url.rsplit("/", 1)[-1], fields
        raise errors.Invalid("No file was submitted.", field="file")

    def options_of(self, given: dict[str, Any]) -> dict[str, Any]:
        """``update_if_exists``, ``atomic`` and ``owner``, checked."""
        options: dict[str, Any] = {
            name: base.truth(name, given.get(name, default))
            for name, default in (("update_if_exists", True), ("atomic", False))
        }
        owner = str(given.get("owner", "")).strip("/")
        if owner:
            if not addresses.is_owner(owner):
                raise errors.Invalid("Expected orgs/<id> or users/<name>.", field="owner")
            options["owner"] = owner
        return options


def _url_in(plain: Any) -> str:
    """The URL of a body that is nothing but ``{"file_url": …}``; larger bodies are data, and are not looked at here."""
    declared = plain.META.get("CONTENT_LENGTH") or ""
    if not declared.isdigit() or int(declared) > LONGEST_URL:
        return ""
    try:
        value = text.loads(plain.body.decode())
    except ValueError:
        return ""
    url = value.get("file_url") if isinstance(value, dict) and "type" not in value else None
    return url if isinstance(url, str) else ""


def _read(plain: Any) -> Iterator[bytes]:
    """The body as it comes in, never whole in memory."""
    while block := plain.read(BLOCK):
        yield block


class OneTask(_Task):
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, *, task: str, **_: Any) -> HttpResponseBase:
        return self.shown(self.of_mine(task))
