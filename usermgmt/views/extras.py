"""What the original did not have: the services a client may add, leak reports, OAuth metadata (contract 10)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from core import api, errors, net, views
from usermgmt import dialect
from usermgmt.formats import wire
from usermgmt.models.clients import ADD_SCOPE, SCOPES
from usermgmt.selectors import service_access
from usermgmt.services import leaks, usage
from usermgmt.views import gate


class Services(gate.ApiView):
    """The services a client may add."""

    def get(self, request: Request) -> HttpResponse:
        visit = gate.admit(request._request, endpoint=usage.SERVICE, scope=ADD_SCOPE)
        slugs = service_access.slugs(client_id=visit.caller.client_id, is_limited=visit.caller.is_limited_to_services)
        visit.note(status=200)
        return HttpResponse(wire.encode({"services": slugs}), content_type="application/json")


class SecretReport(gate.ApiView):
    """Takes leaked secrets from anybody; the answer is the same whether or not it was one."""

    dialect = dialect.UserApi(only="POST")

    def post(self, request: Request) -> HttpResponse:
        found = api.json_object(request, limit=65_536).get("secret")
        if not isinstance(found, str) or not found:
            raise errors.Invalid("The body must be an object with the secret in `secret`.")
        leaks.report(found, address=net.caller_address(request._request))
        return HttpResponse(wire.encode({"received": True}), status=202, content_type="application/json")


class Metadata(gate.ApiView):
    """OAuth 2 authorization server metadata (RFC 8414)."""

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(wire.encode(_metadata(request._request)), content_type="application/json")


def _metadata(request: HttpRequest) -> dict[str, Any]:
    here = views.base_url(request)
    methods = ["client_secret_basic", "client_secret_post"]
    return {
        "issuer": here,
        "token_endpoint": f"{here}/oauth2/token",
        "revocation_endpoint": f"{here}/oauth2/revoke",
        "introspection_endpoint": f"{here}/oauth2/introspect",
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": list(SCOPES),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
    }
