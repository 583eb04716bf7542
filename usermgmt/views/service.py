"""`/api/v1/service/{service}/add/{username}` (contract 2.5)."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from core import api, errors
from usermgmt import dialect
from usermgmt.formats import wire
from usermgmt.models.clients import ADD_SCOPE
from usermgmt.services import provision, usage
from usermgmt.views import gate


class AddService(gate.ApiView):
    """Records that a client adds a service to an account. Any body, or none, is ignored."""

    dialect = dialect.UserApi(only="POST and PUT")

    def post(self, request: Request, service: str, username: str) -> HttpResponse:
        visit = gate.admit(request._request, endpoint=usage.SERVICE, scope=ADD_SCOPE)
        try:
            provision.add(service=service, username=username, caller=visit.caller, address=visit.address)
        except errors.Fact as fact:
            visit.note(status=api.status_of(fact))
            raise
        visit.note(status=200)
        sentence = f"Request to add {service} to {username}'s account was successful."
        return HttpResponse(wire.encode({"service": [sentence]}), content_type="application/json")

    put = post
