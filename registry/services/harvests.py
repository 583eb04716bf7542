"""What can be done with harvests: change, run, cancel, pause, delete (contract 2.4, 2.7, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import errors
from core import jobs as core_jobs
from core.models import User
from registry import selectors
from registry.jobs import edit, finish, remove, request
from registry.jobs import undo as restoring
from registry.models import Harvest, HarvestRun

# --- running ----------------------------------------------------------------------------------------------------


def trigger(uid: str, *, user: User, via: str = HarvestRun.Trigger.API, queue: bool = True) -> HarvestRun | None:
    """Queue a run of a harvest, or join the active one. `queue=False` only checks (HEAD).

    Errors in the order of contract 2.7: unknown or being deleted, then not the caller's.
    """
    try:
        harvest, is_own = selectors.harvest_and_right(uid, user)
    except errors.NotFound as error:
        raise errors.NotFound(code="trigger_not_found") from error
    if harvest.deleting:
        raise errors.NotFound(code="trigger_not_found")
    if not is_own:
        raise errors.Denied(code="trigger_denied")
    return request.run_of(harvest, trigger=via, requester=user)[0] if queue else None


def run_now(harvest: Harvest, *, user: User | None, via: str, mode: str = "source") -> HarvestRun:
    """Queue a run for somebody whose right was checked."""
    if harvest.deleting:
        raise errors.Conflict("The source is being deleted.", code="deleting")
    return request.run_of(harvest, trigger=via, requester=user, mode=mode)[0]


def cancel(run: HarvestRun) -> None:
    """Stop an active run; the harvest stays as it was before."""
    if run.state not in HarvestRun.ACTIVE or not core_jobs.cancel(run.job_id):
        raise errors.Conflict("Run is not active", code="run_not_active")


def undo(run: HarvestRun) -> None:
    """Bring back the records from before a harvest's last swap, and pause the source."""
    restoring.undo(run)


def accept_shrink(harvest: Harvest, *, user: User | None, via: str) -> HarvestRun:
    """Waive the guards once and run again."""
    with transaction.atomic():
        Harvest.objects.filter(pk=harvest.pk).update(waive_guard_once=True)
        return run_now(harvest, user=user, via=via)


def pause(harvest: Harvest, *, paused: bool) -> None:
    """Take a source out of the schedule, or back in."""
    Harvest.objects.filter(pk=harvest.pk).update(paused=paused)


# --- changing ---------------------------------------------------------------------------------------------------


def manageable(uid: str, *, user: User) -> tuple[Harvest, selectors.Access]:
    """A harvest the caller may change: NotFound, then Denied (contract 2.4)."""
    harvest = selectors.harvest(uid)
    access = selectors.access_of(user)
    if not access.may_manage(harvest):
        raise errors.Denied(code="denied")
    return harvest, access


def manageable_run(number: int, *, user: User) -> HarvestRun:
    """A run of a harvest the caller may change: NotFound, then Denied."""
    access = selectors.access_of(user)
    run = selectors.run(number, access)
    if not access.may_manage(run.harvest):
        raise errors.Denied(code="denied")
    return run


def update(harvest: Harvest, values: Mapping[str, Any], *, access: selectors.Access) -> Harvest:
    """Apply the writable ones of `values`; the first bad one raises `Invalid(field=…)` and nothing is saved."""
    return edit.save(harvest, edit.clean(values, access=access), access=access)


def add(harvest: Harvest, *, access: selectors.Access) -> Harvest:
    """Store a checked new harvest; published, it is run at once.

    The clock counts from now, so that a first run that is cancelled is not the last one.
    """
    harvest.next_due = finish.next_due(harvest, end=timezone.now())
    with transaction.atomic():
        edit.save_or_refuse(harvest)
        if harvest.publish:
            request.run_of(harvest, trigger=HarvestRun.Trigger.PAGE, requester=access.user)
    return harvest


def delete(harvest: Harvest, *, user: User | None) -> None:
    """Mark a harvest as being deleted, stop its run and let a job remove what it has."""
    with transaction.atomic():
        changed = Harvest.objects.filter(pk=harvest.pk, deleting=False).update(deleting=True, next_due=None)
        if not changed:
            return
        remove.touch_folder(harvest.organization_id)
        for job_id in harvest.runs.filter(state__in=HarvestRun.ACTIVE).values_list("job_id", flat=True):
            core_jobs.cancel(job_id)
        core_jobs.submit(
            request.DELETE_KIND, {"harvest": harvest.pk}, fingerprint=request.fingerprint(harvest.pk), requested_by=user
        )
