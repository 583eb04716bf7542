"""The original service's paths: harvests, login, logout, trigger (contract 2.2 to 2.7)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from core import api, errors
from registry import dialect, selectors, serializers
from registry.services import harvests, sessions
from registry.views import callers


def success(data: Any, **more: Any) -> HttpResponse:
    """The envelope of every good answer."""
    return api.json_response({"status": "success", "data": data, **more})


class Harvests(dialect.View):
    """Every harvest, unpublished too, in creation order, no paging (up)."""

    def get(self, request: Request) -> HttpResponse:
        with_contact = callers.token_of(request) is not None
        return success(serializers.harvest_elements(selectors.harvest_rows(), with_contact=with_contact))


class Harvest(dialect.View):
    """One harvest: shown to all, changed by its owners."""

    allow = ("GET", "PATCH", "OPTIONS")

    def get(self, request: Request, uid: str) -> HttpResponse:
        with_contact = callers.token_of(request) is not None
        return success(serializers.harvest_element(selectors.harvest(uid), with_contact=with_contact))

    def patch(self, request: Request, uid: str) -> HttpResponse:
        token = callers.required_token(request)
        harvest, access = harvests.manageable(uid, user=token.user)
        values, _ = callers.values_of(request)
        changed = harvests.update(harvest, values, access=access)
        return success(serializers.harvest_element(changed, with_contact=True))


class Login(dialect.View):
    """A token for a password, plain or as SHA-256 digest."""

    allow = ("POST", "OPTIONS")
    may_squeeze = False  # a secret's length must not tell what it holds

    def post(self, request: Request) -> HttpResponse:
        values, is_json = callers.values_of(request)
        credentials = sessions.read_credentials(values, hashed=_is_hashed(values, is_json=is_json))
        user, secret = sessions.log_in(
            credentials, address=callers.address_of(request), user_agent=request.META.get("HTTP_USER_AGENT", "")
        )
        return success({"authToken": secret, "userId": user.uid})


def _is_hashed(values: dict[str, Any], *, is_json: bool) -> bool:
    # up: any non-empty form value is truthy, so `hashed=false` means a digest; JSON has real values
    value = values.get("hashed")
    return value not in ((None, False, 0, "") if is_json else (None, ""))


class Logout(dialect.View):
    """The presented token dies; GET is the documented method."""

    allow = ("GET", "POST", "OPTIONS")

    def get(self, request: Request) -> HttpResponse:
        sessions.log_out(callers.required_token(request))
        return self._said()

    def post(self, request: Request) -> HttpResponse:
        return self.get(request)

    def head(self, request: Request) -> HttpResponse:
        """All checks, but nothing is revoked."""
        callers.required_token(request)
        return self._said()

    def _said(self) -> HttpResponse:
        return success({"message": "You've been logged out!"})


class Trigger(dialect.View):
    """Queue a run, or join the active one."""

    allow = ("GET", "POST", "OPTIONS")

    def get(self, request: Request, uid: str) -> HttpResponse:
        return self._trigger(request, uid, queue=True)

    def post(self, request: Request, uid: str) -> HttpResponse:
        return self._trigger(request, uid, queue=True)

    def head(self, request: Request, uid: str) -> HttpResponse:
        """All checks, but nothing is queued."""
        return self._trigger(request, uid, queue=False)

    def _trigger(self, request: Request, uid: str, *, queue: bool) -> HttpResponse:
        token = callers.required_token(request)
        run = harvests.trigger(uid, user=token.user, queue=queue)
        response = api.json_response({"status": "harvesting"})
        if run is not None:
            response["X-Harvest-Run"] = str(run.pk)
        return response


class NoSuchEndpoint(dialect.View):
    """Any path below /api/v1/ and /api/v2/ that no app claims."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise errors.NotFound(code="no_such_path")
