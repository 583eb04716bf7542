"""Long work: its states, who may do it, and how it survives the death of everything round it.

The database is the truth and the broker a doorbell. ``submit`` commits a row and rings after commit; ``run`` claims
the row with one conditional UPDATE that writes a fresh lease token; every later write is filtered by that token, so a
worker that lost its lease can change nothing (fencing). A heartbeat thread with its own connection renews the lease,
writes progress and reads the cancel flag. ``sweep`` requeues what died and rings again for what nobody heard of.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.models import Q
from django.utils import timezone

from core import announce, errors
from core.models import Job, User

log = structlog.get_logger(__name__)

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

Notice = Callable[[str], None]

# A queued job is announced again when nobody took it within this time.
REANNOUNCE = timedelta(seconds=15)
WORKER = f"{socket.gethostname()}:{os.getpid()}"


class Failure(Exception):
    """The work cannot be done and trying again will not help; ``message`` is shown to the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Retry(Exception):
    """The work should be tried again ``after`` so many seconds.

    ``counts=False`` keeps the attempt out of the count of allowed ones (for waits the caller bounds itself).
    """

    def __init__(self, after: float, code: str, message: str, *, counts: bool = True) -> None:
        super().__init__(message)
        self.after, self.code, self.message, self.counts = after, code, message, counts


class Cancelled(Exception):
    """Somebody asked for this job to stop."""


class LeaseLost(Exception):
    """Another worker has this job now, or it was settled; this one must change nothing more."""


@dataclass(frozen=True)
class Kind:
    """A family of jobs.

    ``work(run)`` does it and returns the result (a JSON object) or None; a test may call it directly.
    ``queue``: Celery queue.  ``lease_seconds``: after this long without a heartbeat the job is taken over.
    ``max_attempts``: how often it is started before it fails with ``worker_lost`` or its last error.
    ``time_limit``: seconds one attempt may take.  ``settled(job)``: called in the transaction of the final move.
    ``describe(job)``: extra keyword arguments of the Celery message, only for people who watch Flower.
    """

    name: str
    work: Callable[[Run], dict[str, Any] | None]
    queue: str = "default"
    lease_seconds: int = 0
    max_attempts: int = 3
    time_limit: int = 6 * 3600
    settled: Callable[[Job], None] | None = None
    describe: Callable[[Job], dict[str, str]] | None = None

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds or settings.JOB_LEASE_SECONDS)


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Make a kind known; each app does so in its ``tasks`` module."""
    _kinds[kind.name] = kind
    return kind


def kind_of(name: str) -> Kind:
    return _kinds[name]


def kinds() -> list[Kind]:
    """Every registered kind, by name."""
    return [_kinds[name] for name in sorted(_kinds)]


def queues() -> list[str]:
    """Every queue a worker must listen to."""
    return sorted({kind.queue for kind in _kinds.values()} | {"default"})


# --- asking for work --------------------------------------------------------------------------------------------


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
    kind_of(kind)
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
        if _move(Q(pk=job_id), QUEUED, CANCELLED, error_code="cancelled", finished_at=timezone.now()):
            _settle(Job.objects.get(pk=job_id))
            return True
        if _move(Q(pk=job_id), RUNNING, CANCELLING):
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
    kind = kind_of(job.kind)
    words = kind.describe(job) if kind.describe else {}
    return announce.message(kind.name, {"job_id": str(job.pk), **words}, queue=kind.queue)


def _move(which: Q, old: str, new: str, **values: Any) -> int:
    """One conditional UPDATE; its row count says who won."""
    if new not in MOVES[old]:
        raise ValueError(f"A job never moves from {old} to {new}.")
    return Job.objects.filter(which, state=old).update(state=new, **values)


def _settle(job: Job) -> None:
    """Tell the app, inside the transaction of the final move."""
    settled = kind_of(job.kind).settled
    if settled is not None:
        settled(job)


# --- doing it ---------------------------------------------------------------------------------------------------


class Run:
    """One attempt at a job, as its work sees it.

    ``params``, ``attempt`` (from 1), ``lease_token``, ``job`` (as claimed). The work calls ``check()`` often,
    ``progress(...)`` as it likes (both are memory only), and publishes inside ``with run.finish(result):``.
    """

    def __init__(self, job: Job, kind: Kind, notice: Notice | None = None) -> None:
        if job.lease_token is None:
            raise ValueError("A run needs a claimed job.")
        self.job, self.kind, self.notice = job, kind, notice
        self.params: dict[str, Any] = job.params
        self.attempt, self.lease_token = job.attempt, job.lease_token
        self.deadline = time.monotonic() + kind.time_limit
        self._progress: dict[str, Any] = dict(job.progress)
        self._dirty = False
        self._stopped: Exception | None = None
        self._finished = False

    @property
    def job_id(self) -> uuid.UUID:
        return self.job.pk

    @property
    def mine(self) -> Q:
        """The filter that fences every write of this attempt."""
        return Q(pk=self.job.pk, lease_token=self.lease_token)

    def progress(self, **values: Any) -> None:
        """Note progress (JSON values); the heartbeat writes it, at most every two seconds."""
        self._progress = {**self._progress, **values}
        self._dirty = True

    def check(self) -> None:
        """Raise when the work must stop: ``Cancelled``, ``LeaseLost``, or ``Failure("timeout")``."""
        if self._stopped is not None:
            raise self._stopped
        if time.monotonic() > self.deadline:
            raise Failure("timeout", "The work took too long.")

    def stop(self, reason: Exception) -> None:
        """Make the next ``check`` raise; called by the heartbeat."""
        self._stopped = self._stopped or reason

    @contextlib.contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction that holds the job under our token: intermediate writes of the domain commit with it."""
        with transaction.atomic():
            if not Job.objects.select_for_update().filter(self.mine, state__in=(RUNNING, CANCELLING)).exists():
                raise LeaseLost
            yield

    @contextlib.contextmanager
    def finish(self, result: dict[str, Any]) -> Iterator[None]:
        """One transaction in which the job succeeds and the domain publishes; ``LeaseLost`` when fenced out."""
        with transaction.atomic():
            values = {
                "result": result,
                "progress": self._progress,
                "finished_at": timezone.now(),
                "lease_until": None,
                "error_code": "",
                "error_message": "",
            }
            if not _move(self.mine, RUNNING, SUCCEEDED, **values):
                # A cancellation that came before the publication wins.
                self._raise_why_not_mine()
            yield
            _settle(_changed(self.job, state=SUCCEEDED, **values))
        self._finished = True

    def _raise_why_not_mine(self) -> None:
        if Job.objects.filter(self.mine, state=CANCELLING).exists():
            raise Cancelled
        raise LeaseLost

    def beat(self) -> None:
        """Renew the lease, write progress, learn of a cancellation. One statement."""
        values: dict[str, Any] = {"lease_until": timezone.now() + self.kind.lease}
        if self._dirty:
            self._dirty = False
            values["progress"] = self._progress
        if Job.objects.filter(self.mine, state=RUNNING).update(**values):
            if self.notice is not None and "progress" in values:
                self.notice(in_words(self._progress))
            return
        if Job.objects.filter(self.mine, state=CANCELLING).update(**values):
            self.stop(Cancelled())
        else:
            self.stop(LeaseLost())


class Heartbeat:
    """The thread that keeps a lease alive while the work goes on; it has its own database connection."""

    INTERVAL = 1.0

    def __init__(self, run: Run) -> None:
        self._run = run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_over, name=f"heartbeat-{run.job_id}", daemon=True)
        self._lease_end = time.monotonic() + run.kind.lease.total_seconds()

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat_until_over(self) -> None:
        try:
            while not self._over.wait(self.INTERVAL):
                self._beat()
        finally:
            connections.close_all()

    def _beat(self) -> None:
        try:
            self._run.beat()
            self._lease_end = time.monotonic() + self._run.kind.lease.total_seconds()
        except DatabaseError as error:
            log.warning("heartbeat_failed", job=str(self._run.job_id), error=str(error))
            connections.close_all()
            if time.monotonic() > self._lease_end:
                self._run.stop(LeaseLost())


def in_words(progress: dict[str, Any]) -> str:
    """Progress for people who watch: ``43% mappings 131000/305000``."""
    done, total, stage = progress.get("done"), progress.get("total"), str(progress.get("stage", ""))
    if not isinstance(done, int) or not isinstance(total, int) or not total:
        return stage
    return f"{100 * done // total}% {stage} {done}/{total}"


def claim(job_id: uuid.UUID, *, notice: Notice | None = None) -> Run | None:
    """Take a queued job that is due, with a fresh lease token; None when somebody else has it."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        return None
    kind, now = kind_of(job.kind), timezone.now()
    values: dict[str, Any] = {
        "attempt": job.attempt + 1,
        "lease_token": uuid.uuid4(),
        "lease_until": now + kind.lease,
        "worker": WORKER,
        "started_at": job.started_at or now,
    }
    # the attempt stands for all that was read: another one since then would have counted it up
    which = Q(pk=job_id, attempt=job.attempt, available_at__lte=now + timedelta(seconds=1))
    if not _move(which, QUEUED, RUNNING, **values):
        return None
    return Run(_changed(job, state=RUNNING, **values), kind, notice)


def _changed(job: Job, **values: Any) -> Job:
    """The row as the statement just before has left it, without reading it again."""
    job = copy.copy(job)
    for name, value in values.items():
        setattr(job, name, value)
    return job


def run(job_id: uuid.UUID, *, notice: Notice | None = None) -> bool:
    """Claim a job and do it to some end; False when it was not ours to do. What the Celery task calls.

    ``notice(text)`` hears of progress whenever the heartbeat writes it.
    """
    attempt = claim(job_id, notice=notice)
    if attempt is None:
        return False
    with structlog.contextvars.bound_contextvars(job=str(job_id), kind=attempt.kind.name, attempt=attempt.attempt):
        log.info("job_started")
        started = time.perf_counter()
        with Heartbeat(attempt):
            outcome = _work(attempt)
        log.info("job_ended", outcome=outcome, seconds=round(time.perf_counter() - started, 3))
    return True


def _work(attempt: Run) -> str:
    """Do the work and make its outcome a move; the name of that outcome."""
    try:
        result = attempt.kind.work(attempt)
        if not attempt._finished:
            with attempt.finish(result or {}):
                log.debug("job_result", result=result)
    except LeaseLost:
        return "lease_lost"
    except Cancelled:
        return _end(attempt, CANCELLED, "cancelled", "")
    except Failure as failure:
        return _end(attempt, FAILED, failure.code, failure.message)
    except Retry as again:
        return _again(attempt, again.code, again.message, after=again.after, counts=again.counts)
    except errors.Unavailable as fact:
        return _again(attempt, fact.code, fact.message, after=_backoff(attempt))
    except (OperationalError, InterfaceError) as error:
        log.warning("job_database_error", error=str(error))
        connections.close_all()
        return _again(attempt, "database_unavailable", "The database did not answer.", after=_backoff(attempt))
    except Exception:
        log.exception("job_crashed")
        return _end(attempt, FAILED, "internal_error", "Something went wrong on our side.")
    return "succeeded"


def _backoff(attempt: Run) -> float:
    return min(60.0, 2.0 ** min(attempt.attempt, 6))


def _end(attempt: Run, state: str, code: str, message: str) -> str:
    """Move to a final state under our token."""
    values = {
        "error_code": code,
        "error_message": message,
        "progress": attempt._progress,
        "finished_at": timezone.now(),
        "lease_until": None,
    }
    with _despite_outage(), transaction.atomic():
        moved = _move(attempt.mine, CANCELLING, state, **values)
        if not moved and state == FAILED:
            moved = _move(attempt.mine, RUNNING, state, **values)
        if moved:
            _settle(Job.objects.get(pk=attempt.job_id))
            return str(state)
    return "lease_lost"


def _again(attempt: Run, code: str, message: str, *, after: float, counts: bool = True) -> str:
    """Put the job back in the queue, or fail it when it was tried often enough."""
    if counts and attempt.attempt >= attempt.kind.max_attempts:
        return _end(attempt, FAILED, code, message)
    due = timezone.now() + timedelta(seconds=after)
    with _despite_outage():
        moved = _move(
            attempt.mine,
            RUNNING,
            QUEUED,
            attempt=attempt.attempt if counts else attempt.attempt - 1,
            available_at=due,
            announced_at=None,
            lease_token=None,
            lease_until=None,
            error_code=code,
            error_message=message,
            progress=attempt._progress,
        )
        if moved:
            return "requeued"
    return _end(attempt, CANCELLED, "cancelled", "")


@contextlib.contextmanager
def _despite_outage() -> Iterator[None]:
    """Let a move fail when the database is away: the lease runs out and the sweep makes the move."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        log.warning("job_move_failed", error=str(error))
        connections.close_all()


# --- keeping watch ----------------------------------------------------------------------------------------------


def sweep(*, limit: int = 500) -> dict[str, int]:
    """Requeue or fail jobs whose lease ran out and ring for queued ones nobody took; counts by what was done."""
    done = {"requeued": 0, "failed": 0, "cancelled": 0, "announced": 0}
    for job_id in _expired(limit):
        outcome = _take_from_dead(job_id)
        if outcome:
            done[outcome] += 1
    for job in _unheard(limit):
        ring(job)
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
            _move(Q(pk=job.pk), CANCELLING, CANCELLED, error_code="cancelled", finished_at=timezone.now(), **fence)
            _settle(Job.objects.get(pk=job.pk))
            return "cancelled"
        if job.attempt >= kind_of(job.kind).max_attempts:
            message = "The work was interrupted too often."
            values = {"error_code": "worker_lost", "error_message": message, "finished_at": timezone.now(), **fence}
            _move(Q(pk=job.pk), RUNNING, FAILED, **values)
            _settle(Job.objects.get(pk=job.pk))
            return "failed"
        _move(Q(pk=job.pk), RUNNING, QUEUED, available_at=timezone.now(), announced_at=None, **fence)
        job.refresh_from_db()
        transaction.on_commit(functools.partial(ring, job))
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
        done += run(due.pk)
    return done


def seconds_left(job: Job) -> int | None:
    """A running job's estimated seconds to go, from its progress (``done`` of ``total``); None when unknown."""
    done, total = job.progress.get("done"), job.progress.get("total")
    if job.started_at is None or not isinstance(done, int) or not isinstance(total, int) or not done:
        return None
    elapsed: float = (timezone.now() - job.started_at).total_seconds()
    return max(0, math.ceil(elapsed * (total - done) / done))
