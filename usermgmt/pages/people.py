"""The entrance, registration, the mailed links, the profile, the services."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404

from core import errors
from usermgmt import forms
from usermgmt.models import AddressCheck, Service
from usermgmt.pages import frame
from usermgmt.selectors import portal
from usermgmt.services import accounts, provision

TOO_OFTEN = "Too many tries from your address. Please wait an hour."


class Entrance(frame.Page):
    """Boxes for those who are not logged in; the others go on to their clients."""

    template = "entrance.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            return HttpResponseRedirect("/portal/api-clients")
        return self.page(
            request,
            login_label=settings.USERMGMT_LOGIN_LABEL,
            help_label=settings.USERMGMT_HELP_LABEL,
            help_url=settings.USERMGMT_HELP_URL,
        )


class Register(frame.Page):
    """A new account; the answer is the same whether or not the address has one already."""

    template = "register.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, form=forms.RegisterForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = forms.RegisterForm(request.POST)
        if frame.is_too_often(request, "register"):
            form.add_error(None, TOO_OFTEN)
        if form.is_valid():
            try:
                accounts.register(form.value())
            except errors.Fact as fact:
                frame.refuse(form, fact)
            else:
                return self.page(request, done=True)
        return self.page(request, status=400, form=form)


class Verify(frame.Page):
    """A mailed link. Mail scanners follow links, so GET only shows a button."""

    template = "verify.html"

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        is_open = accounts.is_confirmable(token)
        return self.page(request, status=200 if is_open else 404, is_open=is_open)

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        try:
            check = accounts.confirm(token)
        except errors.NotFound:
            return self.page(request, status=404, is_open=False)
        if check.purpose == AddressCheck.Purpose.CHANGE:
            return frame.back(request, "/portal/profile", "Your e-mail address was changed.")
        return frame.back(request, "/portal/login", "Your address is confirmed. You can log in now.")


class ForgotUsername(frame.Page):
    """Mails a user name; the answer is the same whether or not the address has an account."""

    template = "forgot_username.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, form=forms.AddressForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = forms.AddressForm(request.POST)
        if frame.is_too_often(request, "forgot"):
            form.add_error(None, TOO_OFTEN)
        if not form.is_valid():
            return self.page(request, status=400, form=form)
        accounts.send_username(form.cleaned_data["email"])
        return self.page(request, done=True)


class Profile(frame.OwnPage):
    """*My Profile*: names at once, the user name if it is free, the address once its link is followed."""

    template, tab = "profile.html", "profile"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.shown(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        act = {"names": self.names, "username": self.username, "email": self.email}.get(request.POST.get("part", ""))
        return act(request) if act else self.shown(request, status=400)

    def shown(self, request: HttpRequest, *, status: int = 200, **bound: Any) -> HttpResponse:
        names = ("first_name", "last_name", "institution", "position", "hide_from_directory")
        unbound = {
            "names": forms.ProfileForm(initial={name: getattr(self.me, name) for name in names}, prefix="names"),
            "username": forms.UsernameForm(initial={"username": self.me.username}, prefix="username"),
            "email": forms.AddressForm(initial={"email": self.me.email}, prefix="email"),
        }
        waiting = portal.open_check(self.me)
        found = portal.times_found(self.me)
        return self.page(request, status=status, forms={**unbound, **bound}, waiting=waiting, found=found)

    def names(self, request: HttpRequest) -> HttpResponse:
        form = forms.ProfileForm(request.POST, prefix="names")
        if not form.is_valid():
            return self.shown(request, status=400, names=form)
        accounts.edit(self.me, **form.cleaned_data)
        return frame.back(request, "/portal/profile", "Your profile was saved.")

    def username(self, request: HttpRequest) -> HttpResponse:
        form = forms.UsernameForm(request.POST, prefix="username", own=self.me.pk)
        if not form.is_valid():
            return self.shown(request, status=400, username=form)
        if form.cleaned_data["username"] == self.me.username:
            return frame.back(request, "/portal/profile", "That is your user name already.")
        try:
            accounts.rename(self.me, form.cleaned_data["username"])
        except errors.Invalid as fact:
            frame.refuse(form, fact)
            return self.shown(request, status=400, username=form)
        return frame.back(request, "/portal/profile", "Your user name was changed.")

    def email(self, request: HttpRequest) -> HttpResponse:
        form = forms.AddressForm(request.POST, prefix="email")
        if frame.is_too_often(request, "email"):
            form.add_error(None, TOO_OFTEN)
        if not form.is_valid():
            return self.shown(request, status=400, email=form)
        before = self.me.email
        accounts.ask_to_change_address(self.me, form.cleaned_data["email"])
        if portal.open_check(self.me) is not None:
            said = "Follow the link we mailed to your new address."
        elif self.me.email == before:
            said = "That is your e-mail address already."
        else:
            said = "Your e-mail address was changed."
        return frame.back(request, "/portal/profile", said)


class Services(frame.OwnPage):
    """*Apps & Services*: what one has, has asked for, can ask for."""

    template, tab = "services.html", "services"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, lists=portal.services_of(self.me))

    def post(self, request: HttpRequest) -> HttpResponse:
        service = get_object_or_404(Service, slug__iexact=request.POST.get("service", ""), is_enabled=True)
        try:
            provision.request_access(user=self.me, service=service, address=self.address)
        except errors.Conflict as fact:
            return frame.back(request, "/portal/services", fact.message, failed=True)
        return frame.back(request, "/portal/services", f"Your request for {service.name} was recorded.")
