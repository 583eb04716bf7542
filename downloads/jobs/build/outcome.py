"""What the end of a build means for the downloads that wait for it; called in the transaction of that end."""

from __future__ import annotations

from django.utils import timezone

from core import jobs
from core.models import Job
from downloads.jobs import notices
from downloads.jobs.build import lanes, lead, plan
from downloads.models import Build, Download

CANCELLED = "This download was cancelled."
_SAID = {
    "interrupted": lead.INTERRUPTED,
    "worker_lost": lead.INTERRUPTED,
    "storage": lead.NOT_STORED,
    "since_gone": plan.SINCE_GONE,
    "timeout": "The build took too long.",
}
_OTHERWISE = "The download could not be built."


def settled(job: Job) -> None:
    """Tell the downloads, then whoever asked to be told, then let the next build in."""
    build = Build.objects.filter(job=job).first()
    if build is None:
        return
    if job.state == Job.State.SUCCEEDED:
        end_downloads(build, Download.State.DONE, "")
    elif job.state == Job.State.CANCELLED:
        _end_build(build, Build.State.CANCELLED, CANCELLED)
        end_downloads(build, Download.State.CANCELLED, CANCELLED)
        if build.parts.exists():  # nobody may be at it, as while it waits for the store
            jobs.submit("downloads.expire", {}, fingerprint="expire")
    else:
        error = job.error_message if job.error_code == "invalid_query" else _SAID.get(job.error_code, _OTHERWISE)
        _end_build(build, Build.State.FAILED, error)
        end_downloads(build, Download.State.FAILED, error)
    lanes.let_in(build.caller)


def _end_build(build: Build, state: Build.State, error: str) -> None:
    Build.objects.filter(pk=build.pk).update(state=state, error=error, finished_at=timezone.now(), is_underway=False)


def end_downloads(build: Build, state: Download.State, error: str) -> None:
    """The end of every download that waits for a build."""
    waiting = list(build.downloads.select_for_update().filter(state=Download.State.WAITING).order_by("uuid"))
    build.downloads.filter(pk__in=[each.pk for each in waiting]).update(
        state=state, error=error, finished_at=timezone.now()
    )
    if state == Download.State.CANCELLED:
        return
    for download in build.downloads.filter(pk__in=[each.pk for each in waiting]).order_by("uuid"):
        notices.send(download)
