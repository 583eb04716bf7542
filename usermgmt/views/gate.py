"""What every API request passes before its view: transport, credentials, the caller's address (contract 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

from core import api, auth, errors, net
from usermgmt import dialect
from usermgmt.selectors import callers
from usermgmt.services import access, usage


class ApiView(api.View):
    """The base of this app's API views: SSL first, then the method, then whatever the view checks."""

    http_method_names = ["get", "head", "post", "put", "delete", "patch", "options", "trace"]
    dialect = dialect.UserApi()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if settings.USERMGMT_REQUIRE_HTTPS and not request._request.is_secure():
            # Anybody may have read a pair that was sent this way: its owner is warned.
            access.warn_of_clear_text(self.presented(request))
            raise errors.Denied(code="ssl_required")

    def presented(self, request: Request) -> access.Presented:
        """The credentials a request shows, wherever this view takes them from."""
        return presented(request._request)

    @property
    def allowed_methods(self) -> list[str]:
        return [name.upper() for name in self.http_method_names if name != "options" and hasattr(self, name)]

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> NoReturn:
        # Ours: no CORS, so a preflight is a method like any other that is not supported.
        self.http_method_not_allowed(request)


def presented(request: HttpRequest) -> access.Presented:
    """The credentials in the Authorization header; anything unreadable is none."""
    token = auth.bearer(request)
    if token is not None:
        return access.Presented(scheme="bearer", secret=token)
    pair = auth.basic(request)
    return access.Presented("basic", *pair) if pair is not None else access.Presented()


@dataclass(frozen=True)
class Visit:
    """An admitted request: who, how and from where."""

    caller: callers.Caller
    scheme: str
    endpoint: str
    address: net.Address | None

    def note(self, *, status: int, search: usage.Search | None = None) -> None:
        """Write down how it ended."""
        usage.note(
            self.caller,
            scheme=self.scheme,
            endpoint=self.endpoint,
            status=status,
            address=self.address,
            search=search,
        )


def admit(request: HttpRequest, *, endpoint: str, scope: str) -> Visit:
    """Let a request in that passes every check of the contract; a refused one is counted too."""
    shown = presented(request)
    address = net.caller_address(request)
    try:
        caller = access.admit(shown, address=address, scope=scope)
    except errors.Fact as fact:
        usage.note_refusal(fact, scheme=shown.scheme, endpoint=endpoint, status=api.status_of(fact))
        # A missing scope is said to those only whose credentials were right.
        request.used_basic = shown.scheme == "basic" and isinstance(fact, errors.Denied)  # type: ignore[attr-defined]
        raise
    request.used_basic = shown.scheme == "basic"  # type: ignore[attr-defined]
    return Visit(caller=caller, scheme=shown.scheme, endpoint=endpoint, address=address)
