"""The job machinery: moves, one active job per fingerprint, leases, fencing, cancellation, the sweep."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import announce, clock, errors, jobs
from core.jobs import families, moves
from core.models import Job
from tests import together

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[jobs.Run], dict[str, Any] | None]


@pytest.fixture
def kind() -> Iterator[Callable[..., str]]:
    """Registers a kind of job for one test: ``kind(work, **options)`` returns its name."""
    names: list[str] = []

    def make(work: Work, **options: Any) -> str:
        name = f"test.{uuid.uuid4().hex}"
        names.append(name)
        jobs.register(jobs.Kind(name, work, **{"lease_seconds": 5, **options}))
        return name

    yield make
    for name in names:
        del families._kinds[name]


def submit(name: str, **options: Any) -> Job:
    return jobs.submit(name, options.pop("params", {}), **options)[0]


def expire_lease(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_work_gets_its_params_and_its_result_is_kept(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: {"twice": run.params["n"] * 2}), params={"n": 21})
    assert jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result, job.attempt) == ("succeeded", {"twice": 42}, 1)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.lease_until is None


def test_a_job_is_done_once(kind: Callable[..., str]) -> None:
    done: list[int] = []
    job = submit(kind(lambda run: done.append(run.attempt)))
    assert [jobs.run(job.pk), jobs.run(job.pk)] == [True, False]
    assert done == [1]


def test_final_states_never_change() -> None:
    for state in jobs.FINAL:
        assert jobs.MOVES[state] == frozenset()
        with pytest.raises(ValueError, match="never moves"):
            moves.move(Q(), state, jobs.QUEUED)


def test_hundred_concurrent_submits_of_one_fingerprint_make_one_job(kind: Callable[..., str]) -> None:
    name = kind(lambda run: None)
    seen: list[tuple[uuid.UUID, bool]] = []

    def ask() -> None:
        for _ in range(5):
            job, created = jobs.submit(name, {}, fingerprint="same")
            seen.append((job.pk, created))

    together.at_once([ask] * 20)
    assert len(seen) == 100
    assert len({pk for pk, _ in seen}) == 1
    assert [created for _, created in seen].count(True) == 1
    assert Job.objects.filter(kind=name).count() == 1


def test_a_fingerprint_is_free_again_after_the_end(kind: Callable[..., str]) -> None:
    name = kind(lambda run: None)
    first = submit(name, fingerprint="f")
    jobs.run(first.pk)
    assert submit(name, fingerprint="f").pk != first.pk


def test_a_submit_that_is_rolled_back_leaves_no_job(kind: Callable[..., str]) -> None:
    name = kind(lambda run: None)

    def fail_after_asking() -> None:
        with transaction.atomic():
            jobs.submit(name, {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_asking()
    assert not Job.objects.filter(kind=name).exists()


def test_failure_is_kept_in_words(kind: Callable[..., str]) -> None:
    def work(run: jobs.Run) -> None:
        raise jobs.Failure("no_rows", "There was nothing to build.")

    job = submit(kind(work))
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code, job.error_message) == ("failed", "no_rows", "There was nothing to build.")


def test_a_crash_fails_the_job_and_tells_no_details(kind: Callable[..., str]) -> None:
    def work(run: jobs.Run) -> None:
        raise KeyError("secret detail")

    job = submit(kind(work))
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "internal_error")
    assert "secret" not in job.error_message


def test_an_unavailable_part_requeues_until_attempts_run_out(kind: Callable[..., str]) -> None:
    def work(run: jobs.Run) -> None:
        raise errors.Unavailable("The store did not answer.", code="storage_unavailable")

    job = submit(kind(work, max_attempts=2))
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("queued", 1)
    assert job.available_at > timezone.now()
    assert not jobs.run(job.pk), "it is not due yet"
    Job.objects.filter(pk=job.pk).update(available_at=timezone.now())
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.error_code) == ("failed", 2, "storage_unavailable")


def test_a_retry_that_does_not_count_never_runs_out(kind: Callable[..., str]) -> None:
    def work(run: jobs.Run) -> None:
        raise jobs.Retry(0, "waiting", "Waiting.", counts=False)

    job = submit(kind(work, max_attempts=1))
    for _ in range(3):
        assert jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("queued", 0)


def test_the_domain_publishes_in_the_transaction_of_success(kind: Callable[..., str]) -> None:
    seen: list[str] = []

    def work(run: jobs.Run) -> None:
        with run.finish({"key": "k"}):
            seen.append(Job.objects.get(pk=run.job_id).state)
            raise RuntimeError

    job = submit(kind(work))
    jobs.run(job.pk)
    job.refresh_from_db()
    assert seen == ["succeeded"]
    assert (job.state, job.result) == ("failed", {}), "the publication was rolled back with the move"


def test_a_stale_worker_can_change_nothing(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: None))
    stale = jobs.claim(job.pk)
    assert stale is not None
    expire_lease(job)
    assert jobs.sweep()["requeued"] == 1
    fresh = jobs.claim(job.pk)
    assert fresh is not None
    assert fresh.lease_token != stale.lease_token
    with pytest.raises(jobs.LeaseLost), stale.finish({"by": "stale"}):
        raise AssertionError
    with pytest.raises(jobs.LeaseLost), stale.fenced():
        raise AssertionError
    stale.beat()
    with pytest.raises(jobs.LeaseLost):
        stale.check()
    with fresh.finish({"by": "fresh"}):
        fresh.check()
    job.refresh_from_db()
    assert job.result == {"by": "fresh"}


def test_cancelling_a_queued_job_ends_it_at_once(kind: Callable[..., str]) -> None:
    ends: list[str] = []
    job = submit(kind(lambda run: None, settled=lambda job: ends.append(job.state)))
    assert jobs.cancel(job.pk)
    assert not jobs.run(job.pk)
    assert ends == ["cancelled"]


def test_cancelling_a_running_job_stops_its_work(kind: Callable[..., str]) -> None:
    started = threading.Event()

    def work(run: jobs.Run) -> None:
        started.set()
        idle = threading.Event()
        while True:
            run.check()
            idle.wait(0.02)

    job = submit(kind(work))
    thread = together.in_background(lambda: jobs.run(job.pk))
    assert started.wait(10)
    assert jobs.cancel(job.pk)
    thread.join(10)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("cancelled", "cancelled")


def test_a_cancellation_before_the_publication_wins(kind: Callable[..., str]) -> None:
    def work(run: jobs.Run) -> dict[str, Any]:
        jobs.cancel(run.job_id)
        return {"published": True}

    job = submit(kind(work))
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result) == ("cancelled", {})


def test_work_being_cancelled_can_be_asked_for_anew_once_released(kind: Callable[..., str]) -> None:
    name = kind(lambda run: {})
    dying = submit(name, fingerprint="same")
    attempt = jobs.claim(dying.pk)
    assert attempt is not None
    assert not jobs.release(dying.pk), "a running job keeps its fingerprint"
    assert jobs.cancel(dying.pk)
    assert jobs.submit(name, {}, fingerprint="same") == (dying, False)
    assert jobs.release(dying.pk)
    fresh, is_new = jobs.submit(name, {}, fingerprint="same")
    assert is_new
    assert fresh != dying
    with pytest.raises(jobs.Cancelled), attempt.finish({}):
        pytest.fail("what is being cancelled must not publish")


def test_a_new_job_is_announced_without_a_further_statement(
    kind: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kind(lambda run: {})
    told: list[str] = []
    answer = True

    def message(task: str, kwargs: dict[str, str], *, queue: str) -> bool:
        told.append(kwargs["job_id"])
        return answer

    monkeypatch.setattr(announce, "message", message)
    with CaptureQueriesContext(connection) as queries:
        job = submit(name)
    assert [query["sql"].split()[0] for query in queries.captured_queries] == ["BEGIN", "INSERT", "COMMIT"]
    assert told == [str(job.pk)]
    assert jobs.sweep()["announced"] == 0, "just announced"
    answer = False
    lost = submit(name)
    assert Job.objects.get(pk=lost.pk).announced_at is None
    later = submit(name, delay=timedelta(hours=1))
    assert Job.objects.get(pk=later.pk).announced_at is None
    answer = True
    assert jobs.sweep()["announced"] == 1
    assert told == [str(job.pk), str(lost.pk), str(lost.pk)]
    assert Job.objects.get(pk=lost.pk).announced_at is not None


def test_cancelling_an_ended_job_changes_nothing(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: None))
    jobs.run(job.pk)
    assert not jobs.cancel(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded"


def test_the_sweep_fails_a_job_whose_workers_keep_dying(kind: Callable[..., str]) -> None:
    ends: list[str] = []
    job = submit(kind(lambda run: None, max_attempts=2, settled=lambda job: ends.append(job.error_code)))
    for _ in range(2):
        assert jobs.claim(job.pk) is not None
        expire_lease(job)
        jobs.sweep()
    job.refresh_from_db()
    assert (job.state, job.error_code, ends) == ("failed", "worker_lost", ["worker_lost"])


def test_the_sweep_cancels_what_was_being_cancelled_when_its_worker_died(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: None))
    jobs.claim(job.pk)
    jobs.cancel(job.pk)
    expire_lease(job)
    assert jobs.sweep()["cancelled"] == 1
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_the_sweep_leaves_live_leases_alone(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: None))
    jobs.claim(job.pk)
    assert jobs.sweep()["requeued"] == 0
    job.refresh_from_db()
    assert job.state == "running"


def test_the_heartbeat_renews_the_lease_and_writes_progress(kind: Callable[..., str]) -> None:
    seen: dict[str, Any] = {}

    def work(run: jobs.Run) -> None:
        first = Job.objects.get(pk=run.job_id).lease_until
        run.progress(stage="building", done=1, total=2)
        idle = threading.Event()
        for _ in range(200):
            now = Job.objects.get(pk=run.job_id)
            if now.progress.get("done") == 1 and now.lease_until and first and now.lease_until > first:
                seen.update(now.progress)
                return
            idle.wait(0.05)

    job = submit(kind(work))
    jobs.run(job.pk)
    assert seen == {"stage": "building", "done": 1, "total": 2}


def test_work_beyond_its_time_limit_fails(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: run.check(), time_limit=-1))
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "timeout")


def test_a_delayed_job_waits(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: None), delay=timedelta(hours=1))
    assert not jobs.run(job.pk)
    assert jobs.run_queued() == 0


def test_retry_makes_a_new_job_of_an_ended_one(kind: Callable[..., str]) -> None:
    job = submit(kind(lambda run: None), params={"n": 1})
    with pytest.raises(errors.Conflict):
        jobs.retry(job.pk)
    jobs.run(job.pk)
    again = jobs.retry(job.pk)
    assert (again.params, again.state) == ({"n": 1}, "queued")
    assert again.pk != job.pk


def test_prune_deletes_only_what_ended_long_ago(kind: Callable[..., str]) -> None:
    name = kind(lambda run: None)
    old, fresh, active = submit(name), submit(name), submit(name)
    for job in (old, fresh):
        jobs.run(job.pk)
    Job.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=400))
    jobs.prune()
    assert set(Job.objects.filter(kind=name).values_list("pk", flat=True)) == {fresh.pk, active.pk}


def test_the_sweep_is_on_the_clock() -> None:
    assert clock.schedule()["jobs.sweep"]["task"] == "tick.jobs.sweep"


@pytest.mark.parametrize("answer", [True, False])
def test_a_tick_is_rung_for_without_a_statement(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    told: list[tuple[str, dict[str, str], str]] = []

    def message(task: str, kwargs: dict[str, str], *, queue: str) -> bool:
        told.append((task, kwargs, queue))
        return answer

    monkeypatch.setattr(announce, "message", message)
    with CaptureQueriesContext(connection) as queries:
        assert clock.ring("jobs.sweep") is answer
    assert (told, len(queries)) == ([("tick.jobs.sweep", {}, "default")], 0)
