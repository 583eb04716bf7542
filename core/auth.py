"""Credentials as facts: reading them from a request, and the one hashed token table.

Which header carries what, and how a refusal is worded, is each app's business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from datetime import timedelta
from typing import Final, Literal

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from core.models import ApiToken, User

Shape = Literal["hex40", "url43"]
TOUCH_EVERY = timedelta(minutes=5)

_USER_FIELDS: Final = [field.attname for field in User._meta.concrete_fields]
_OWNER: Final = ", ".join(f'u."{field.column}" AS "owner_{field.attname}"' for field in User._meta.concrete_fields)
_RESOLVE: Final = f"""
WITH found AS (
    SELECT t.* FROM {ApiToken._meta.db_table} t JOIN {User._meta.db_table} u ON u.id = t.user_id
    WHERE t.audience = %(audience)s AND t.sha256 = %(sha256)s AND u.is_active
        AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
), noted AS (
    UPDATE {ApiToken._meta.db_table} t SET last_used_at = %(now)s FROM found
    WHERE t.id = found.id AND (t.last_used_at IS NULL OR t.last_used_at < %(stale)s)
)
SELECT found.*, {_OWNER} FROM found JOIN {User._meta.db_table} u ON u.id = found.user_id
"""


def new_secret(shape: Shape) -> str:
    """A fresh secret: ``hex40`` has 160 random bits as lower-case hex, ``url43`` 256 bits url-safe."""
    return secrets.token_hex(20) if shape == "hex40" else secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """The SHA-256 hex under which a secret is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def issue_token(
    user: User,
    *,
    audience: str,
    shape: Shape = "url43",
    expires: timedelta | None = None,
    label: str = "",
    user_agent: str = "",
    keep: int | None = None,
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is shown once and never stored.

    ``keep``: of the account's live tokens for this audience only that many newest stay; older ones are revoked.
    """
    secret = new_secret(shape)
    now = timezone.now()
    token = ApiToken.objects.create(
        user=user,
        audience=audience,
        label=label,
        prefix=secret[:6],
        sha256=digest(secret),
        user_agent=user_agent[:200],
        created_at=now,
        expires_at=now + expires if expires else None,
    )
    if keep is not None:
        live = _live().filter(user=user, audience=audience).order_by("-created_at", "-id")
        surplus = list(live.values_list("pk", flat=True)[keep:])
        ApiToken.objects.filter(pk__in=surplus).update(revoked_at=now)
    return token, secret


def resolve_token(audience: str, secret: str) -> ApiToken | None:
    """The live token of an active account behind a secret, with ``user`` loaded; one statement.

    It also notes the use, at most every five minutes.
    """
    now = timezone.now()
    values = {"audience": audience, "sha256": digest(secret), "now": now, "stale": now - TOUCH_EVERY}
    found = next(iter(ApiToken.objects.raw(_RESOLVE, values)), None)
    if found is not None:
        found.user = User.from_db(
            found._state.db, _USER_FIELDS, [found.__dict__.pop(f"owner_{name}") for name in _USER_FIELDS]
        )
    return found


def revoke_tokens(user: User, *, audience: str | None = None) -> int:
    """Revoke the account's live tokens (for one audience, or all); how many there were."""
    live = _live().filter(user=user)
    if audience is not None:
        live = live.filter(audience=audience)
    return live.update(revoked_at=timezone.now())


def _live() -> QuerySet[ApiToken]:
    now = timezone.now()
    return ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def authorization(request: HttpRequest | Request, scheme: str) -> str | None:
    """The credentials after ``scheme`` (any letter case) in the Authorization header, or None."""
    name, _, rest = str(request.META.get("HTTP_AUTHORIZATION", "")).strip().partition(" ")
    return rest.strip() if name.lower() == scheme.lower() else None


def bearer(request: HttpRequest | Request) -> str | None:
    """The bearer token presented (RFC 6750), or None."""
    return authorization(request, "Bearer")


def basic(request: HttpRequest | Request, *, fallback: str = "latin-1") -> tuple[str, str] | None:
    """Name and password of HTTP Basic (RFC 7617), split at the first colon.

    UTF-8, else ``fallback``; None when unreadable.
    """
    encoded = authorization(request, "Basic")
    if encoded is None:
        return None
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode(fallback, "replace")
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
