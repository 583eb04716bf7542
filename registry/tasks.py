"""Which jobs the registry has, with what limits, and what it does by the clock."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from core import clock
from core import jobs as core_jobs
from core.models import Job
from registry.jobs import ckan, errands, finish, harvest, remove, request, undo


def _words(job: Job) -> dict[str, str]:
    """What Flower shows of a run."""
    return {"harvest": str(job.params.get("harvest", ""))}


core_jobs.register(
    core_jobs.Kind(
        request.HARVEST_KIND,
        harvest.work,
        queue="harvest",
        lease_seconds=settings.REGISTRY_LEASE_SECONDS,
        time_limit=settings.REGISTRY_RUN_SECONDS,
        settled=finish.settled,
        describe=_words,
    )
)
core_jobs.register(core_jobs.Kind(request.DELETE_KIND, remove.work, time_limit=3600))
for name, errand in errands.KINDS.items():
    core_jobs.register(core_jobs.Kind(name, errand, time_limit=3600))
core_jobs.register(core_jobs.Kind("registry.ckan", ckan.work, time_limit=60))

clock.register(
    clock.Tick("registry.schedule", timedelta(seconds=settings.REGISTRY_SCHEDULE_SECONDS), request.queue_due)
)
clock.register(clock.Tick("registry.prune", timedelta(hours=1), remove.prune_runs))
clock.register(clock.Tick("registry.prune_undo", timedelta(hours=1), undo.prune))
