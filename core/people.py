"""Changes of an account that concern more than one API."""

from __future__ import annotations

from core import apps, errors
from core.models import User


def change_address(user: User, address: str) -> None:
    """Have ``address`` become the account's primary one: at once when it is one of its proven addresses, else when its
    owner follows the link that is mailed there. The old address stays the account's until then.

    The same happens to see whether or not somebody else has the address. Whoever calls this limits how often.
    """
    for config in apps.api_configs():
        ask = config.hook("change_address")
        if ask is not None:
            ask(user, address)


def check_rename(user: User) -> None:
    """Raise ``errors.Invalid`` for an account whose user name stands in something that would be lost with it."""
    for config in apps.api_configs():
        ask = config.hook("keeps_username")
        reason = ask(user) if ask is not None else ""
        if reason:
            raise errors.Invalid(reason, field="username")
