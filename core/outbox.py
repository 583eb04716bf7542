"""What mail and webhooks share: rows to deliver, tried again ever more slowly, then given up.

A row is written in the transaction that causes it; after its commit a job tries to deliver it. The row stays locked
while it is tried, so no two workers deliver it, and its outcome commits with whatever the delivery changed. ``sweep``
finds rows whose job was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from core import jobs
from core.models import Mail, WebhookDelivery

log = structlog.get_logger(__name__)

Row = TypeVar("Row", Mail, WebhookDelivery)
_GROWTH: Final = 4.0
# The sweep leaves a row alone this long after it fell due: its own job is on the way.
_PATIENCE: Final = timedelta(seconds=30)
_NEAR: Final = timedelta(minutes=2)


class Undelivered(Exception):
    """The other side did not take it: ``reason`` is kept with the row, and the HTTP ``status`` if there was one."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


@dataclass(frozen=True)
class Patience:
    """``tries`` in all, the waits between them growing fourfold and adding up to ``over``."""

    tries: int = 8
    over: timedelta = timedelta(hours=24)

    def wait(self, attempt: int) -> timedelta | None:
        """How long to wait after the failure of ``attempt`` (from 1); None to give up. 16 s first by default."""
        if attempt >= self.tries:
            return None
        share: float = _GROWTH ** (attempt - 1) * (_GROWTH - 1) / (_GROWTH ** (self.tries - 1) - 1)
        return self.over * share


@dataclass(frozen=True)
class Outbox(Generic[Row]):
    """One table of things to deliver.

    ``deliver(row)`` returns when it was taken and raises ``Undelivered`` otherwise; ``patience(row)`` says how often
    to try; ``given_up(row)`` is called in the transaction that ends the last try.
    """

    model: type[Row]
    job: str
    deliver: Callable[[Row], None]
    patience: Callable[[Row], Patience]
    given_up: Callable[[Row], None]

    def put(self, row: Row) -> Row:
        """Store a new row in the caller's transaction and have it delivered after its commit.

        Of rows with the same ``dedupe`` there is one for ever: that one is returned.
        """
        if row.dedupe is None:
            row.save(force_insert=True)
        else:
            # ON CONFLICT waits for a concurrent insert of the same key to commit, then does nothing.
            self.model._default_manager.bulk_create([row], ignore_conflicts=True)
            row = self.model._default_manager.get(dedupe=row.dedupe)
        self.announce(row)
        return row

    def announce(self, row: Row) -> None:
        """Have ``row`` delivered once the running transaction commits.

        Robust: the work has committed by then and must not fail for its messenger; the sweep finds the row.
        """
        pk = row.pk
        # A lambda, since Django cannot name a functools.partial when it logs the error of a robust one.
        transaction.on_commit(lambda: self._submit(pk), robust=True)

    def _submit(self, pk: int) -> None:
        jobs.submit(self.job, {"id": pk}, fingerprint=str(pk))

    def work(self, run: jobs.Run) -> dict[str, Any]:
        """The job: one try. It waits for a next one that is near; the sweep makes a new job for one that is far."""
        again = self.attempt(run.params["id"])
        if again is None:
            return {}
        wait = again - timezone.now()
        if wait > _NEAR:
            return {"again_at": again.isoformat()}
        raise jobs.Retry(
            max(0.0, wait.total_seconds()), "not_delivered", "The other side did not take it.", counts=False
        )

    def attempt(self, pk: int) -> datetime | None:
        """Try once to deliver a due row; when to try again, or None when it is settled or somebody else's."""
        failure: Undelivered | None = None
        try:
            with transaction.atomic():
                row = self._take(pk)
                if row is None:
                    return self._due_at(pk)
                self.deliver(row)
                self._keep(row, state=self.model.State.SENT, sent_at=timezone.now(), last_error="")
        except Undelivered as error:
            # What the delivery wrote is rolled back with it; the failure itself is noted in a transaction of its own.
            failure = error
        except (OperationalError, InterfaceError):
            raise  # the database went away; the job comes back when it is there again
        except Exception as error:
            # An app's hook is wrong. It must not be tried every minute for ever, so it counts like any failure.
            log.exception("delivery_crashed", what=self.job, id=pk)
            failure = Undelivered(f"internal error: {type(error).__name__}")
        return self._note(pk, failure) if failure else None

    def _take(self, pk: int) -> Row | None:
        queued = self.model._default_manager.select_for_update(skip_locked=True)
        return queued.filter(pk=pk, state=self.model.State.QUEUED, next_at__lte=timezone.now()).first()

    def _due_at(self, pk: int) -> datetime | None:
        queued = self.model._default_manager.filter(pk=pk, state=self.model.State.QUEUED)
        return queued.filter(next_at__gt=timezone.now()).values_list("next_at", flat=True).first()

    def _note(self, pk: int, failure: Undelivered) -> datetime | None:
        with transaction.atomic():
            row = self._take(pk)
            if row is None:
                return None
            wait = self.patience(row).wait(row.attempts + 1)
            if failure.status is not None and isinstance(row, WebhookDelivery):
                row.last_status = failure.status
            error = failure.reason[:500]
            log.warning(
                "not_delivered", what=self.job, id=pk, attempt=row.attempts + 1, error=error, again=wait is not None
            )
            if wait is not None:
                self._keep(row, next_at=timezone.now() + wait, last_error=error)
                return row.next_at
            self._keep(row, state=self.model.State.FAILED, last_error=error)
            self.given_up(row)
            return None

    def _keep(self, row: Row, **values: Any) -> None:
        row.attempts += 1
        for name, value in values.items():
            setattr(row, name, value)
        row.save()

    def sweep(self, limit: int = 500) -> int:
        """Make jobs for due rows nobody works on; how many rows were due."""
        border = timezone.now() - _PATIENCE
        due = self.model._default_manager.filter(state=self.model.State.QUEUED, next_at__lte=border)
        found = list(due.order_by("next_at", "pk").values_list("pk", flat=True)[:limit])
        for pk in found:
            self._submit(pk)
        return len(found)

    def again(self, row: Row) -> bool:
        """Deliver a row now, with all its tries anew (what an operator's button does); False when it is delivered."""
        fresh = {"state": self.model.State.QUEUED, "attempts": 0, "next_at": timezone.now(), "last_error": ""}
        with transaction.atomic():
            waiting = self.model._default_manager.filter(pk=row.pk).exclude(state=self.model.State.SENT)
            is_found = bool(waiting.update(**fresh))
            if is_found:
                self.announce(row)
        return is_found
