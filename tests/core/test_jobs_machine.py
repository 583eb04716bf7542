"""The job machinery against a plain model: any order of asking, working, dying, cancelling and sweeping."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from django.utils import timezone
from hypothesis import stateful
from hypothesis import strategies as st

from core import announce, errors, jobs
from core.jobs import attempts, families
from core.models import Job

pytestmark = pytest.mark.django_db(transaction=True)

KIND, MAX_ATTEMPTS = "test.machine", 2
# Few jobs, so that a history does much to each.
MOST_JOBS = 3


@dataclass
class Expected:
    """What a job should look like, and which run holds it."""

    pk: uuid.UUID
    fingerprint: str | None
    state: str = "queued"
    attempt: int = 0
    is_due: bool = True
    is_dead: bool = False
    holder: jobs.Run | None = None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        return self.state in jobs.ACTIVE

    def end(self, state: str, **result: Any) -> None:
        self.state, self.holder, self.result = state, None, result

    def requeue(self, *, is_due: bool) -> None:
        self.state, self.holder, self.is_due, self.is_dead = "queued", None, is_due, False


class Machine(stateful.RuleBasedStateMachine):
    """Rules do something for real and to the model; the invariants compare the two after every step."""

    asked, started = stateful.Bundle("asked"), stateful.Bundle("started")

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[uuid.UUID, Expected] = {}
        self.settled: list[tuple[uuid.UUID, str]] = []
        self.stopped: dict[jobs.Run, type[Exception]] = {}
        self.order = ""
        jobs.register(
            jobs.Kind(
                KIND,
                self.work,
                lease_seconds=3600,
                max_attempts=MAX_ATTEMPTS,
                settled=lambda job: self.settled.append((job.pk, job.state)),
            )
        )

    def teardown(self) -> None:
        Job.objects.all().delete()
        del families._kinds[KIND]

    def work(self, run: jobs.Run) -> dict[str, Any]:
        """Does as it was told for this one attempt."""
        if self.order == "fail":
            raise jobs.Failure("told", "Told to fail.")
        if self.order == "crash":
            raise ZeroDivisionError
        if self.order == "retry":
            raise jobs.Retry(0, "again", "Told to come back.")
        if self.order == "wait":
            raise jobs.Retry(3600, "waiting", "Told to wait.", counts=False)
        if self.order == "unavailable":
            raise errors.Unavailable("Told that a part is away.")
        if self.order == "look":
            run.check()
        return {"by": str(run.lease_token)}

    # -- asking --------------------------------------------------------------------------------------------------

    @stateful.precondition(lambda self: len(self.expected) < MOST_JOBS)
    @stateful.rule(target=asked, fingerprint=st.sampled_from([None, "a"]))
    def submit(self, fingerprint: str | None) -> uuid.UUID:
        active = [each for each in self.expected.values() if each.fingerprint == fingerprint and each.is_active]
        job, created = jobs.submit(KIND, {}, fingerprint=fingerprint)
        if fingerprint is not None and active:
            assert (job.pk, created) == (active[0].pk, False)
        else:
            assert created
            assert job.pk not in self.expected
            self.expected[job.pk] = Expected(job.pk, fingerprint)
        return job.pk

    @stateful.rule(pk=asked)
    def cancel(self, pk: uuid.UUID) -> None:
        job = self.expected[pk]
        assert jobs.cancel(pk) == (job.is_active or job.state == "cancelled")
        if job.state == "queued":
            job.end("cancelled")
        elif job.state == "running":
            job.state = "cancelling"

    @stateful.precondition(lambda self: len(self.expected) < MOST_JOBS)
    @stateful.rule(target=asked, pk=asked)
    def retry(self, pk: uuid.UUID) -> uuid.UUID:
        old = self.expected[pk]
        if old.is_active:
            with pytest.raises(errors.Conflict):
                jobs.retry(pk)
            return pk
        active = [
            each
            for each in self.expected.values()
            if old.fingerprint and each.fingerprint == old.fingerprint and each.is_active
        ]
        again = jobs.retry(pk)
        if active:
            assert again.pk == active[0].pk
        else:
            self.expected[again.pk] = Expected(again.pk, old.fingerprint)
        return again.pk

    # -- working -------------------------------------------------------------------------------------------------

    @stateful.rule(target=started, pk=asked)
    def claim(self, pk: uuid.UUID) -> Any:
        job = self.expected[pk]
        run = jobs.claim(pk)
        if job.state != "queued" or not job.is_due:
            assert run is None
            return stateful.multiple()
        assert run is not None
        job.state, job.attempt, job.holder, job.is_dead = "running", job.attempt + 1, run, False
        assert run.attempt == job.attempt
        return run

    @stateful.rule(
        run=started, order=st.sampled_from(["succeed", "fail", "crash", "retry", "wait", "unavailable", "look"])
    )
    def do(self, run: jobs.Run, order: str) -> None:
        """The run does its work to some end, whether the job is still its own or not."""
        job, self.order = self.expected[run.job_id], order
        outcome = attempts._work(run)
        if job.holder is not run:
            # A run that has published says so again; the table must not change by it.
            assert outcome == "lease_lost" or order == "look" or run._finished
            return
        stopped = self.stopped.get(run) if order == "look" else None
        if stopped is jobs.LeaseLost:
            assert outcome == "lease_lost"
        elif job.state == "running":
            assert stopped is None
            self._ran(job, run, order)
        else:
            self._ran_while_cancelled(job, run, order)

    def _ran(self, job: Expected, run: jobs.Run, order: str) -> None:
        if order in {"succeed", "look"}:
            job.end("succeeded", by=str(run.lease_token))
        elif order in {"fail", "crash"} or (order in {"retry", "unavailable"} and job.attempt >= MAX_ATTEMPTS):
            job.end("failed")
        else:
            job.attempt -= order == "wait"
            job.requeue(is_due=order == "retry")

    def _ran_while_cancelled(self, job: Expected, run: jobs.Run, order: str) -> None:
        """A failure is still told; success and another try are not, for nobody wants them any more."""
        is_last = order in {"retry", "unavailable"} and job.attempt >= MAX_ATTEMPTS
        job.end("failed" if order in {"fail", "crash"} or is_last else "cancelled")

    @stateful.rule(run=started)
    def beat(self, run: jobs.Run) -> None:
        """The heartbeat keeps the holder alive and tells the others that they are not."""
        job = self.expected[run.job_id]
        run.beat()
        if job.holder is run and job.state == "running":
            job.is_dead = False
        elif job.holder is run:
            job.is_dead = False
            self.stopped.setdefault(run, jobs.Cancelled)
        else:
            self.stopped.setdefault(run, jobs.LeaseLost)
        if run in self.stopped:
            with pytest.raises(self.stopped[run]):
                run.check()
        else:
            run.check()

    @stateful.rule(run=started)
    def write_fenced(self, run: jobs.Run) -> None:
        job, entered = self.expected[run.job_id], False
        try:
            with run.fenced():
                entered = True
        except jobs.LeaseLost:
            assert not entered
        assert entered == (job.holder is run)

    # -- dying and time ------------------------------------------------------------------------------------------

    @stateful.rule(pk=asked, is_swept=st.booleans())
    def die(self, pk: uuid.UUID, is_swept: bool) -> None:
        """The worker of a job is gone: its lease runs out, and sooner or later somebody notices."""
        job = self.expected[pk]
        if job.holder is not None:
            Job.objects.filter(pk=pk).update(lease_until=timezone.now() - timedelta(seconds=1))
            job.is_dead = True
        if is_swept:
            self.sweep()

    @stateful.rule(pk=asked)
    def wait_until_due(self, pk: uuid.UUID) -> None:
        if self.expected[pk].state == "queued":
            Job.objects.filter(pk=pk).update(available_at=timezone.now())
            self.expected[pk].is_due = True

    @stateful.rule()
    def sweep(self) -> None:
        jobs.sweep()
        for job in self.expected.values():
            if not job.is_dead or job.holder is None:
                continue
            if job.state == "cancelling":
                job.end("cancelled")
            elif job.attempt >= MAX_ATTEMPTS:
                job.end("failed")
            else:
                job.requeue(is_due=True)

    # -- what always holds ---------------------------------------------------------------------------------------

    @stateful.invariant()
    def the_table_is_as_expected(self) -> None:
        stored = {job.pk: job for job in Job.objects.filter(kind=KIND)}
        assert stored.keys() == self.expected.keys()
        for pk, job in self.expected.items():
            row = stored[pk]
            assert (row.state, row.attempt, row.result) == (job.state, job.attempt, job.result)
            assert (row.finished_at is not None) == (not job.is_active)
            if job.holder is not None:
                assert row.lease_token == job.holder.lease_token
                assert row.lease_until is not None
        prints = [row.fingerprint for row in stored.values() if row.fingerprint and row.state in jobs.ACTIVE]
        assert len(prints) == len(set(prints))

    @stateful.invariant()
    def the_end_of_each_job_is_told_once(self) -> None:
        ended = sorted((str(job.pk), job.state) for job in self.expected.values() if not job.is_active)
        assert sorted((str(pk), state) for pk, state in self.settled) == ended


@pytest.mark.timeout(600)  # a thousand statements, on machines of any speed
def test_any_history_follows_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "message", lambda *_, **__: True)  # nobody listens to the doorbell here
    stateful.run_state_machine_as_test(
        Machine,
        settings=hypothesis.settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            # A failing history is at most forty lines; making it shorter would take minutes of database time.
            phases=[hypothesis.Phase.reuse, hypothesis.Phase.generate],
        ),
    )
