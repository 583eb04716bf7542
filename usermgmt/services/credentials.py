"""Pairs of key and secret: made at approval, armed when shown, replaced, rotated, revoked (contract 5 and 7).

A pair is born without a secret. Its secret is generated at the moment somebody sees it and only its HMAC is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from core import errors
from core.models import User
from usermgmt.formats import networks, secrets
from usermgmt.jobs import mails, pairs
from usermgmt.models import AccessToken, ApiClient, ClientCredential, RevealTicket
from usermgmt.services import history

OVERLAPS = {"0": timedelta(0), "24": timedelta(hours=24), "168": timedelta(days=7)}
"""How long the old pair stays valid after a rotation, by the form's value in hours."""


@dataclass(frozen=True)
class Shown:
    """A pair with its secret in clear, for the one answer that shows it."""

    credential: ClientCredential
    secret: str


def reveal(token: str, *, owner: User) -> Shown:
    """Use up a reveal link: generate the secret of its pair and return it, once.

    Raises `errors.NotFound` for a foreign, unknown, used or expired link, or a pair that is no longer live.
    """
    with transaction.atomic():
        ticket = _ticket(token, owner=owner)
        # The pair is locked before its tickets, as by `reveal_own`: two who show it at once do not wait in a ring.
        credential = _unarmed(ticket.credential_id, owner=owner) if ticket else None
        if credential is None:
            raise errors.NotFound(code="no_ticket")
        return _show(credential, owner=owner)


def is_revealable(token: str, *, owner: User) -> bool:
    """Tell whether `reveal` would show a secret; looking at the link changes nothing."""
    return _ticket(token, owner=owner) is not None


def reveal_own(credential_id: int, *, owner: User) -> Shown:
    """Generate and return the secret of one's own pair that never had one (the dashboard's *Reveal* button)."""
    with transaction.atomic():
        credential = _unarmed(credential_id, owner=owner)
        if credential is None:
            raise errors.NotFound(code="no_credential")
        return _show(credential, owner=owner)


def _unarmed(credential_id: int, *, owner: User) -> ClientCredential | None:
    """A pair of the owner's approved client whose secret nobody has seen yet, locked."""
    return (
        ClientCredential.objects.select_for_update(of=("self",))
        .select_related("client")
        .filter(
            pk=credential_id,
            client__owner=owner,
            client__state=ApiClient.State.APPROVED,
            secret_hmac=None,
            revoked_at=None,
        )
        .first()
    )


def _show(credential: ClientCredential, *, owner: User) -> Shown:
    """Generate the secret of a locked pair; every link to it ends."""
    RevealTicket.objects.filter(credential=credential, used_at=None).update(used_at=timezone.now())
    secret = pairs.arm(credential)
    history.note(credential.client, actor=owner, action="secret revealed")
    return Shown(credential, secret)


def regenerate(client: ApiClient, *, seen: int, actor: User, address: networks.Address | None = None) -> Shown | None:
    """Replace key and secret at once: old pairs and their tokens are dead when this commits.

    `seen` is the pair the form was made for; when that is not the newest any more the form was sent twice, nothing
    changes and None is returned.
    """
    with transaction.atomic():
        client = _lock(client)
        if _newest(client) != seen:
            return None
        _retire_all(client)
        shown = _make_shown(client, slot=1)
        ApiClient.objects.filter(pk=client.pk).update(please_rotate=False)
        history.note(client, actor=actor, action="keys regenerated", address=address)
        mails.regenerated(client)
        return shown


def rotate(
    client: ApiClient, *, seen: int, overlap: timedelta, actor: User, address: networks.Address | None = None
) -> Shown | None:
    """Make a new pair while the newest old one stays valid for `overlap`; never more than two live.

    `seen` and the answer are as for `regenerate`.
    """
    with transaction.atomic():
        client = _lock(client)
        if _newest(client) != seen:
            return None
        now = timezone.now()
        live = list(client.credentials.filter(revoked_at=None))
        kept = next((pair for pair in live if pair.pk == seen), None) if overlap else None
        _retire([pair for pair in live if pair is not kept], now=now)
        if kept is not None:
            kept.expires_at = min(filter(None, [kept.expires_at, now + overlap]))
            kept.save(update_fields=["expires_at"])
        shown = _make_shown(client, slot=3 - kept.slot if kept else 1)
        ApiClient.objects.filter(pk=client.pk).update(please_rotate=False)
        history.note(client, actor=actor, action=f"keys rotated, old pair valid {_words(overlap)}", address=address)
        mails.rotated(client, until=kept.expires_at if kept else None)
        return shown


def retire_all(client: ApiClient) -> None:
    """Revoke every pair and token of a client; part of a larger transaction."""
    _retire_all(client)


def _retire_all(client: ApiClient) -> None:
    _retire(list(client.credentials.filter(revoked_at=None)), now=timezone.now())
    AccessToken.objects.filter(client=client).delete()


def _retire(live: list[ClientCredential], *, now: datetime) -> None:
    ids = [pair.pk for pair in live]
    ClientCredential.objects.filter(pk__in=ids).update(revoked_at=now)
    RevealTicket.objects.filter(credential__in=ids, used_at=None).update(used_at=now)
    AccessToken.objects.filter(credential__in=ids).delete()


def _make_shown(client: ApiClient, *, slot: int) -> Shown:
    credential = pairs.make(client, slot=slot)
    return Shown(credential, pairs.arm(credential))


def _newest(client: ApiClient) -> int | None:
    return client.credentials.values_list("pk", flat=True).first()


def _lock(client: ApiClient) -> ApiClient:
    locked = ApiClient.objects.select_for_update().get(pk=client.pk)
    if locked.state != ApiClient.State.APPROVED:
        raise errors.Conflict("Only an approved client has keys.", code="not_approved")
    return locked


def _ticket(token: str, *, owner: User) -> RevealTicket | None:
    tickets = RevealTicket.objects.filter(
        token_sha256=secrets.token_digest(token),
        used_at=None,
        expires_at__gt=timezone.now(),
        credential__secret_hmac=None,
        credential__revoked_at=None,
        credential__client__owner=owner,
        credential__client__state=ApiClient.State.APPROVED,
    )
    return tickets.first()


def _words(overlap: timedelta) -> str:
    return {"0": "no longer", "24": "24 hours", "168": "7 days"}[str(int(overlap.total_seconds() // 3600))]
