"""Credentials as facts: reading them from a request, and the one hashed token table.

Which header carries what, and how a refusal is worded, is each app's business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final, Literal

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from core.models import ApiToken, User

Shape = Literal["hex40", "url43"]
TOUCH_EVERY = timedelta(minutes=5)


class Uses:
    """Which uses of tokens this process has to note: one of each token in `every`.

    The statement that reads a token writes only when that is due: planning to write would slow every other request.
    Forgetting, as beyond ``most`` tokens, costs no more than that.
    """

    def __init__(self, *, every: timedelta = TOUCH_EVERY, most: int = 10_000) -> None:
        self.every, self.most = every, most
        self._due: dict[bytes | str, datetime] = {}

    def is_due(self, key: bytes | str, now: datetime) -> bool:
        due = self._due.get(key)
        return due is None or due <= now

    def noted(self, key: bytes | str, now: datetime, *, last: datetime | None) -> None:
        """The use was noted unless it had been shortly before, at ``last``."""
        if len(self._due) >= self.most:
            self._due.clear()
        is_recent = last is not None and last >= now - self.every
        self._due[key] = (last if last is not None and is_recent else now) + self.every

    def forget(self) -> None:
        """Take every use for due."""
        self._due.clear()


USES: Final = Uses()

_USER_FIELDS: Final = [field.attname for field in User._meta.concrete_fields]
_OWNER: Final = ", ".join(f'u."{field.column}" AS "owner_{field.attname}"' for field in User._meta.concrete_fields)
_RESOLVE: Final = f"""
SELECT t.*, {_OWNER} FROM {ApiToken._meta.db_table} t JOIN {User._meta.db_table} u ON u.id = t.user_id
WHERE t.audience = %(audience)s AND t.sha256 = %(sha256)s AND u.is_active
    AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
"""
_RESOLVE_AND_NOTE: Final = f"""
WITH found AS ({_RESOLVE}), noted AS (
    UPDATE {ApiToken._meta.db_table} t SET last_used_at = %(now)s FROM found
    WHERE t.id = found.id AND (t.last_used_at IS NULL OR t.last_used_at < %(stale)s)
)
SELECT * FROM found
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
    now, key = timezone.now(), digest(secret)
    values = {"audience": audience, "sha256": key, "now": now, "stale": now - TOUCH_EVERY}
    is_due = USES.is_due(key, now)
    found = next(iter(ApiToken.objects.raw(_RESOLVE_AND_NOTE if is_due else _RESOLVE, values)), None)
    if found is None:
        return None
    if is_due:
        USES.noted(key, now, last=found.last_used_at)
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
