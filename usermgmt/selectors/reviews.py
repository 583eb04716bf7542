"""How long reviews take (contract 10.12)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from usermgmt.formats import workdays
from usermgmt.models import ApiClient, ClientEvent


@dataclass(frozen=True)
class Times:
    """Decisions of the last 90 days; business days from submission to decision, None without any decision."""

    decided: int
    waiting: int
    median: float | None
    slowest: float | None


def times() -> Times:
    """Review-time statistics from the history: each decision against the submission before it."""
    waiting = ApiClient.objects.filter(state=ApiClient.State.PENDING).count()
    since = timezone.now() - timedelta(days=90)
    decisions = ClientEvent.objects.filter(action__in=["approved", "denied"], at__gte=since).values_list("client", "at")
    clients = [client for client, _ in decisions]
    submissions = list(
        ClientEvent.objects.filter(action__in=["registered", "resubmitted"], client__in=clients).values_list(
            "client", "at"
        )
    )
    took = [
        workdays.between(max(at for who, at in submissions if who == client and at <= decided), decided)
        for client, decided in decisions
        if any(who == client and at <= decided for who, at in submissions)
    ]
    if not took:
        return Times(0, waiting, None, None)
    return Times(len(took), waiting, statistics.median(took), max(took))
