"""An account's other e-mail address: the old one stays the account's until the new one is proven."""

from __future__ import annotations

from core import apps
from core.models import User


def change(user: User, address: str) -> None:
    """Have ``address`` become the account's primary one: at once when it is one of its proven addresses, else when its
    owner follows the link that is mailed there.

    The same happens to see whether or not somebody else has the address. Whoever calls this limits how often.
    """
    for config in apps.api_configs():
        ask = config.hook("change_address")
        if ask is not None:
            ask(user, address)
