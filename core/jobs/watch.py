"""Keeping watch over all jobs: what died is put back, what nobody heard of is announced again, what is old goes."""

from __future__ import annotations

import contextlib
import functools
import math
import uuid
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from core.jobs import asking, attempts, families
from core.jobs.moves import CANCELLED, CANCELLING, FAILED, FINAL, QUEUED, RUNNING, move, settle
from core.models import Job

log = structlog.get_logger(__name__)

# A queued job is announced again when nobody took it within this time.
REANNOUNCE = timedelta(seconds=15)


def sweep(*, limit: int = 500) -> dict[str, int]:
    """Requeue or fail jobs whose lease ran out and ring for queued ones nobody took; counts by what was done."""
    done = {"requeued": 0, "failed": 0, "cancelled": 0, "announced": 0}
    for job_id in _expired(limit):
        outcome = _take_from_dead(job_id)
        if outcome:
            done[outcome] += 1
    for job in _unheard(limit):
        asking.ring(job)
        done["announced"] += 1
    return done


def _expired(limit: int) -> list[uuid.UUID]:
    lost = Job.objects.filter(state__in=(RUNNING, CANCELLING), lease_until__lt=timezone.now())
    return list(lost.order_by("lease_until", "id").values_list("id", flat=True)[:limit])


def _take_from_dead(job_id: uuid.UUID) -> str:
    """Settle one job whose worker died; the empty word when another sweep has it or it lives after all."""
    with transaction.atomic():
        job = (
            Job.objects.select_for_update(skip_locked=True)
            .filter(pk=job_id, state__in=(RUNNING, CANCELLING), lease_until__lt=timezone.now())
            .first()
        )
        if job is None:
            return ""
        log.warning("job_lease_expired", job=str(job.pk), kind=job.kind, attempt=job.attempt, worker=job.worker)
        fence: dict[str, Any] = {"lease_token": None, "lease_until": None}
        if job.state == CANCELLING:
            move(Q(pk=job.pk), CANCELLING, CANCELLED, error_code="cancelled", finished_at=timezone.now(), **fence)
            settle(Job.objects.get(pk=job.pk))
            return "cancelled"
        if job.attempt >= families.kind_of(job.kind).max_attempts:
            message = "The work was interrupted too often."
            values = {"error_code": "worker_lost", "error_message": message, "finished_at": timezone.now(), **fence}
            move(Q(pk=job.pk), RUNNING, FAILED, **values)
            settle(Job.objects.get(pk=job.pk))
            return "failed"
        move(Q(pk=job.pk), RUNNING, QUEUED, available_at=timezone.now(), announced_at=None, **fence)
        job.refresh_from_db()
        transaction.on_commit(functools.partial(asking.ring, job))
        return "requeued"


def _unheard(limit: int) -> list[Job]:
    now = timezone.now()
    waiting = Job.objects.filter(state=QUEUED, available_at__lte=now)
    silent = waiting.filter(Q(announced_at=None) | Q(announced_at__lt=now - REANNOUNCE))
    return list(silent.order_by("available_at", "id")[:limit])


def prune(*, before: datetime | None = None) -> int:
    """Delete jobs that ended long ago and that no domain row points at."""
    border = before or timezone.now() - timedelta(days=settings.JOB_KEEP_DAYS)
    pruned = 0
    for job in Job.objects.filter(state__in=FINAL, finished_at__lt=border).order_by("finished_at", "id")[:1000]:
        with contextlib.suppress(DatabaseError), transaction.atomic():
            pruned += job.delete()[0]
    return pruned


def run_queued(*, limit: int = 1000) -> int:
    """Do every due job in this process, for tests and one-off commands; how many were done."""
    done = 0
    while done < limit:
        due = Job.objects.filter(state=QUEUED, available_at__lte=timezone.now()).order_by("created_at", "id").first()
        if due is None:
            return done
        done += attempts.run(due.pk)
    return done


def seconds_left(job: Job) -> int | None:
    """A running job's estimated seconds to go, from its progress (``done`` of ``total``); None when unknown."""
    done, total = job.progress.get("done"), job.progress.get("total")
    if job.started_at is None or not isinstance(done, int) or not isinstance(total, int) or not done:
        return None
    elapsed: float = (timezone.now() - job.started_at).total_seconds()
    return max(0, math.ceil(elapsed * (total - done) / done))
