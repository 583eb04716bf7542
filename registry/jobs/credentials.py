"""User name and password of a source, kept encrypted and sent as Basic to that source's own origin only (RFC 7617)."""

from __future__ import annotations

import base64
import hmac
import json

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from core import errors
from core import jobs as core_jobs
from registry.formats import listing

LONGEST = 200


def seal(user: str, password: str, *, url: str) -> str:
    """Encrypted credentials for the origin of a source's address; Invalid if Basic cannot carry them."""
    if not user or ":" in user or not (user + password).isprintable():
        raise errors.Invalid("A user name must not hold a colon, and neither part control characters.")
    told = {"origin": listing.exact_origin(url), "user": user, "password": password}
    return _box().encrypt(json.dumps(told).encode()).decode()


def headers(sealed: str, *, url: str) -> dict[str, str]:
    """What to send to the source; nothing if there are no credentials or they were given for another origin."""
    if not sealed:
        return {}
    try:
        told = json.loads(_box().decrypt(sealed.encode()))
    except InvalidToken as error:
        message = "The stored user name and password cannot be read any more; enter them again."
        raise core_jobs.Failure("internal", message) from error
    if told["origin"] != listing.exact_origin(url):
        return {}
    pair = f"{told['user']}:{told['password']}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _box() -> MultiFernet:
    """The first key encrypts, every key decrypts."""
    keys = (
        hmac.digest(key.encode(), b"registry source credentials", "sha256") for key in settings.REGISTRY_CREDENTIAL_KEYS
    )
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
