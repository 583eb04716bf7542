"""System checks of what would make searches silently wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connections


@checks.register(checks.Tags.database)
def trigrams(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """With `LC_CTYPE=C` pg_trgm makes no trigrams of other letters than ASCII: their searches scan the table."""
    found: list[checks.CheckMessage] = []
    for alias in databases or []:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'")
            if cursor.fetchone() is None:
                continue  # before the first migration
            cursor.execute("SELECT show_trgm('أحمد')")
            (made,) = cursor.fetchone() or ([],)
        if not made:
            message = f"Database {alias} makes no trigrams beyond ASCII: its LC_CTYPE must be a UTF-8 one, not C."
            found.append(checks.Error(message, id="usermgmt.E001"))
    return found


@checks.register(checks.Tags.security, deploy=True)
def peppers(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Every pepper has an id of its own and is worth its name."""
    names = [name for name, _ in settings.USERMGMT_SECRET_PEPPERS]
    found: list[checks.CheckMessage] = []
    if len(set(names)) < len(names) or "" in names:
        found.append(checks.Error("USERMGMT_SECRET_PEPPERS needs a different id for each value.", id="usermgmt.E002"))
    if any(len(value) < 32 for _, value in settings.USERMGMT_SECRET_PEPPERS):
        found.append(checks.Error("Each of USERMGMT_SECRET_PEPPERS needs 32 characters.", id="usermgmt.E003"))
    return found
