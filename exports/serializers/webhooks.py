"""Webhooks on the API; the secret is not among what can be read."""

from typing import Any

from exports.formats import stamps
from exports.models import Webhook


def webhook(found: Webhook) -> dict[str, Any]:
    return {
        "type": "Webhook",
        "id": str(found.pk),
        "url": found.url,
        "events": found.events,
        "repository": found.repo.uri,
        "created_on": stamps.iso(found.created_at),
        "created_by": found.created_by,
    }
