"""The mails of this app (contract 4): what they say and to whom. Queued in the caller's transaction.

A mail with a link or secret is composed when it is sent (`render` below), so that the outbox never holds one: its row
has only the ids to compose it from.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from email.utils import formataddr, parseaddr
from typing import Any

from django.conf import settings
from django.template import loader
from django.utils import timezone

from core import mail, outbox
from core.models import Mail, User
from usermgmt.formats import networks as network_lists
from usermgmt.formats import secrets
from usermgmt.jobs import pairs
from usermgmt.models import (
    AddressCheck,
    ApiClient,
    ClientChangeRequest,
    ClientCredential,
    ServiceRequest,
)

PATIENCE = outbox.Patience(tries=10, over=timedelta(days=3))
PLAIN = (
    "submitted-staff",
    "submitted-owner",
    "denied",
    "suspended",
    "reinstated",
    "revoked",
    "regenerated",
    "rotated",
    "change-requested",
    "change-decided",
    "clear-text",
    "leaked",
    "reminder",
    "escalation",
    "volume",
    "service-requested",
    "service-granted",
    "service-denied",
    "service-failed",
    "taken-address",
    "address-changed",
    "usernames",
)


def kinds() -> list[mail.Kind]:
    """Every kind of mail, for `tasks` to register: three days of tries, then an alert to staff."""
    plain = [mail.Kind(f"usermgmt.{name}", patience=PATIENCE, given_up=_alert) for name in PLAIN]
    return [
        *plain,
        mail.Kind("usermgmt.approved", patience=PATIENCE, render=render_approved, given_up=_alert),
        mail.Kind("usermgmt.check-address", patience=PATIENCE, render=render_check, given_up=_alert),
        mail.Kind("usermgmt.mail-undeliverable", patience=PATIENCE),
    ]


# -- clients -------------------------------------------------------------------------------------------------------


def submitted(client: ApiClient, *, networks: list[str]) -> None:
    """The form to staff, a receipt to the owner."""
    shown = ", ".join(map(network_lists.shown, networks))
    wide = [cidr for cidr in networks if network_lists.is_wide(cidr)]
    facts = {"client": client, "networks": shown, "wide": wide, "review": review_link(client)}
    _to_staff("submitted-staff", f"API client to review: {client.name}", facts)
    _to_owner("submitted-owner", client, f"Your API client {client.name} was registered", facts)


def approved(client: ApiClient, credential: ClientCredential) -> None:
    """Key and single-use link to the secret (or key and secret, as `USERMGMT_EMAIL_SECRET` says), made when sent."""
    if client.owner.email:
        ids = json.dumps({"credential": credential.pk})
        _queue("approved", client.owner.email, f"Your API client {client.name} was approved", ids)


def render_approved(row: Mail) -> str:
    """Compose the approval mail; the ticket or secret it makes commits only when the mail went out."""
    # Locked: the secret may be asked for on the dashboard at this moment.
    waiting = ClientCredential.objects.select_for_update(of=("self",)).select_related("client__owner", "client__api")
    credential = waiting.get(pk=json.loads(row.body)["credential"])
    facts: dict[str, Any] = {"client": credential.client, "credential": credential}
    is_open = credential.revoked_at is None and credential.secret_hmac is None
    if is_open and settings.USERMGMT_EMAIL_SECRET:
        # CyVerse: the mail has key and secret code.
        facts["secret"] = pairs.arm(credential)
    elif is_open:
        facts["reveal"] = link(f"/portal/reveal/{pairs.ticket(credential)}")
    return _text("approved", facts)


def denied(client: ApiClient) -> None:
    facts = {"client": client, "edit": client_link(client)}
    _to_owner("denied", client, f"Your API client {client.name} was not approved", facts)


def suspended(client: ApiClient) -> None:
    _to_owner("suspended", client, f"Your API client {client.name} was suspended", {"client": client})


def reinstated(client: ApiClient) -> None:
    _to_owner("reinstated", client, f"Your API client {client.name} works again", {"client": client})


def revoked(client: ApiClient) -> None:
    _to_owner("revoked", client, f"Your API client {client.name} was revoked", {"client": client})


def regenerated(client: ApiClient) -> None:
    _to_owner("regenerated", client, f"New keys for your API client {client.name}", {"client": client})


def rotated(client: ApiClient, *, until: datetime | None) -> None:
    _to_owner("rotated", client, f"New keys for your API client {client.name}", {"client": client, "until": until})


def change_requested(client: ApiClient, change: ClientChangeRequest) -> None:
    facts = {"client": client, "values": _shown_values(change.values), "review": review_link(client)}
    _to_staff("change-requested", f"Change to review: {client.name}", facts)


def change_decided(client: ApiClient, change: ClientChangeRequest, *, accepted: bool, reason: str) -> None:
    facts = {"client": client, "values": _shown_values(change.values), "accepted": accepted, "reason": reason}
    outcome = "accepted" if accepted else "not accepted"
    _to_owner("change-decided", client, f"The change of your API client {client.name} was {outcome}", facts)


def clear_text(client: ApiClient, credential_id: int) -> None:
    """A live pair was sent without encryption; told once a pair and day."""
    facts = {"client": client, "manage": client_link(client)}
    dedupe = f"usermgmt.clear-text:{credential_id}:{timezone.now():%Y-%m-%d}"
    _to_owner("clear-text", client, f"Regenerate the keys of your API client {client.name}", facts, dedupe=dedupe)


def leaked(client: ApiClient) -> None:
    facts = {"client": client, "manage": client_link(client)}
    _to_owner("leaked", client, f"The secret of your API client {client.name} leaked", facts)
    _to_staff("leaked", f"Secret leaked: {client.name}", facts)


def reminder(client: ApiClient) -> None:
    facts = {"client": client, "review": review_link(client)}
    _to_staff("reminder", f"Still to review: {client.name}", facts)


def escalation(client: ApiClient) -> None:
    facts = {"client": client, "review": review_link(client)}
    for address in settings.USERMGMT_ESCALATION_EMAIL:
        _queue("escalation", address, f"Not reviewed in two business days: {client.name}", _text("escalation", facts))


def volume(client: ApiClient, *, day: str, searches: int) -> None:
    """A client searched more than it should on a day; told once."""
    facts = {"client": client, "day": day, "searches": searches, "review": review_link(client)}
    dedupe = f"usermgmt.volume:{client.pk}:{day}"
    _to_staff("volume", f"Many searches by {client.name}", facts, dedupe=dedupe)


# -- services ------------------------------------------------------------------------------------------------------


def service_requested(request: ServiceRequest) -> None:
    _to_staff("service-requested", f"Service request to review: {request}", _request_facts(request))


def service_granted(request: ServiceRequest) -> None:
    _to_user("service-granted", request.user, f"You have access to {request.service.name}", _request_facts(request))


def service_denied(request: ServiceRequest) -> None:
    subject = f"Your request for {request.service.name} was not approved"
    _to_user("service-denied", request.user, subject, _request_facts(request))


def service_failed(request: ServiceRequest) -> None:
    _to_staff("service-failed", f"Provisioning failed: {request}", _request_facts(request))


# -- accounts ------------------------------------------------------------------------------------------------------


def check_address(check: AddressCheck) -> None:
    """The link that proves an address, made when sent."""
    subject = "Confirm your e-mail address"
    _queue("check-address", check.address, subject, json.dumps({"check": check.pk}))


def withdraw_check(check: AddressCheck) -> None:
    """Take back a confirmation mail that has not gone out: nobody waits for it any more."""
    waiting = Mail.objects.filter(kind="usermgmt.check-address", state=Mail.State.QUEUED)
    waiting.filter(body=json.dumps({"check": check.pk})).delete()


def render_check(row: Mail) -> str:
    """Compose the confirmation mail; each try makes a new link, and only the mailed one is valid."""
    check = AddressCheck.objects.select_related("user").get(pk=json.loads(row.body)["check"])
    token = secrets.new_ticket()
    check.token_sha256 = secrets.token_digest(token)
    check.save(update_fields=["token_sha256"])
    return _text("check-address", {"check": check, "link": link(f"/portal/verify/{token}")})


def taken_address(user: User, address: str) -> None:
    """Somebody wants an address that has an account already: only its owner learns that."""
    facts = {"user": user, "login": link("/portal/login"), "forgot": link("/portal/password/forgot")}
    _queue("taken-address", address, "You have an account already", _text("taken-address", facts))


def address_changed(user: User, *, old: str, new: str) -> None:
    """Tell the address an account had until now."""
    facts = {"user": user, "old": old, "new": new}
    _queue("address-changed", old, "The e-mail address of your account was changed", _text("address-changed", facts))


def usernames(user: User, address: str) -> None:
    facts = {"user": user, "login": link("/portal/login")}
    _queue("usernames", address, "Your user name", _text("usernames", facts))


# -- how -----------------------------------------------------------------------------------------------------------


def link(path: str) -> str:
    """An absolute address on this service."""
    return f"{settings.PUBLIC_BASE_URL}{path}"


def client_link(client: ApiClient) -> str:
    return link(f"/portal/api-clients/{client.pk}")


def review_link(client: ApiClient) -> str:
    # CyVerse had links that decided; this one only shows the page.
    return link(f"/admin/usermgmt/apiclient/{client.pk}/change/")


def _shown_values(values: dict[str, Any]) -> list[tuple[str, str]]:
    labels = {"url": "Website", "data_use": "Use of the data", "networks": "IP addresses"}
    shown = {
        name: ", ".join(map(network_lists.shown, value)) if name == "networks" else value
        for name, value in values.items()
    }
    return [(labels[name], shown[name]) for name in labels if name in shown]


def _request_facts(request: ServiceRequest) -> dict[str, Any]:
    review = link(f"/admin/usermgmt/servicerequest/{request.pk}/change/")
    return {"request": request, "service": request.service, "user": request.user, "review": review}


def _to_staff(name: str, subject: str, facts: dict[str, Any], *, dedupe: str | None = None) -> None:
    for number, address in enumerate(settings.USERMGMT_STAFF_EMAIL):
        _queue(name, address, subject, _text(name, facts), dedupe=f"{dedupe}:{number}" if dedupe else None)


def _to_owner(name: str, client: ApiClient, subject: str, facts: dict[str, Any], *, dedupe: str | None = None) -> None:
    _to_user(name, client.owner, subject, facts, dedupe=dedupe)


def _to_user(name: str, user: User, subject: str, facts: dict[str, Any], *, dedupe: str | None = None) -> None:
    if user.email:
        _queue(name, user.email, subject, _text(name, facts), dedupe=dedupe)


def _queue(name: str, to: str, subject: str, body: str, *, dedupe: str | None = None) -> None:
    sender = formataddr((settings.USERMGMT_SUPPORT_NAME, parseaddr(settings.DEFAULT_FROM_EMAIL)[1]))
    # Names of clients and people stand in subjects; a header takes one line and so many characters.
    mail.queue(f"usermgmt.{name}", to, " ".join(subject.split())[:200], body, dedupe=dedupe, headers={"From": sender})


def _text(name: str, facts: dict[str, Any]) -> str:
    return loader.render_to_string(f"usermgmt/mail/{name}.txt", {"support": settings.USERMGMT_SUPPORT_NAME, **facts})


def _alert(row: Mail) -> None:
    facts = {"row": row, "admin": link(f"/admin/core/mail/{row.pk}/change/")}
    for address in settings.USERMGMT_STAFF_EMAIL:
        if address != row.to:
            _queue("mail-undeliverable", address, "A mail could not be delivered", _text("mail-undeliverable", facts))
