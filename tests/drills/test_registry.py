"""Drills: a worker killed, two triggers at once, the broker away, a run cancelled, readers during a swap."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.utils import timezone

from core import jobs, process
from core.jobs import attempts
from core.models import Job, User
from registry.demo import source as demo_source
from registry.formats import samples
from registry.jobs import request, stage
from registry.models import Harvest, HarvestRun, Organization, Record, StagedRecord
from tests import house, together
from tests.registry.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 700


@pytest.fixture
def source() -> demo_source.Source:
    made = demo_source.Source()
    for number in range(COUNT):
        made.put(f"d_{number:05d}.xml", samples.iso19139(number))
    return made


@pytest.fixture
def harvest(source: demo_source.Source) -> Any:
    organization = Organization.objects.create(name="PacIOOS", slug="PacIOOS")
    with demo_source.Server(source) as server:
        yield Harvest.objects.create(name="Drill", url=server.url("nginx"), organization=organization, publish=True)


@pytest.fixture
def owner(harvest: Harvest) -> User:
    user = User.objects.create_user("maria", "maria@example.org", PASSWORD, is_validated=True)
    from registry.models import Account

    Account.objects.create(user=user, approved=True).organizations.add(harvest.organization)
    return user


def headers_of(base_url: str) -> dict[str, str]:
    answer = requests.post(f"{base_url}/api/v2/login", data={"username": "maria", "password": PASSWORD}, timeout=20)
    data = answer.json()["data"]
    return {"X-Auth-Token": data["authToken"], "X-User-Id": data["userId"]}


def state_of(run: HarvestRun) -> str:
    run.refresh_from_db()
    return run.state


def test_killed_worker(
    drill_stack: house.House,
    start_worker: Callable[..., Any],
    harvest: Harvest,
    source: demo_source.Source,
) -> None:
    """X27: a killed worker's run finishes elsewhere, and what was staged is not fetched again."""
    source.delay = 0.004
    first = start_worker(queues=["harvest"], concurrency=1, REGISTRY_LEASE_SECONDS="3")
    run, _ = request.run_of(harvest, trigger="cli")
    process.await_until(
        lambda: StagedRecord.objects.filter(run=run, outcome="fetched").exists(), what="staged documents", timeout=60
    )
    first.kill()
    staged = set(StagedRecord.objects.filter(run=run, outcome="fetched").values_list("url", flat=True))
    assert 0 < len(staged) < COUNT
    source.requests.clear()
    source.delay = 0
    start_worker(queues=["harvest"], concurrency=1, REGISTRY_LEASE_SECONDS="3")

    def finished() -> bool:
        jobs.sweep()
        return state_of(run) == "ok"

    process.await_until(finished, what="the take-over", timeout=60)
    again = {f"{harvest.url}{path.rpartition('/')[2]}" for path in source.paths() if path.endswith(".xml")}
    assert not again & staged
    assert (run.good, Record.objects.count()) == (COUNT, COUNT)
    assert run.bytes == sum(Record.objects.values_list("size", flat=True)), "both workers' bytes"
    assert run.job.attempt == 2


def test_no_commit_without_lease(harvest: Harvest, source: demo_source.Source) -> None:
    """X27: a worker that lost its lease stages and swaps nothing."""
    source.files = dict(list(source.files.items())[:5])
    run, _ = request.run_of(harvest, trigger="cli")
    zombie = jobs.claim(run.job_id)
    assert zombie is not None
    run.settings = {"uid": harvest.uid}
    staged = stage.Stage(zombie, run)
    urls = [f"{harvest.url}d_0000{number}.xml" for number in range(2)]
    listed = [stage.Listed(url, url) for url in urls]
    assert staged.place(listed[:1]) == 1
    Job.objects.filter(pk=run.job_id).update(state="queued", lease_token=None)
    with pytest.raises(jobs.LeaseLost):
        staged.place(listed[1:])
    with pytest.raises(jobs.LeaseLost), zombie.finish({}):
        pytest.fail("a zombie must not get here")
    assert jobs.run_queued() == 1
    assert state_of(run) == "ok"


def test_concurrent_triggers(start_web: Callable[..., Any], harvest: Harvest, owner: User) -> None:
    """X22: fifty concurrent triggers create one run."""
    web = start_web(workers=2)
    headers = headers_of(web.base_url)
    url = f"{web.base_url}/api/v2/harvest/{harvest.uid}/harvest"
    answers: list[requests.Response] = []

    def five() -> None:
        answers.extend(requests.post(url, headers=headers, timeout=30) for _ in range(5))

    together.at_once([five] * 10)
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b'{"status":"harvesting"}')}
    run = HarvestRun.objects.get()
    assert {answer.headers["X-Harvest-Run"] for answer in answers} == {str(run.pk)}
    assert (len(answers), run.coalesced) == (50, 49)


def test_broker_down(
    drill_stack: house.House,
    start_web: Callable[..., Any],
    start_worker: Callable[..., Any],
    harvest: Harvest,
    owner: User,
    source: demo_source.Source,
) -> None:
    """X22: with the broker down the trigger is 200, and the run starts when it is back."""
    source.files = dict(list(source.files.items())[:3])
    web = start_web()
    headers = headers_of(web.base_url)
    drill_stack.valkey.kill()
    answer = requests.get(f"{web.base_url}/api/v2/harvest/{harvest.uid}/harvest", headers=headers, timeout=30)
    assert (answer.status_code, answer.content) == (200, b'{"status":"harvesting"}')
    run = HarvestRun.objects.get()
    assert run.state == "queued"
    drill_stack.valkey.start()
    start_worker(queues=["harvest"], concurrency=1)

    def finished() -> bool:
        jobs.sweep()
        return state_of(run) == "ok"

    process.await_until(finished, what="the run", timeout=60)


def test_cancel_running(start_worker: Callable[..., Any], harvest: Harvest, source: demo_source.Source) -> None:
    """X28: cancelling a running run stops it and leaves records, status and date as they were."""
    source.delay = 0.02
    start_worker(queues=["harvest"], concurrency=1)
    run, _ = request.run_of(harvest, trigger="cli")
    process.await_until(lambda: state_of(run) == "running", what="the start", timeout=60)
    assert jobs.cancel(run.job_id)
    process.await_until(lambda: state_of(run) == "cancelled", what="the cancellation", timeout=30)
    asked = len(source.requests)
    assert asked < COUNT
    harvest.refresh_from_db()
    assert (harvest.last_finished, harvest.last_status, Record.objects.count()) == (None, "", 0)
    assert not StagedRecord.objects.filter(run=run).exists()


def test_trigger_during_cancelling(harvest: Harvest, source: demo_source.Source) -> None:
    """X28: a trigger while a run is being cancelled queues a new run, which starts when the old one has stopped."""
    source.files = dict(list(source.files.items())[:4])
    dying, _ = request.run_of(harvest, trigger="cli")
    attempt = jobs.claim(dying.job_id)
    assert attempt is not None
    HarvestRun.objects.filter(pk=dying.pk).update(state="running", stage="fetching", settings={"uid": harvest.uid})
    assert stage.Stage(attempt, dying).place([stage.Listed(harvest.url, harvest.url)]) == 1
    assert jobs.cancel(dying.job_id)
    fresh, is_new = request.run_of(harvest, trigger="api")
    assert is_new
    assert fresh.pk != dying.pk
    assert (state_of(dying), state_of(fresh), dying.coalesced) == ("cancelled", "queued", 0)
    assert request.run_of(harvest, trigger="api")[0] == fresh
    jobs.run_queued()
    assert state_of(fresh) == "queued", "the old one has not stopped"
    attempt.beat()
    with pytest.raises(jobs.Cancelled):
        attempt.check()
    attempts._end(attempt, "cancelled", "cancelled", "")
    Job.objects.filter(pk=fresh.job_id).update(available_at=timezone.now())
    jobs.run_queued()
    assert (state_of(fresh), fresh.good, Record.objects.count()) == ("ok", 4, 4)
    assert not StagedRecord.objects.exists()


def test_readers_during_runs(harvest: Harvest, source: demo_source.Source) -> None:
    """X26: readers of records see the old set or the new one, never an empty or mixed one."""
    source.files = dict(list(source.files.items())[:150])
    request.run_of(harvest, trigger="cli")
    jobs.run_queued()
    names = list(source.files)
    seen: set[tuple[int, int]] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            rows = list(Record.objects.values_list("description", flat=True))
            seen.add((len(rows), sum("Revision 1." in row for row in rows)))

    reader = together.in_background(read)
    try:
        for number, name in enumerate(names):
            source.put(name, samples.iso19139(number, revision=1))
        source.put("one_more.xml", samples.iso19139(9000, revision=1))
        run, _ = request.run_of(harvest, trigger="cli")
        jobs.run_queued()
    finally:
        over.set()
        reader.join()
    assert state_of(run) == "ok"
    assert seen <= {(150, 0), (151, 151)}
    assert (150, 0) in seen


def test_folder_readers_during_runs(
    start_web: Callable[..., Any], harvest: Harvest, source: demo_source.Source
) -> None:
    """X26: over HTTP the folder and the API give the old set or the new one while a run goes on, and no dead link."""
    source.files = dict(list(source.files.items())[:80])
    request.run_of(harvest, trigger="cli")
    jobs.run_queued()
    web = start_web(workers=2)
    before = folder_of(web.base_url)
    assert len(before) == 80
    for number, name in enumerate(list(source.files)):
        source.put(name, samples.iso19139(number, revision=1))
    source.put("one_more.xml", samples.iso19139(9000, revision=1))
    seen: list[dict[str, str]] = []
    rows: set[tuple[int, int]] = set()
    over = threading.Event()
    problems: list[str] = []

    def read() -> None:
        with requests.Session() as session:
            while not over.is_set():
                seen.append(folder_of(web.base_url, session))
                path = f"/registry/api/harvests/{harvest.uid}/records?limit=1000"
                found = session.get(web.base_url + path, timeout=20).json()["data"]
                rows.add((len(found), sum("Revision 1." in row["description"] for row in found)))
                file = next(iter(seen[-1]))
                answer = session.get(f"{web.base_url}/waf/PacIOOS/{file}", timeout=20)
                if answer.status_code != 200 or len(answer.content) < 1000:
                    problems.append(f"{file}: {answer.status_code}")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        process.await_until(lambda: bool(rows), what="a first look", timeout=30)
        run, _ = request.run_of(harvest, trigger="cli")
        jobs.run_queued()
        looks = len(seen)
        process.await_until(lambda: len(seen) > looks + 1, what="a look at the new set", timeout=30)
    finally:
        over.set()
        reader.join()
    after = folder_of(web.base_url)
    assert (state_of(run), len(after), problems) == ("ok", 81, [])
    assert set(before) < set(after)
    assert all(each in (before, after) for each in seen)
    assert before in seen
    assert after in seen
    assert rows == {(80, 0), (81, 81)}


def folder_of(base_url: str, session: Any = requests) -> dict[str, str]:
    """The files of the folder with the size each is listed with."""
    listing = session.get(f"{base_url}/waf/PacIOOS/", timeout=20).text
    return dict(re.findall(r">([^<]+\.xml)</a> .*?([0-9]+)\n", listing))


def test_schedule_by_beat(
    start_worker: Callable[..., Any], start_beat: Callable[..., Any], harvest: Harvest, source: demo_source.Source
) -> None:
    """X46: with a real beat a due published source starts once per interval; unpublished and paused ones never."""
    source.files = dict(list(source.files.items())[:3])
    long_ago = timezone.now() - timedelta(days=2)
    refused: dict[str, dict[str, Any]] = {
        "unpublished": {"publish": False},
        "paused": {"paused": True},
        "on demand": {"harvest_interval": 0},
    }
    for name, fields in refused.items():
        values = {"publish": True, "next_due": long_ago, **fields}
        Harvest.objects.create(name=name, url=f"{harvest.url}?{name}", organization=harvest.organization, **values)
    Harvest.objects.filter(pk=harvest.pk).update(next_due=long_ago)
    start_worker(queues=["default", "harvest"], concurrency=2)
    start_beat(REGISTRY_SCHEDULE_SECONDS="1")
    process.await_until(
        lambda: harvest.runs.filter(state="ok", trigger="schedule").exists(), what="the first run", timeout=60
    )
    second = Harvest.objects.create(
        name="later", url=f"{harvest.url}?later", organization=harvest.organization, publish=True, next_due=long_ago
    )
    process.await_until(lambda: second.runs.filter(state="ok").exists(), what="the later one", timeout=60)
    assert HarvestRun.objects.count() == 2, "more ticks, but no run before its time"
    harvest.refresh_from_db()
    assert harvest.next_due is not None
    assert timedelta(hours=21) < harvest.next_due - timezone.now() < timedelta(hours=27)


def test_source_dies_while_listing(harvest: Harvest, source: demo_source.Source) -> None:
    """X24: a source that dies in the middle of its listing changes nothing."""
    source.files = dict(list(source.files.items())[:20])
    request.run_of(harvest, trigger="cli")
    jobs.run_queued()
    source.faults["/nginx/"] = "truncated"
    Harvest.objects.update(waive_guard_once=True)
    run, _ = request.run_of(harvest, trigger="cli")
    jobs.run_queued()
    assert (state_of(run), run.failure_code, Record.objects.count()) == ("fail", "listing_failed", 20)
