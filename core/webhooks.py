"""Signed notices to other people's URLs: written in the transaction of the event, delivered by a job, tried for a day.

Each request carries ``<header>: t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">``. The key is the hex SHA-256 of a
secret the receiver knows, so that no secret is stored here in clear. Redirects are never followed, and the URL is
reached through ``core.egress``; plain http only where ``ALLOW_PRIVATE_NETWORKS`` is on.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog
from django.conf import settings

from core import egress, errors, jobs, outbox
from core.models import WebhookDelivery

log = structlog.get_logger(__name__)

SECONDS: Final = 10.0
ANSWER_LIMIT: Final = 64 * 1024
_URL_LENGTH: Final = 2000
_TOLERANCE: Final = 300


@dataclass(frozen=True)
class Event:
    """How deliveries of one event are treated; events nobody registered are tried eight times over a day.

    ``answered(delivery, response)`` is called in the delivering transaction after a 2xx answer; it may raise
    ``outbox.Undelivered`` to have it tried again. ``given_up(delivery)`` is called in that of the last failure.
    """

    name: str
    patience: outbox.Patience = field(default_factory=outbox.Patience)
    answered: Callable[[WebhookDelivery, egress.Response], None] | None = None
    given_up: Callable[[WebhookDelivery], None] | None = None


_events: dict[str, Event] = {}


def register(event: Event) -> Event:
    """Make an event known; each app does so in its ``tasks`` module."""
    _events[event.name] = event
    return event


def queue(
    event: str,
    url: str,
    payload: Any,
    secret: str = "",
    *,
    key: str = "",
    header: str = "Webhook-Signature",
    dedupe: str | None = None,
) -> WebhookDelivery:
    """Put a POST of ``payload`` as JSON (or of a ``str`` as it is) into the outbox, in the caller's transaction.

    Signed with ``key`` when given (64 hex digits, SHA-256 of the secret), else with that of ``secret``. With
    ``dedupe`` there is one delivery of that key for ever. Raises ``errors.Invalid`` for a URL ``check_url`` refuses.
    """
    check_url(url)
    if bool(secret) == bool(key):
        raise ValueError("a webhook is signed with either a secret or its key")
    return BOX.put(
        WebhookDelivery(
            event=event,
            url=url,
            header=header,
            body=payload if isinstance(payload, str) else orjson.dumps(payload).decode(),
            key=key or key_of(secret),
            dedupe=dedupe,
        )
    )


def check_url(url: str) -> None:
    """Raise ``errors.Invalid`` for what cannot be a webhook's URL; its addresses are checked at each delivery."""
    if len(url) > _URL_LENGTH:
        raise errors.Invalid("The address is too long.", field="url")
    target = egress.check_url(url)
    if target.scheme != "https" and not settings.ALLOW_PRIVATE_NETWORKS:
        raise errors.Invalid("A webhook needs an https address.", field="url")


def key_of(secret: str) -> str:
    """The signing key of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def sign(key: str, body: bytes, *, at: int) -> str:
    """The value of the signature header for ``body`` sent at ``at`` (Unix seconds)."""
    mac = hmac.new(key.encode(), b"%d." % at + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def verify(key: str, body: bytes, value: str, *, now: float | None = None) -> bool:
    """What a receiver does: whether the header's ``value`` is right for ``body`` and at most five minutes old."""
    stamp = value.removeprefix("t=").partition(",")[0]
    if not stamp.isdecimal() or abs((time.time() if now is None else now) - int(stamp)) > _TOLERANCE:
        return False
    return hmac.compare_digest(sign(key, body, at=int(stamp)), value)


def _deliver(delivery: WebhookDelivery) -> None:
    body = delivery.body.encode()
    headers = {
        "Content-Type": "application/json",
        delivery.header: sign(delivery.key, body, at=int(time.time())),
        "Webhook-Id": str(delivery.pk),
    }
    try:
        check_url(delivery.url)
        response = egress.post(delivery.url, body, headers=headers, redirects=0, limit=ANSWER_LIMIT, seconds=SECONDS)
    except errors.Fact as fact:
        raise outbox.Undelivered(fact.message) from fact
    delivery.last_status = response.status
    if not response.is_success:
        raise outbox.Undelivered(f"The answer was {response.status}.", status=response.status)
    answered = _event_of(delivery).answered
    if answered is not None:
        answered(delivery, response)


def _event_of(delivery: WebhookDelivery) -> Event:
    return _events.get(delivery.event, Event(delivery.event))


def _given_up(delivery: WebhookDelivery) -> None:
    log.error("webhook_given_up", delivery=delivery.pk, webhook_event=delivery.event)
    given_up = _event_of(delivery).given_up
    if given_up is not None:
        given_up(delivery)


BOX: outbox.Outbox[WebhookDelivery] = outbox.Outbox(
    WebhookDelivery, "core.webhook", _deliver, lambda delivery: _event_of(delivery).patience, _given_up
)
JOB = jobs.Kind("core.webhook", BOX.work, time_limit=120)


def sweep() -> int:
    """Find deliveries whose job was lost; for the clock."""
    return BOX.sweep()


def retry(delivery: WebhookDelivery) -> bool:
    """Deliver now, with all its tries anew; False when it has been delivered."""
    return BOX.again(delivery)
