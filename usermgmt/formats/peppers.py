"""The keys of the stored HMACs: several, so that one can be replaced while secrets made under it live on."""

from __future__ import annotations

from django.conf import settings

from usermgmt.formats import secrets


def stored(secret: str) -> tuple[str, str]:
    """The HMAC of a new secret under the newest pepper, and that pepper's id."""
    pepper_id, pepper = settings.USERMGMT_SECRET_PEPPERS[0]
    return secrets.secret_hmac(secret, pepper), pepper_id


def matches(secret: str, stored_hmac: str | None, pepper_id: str) -> bool:
    """Tell whether a secret belongs to a stored HMAC; the same work is done when there is none to compare with."""
    peppers = dict(settings.USERMGMT_SECRET_PEPPERS)
    pepper = peppers.get(pepper_id, settings.USERMGMT_SECRET_PEPPERS[0][1])
    is_equal = secrets.equal(secrets.secret_hmac(secret, pepper), stored_hmac or "")
    return is_equal and pepper_id in peppers
