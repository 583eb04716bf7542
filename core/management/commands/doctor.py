"""``manage.py doctor``: are the data what the code believes they are?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Q
from django.utils import timezone

from core import blobs
from core.apps import ApiConfig, api_configs
from core.models import Job, Mail, WebhookDelivery


def silent_jobs() -> Iterator[str]:
    """Active jobs that nobody works on although the sweep should have seen to them."""
    now = timezone.now()
    lost = Q(state__in=["running", "cancelling"], lease_until__lt=now - timedelta(minutes=5))
    unheard = Q(state="queued", available_at__lt=now - timedelta(hours=1))
    for job in Job.objects.filter(lost | unheard).order_by("created_at", "id")[:100]:
        yield f"job {job.pk} ({job.kind}) is {job.state} and nobody works on it; are worker and beat running?"


def stuck_messages() -> Iterator[str]:
    """Mails and webhooks that should have gone out an hour ago."""
    border = timezone.now() - timedelta(hours=1)
    for model in (Mail, WebhookDelivery):
        count = model.objects.filter(state="queued", next_at__lt=border).count()
        if count:
            yield f"{count} {model._meta.verbose_name_plural} wait although they are due"


def orphaned_blobs(config: ApiConfig) -> Iterator[str]:
    """Blobs older than two days that no row of the app refers to."""
    is_live = config.hook("live_blobs")
    if is_live is None:
        return
    border = timezone.now() - timedelta(days=2)
    batch = [entry.key for entry in blobs.keys(f"{config.label}/") if entry.modified < border]
    for key in sorted(set(batch) - set(is_live(batch))):
        yield f"blob {key} belongs to nothing"


def complaints() -> Iterator[str]:
    """Everything that is wrong, a sentence each."""
    yield from silent_jobs()
    yield from stuck_messages()
    for config in api_configs():
        yield from orphaned_blobs(config)
        invariants = config.hook("invariants")
        if invariants is not None:
            yield from invariants()


class Command(BaseCommand):
    help = "Check the data's invariants: prints each breach and exits 1 when there is one."

    def handle(self, *_args: Any, **_options: Any) -> None:
        found = list(complaints())
        for sentence in found:
            self.stderr.write(sentence)
        if found:
            raise SystemExit(1)
        self.stdout.write("All invariants hold.")
