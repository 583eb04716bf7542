"""What the portal's pages share: who is logged in, which tab is open, how a refusal becomes a form error."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views import View

from core import errors, net, throttle
from core.models import User
from usermgmt.models import ApiClient
from usermgmt.selectors import portal

TABS = [
    ("profile", "My Profile", "/portal/profile"),
    ("services", "Apps & Services", "/portal/services"),
    ("clients", "API Clients", "/portal/api-clients"),
]
TRIES, WINDOW = 20, 3_600


class Page(View):
    """One page; `template` below `usermgmt/`, `tab` the one that is marked as open."""

    template = ""
    tab = ""

    def page(self, request: HttpRequest, *, status: int = 200, **context: Any) -> HttpResponse:
        return render(request, f"usermgmt/{self.template}", {"tabs": TABS, "tab": self.tab, **context}, status=status)


class OwnPage(LoginRequiredMixin, Page):
    """A page of somebody who is logged in."""

    login_url = "/portal/login"

    @property
    def me(self) -> User:
        """The account that is logged in."""
        assert isinstance(self.request.user, User)  # noqa: S101 - LoginRequiredMixin let it through
        return self.request.user

    @property
    def address(self) -> net.Address | None:
        return net.caller_address(self.request)

    def own_client(self, client_id: int) -> ApiClient:
        """One's own client; foreign ones are as unknown as those that do not exist."""
        client = portal.client_of(self.me, client_id)
        if client is None:
            raise Http404
        return client


def back(request: HttpRequest, to: str, message: str, *, failed: bool = False) -> HttpResponse:
    """Go on to another page with something to say there."""
    (messages.error if failed else messages.success)(request, message)
    return HttpResponseRedirect(to)


def refuse(form: Form, fact: errors.Fact) -> None:
    """Put a refusal of the domain next to the field it concerns."""
    form.add_error(fact.field if fact.field in form.fields else None, fact.message)


def is_too_often(request: HttpRequest, what: str) -> bool:
    """Count a form that sends mail or makes accounts; True when this address has sent too many."""
    caller = net.throttle_key(net.caller_address(request))
    return throttle.hit(f"usermgmt-{what}", caller, limit=TRIES, window=WINDOW) > 0


def no_such_page(request: HttpRequest) -> HttpResponse:
    """Whatever else is asked for below /portal/."""
    return render(request, "core/not_found.html", {"frame": "usermgmt/page.html"}, status=404)
