"""What happens by the clock: reminders of undecided clients, and the end of what has expired (contract 4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from core.models import User
from usermgmt.formats import workdays
from usermgmt.jobs import mails
from usermgmt.models import (
    AccessToken,
    AddressCheck,
    ApiClient,
    ClientCredential,
    ClientDailyUsage,
    FoundCount,
    RevealTicket,
    SearchAudit,
)

AUDIT_DAYS = 90
USAGE_DAYS = 400
UNVERIFIED_DAYS = 7


def remind() -> int:
    """Remind staff after one business day without a decision, the escalation address after two; once each."""
    return _tell("reminded_at", 1, mails.reminder) + _tell("escalated_at", 2, mails.escalation)


def _tell(column: str, days: float, tell: Callable[[ApiClient], None]) -> int:
    border = workdays.before(timezone.now(), days)
    waiting = ApiClient.objects.filter(
        state=ApiClient.State.PENDING, submitted_at__lte=border, **{f"{column}__isnull": True}
    )
    told = 0
    for client in waiting.select_related("owner"):
        with transaction.atomic():
            # The row count says whether this tick or another one tells.
            if waiting.filter(pk=client.pk).update(**{column: timezone.now()}):
                tell(client)
                told += 1
    return told


def clean_up() -> dict[str, int]:
    """Delete or end what has expired; how many of each."""
    now = timezone.now()
    overlapped = ClientCredential.objects.filter(revoked_at=None, expires_at__lte=now).update(revoked_at=now)
    unverified = AddressCheck.objects.filter(
        purpose=AddressCheck.Purpose.REGISTER,
        used_at=None,
        created_at__lte=now - timedelta(days=UNVERIFIED_DAYS),
        user__is_validated=False,
        user__is_active=False,
    )
    gone = {
        "tokens": AccessToken.objects.filter(expires_at__lte=now),
        "tickets": RevealTicket.objects.filter(expires_at__lte=now),
        "audit": SearchAudit.objects.filter(at__lte=now - timedelta(days=AUDIT_DAYS)),
        "usage": ClientDailyUsage.objects.filter(day__lte=now.date() - timedelta(days=USAGE_DAYS)),
        "found": FoundCount.objects.filter(day__lte=now.date() - timedelta(days=USAGE_DAYS)),
        "registrations": User.objects.filter(pk__in=unverified.values("user_id")),
    }
    deleted = {name: rows.delete()[0] for name, rows in gone.items()}
    return {"overlapped": overlapped, **deleted}
