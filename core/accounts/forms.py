"""Forms of the account pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.forms import (
    AuthenticationForm,
    PasswordChangeForm,
    PasswordResetForm,
    SetPasswordForm,
    SetPasswordMixin,
)
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.functional import Promise

from core import net, throttle
from core.accounts import reset
from core.models import User


class LoginForm(AuthenticationForm):
    """User name or e-mail address, and password; guessing is slowed down per name and address."""

    TRIES, WINDOW = 10, 15 * 60
    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "User name or password are not right, or the address of a new account is not confirmed yet.",
    }

    def __init__(self, request: HttpRequest | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"].label = "User name or e-mail address"
        self.fields["username"].widget.attrs["autocapitalize"] = "none"

    def clean(self) -> dict[str, Any]:
        caller = net.throttle_key(net.caller_address(self.request)) if self.request else ""
        key = f"{str(self.cleaned_data.get('username', '')).lower()}|{caller}"
        if throttle.peek("page-login", key, self.TRIES, self.WINDOW):
            raise ValidationError("Too many attempts. Wait a quarter of an hour, or reset your password.")
        try:
            cleaned = super().clean()
        except ValidationError:
            throttle.hit("page-login", key, self.TRIES, self.WINDOW)
            raise
        throttle.reset("page-login", key)
        return cleaned


class ForgotForm(PasswordResetForm):
    """Asks for an address; a mail with a link goes out through the outbox when an account has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = "E-mail address"

    def get_users(self, email: str) -> Iterable[User]:
        """Whom the address belongs to; people who were imported without a password get their first one this way."""
        return User.objects.filter(email__iexact=email, is_active=True)

    def send_mail(
        self,
        subject_template_name: str,
        email_template_name: str,
        context: dict[str, Any],
        from_email: str | None,
        to_email: str,
        html_email_template_name: str | None = None,
    ) -> None:
        here = settings.PUBLIC_BASE_URL or f"{context['protocol']}://{context['domain']}"
        reset.queue(context["user"], base_url=here, route=context["reset_route"])


class _AtItsField(SetPasswordMixin):  # type: ignore[type-arg]  # generic in the stubs only
    """The faults of a new password are told where it is typed first, not where it is repeated."""

    def validate_password_for_user(self, user: AbstractBaseUser, password_field_name: str = "") -> None:
        super().validate_password_for_user(user, "new_password1")


class NewPasswordForm(_AtItsField, SetPasswordForm):  # type: ignore[type-arg]  # the same
    """A password for whoever followed a mailed link."""


class OtherPasswordForm(_AtItsField, PasswordChangeForm):
    """Another password for whoever knows the present one."""


class AccountForm(forms.ModelForm[User]):
    """What people may change about themselves."""

    class Meta:
        model = User
        fields = ["first_name", "last_name", "institution", "position", "hide_from_directory"]
        labels: dict[str, str | Promise] = {"hide_from_directory": "Do not show me in the directory"}
