"""Logging in to the pages: by user name or by any e-mail address of the account."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from core.models import User


class UsernameOrEmail(ModelBackend):
    """Django's backend, which also takes an e-mail address where a user name is asked."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None or "\0" in username or "\0" in password:
            return None
        user = self._find(username.strip())
        if user is None:
            User().set_password(password)  # as slow as a real check, so that time tells nothing
            return None
        return user if user.check_password(password) and self.user_can_authenticate(user) else None

    def _find(self, name: str) -> User | None:
        # The user name first: it is its owner's, while an address may be one that nobody has proven.
        found = User.objects.filter(username=name.lower()).first()
        if found is None and "@" in name:
            found = User.objects.filter(addresses__address__iexact=name).first()
        return found
