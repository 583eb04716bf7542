"""Start-up checks of this API's settings and database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connections

from nnels.formats import rate


@checks.register
def url_lifetime(**_kwargs: Any) -> list[checks.CheckMessage]:
    """SigV4 links last at most a week; less than a minute helps nobody."""
    if 60 <= settings.NNELS_URL_LIFETIME <= 604_800:
        return []
    return [checks.Error("NNELS_URL_LIFETIME must be within 60 … 604800 seconds.", id="nnels.E001")]


@checks.register
def choices(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Settings that take one of few values."""
    found: list[checks.CheckMessage] = []
    if settings.NNELS_DEFAULT_FORMAT not in ("simple", "json_api"):
        found.append(checks.Error("NNELS_DEFAULT_FORMAT is simple or json_api.", id="nnels.E002"))
    if settings.NNELS_RATE_LIMIT and rate.parse(settings.NNELS_RATE_LIMIT) is None:
        found.append(checks.Error("NNELS_RATE_LIMIT looks like 5000/day.", id="nnels.E003"))
    if not settings.NNELS_TOKEN_KEYS or not all(settings.NNELS_TOKEN_KEYS):
        found.append(checks.Error("NNELS_TOKEN_KEYS needs at least one key, none of them empty.", id="nnels.E004"))
    if settings.NNELS_RANGE < 1:
        found.append(checks.Error("NNELS_RANGE must be at least 1.", id="nnels.E005"))
    return found


@checks.register(checks.Tags.database)
def extensions(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """Search needs `unaccent` and `pg_trgm`; encoding and character classification are checked by the core."""
    found: list[checks.CheckMessage] = []
    for alias in databases or []:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT name FROM pg_available_extensions WHERE name IN ('unaccent', 'pg_trgm')")
            names = {name for (name,) in cursor.fetchall()}
        found += [
            checks.Error(f"Database {alias} lacks the extension {name}.", id="nnels.E006")
            for name in ("unaccent", "pg_trgm")
            if name not in names
        ]
    return found
