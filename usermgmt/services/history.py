"""The append-only history of a client."""

from __future__ import annotations

from core.models import User
from usermgmt.formats import networks
from usermgmt.models import ApiClient, ClientEvent


def note(
    client: ApiClient,
    *,
    actor: User | None,
    action: str,
    from_state: str = "",
    to_state: str = "",
    reason: str = "",
    address: networks.Address | None = None,
) -> None:
    """Write down one thing that happened, in the caller's transaction."""
    ClientEvent.objects.create(
        client=client,
        actor=actor,
        action=action,
        from_state=from_state,
        to_state=to_state,
        reason=reason,
        address=str(address) if address else None,
    )
