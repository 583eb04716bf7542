"""Login and logout of the API: passwords plain or as SHA-256 digest, tokens for both headers (contract 2.5, 8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import bcrypt
from django.conf import settings
from django.contrib.auth.hashers import BCryptSHA256PasswordHasher, get_hasher
from django.utils import timezone

from core import auth, errors, throttle
from core.models import ApiToken, User

AUDIENCE: Final = "registry"
LIVE_TOKENS: Final = 1000
WINDOW: Final = 15 * 60
PAIR_FAILURES: Final = 10
ADDRESS_FAILURES: Final = 100
MAX_LENGTH: Final = 4096
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_PREFIX: Final = "bcrypt_sha256$"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login body says: an identifier of one kind, a password, and whether that is a digest."""

    identifier: str
    kind: str
    password: str
    is_hashed: bool


def read_credentials(values: dict[str, Any], *, hashed: bool) -> Credentials | None:
    """Pick the identifier (first non-empty of user, username, email) and the password; `None` if either is unusable."""
    password = values.get("password")
    for name in ("user", "username", "email"):
        identifier = values.get(name)
        if identifier in (None, ""):
            continue
        if not isinstance(identifier, str) or not isinstance(password, str) or not password:
            return None
        if not (_is_storable(identifier) and _is_storable(password)):
            return None
        kind = name if name != "user" else ("email" if "@" in identifier else "username")
        return Credentials(identifier, kind, password, hashed)
    return None


def _is_storable(text: str) -> bool:
    """No NUL, no lone surrogates, and no novel."""
    return "\0" not in text and len(text) <= MAX_LENGTH and not any("\ud800" <= char <= "\udfff" for char in text)


def log_in(credentials: Credentials | None, *, address: str, user_agent: str = "") -> tuple[User, str]:
    """The account and a fresh token, or `Unauthenticated`; `Throttled` after too many failures.

    Each login adds a token; earlier ones stay valid (up). `address` is what counts as one caller.
    """
    pair = f"{credentials.identifier if credentials else ''}|{address}"
    _refuse_if_throttled(pair, address)
    user = _verified(credentials)
    if user is None:
        throttle.hit("registry.login.pair", pair, PAIR_FAILURES, WINDOW)
        throttle.hit("registry.login.address", address, ADDRESS_FAILURES, WINDOW)
        raise errors.Unauthenticated(code="login_failed")
    throttle.reset("registry.login.pair", pair)
    _, secret = auth.issue_token(
        user,
        audience=AUDIENCE,
        shape="url43",
        expires=timedelta(days=settings.REGISTRY_TOKEN_DAYS),
        user_agent=user_agent,
        keep=LIVE_TOKENS,
    )
    return user, secret


def _refuse_if_throttled(pair: str, address: str) -> None:
    """Before any bcrypt work."""
    wait = max(
        throttle.peek("registry.login.pair", pair, PAIR_FAILURES, WINDOW),
        throttle.peek("registry.login.address", address, ADDRESS_FAILURES, WINDOW),
    )
    if wait:
        raise errors.Throttled(retry_after=wait, code="login_throttled")


def _verified(credentials: Credentials | None) -> User | None:
    """The account whose password this is. Whatever is wrong costs one bcrypt, so that time tells nothing."""
    if credentials is None:
        _waste_a_hash()
        return None
    user = _account(credentials)
    if user is None or not user.is_active or not user.has_usable_password():
        _waste_a_hash()
        return None
    if credentials.is_hashed:
        return user if _digest_matches(credentials.password, user.password) else None
    return user if user.check_password(credentials.password) else None


def _account(credentials: Credentials) -> User | None:
    """Exact-case match (up); user names are stored lower-case."""
    if credentials.kind == "email":
        return User.objects.filter(addresses__address=credentials.identifier).first()
    return User.objects.filter(username=credentials.identifier).first()


def _digest_matches(digest: str, encoded: str) -> bool:
    """Whether a SHA-256 hex digest is that of the stored password; only bcrypt over the digest can tell.

    The hasher stores bcrypt of the lower-case hex digest, the same that the original service stored.
    """
    if not _DIGEST.fullmatch(digest) or not encoded.startswith(_PREFIX):
        _waste_a_hash()
        return False
    stored = encoded.removeprefix(_PREFIX).encode()
    try:
        return bcrypt.checkpw(digest.lower().encode(), stored)
    except ValueError:  # what is stored is no bcrypt hash, e.g. after a broken import
        return False


def _waste_a_hash() -> None:
    hasher = get_hasher("bcrypt_sha256")
    if isinstance(hasher, BCryptSHA256PasswordHasher):
        bcrypt.hashpw(b"x", bcrypt.gensalt(hasher.rounds))


def authenticate(user_id: str, secret: str) -> ApiToken | None:
    """The live token of the pair in the two headers; one query."""
    if not user_id or not secret:
        return None
    token = auth.resolve_token(AUDIENCE, secret)
    return token if token is not None and token.user.uid == user_id else None


def log_out(token: ApiToken) -> None:
    """Only the presented token dies."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
