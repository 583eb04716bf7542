"""The webhooks of a repository, for its administrators (contract §10.5)."""

import re
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import errors
from exports import dialect
from exports.models import Webhook
from exports.serializers import webhooks as serializer
from exports.services import webhooks as services
from exports.views import base, lists

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class _OfAdmins(base.View):
    finds = "repo"

    def find(self, **kwargs: Any) -> None:
        super().find(**kwargs)
        if self.request.method != "OPTIONS":
            self.demand("admin")


class Webhooks(_OfAdmins):
    http_method_names = ["get", "post", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = Webhook.objects.filter(repo=self.repo).select_related("repo")
        return lists.of_query(self, found, serializer.webhook)

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        url, events = services.asked(self.data())
        made, secret = services.register(self.repo, url=url, events=events, user=user)
        body = {**serializer.webhook(made), "secret": secret}
        response = self.created(body, f"{self.repo.uri}webhooks/{made.pk}/")
        response["Cache-Control"] = "no-store"
        return response


class OneWebhook(_OfAdmins):
    http_method_names = ["get", "delete", "head", "options"]

    def find(self, *, hook: str = "", **kwargs: Any) -> None:
        super().find(**kwargs)
        found = None
        if _UUID.fullmatch(hook):
            found = Webhook.objects.filter(repo=self.repo, pk=hook).select_related("repo").first()
        if found is None:
            raise errors.NotFound
        self.hook = found

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        return dialect.json_response(serializer.webhook(self.hook))

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        services.remove(self.hook)
        return HttpResponse(status=204)
