"""One attempt at a job: claimed with a fresh token, kept alive by its heartbeat, ended by one move."""

from __future__ import annotations

import contextlib
import copy
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.db.models import Q
from django.utils import timezone

from core import errors
from core.jobs import families
from core.jobs.families import Cancelled, Failure, LeaseLost, Retry
from core.jobs.moves import CANCELLED, CANCELLING, FAILED, QUEUED, RUNNING, SUCCEEDED, move, settle
from core.models import Job

log = structlog.get_logger(__name__)

Notice = Callable[[str], None]

WORKER = f"{socket.gethostname()}:{os.getpid()}"


class Run:
    """One attempt at a job, as its work sees it.

    ``params``, ``attempt`` (from 1), ``lease_token``, ``job`` (as claimed). The work calls ``check()`` often,
    ``progress(...)`` as it likes (both are memory only), and publishes inside ``with run.finish(result):``.
    """

    def __init__(self, job: Job, kind: families.Kind, notice: Notice | None = None) -> None:
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
            if not move(self.mine, RUNNING, SUCCEEDED, **values):
                # A cancellation that came before the publication wins.
                self._raise_why_not_mine()
            yield
            settle(_changed(self.job, state=SUCCEEDED, **values))
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
    kind, now = families.kind_of(job.kind), timezone.now()
    values: dict[str, Any] = {
        "attempt": job.attempt + 1,
        "lease_token": uuid.uuid4(),
        "lease_until": now + kind.lease,
        "worker": WORKER,
        "started_at": job.started_at or now,
    }
    # the attempt stands for all that was read: another one since then would have counted it up
    which = Q(pk=job_id, attempt=job.attempt, available_at__lte=now + timedelta(seconds=1))
    if not move(which, QUEUED, RUNNING, **values):
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
        moved = move(attempt.mine, CANCELLING, state, **values)
        if not moved and state == FAILED:
            moved = move(attempt.mine, RUNNING, state, **values)
        if moved:
            settle(Job.objects.get(pk=attempt.job_id))
            return str(state)
    return "lease_lost"


def _again(attempt: Run, code: str, message: str, *, after: float, counts: bool = True) -> str:
    """Put the job back in the queue, or fail it when it was tried often enough."""
    if counts and attempt.attempt >= attempt.kind.max_attempts:
        return _end(attempt, FAILED, code, message)
    due = timezone.now() + timedelta(seconds=after)
    with _despite_outage():
        moved = move(
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
