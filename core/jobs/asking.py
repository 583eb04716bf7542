"""Asking for work, and for its end. The row is the truth; the message only saves waiting for the sweep."""

from __future__ import annotations

import functools
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import announce, errors
from core.jobs import families
from core.jobs.moves import ACTIVE, CANCELLED, CANCELLING, QUEUED, RUNNING, move, settle
from core.models import Job, User


def submit(
    kind: str,
    params: dict[str, Any],
    *,
    fingerprint: str | None = None,
    requested_by: User | None = None,
    delay: timedelta | None = None,
) -> tuple[Job, bool]:
    """Ask for work: the job, and whether it is new.

    While a job of this kind with the same ``fingerprint`` is active, that one is returned. The row commits with the
    caller's transaction and is announced after it.
    """
    families.kind_of(kind)
    with transaction.atomic():
        now = timezone.now()
        job = Job(
            kind=kind,
            params=params,
            fingerprint=fingerprint,
            requested_by=requested_by,
            available_at=now + (delay or timedelta()),
        )
        if not _waits(job):
            job.announced_at = now  # taken back if the message cannot be sent: one statement less when it can
        if fingerprint is None:
            job.save(force_insert=True)
            transaction.on_commit(functools.partial(_first_ring, job))
            return job, True
        while True:
            # ON CONFLICT waits for a concurrent insert of the same fingerprint to commit, then does nothing.
            Job.objects.bulk_create([job], ignore_conflicts=True)
            active = Job.objects.filter(kind=kind, fingerprint=fingerprint, state__in=ACTIVE).first()
            if active is None:  # the one we met ended between the two statements
                continue
            created = active.pk == job.pk
            if created:
                transaction.on_commit(functools.partial(_first_ring, active))
            return active, created


def retry(job_id: uuid.UUID) -> Job:
    """A new job with the same parameters as one that ended."""
    old = Job.objects.get(pk=job_id)
    if not old.is_final:
        raise errors.Conflict("The job is still active.", code="active")
    return submit(old.kind, old.params, fingerprint=old.fingerprint, requested_by=old.requested_by)[0]


def cancel(job_id: uuid.UUID) -> bool:
    """Ask a job to stop: a queued one ends at once, a running one at its next look. False when it had ended."""
    with transaction.atomic():
        if move(Q(pk=job_id), QUEUED, CANCELLED, error_code="cancelled", finished_at=timezone.now()):
            settle(Job.objects.get(pk=job_id))
            return True
        if move(Q(pk=job_id), RUNNING, CANCELLING):
            return True
    return Job.objects.filter(pk=job_id, state__in=(CANCELLING, CANCELLED)).exists()


def release(job_id: uuid.UUID) -> bool:
    """Let the same work be asked for anew while this job is still being cancelled; False when it is not.

    Such a job can publish nothing any more, so whoever asks must not be given it.
    """
    return bool(Job.objects.filter(pk=job_id, state=CANCELLING).update(fingerprint=None))


def ring(job: Job) -> None:
    """Tell the workers about a queued job; a lost message is made good by the sweep."""
    if not _waits(job) and _told(job):
        Job.objects.filter(pk=job.pk, state=QUEUED).update(announced_at=timezone.now())


def _first_ring(job: Job) -> None:
    """Tell the workers about a job whose row says that they were told."""
    if not _waits(job) and not _told(job):
        Job.objects.filter(pk=job.pk, state=QUEUED).update(announced_at=None)


def _waits(job: Job) -> bool:
    """Whether a job is due so late that the sweep rings for it."""
    return (job.available_at - timezone.now()).total_seconds() > settings.JOB_SWEEP_SECONDS


def _told(job: Job) -> bool:
    kind = families.kind_of(job.kind)
    words = kind.describe(job) if kind.describe else {}
    return announce.message(kind.name, {"job_id": str(job.pk), **words}, queue=kind.queue)
