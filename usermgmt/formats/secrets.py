"""Keys, secrets and tokens of API clients (contract 5).

A secret carries a prefix that scanners find and a checksum that lets them drop look-alikes; at rest there is only its
HMAC under a pepper. A keyed hash without stretching is sound because the secrets are random, not chosen.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib

KEY_LENGTH = 22
SECRET_PREFIX = "cvs_"  # noqa: S105 - the public prefix of a secret, not a secret
TOKEN_PREFIX = "cvt_"  # noqa: S105
_KEY_ALPHABET = string.digits + string.ascii_lowercase
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 36
_CHECK_LENGTH = 6
_SECRET = re.compile(r"cvs_[0-9A-Za-z]{42}", re.ASCII)


def new_key() -> str:
    """A client's public identifier: 22 random characters `[0-9a-z]`."""
    return "".join(secrets.choice(_KEY_ALPHABET) for _ in range(KEY_LENGTH))


def new_secret() -> str:
    """A secret: `cvs_`, 36 random base62 characters (214 bits), 6 characters of checksum over what precedes."""
    body = SECRET_PREFIX + "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_LENGTH))
    return body + checksum(body)


def new_token() -> str:
    """An access token: `cvt_` and 43 URL-safe characters (256 bits)."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_ticket() -> str:
    """A single-use link token: 43 URL-safe characters (256 bits)."""
    return secrets.token_urlsafe(32)


def checksum(text: str) -> str:
    """CRC-32 of the text as six base62 digits, most significant first."""
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK_LENGTH):
        rest, digit = divmod(rest, 62)
        digits = _BASE62[digit] + digits
    return digits


def is_secret(text: str) -> bool:
    """Tell whether the text has the shape and the checksum of a secret made here."""
    return bool(_SECRET.fullmatch(text)) and checksum(text[:-_CHECK_LENGTH]) == text[-_CHECK_LENGTH:]


def secret_hmac(secret: str, pepper: str) -> str:
    """What is stored of a secret: HMAC-SHA256(pepper, secret) in hexadecimal."""
    return hmac.digest(pepper.encode(), secret.encode("utf-8", "surrogatepass"), "sha256").hex()


def token_digest(token: str) -> str:
    """What is stored of a random token: its SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def equal(left: str, right: str) -> bool:
    """Compare two digests in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
