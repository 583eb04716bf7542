"""Asking for runs: one active run per harvest, and the schedule that asks by the clock (contract 4.1, 4.2)."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import jobs as core_jobs
from core.models import Job, User
from registry.models import Harvest, HarvestRun

HARVEST_KIND = "registry.harvest"
DELETE_KIND = "registry.delete"


def fingerprint(harvest_id: int) -> str:
    """What makes two requests for the same source one job."""
    return f"harvest:{harvest_id}"


def run_of(
    harvest: Harvest, *, trigger: str, requester: User | None = None, mode: str = "source", upload: str = ""
) -> tuple[HarvestRun, bool]:
    """The active run of a harvest, and whether this request made it; a further request joins it.

    A run that is being cancelled can commit nothing any more, so it is not joined: it counts as cancelled from now on.
    """
    params = {"harvest": harvest.pk, "mode": mode, "upload": upload}
    with transaction.atomic():
        job, is_new = _submitted(harvest, params, requester)
        while not is_new and job.state == Job.State.CANCELLING:
            core_jobs.release(job.pk)
            ended = HarvestRun.objects.filter(job=job, state__in=HarvestRun.ACTIVE)
            ended.update(state=HarvestRun.State.CANCELLED, stage="", finished_at=timezone.now())
            job, is_new = _submitted(harvest, params, requester)
        if is_new:
            return HarvestRun.objects.create(harvest=harvest, job=job, trigger=trigger, requester=requester), True
        joined = "UPDATE registry_harvestrun SET coalesced = coalesced + 1 WHERE job_id = %s RETURNING *"
        return HarvestRun.objects.raw(joined, [job.pk])[0], False


def _submitted(harvest: Harvest, params: dict[str, Any], requester: User | None) -> tuple[Job, bool]:
    return core_jobs.submit(HARVEST_KIND, params, fingerprint=fingerprint(harvest.pk), requested_by=requester)


def queue_due() -> int:
    """Start a run for every published source whose time has come; how many were started."""
    now = timezone.now()
    due = (
        Harvest.objects.filter(publish=True, paused=False, deleting=False, harvest_interval__gt=0)
        .filter(next_due__lte=now)
        .exclude(Q(runs__state__in=HarvestRun.ACTIVE))
        .order_by("next_due", "id")
    )
    return sum(run_of(harvest, trigger=HarvestRun.Trigger.SCHEDULE)[1] for harvest in due[:500])
