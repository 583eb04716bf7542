"""Log in, log out, change or reset a password, see one's own account. No JavaScript, no state change on GET."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.views.generic import UpdateView, View

from core import net, throttle
from core.accounts import forms
from core.models import ApiToken, User


def person(request: HttpRequest) -> User:
    """The account behind a page's session; only for views that require a login."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


class Framed:
    """A page that can stand in any app's frame; links stay within its own namespace."""

    frame = "core/page.html"
    namespace = "accounts"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)  # type: ignore[misc]
        here = {name: f"{self.namespace}-{name}" for name in ("login", "logout", "password", "forgot")}
        return {**context, "frame": self.frame, "routes": here}


class Login(Framed, auth_views.LoginView):
    template_name = "core/accounts/login.html"
    authentication_form = forms.LoginForm


class Logout(auth_views.LogoutView):
    frame = "core/page.html"
    namespace = "accounts"


class PasswordChange(Framed, auth_views.PasswordChangeView):
    template_name = "core/accounts/password.html"
    form_class = forms.OtherPasswordForm
    success_url = reverse_lazy("account")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        messages.success(self.request, "Your password was changed. Every API token of your account was revoked.")
        return super().form_valid(form)


class Forgot(Framed, auth_views.PasswordResetView):
    template_name = "core/accounts/forgot.html"
    form_class = forms.ForgotForm
    TRIES, WINDOW = 20, 3600

    def get_success_url(self) -> str:
        return reverse(f"{self.namespace}-forgot-done")

    def form_valid(self, form: Any) -> HttpResponse:
        caller = net.throttle_key(net.caller_address(self.request))
        if throttle.hit("page-forgot", caller, limit=self.TRIES, window=self.WINDOW):
            form.add_error(None, "Too many tries from your address. Please wait an hour.")
            return self.form_invalid(form)
        self.extra_email_context = {"reset_route": f"{self.namespace}-reset"}
        return super().form_valid(form)


class ForgotDone(Framed, auth_views.PasswordResetDoneView):
    template_name = "core/accounts/forgot_done.html"


class Reset(Framed, auth_views.PasswordResetConfirmView):
    template_name = "core/accounts/reset.html"
    form_class = forms.NewPasswordForm

    def get_success_url(self) -> str:
        return reverse(f"{self.namespace}-login")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "Your new password is set. You can log in with it now.")
        return super().form_valid(form)


class Account(LoginRequiredMixin, UpdateView[User, forms.AccountForm]):
    """One's own names and tokens."""

    template_name = "core/accounts/account.html"
    form_class = forms.AccountForm
    success_url = reverse_lazy("account")

    def get_object(self, queryset: QuerySet[User] | None = None) -> User:
        return person(self.request)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        tokens = ApiToken.objects.filter(user=person(self.request), revoked_at=None)
        return super().get_context_data(tokens=tokens, **kwargs)

    def form_valid(self, form: forms.AccountForm) -> HttpResponse:
        messages.success(self.request, "Your account was saved.")
        return super().form_valid(form)


class RevokeToken(LoginRequiredMixin, View):
    """Ends one of one's own tokens."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, pk: str) -> HttpResponse:
        token = get_object_or_404(ApiToken, pk=pk, user=person(request))
        ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, "The token was revoked.")
        return HttpResponseRedirect(reverse("account"))
