"""System checks: settings and servers that would make the service wrong rather than down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connections


@checks.register(checks.Tags.security)
def first_hasher(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Registry clients send SHA-256 digests, which only this hasher can verify."""
    if settings.PASSWORD_HASHERS[0].endswith("BCryptSHA256PasswordHasher"):
        return []
    return [checks.Error("BCryptSHA256PasswordHasher must be the first of PASSWORD_HASHERS.", id="core.E001")]


@checks.register(checks.Tags.security, deploy=True)
def public_base_url(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Links in mails have no request to take their host from."""
    if settings.PUBLIC_BASE_URL:
        return []
    return [checks.Warning("PUBLIC_BASE_URL is not set; links in mails will not work.", id="core.W001")]


@checks.register(checks.Tags.database)
def text_search(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """With character classification ``C`` PostgreSQL silently makes no trigrams beyond ASCII."""
    found: list[checks.CheckMessage] = []
    for alias in databases or []:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_setting('server_encoding'), upper('é') = 'É'")
            encoding, classifies = cursor.fetchone()
        if encoding != "UTF8":
            found.append(checks.Error(f"Database {alias} must be UTF-8, not {encoding}.", id="core.E002"))
        if not classifies:
            found.append(checks.Error(f"Database {alias} has character classification C.", id="core.E003"))
    return found
