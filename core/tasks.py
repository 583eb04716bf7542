"""The core's own jobs and ticks: mail, webhooks, the sweeps, and the house-keeping of what all five share."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from core import blobs, clock, jobs, mail, webhooks
from core.accounts import reset
from core.apps import api_configs


def sweep_blobs() -> int:
    """Delete blobs no row refers to and uploads whose writer died; how many there were."""
    swept = blobs.abort_stale_uploads(timedelta(days=1))
    for config in api_configs():
        is_live = config.hook("live_blobs")
        if is_live is not None:
            swept += blobs.sweep_orphans(config.label, is_live)
    return swept


mail.register(reset.KIND)
jobs.register(mail.JOB)
jobs.register(webhooks.JOB)

clock.register(clock.Tick("jobs.sweep", timedelta(seconds=settings.JOB_SWEEP_SECONDS), jobs.sweep))
clock.register(clock.Tick("jobs.prune", timedelta(hours=1), jobs.prune))
clock.register(clock.Tick("blobs.sweep", timedelta(hours=1), sweep_blobs))
clock.register(clock.Tick("mail.sweep", timedelta(minutes=1), mail.sweep))
clock.register(clock.Tick("webhooks.sweep", timedelta(minutes=1), webhooks.sweep))
