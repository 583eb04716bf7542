"""`/oauth2/token`, `/oauth2/revoke`, `/oauth2/introspect` (contract 2.6)."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, auth, errors, net
from usermgmt import dialect
from usermgmt.formats import wire
from usermgmt.services import access, oauth
from usermgmt.views import gate


class OAuth(dialect.UserApi):
    """OAuth's own words for OAuth's refusals; what comes before them is said as on the other paths."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponse:
        if not isinstance(fact, oauth.Refused):
            return super().error(request, fact)
        body = {"error": fact.code, "error_description": fact.message}
        response = HttpResponse(wire.encode(body), status=fact.status, content_type="application/json")
        if fact.status == 401:
            response["WWW-Authenticate"] = dialect.BASIC_CHALLENGE
        return response

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["Cache-Control"] = "no-store"
        response["Pragma"] = "no-cache"
        return response


class OAuthView(gate.ApiView):
    """The base of the three: POST of a form by a client that shows its pair."""

    dialect: ClassVar[OAuth] = OAuth(only="POST")

    def presented(self, request: Request) -> access.Presented:
        try:
            return oauth.presented(self.asked(request))
        except errors.Fact:
            return access.Presented()

    def asked(self, request: Request) -> oauth.Asked:
        plain = request._request
        return oauth.Asked(
            body=api.body(plain, limit=65_536),
            content_type=plain.META.get("CONTENT_TYPE", ""),
            query=plain.META.get("QUERY_STRING", ""),
            basic=auth.basic(plain),
            has_authorization="HTTP_AUTHORIZATION" in plain.META,
            address=net.caller_address(plain),
        )


class Token(OAuthView):
    def post(self, request: Request) -> HttpResponse:
        return HttpResponse(wire.encode(oauth.issue(self.asked(request))), content_type="application/json")


class Revoke(OAuthView):
    def post(self, request: Request) -> HttpResponse:
        oauth.revoke(self.asked(request))
        return HttpResponse(b"", content_type="application/json")


class Introspect(OAuthView):
    def post(self, request: Request) -> HttpResponse:
        return HttpResponse(wire.encode(oauth.introspect(self.asked(request))), content_type="application/json")
