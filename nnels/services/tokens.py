"""Token pairs: derived, never stored (contract 2.5).

`b64url(HMAC-SHA256(K, "nnels/access" NUL pair-id NUL nonce))`; the row holds the nonce, the key's id and the SHA-256
of both tokens, so that no row lets a token follow without the key.
"""

import base64
import dataclasses
import hashlib
import hmac
import math
import secrets
import uuid as uuids
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from core import errors
from core.models import User
from nnels import models
from nnels.selectors import accounts


@dataclasses.dataclass(frozen=True)
class Grant:
    """What a client gets: both tokens (the second only where it may have one) and the seconds left."""

    access_token: str
    refresh_token: str | None
    expires_in: int


def derive(pair_id: uuids.UUID, nonce: bytes, *, use: str, key: str) -> str:
    """The 43-character token of a pair for `use` (`access` or `refresh`) under a key."""
    message = f"nnels/{use}".encode() + b"\0" + str(pair_id).encode() + b"\0" + nonce
    return base64.urlsafe_b64encode(hmac.digest(key.encode(), message, "sha256")).rstrip(b"=").decode()


def key_id(key: str) -> str:
    """The name under which a pair remembers its key."""
    return hashlib.sha256(b"nnels key\0" + key.encode()).hexdigest()[:16]


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def password_mark(stored: str) -> str:
    """A keyed mark of a stored password: another password, another mark, and the pair is dead."""
    return salted_hmac("nnels.password", stored, algorithm="sha256").hexdigest()


def resolve(token: str) -> tuple[accounts.Account, accounts.Pair] | None:
    """Account and pair of a live access token of an active account; one statement."""
    found = accounts.by_access_digest(digest(token))
    if found is None:
        return None
    account, pair, stored = found
    if not constant_time_compare(pair.password_mark, password_mark(stored)):
        return None
    return account, pair


def login(account_id: int) -> Grant:
    """The account's live pair, or a new one when it has none that may go on (contract 2.5: idempotent)."""
    grant = _current(account_id)
    if grant is not None:
        return grant
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=account_id)
        grant = _current(account_id)
        if grant is not None:
            return grant
        _revoke_live(user, why="replaced")
        return _issue(user)


def peek(token: str, pair: accounts.Pair) -> Grant:
    """What an access token is told at login: itself and its time left, never a refresh token."""
    return Grant(token, None, _seconds_left(pair.expires_at))


def _current(account_id: int) -> Grant | None:
    pair = models.TokenPair.objects.select_related("user").filter(user_id=account_id, revoked_at=None).first()
    if pair is None or pair.expires_at <= timezone.now():
        return None
    key = next((key for key in settings.NNELS_TOKEN_KEYS if key_id(key) == pair.key_id), None)
    if key is None or not constant_time_compare(pair.password_mark, password_mark(pair.user.password)):
        return None
    if pair.refresh_expires_at is not None and pair.refresh_expires_at <= timezone.now():
        return None
    return _grant(pair, key)


def _grant(pair: models.TokenPair, key: str) -> Grant:
    nonce = bytes(pair.nonce)
    return Grant(
        access_token=derive(pair.id, nonce, use="access", key=key),
        refresh_token=derive(pair.id, nonce, use="refresh", key=key),
        expires_in=_seconds_left(pair.expires_at),
    )


def _seconds_left(end: datetime) -> int:
    return max(0, math.ceil((end - timezone.now()).total_seconds()))


def _issue(user: User) -> Grant:
    """A new pair; the caller holds the account's row."""
    key, now = settings.NNELS_TOKEN_KEYS[0], timezone.now()
    pair_id, nonce = uuids.uuid4(), secrets.token_bytes(16)
    lifetime = settings.NNELS_REFRESH_LIFETIME
    pair = models.TokenPair.objects.create(
        id=pair_id,
        user=user,
        nonce=nonce,
        key_id=key_id(key),
        password_mark=password_mark(user.password),
        access_digest=digest(derive(pair_id, nonce, use="access", key=key)),
        refresh_digest=digest(derive(pair_id, nonce, use="refresh", key=key)),
        issued_at=now,
        expires_at=now + timedelta(seconds=settings.NNELS_ACCESS_LIFETIME),
        refresh_expires_at=now + timedelta(seconds=lifetime) if lifetime else None,
    )
    return _grant(pair, key)


def _revoke_live(user: User, *, why: str) -> int:
    live = models.TokenPair.objects.filter(user=user, revoked_at=None)
    return live.update(revoked_at=timezone.now(), revoked_why=why)


def refresh(token: str) -> Grant:
    """A new pair for a refresh token, which dies with its access token; `Invalid` for any that is not live."""
    with transaction.atomic():
        pair = models.TokenPair.objects.filter(refresh_digest=digest(token)).first() if token else None
        if pair is None:
            raise _refused()
        user = User.objects.select_for_update().get(pk=pair.user_id)
        if _take(pair, user):
            return _issue(user)
        models.TokenPair.objects.filter(pk=pair.pk).update(reused_at=timezone.now())
    raise _refused()


def _take(pair: models.TokenPair, user: User) -> bool:
    """One conditional UPDATE decides who of many refreshes wins."""
    now = timezone.now()
    if not user.is_active or not constant_time_compare(pair.password_mark, password_mark(user.password)):
        return False
    if pair.refresh_expires_at is not None and pair.refresh_expires_at <= now:
        return False
    live = models.TokenPair.objects.filter(pk=pair.pk, revoked_at=None)
    return bool(live.update(revoked_at=now, revoked_why="refreshed", last_used_at=now))


def _refused() -> errors.Invalid:
    return errors.Invalid("Invalid refresh token.", code="invalid_refresh_token")


def state(pair: models.TokenPair) -> str:
    """`live`; `refreshable` when only the refresh token lives; `expired`; or why both are dead."""
    if pair.revoked_at is not None:
        return f"revoked ({pair.revoked_why})" if pair.revoked_why else "revoked"
    if not pair.user.is_active:
        return "dead (account blocked)"
    if not constant_time_compare(pair.password_mark, password_mark(pair.user.password)):
        return "dead (password changed)"
    now = timezone.now()
    if pair.expires_at > now:
        return "live"
    return "refreshable" if pair.refresh_expires_at is None or pair.refresh_expires_at > now else "expired"


def revoke(pairs: list[uuids.UUID], *, why: str) -> int:
    """Revoke pairs by id, for the admin; how many were live."""
    live = models.TokenPair.objects.filter(pk__in=pairs, revoked_at=None)
    return live.update(revoked_at=timezone.now(), revoked_why=why)
