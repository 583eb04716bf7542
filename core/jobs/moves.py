"""The states of a job and the only statement that changes them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from core.jobs import families
from core.models import Job

QUEUED, RUNNING, CANCELLING = Job.State.QUEUED, Job.State.RUNNING, Job.State.CANCELLING
SUCCEEDED, FAILED, CANCELLED = Job.State.SUCCEEDED, Job.State.FAILED, Job.State.CANCELLED

MOVES: dict[str, frozenset[str]] = {
    QUEUED: frozenset({RUNNING, CANCELLED}),
    RUNNING: frozenset({SUCCEEDED, FAILED, CANCELLING, QUEUED}),
    CANCELLING: frozenset({CANCELLED, FAILED, SUCCEEDED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset(),
    CANCELLED: frozenset(),
}
ACTIVE = (QUEUED, RUNNING, CANCELLING)
FINAL = (SUCCEEDED, FAILED, CANCELLED)


def move(which: Q, old: str, new: str, **values: Any) -> int:
    """One conditional UPDATE; its row count says who won."""
    if new not in MOVES[old]:
        raise ValueError(f"A job never moves from {old} to {new}.")
    return Job.objects.filter(which, state=old).update(state=new, **values)


def settle(job: Job) -> None:
    """Tell the app, inside the transaction of the final move."""
    settled = families.kind_of(job.kind).settled
    if settled is not None:
        settled(job)
