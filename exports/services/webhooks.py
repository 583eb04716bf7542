"""Registering and removing the webhooks of a repository."""

from __future__ import annotations

import ipaddress
import secrets
from typing import Any

from django.conf import settings
from django.db import transaction

from core import egress, errors, webhooks
from core.models import User
from exports.models import Repo, Webhook
from exports.writing import clock

EVENTS = ("ready", "failed")


def check_url(url: str) -> None:
    """Raise ``errors.Invalid`` naming the field for what may not be a webhook's address. Names are resolved and
    checked at each delivery; an address written out can be refused here."""
    try:
        webhooks.check_url(url)
        host = egress.check_url(url).host
        if _is_literal(host):
            egress.check_address(host)
    except errors.Invalid as fact:
        raise errors.Invalid(fact.message, field="url") from None


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def register(repo: Repo, *, url: str, events: list[str], user: User) -> tuple[Webhook, str]:
    """A new webhook and its secret, which is stored only hashed and never shown again."""
    check_url(url)
    secret = secrets.token_hex(32)
    with transaction.atomic():
        clock.lock(repo.pk)  # so that simultaneous requests do not pass the limit
        held = Webhook.objects.filter(repo=repo)
        if held.filter(url=url).exists():
            raise errors.Conflict("This address is registered already.", code="duplicate")
        if held.count() >= settings.EXPORTS_MAX_WEBHOOKS:
            raise errors.Conflict(f"A repository has at most {settings.EXPORTS_MAX_WEBHOOKS} webhooks.", code="full")
        made = Webhook.objects.create(
            repo=repo,
            url=url,
            key=webhooks.key_of(secret),
            on_ready="ready" in events,
            on_failed="failed" in events,
            created_by=user.username,
        )
    return made, secret


def asked(data: dict[str, Any]) -> tuple[str, list[str]]:
    """Address and events of a request's body; raises ``errors.Invalid``."""
    url, events = data.get("url"), data.get("events", list(EVENTS))
    if not isinstance(url, str) or not url:
        raise errors.Invalid("This field is required.", field="url")
    if not isinstance(events, list) or not events or not all(one in EVENTS for one in events):
        raise errors.Invalid("A list of ready and failed is expected.", field="events")
    return url, events


def remove(hook: Webhook) -> None:
    hook.delete()
