"""The life of an API client: registered, reviewed, changed, suspended, revoked (contract 3).

Every move is one conditional UPDATE from the state it starts in; its row count says who won. A move that is not in
`MOVES`, or that somebody else made first, changes nothing and raises `errors.Conflict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import errors
from core.models import User
from usermgmt.formats import networks as network_lists
from usermgmt.jobs import mails, pairs
from usermgmt.models import Api, ApiClient, ClientChangeRequest, ClientNetwork, Service
from usermgmt.services import credentials, history

State = ApiClient.State
MOVES: Mapping[str, frozenset[str]] = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED}),
    State.DENIED: frozenset({State.PENDING}),
    State.APPROVED: frozenset({State.SUSPENDED, State.REVOKED}),
    State.SUSPENDED: frozenset({State.APPROVED, State.REVOKED}),
    State.REVOKED: frozenset(),
}


@dataclass(frozen=True)
class Form:
    """What an author says about a client; all of it is required. `networks` as typed."""

    name: str
    description: str
    url: str
    networks: str
    data_use: str


def register(*, owner: User, api: Api, form: Form, address: network_lists.Address | None = None) -> ApiClient:
    """A new pending client. Raises `errors.NotFound` for a closed API, `errors.Invalid` with the field at fault."""
    if not api.is_open:
        raise errors.NotFound(code="api")
    cidrs = network_lists.parse(form.networks)
    with transaction.atomic():
        client = ApiClient(owner=owner, api=api, scopes=list(api.scopes))
        _fill(client, form)
        _save(client)
        _set_networks(client, cidrs)
        history.note(client, actor=owner, action="registered", to_state=State.PENDING, address=address)
        mails.submitted(client, networks=cidrs)
    return client


def resubmit(client: ApiClient, *, form: Form, address: network_lists.Address | None = None) -> None:
    """Edit a pending client, or edit and send back a denied one."""
    cidrs = network_lists.parse(form.networks)
    with transaction.atomic():
        locked = _locked(client)
        if locked.state not in (State.PENDING, State.DENIED):
            raise errors.Conflict("This client was decided meanwhile.", code="decided")
        before = locked.state
        _fill(locked, form)
        _save(locked)
        _set_networks(locked, cidrs)
        if before == State.DENIED:
            fresh: dict[str, Any] = dict.fromkeys(("reminded_at", "escalated_at", "decided_by", "decided_at"))
            _move(locked, to=State.PENDING, submitted_at=timezone.now(), decision_reason="", **fresh)
            mails.submitted(locked, networks=cidrs)
        action = "resubmitted" if before == State.DENIED else "edited"
        history.note(
            locked, actor=locked.owner, action=action, from_state=before, to_state=State.PENDING, address=address
        )


def approve(client: ApiClient, *, actor: User, reason: str = "") -> None:
    """Let a pending client in: it gets a key (unless it has one) and its owner a mail with the link to the secret."""
    with transaction.atomic():
        locked = _decidable(client, actor=actor)
        _decide(locked, to=State.APPROVED, actor=actor, reason=reason, action="approved")
        credential = locked.credentials.filter(revoked_at=None).first() or pairs.make(locked)
        mails.approved(locked, credential)


def deny(client: ApiClient, *, actor: User, reason: str) -> None:
    """Turn a pending client down; the owner is told why and may edit and resubmit."""
    _require(reason)
    with transaction.atomic():
        locked = _decidable(client, actor=actor)
        _decide(locked, to=State.DENIED, actor=actor, reason=reason, action="denied")
        mails.denied(locked)


def suspend(client: ApiClient, *, actor: User | None, reason: str = "") -> None:
    """Stop an approved client at once; its tokens die, its pair stays for a reinstatement."""
    with transaction.atomic():
        locked = _locked(client)
        _decide(locked, to=State.SUSPENDED, actor=actor, reason=reason, action="suspended")
        locked.tokens.all().delete()
        mails.suspended(locked)


def reinstate(client: ApiClient, *, actor: User, reason: str = "") -> None:
    """Let a suspended client work again, with the pair it had."""
    with transaction.atomic():
        locked = _locked(client)
        if locked.state != State.SUSPENDED:
            raise _conflict(locked, State.APPROVED)
        _refuse_own(locked, actor)
        _decide(locked, to=State.APPROVED, actor=actor, reason=reason, action="reinstated")
        mails.reinstated(locked)


def revoke(client: ApiClient, *, actor: User, reason: str = "", address: network_lists.Address | None = None) -> None:
    """End a client for good, by its owner or staff; pairs and tokens die."""
    with transaction.atomic():
        locked = _locked(client)
        _decide(locked, to=State.REVOKED, actor=actor, reason=reason, action="revoked", address=address)
        credentials.retire_all(locked)
        locked.changes.filter(state=ClientChangeRequest.State.OPEN).update(state=ClientChangeRequest.State.WITHDRAWN)
        mails.revoked(locked)


def narrow(
    client: ApiClient,
    *,
    actor: User,
    scopes: list[str],
    services: list[Service] | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Set what a client may use: a part of its API's scopes; the services given, or all for None; until when."""
    with transaction.atomic():
        locked = _locked(client)
        unknown = set(scopes) - set(locked.api.scopes)
        if unknown:
            raise errors.Invalid(f"The API has no scope {', '.join(sorted(unknown))}.", field="scopes")
        locked.scopes = [scope for scope in locked.api.scopes if scope in scopes]
        locked.is_limited_to_services = services is not None
        locked.expires_at = expires_at
        locked.save(update_fields=["scopes", "is_limited_to_services", "expires_at"])
        locked.services.set(services or [])
        reason = ", ".join(locked.scopes) or "none"
        history.note(locked, actor=actor, action="scopes narrowed", reason=reason)


def propose(
    client: ApiClient, *, form: Form, actor: User, address: network_lists.Address | None = None
) -> ClientChangeRequest | None:
    """Edit an approved client: name and description at once, the rest as a change request for staff.

    An open request is replaced. None when nothing that staff must see changes.
    """
    cidrs = network_lists.parse(form.networks)
    with transaction.atomic():
        locked = _locked(client)
        if locked.state != State.APPROVED:
            raise errors.Conflict("Only an approved client can be changed this way.", code="not_approved")
        values = _proposed(locked, form, cidrs)
        locked.name, locked.description = form.name, form.description
        _save(locked)
        open_changes = locked.changes.filter(state=ClientChangeRequest.State.OPEN)
        open_changes.update(state=ClientChangeRequest.State.WITHDRAWN)
        if not values:
            return None
        change = ClientChangeRequest.objects.create(client=locked, values=values)
        history.note(locked, actor=actor, action="change requested", reason=", ".join(sorted(values)), address=address)
        mails.change_requested(locked, change)
        return change


def decide_change(change: ClientChangeRequest, *, actor: User, accept: bool, reason: str = "") -> None:
    """Accept a change request, so that its values become the client's, or refuse it with a reason."""
    if not accept:
        _require(reason)
    state = ClientChangeRequest.State.ACCEPTED if accept else ClientChangeRequest.State.REFUSED
    with transaction.atomic():
        client = _locked(change.client)
        _refuse_own(client, actor)
        done = ClientChangeRequest.objects.filter(pk=change.pk, state=ClientChangeRequest.State.OPEN).update(
            state=state, reason=reason, decided_by=actor, decided_at=timezone.now()
        )
        if not done:
            raise errors.Conflict("This change was decided already.", code="decided")
        if accept:
            _apply(client, change.values)
        history.note(client, actor=actor, action=f"change {state}", reason=reason or ", ".join(sorted(change.values)))
        mails.change_decided(client, change, accepted=accept, reason=reason)


def _apply(client: ApiClient, values: dict[str, Any]) -> None:
    client.url = values.get("url", client.url)
    client.data_use = values.get("data_use", client.data_use)
    client.save(update_fields=["url", "data_use"])
    if "networks" in values:
        _set_networks(client, values["networks"])


def _proposed(client: ApiClient, form: Form, cidrs: list[str]) -> dict[str, Any]:
    current = {
        "url": client.url,
        "data_use": client.data_use,
        "networks": [network.cidr for network in client.networks.all()],
    }
    wanted: dict[str, Any] = {"url": form.url, "data_use": form.data_use, "networks": cidrs}
    return {name: value for name, value in wanted.items() if value != current[name]}


def _fill(client: ApiClient, form: Form) -> None:
    client.name, client.description = form.name, form.description
    client.url, client.data_use = form.url, form.data_use


def _save(client: ApiClient) -> None:
    try:
        with transaction.atomic():
            client.save()
    except IntegrityError as error:
        if "usermgmt_client_name_an_owner" not in str(error):
            raise
        raise errors.Invalid("You already have a client of this name.", field="name") from None


def _set_networks(client: ApiClient, cidrs: list[str]) -> None:
    client.networks.all().delete()
    ClientNetwork.objects.bulk_create(ClientNetwork(client=client, cidr=cidr) for cidr in cidrs)


def _locked(client: ApiClient) -> ApiClient:
    return (
        ApiClient.objects.select_for_update(of=("self",)).select_related("owner", "api__maintainer").get(pk=client.pk)
    )


def _decidable(client: ApiClient, *, actor: User) -> ApiClient:
    locked = _locked(client)
    if locked.state != State.PENDING:
        raise _conflict(locked, "a decision")
    _refuse_own(locked, actor)
    return locked


def _refuse_own(client: ApiClient, actor: User) -> None:
    if client.owner_id == actor.pk:
        raise errors.Denied("Nobody decides on their own client.", code="own_client")


def _decide(
    client: ApiClient,
    *,
    to: str,
    actor: User | None,
    reason: str,
    action: str,
    address: network_lists.Address | None = None,
) -> None:
    before = client.state
    _move(client, to=to, decided_by=actor, decided_at=timezone.now(), decision_reason=reason)
    history.note(client, actor=actor, action=action, from_state=before, to_state=to, reason=reason, address=address)


def _move(client: ApiClient, *, to: str, **fields: Any) -> None:
    before = client.state
    if to not in MOVES[before]:
        raise _conflict(client, to)
    if not ApiClient.objects.filter(pk=client.pk, state=before).update(state=to, **fields):
        raise _conflict(client, to)
    client.state = to
    for name, value in fields.items():
        setattr(client, name, value)


def _conflict(client: ApiClient, to: str) -> errors.Conflict:
    who = f" by {client.decided_by}" if client.decided_by else ""
    return errors.Conflict(f"{client.name} is {client.state} already{who}.", code="decided", wanted=to)


def _require(reason: str) -> None:
    if not reason.strip():
        raise errors.Invalid("A reason is required; the owner reads it.", field="reason")
