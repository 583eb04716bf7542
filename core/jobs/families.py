"""Families of jobs, and what their work may raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from core.models import Job

if TYPE_CHECKING:
    from core.jobs.attempts import Run


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
