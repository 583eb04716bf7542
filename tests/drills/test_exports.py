"""Exports survive the death of the worker, the store and the connection (contract §4)."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib import parse, request

import pytest
from django.db import connection, transaction

from core import blobs, jobs
from core.celery import app
from core.models import Job
from exports.models import ExportBuild
from exports.services import owners
from tests import house, together
from tests.exports import conftest
from tests.exports.conftest import World
from tests.exports.test_export import inside

EXPORT = "v1/export/"
world = conftest.world  # the same small world as the app's own tests


@pytest.fixture
def cut(world: World) -> World:
    world.fill()
    world.cut("v1")
    return world


def status(world: World) -> str:
    return str(world.anonymous.get(f"{world.path}{EXPORT}")["X-Export-Status"])


def archives() -> list[str]:
    return [entry.key for entry in blobs.keys("exports/") if entry.key.endswith((".tgz", ".zip"))]


def test_worker_killed(
    cut: World, servers: house.House, start_worker: Callable[..., house.Worker], start_beat: Callable[..., house.Beat]
) -> None:
    """X43: worker killed: a new attempt within a minute publishes once, and nothing else is left."""
    before = set(archives())
    short = {"JOB_LEASE_SECONDS": "3", "JOB_SWEEP_SECONDS": "1"}
    first = start_worker(**short)
    store = servers.store
    store.pause()  # the upload cannot end while the store is frozen
    assert cut.api.post(f"{cut.path}{EXPORT}").status_code == 202
    house.wait_for(lambda: Job.objects.filter(kind="exports.build_export", state="running").exists(), what="a start")
    first.kill()
    store.resume()
    start_beat(**short)
    start_worker(**short)
    house.wait_for(lambda: status(cut) == "ready", what="the second attempt")
    assert Job.objects.get(kind="exports.build_export").attempt == 2
    build = ExportBuild.objects.get()
    assert set(archives()) - before == {build.tgz_key, build.zip_key}
    assert cut.api.post(f"{cut.path}{EXPORT}").status_code == 303


def test_store_down(cut: World, servers: house.House, start_worker: Callable[..., house.Worker]) -> None:
    """X46: storage down: GET still answers, link 503, build storage_unavailable, nothing left behind."""
    before = set(archives())
    cut.build(f"{cut.path}v1/")
    link = parse.urlsplit(cut.anonymous.get(f"{cut.path}{EXPORT}?format=tar")["Location"]).path
    cut.cut("v2")
    store = servers.store
    store.stop()
    answer = cut.anonymous.get(link)
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert cut.anonymous.get(f"{cut.path}{EXPORT}").status_code == 303
    assert cut.api.post(f"{cut.path}v2/export/").status_code == 202
    for _ in range(3):
        Job.objects.filter(state="queued").update(available_at="2020-01-01T00:00:00Z")
        jobs.run_queued()
    failed = cut.anonymous.get(f"{cut.path}v2/export/")
    assert (failed.status_code, failed["X-Export-Status"]) == (204, "failed")
    assert failed["X-Export-Error"].startswith("storage_unavailable; ")
    assert cut.api.delete(f"{cut.path}{EXPORT}").status_code == 200
    store.start()
    first = ExportBuild.objects.get(version_name="v1")
    assert set(archives()) - before <= {first.tgz_key, first.zip_key}
    assert blobs.abort_stale_uploads(timedelta(0), prefix="exports/") == 0
    cut.build(f"{cut.path}v2/")
    assert cut.anonymous.get(f"{cut.path}v2/export/").status_code == 303


def test_flower(cut: World, worker: house.Worker) -> None:
    """X50: Flower shows PROGRESS with the percentage: the worker sends the event it lists as such."""
    seen: list[dict[str, Any]] = []
    enough = threading.Event()

    def note(event: dict[str, Any]) -> None:
        seen.append(event)
        enough.set()

    def listen() -> None:
        with app.connection() as broker:
            receiver = app.events.Receiver(broker, handlers={"task-progress": note})
            for _ in receiver.itercapture(limit=None, timeout=30, wakeup=False):
                if enough.is_set():
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    number = 1
    while not enough.is_set() and number < 20:  # the listener may bind its queue after the first build
        cut.cut(f"f{number}")
        cut.boss.post(f"{cut.path}f{number}/export/")
        enough.wait(3)
        number += 1
    listener.join(35)
    assert seen
    percent, _, rest = seen[0]["result"].partition("% ")
    assert 0 <= int(percent) < 100
    assert "/5" in rest


def ask(web: house.Web, method: str, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of one request on a connection of its own; redirects are not followed."""
    address = parse.urlsplit(web.base_url)
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)) as client:
        client.request(method, path, headers=headers)
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read()


def beginning(web: house.Web, path: str, size: int) -> tuple[bytes, Any]:
    """The first bytes of a download whose connection then breaks, and the headers of the whole."""
    address = parse.urlsplit(web.base_url)
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)) as client:
        client.request("GET", path)
        with client.getresponse() as answer:
            return answer.read(size), answer.headers


def test_real_connection(cut: World, web: house.Web, worker: house.Worker) -> None:
    """X20: through a real server: a broken download is continued, then the link is used up."""
    assert ask(web, "POST", f"{cut.path}{EXPORT}", Authorization=f"Token {cut.api.token}")[0] == 202
    house.wait_for(lambda: status(cut) == "ready", what="the build")
    whole = ask(web, "GET", f"{cut.path}{EXPORT}?stream=true")[2]
    link = parse.urlsplit(ask(web, "GET", f"{cut.path}{EXPORT}?format=tar")[1]["Location"]).path
    head, told = beginning(web, link, 500)
    # the rest of so small a file was already on its way, so the client has to name what it continues
    code, _, rest = ask(web, "GET", link, **{"Range": "bytes=500-", "If-Range": told["ETag"]})
    assert code == 206
    assert len(head + rest) == int(told["Content-Length"])
    assert inside(whole) == inside(head + rest)
    house.wait_for(lambda: ask(web, "GET", link)[0] == 410, what="the link to be used up")


def test_two_settings(cut: World, start_worker: Callable[..., house.Worker]) -> None:
    """X27: builds under another locale, time zone and worker count have the same bytes."""
    sums: list[tuple[str, str, str]] = []
    for settings in ({"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"}, {"TZ": "America/Caracas", "LC_ALL": "C"}):
        running = start_worker(concurrency=1 + len(sums), **settings)
        assert cut.api.post(f"{cut.path}{EXPORT}?force=true").status_code == 202
        house.wait_for(
            lambda: not ExportBuild.objects.filter(state__in=("queued", "processing")).exists(), what="a build"
        )
        build = ExportBuild.objects.get(state="ready")
        sums.append((build.tgz_sha256, build.zip_sha256, build.json_sha256))
        running.kill()
    assert sums[0] == sums[1]


def test_edits_during_a_build(cut: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X47: edits during a build lose or double no row."""
    from exports.jobs import build

    whole = build._fill

    def edit_meanwhile(*arguments: Any) -> None:
        cut.api.put(f"{cut.path}concepts/A/", {"datatype": "Text"})
        cut.concept("meanwhile")
        whole(*arguments)

    monkeypatch.setattr(build, "_fill", edit_meanwhile)
    cut.build(f"{cut.path}v1/")
    answer = cut.api.get(f"{cut.path}{EXPORT}?stream=true")
    document = json.loads(inside(b"".join(answer.streaming_content)))
    assert sorted(row["id"] for row in document["concepts"]) == ["A", "B", "C"]
    assert {row["id"]: row["datatype"] for row in document["concepts"]}["A"] == "N/A"
    assert connection.is_usable()


def test_one_of_twenty(cut: World, web: house.Web, worker: house.Worker) -> None:
    """X7: of 20 simultaneous POSTs through a real server exactly one is 202 and one build runs."""

    def post() -> int:
        return int(ask(web, "POST", f"{cut.path}{EXPORT}", Authorization=f"Token {cut.api.token}")[0])

    codes = sorted(together.at_once([post] * 20))
    assert codes.count(202) == 1
    assert set(codes) <= {202, 303, 409}, codes
    house.wait_for(lambda: status(cut) == "ready", what="the build")
    assert ExportBuild.objects.count() == Job.objects.filter(kind="exports.build_export").count() == 1


def test_atomic_imports_by_two_workers(world: World, start_worker: Callable[..., house.Worker]) -> None:
    """X36: two processes import, atomically, files that make two sources in opposite order: both do at once."""

    def file(pause: str, *names: str) -> list[dict[str, Any]]:
        of_org = {"owner": "MyOrg", "owner_type": "Organization"}
        first, second = ({"type": "Source", "id": name, "name": name, **of_org} for name in names)
        return [first, {"type": "Organization", "id": pause}, second]

    for one in (file("Pause1", "N1", "N2"), file("Pause2", "N2", "N1")):
        assert world.api.post("/importers/bulk-import/?atomic=true", one).status_code == 202
    with transaction.atomic():
        # whoever has made one source waits here for the same name, so neither is done before the other has begun
        for name in ("Pause1", "Pause2"):
            owners.create_organization(data={"id": name, "name": name}, user=world.editor)
        start_worker(concurrency=2)
        house.wait_for(lambda: together.waiting() == 2, what="both imports")
        transaction.set_rollback(True)
    found = Job.objects.filter(kind="exports.import")
    house.wait_for(lambda: not found.exclude(state="succeeded").exists(), what="both imports' end")
    assert list(found.values_list("attempt", flat=True)) == [1, 1]
    for name in ("N1", "N2"):
        assert world.api.get(f"/orgs/MyOrg/sources/{name}/").status_code == 200


class Subscriber:
    """A client of contract §6 as its users write them: probes without a slash, follows redirects by hand and once,
    reads the file forward only, takes the date from the path, then asks for what changed."""

    def __init__(self, web: house.Web, repo: str, token: str) -> None:
        self.web, self.repo, self.token = web, repo, token
        self.rows: dict[str, dict[str, Any]] = {}
        self.since = ""

    def get(self, path: str) -> tuple[int, Any, bytes]:
        return ask(self.web, "GET", path)

    def first(self) -> None:
        version = json.loads(self.get(f"{self.repo}latest")[2])["id"]
        path = f"{self.repo}{version}/export"
        code, told, _ = self.get(path)
        if code == 204:
            assert ask(self.web, "POST", path, Authorization=f"Token {self.token}")[0] == 202
            house.wait_for(lambda: self.get(path)[0] == 303, what="the export")
            code, told, _ = self.get(path)
        link = parse.urlsplit(told["Location"])
        stamp = re.search("([0-9]*).(tgz|zip)", link.path)
        assert code == 303
        assert stamp is not None
        data = self.download(link)
        assert hashlib.sha256(data).hexdigest() == told["ETag"].strip('"')
        self.forward(inside(data).decode())
        self.since = stamp[1]

    def download(self, link: parse.SplitResult) -> bytes:
        code, told, data = self.get(link.path)
        if code == 302:
            with request.urlopen(told["Location"], timeout=30) as answer:
                return bytes(answer.read())
        assert code == 200
        return data

    def forward(self, text: str) -> None:
        """Read the arrays in the order they come; a mapping may name only concepts that were read before."""
        decoder, place = json.JSONDecoder(), text.index('"concepts": [') + len('"concepts": [')
        turn = text.index('], "mappings": [')
        while place < len(text):
            if text[place] == "]":
                if place != turn:
                    return
                place += len('], "mappings": [')
                continue
            row, place = decoder.raw_decode(text, place)
            if row["type"] == "Mapping":
                assert row["from_concept_url"] in self.rows
            self.rows[row["url"]] = row
            place += 2 if text[place] == "," else 0

    def changes(self) -> int:
        """Apply what changed since the last time; how many rows came."""
        query = "?includeConcepts=true&includeMappings=true&includeRetired=true&limit=0&updatedSince="
        document = json.loads(self.get(f"{self.repo}{query}{parse.quote(self.since)}")[2])
        came = document["concepts"] + document["mappings"]
        self.rows |= {row["url"]: row for row in came}
        self.since = max((row["updated_on"] for row in came), default=self.since)
        return len(came)


def test_subscription(cut: World, web: house.Web, worker: house.Worker) -> None:
    """X57: a subscriber that loads the newest released export once and then only diffs has what the next holds."""
    cut.api.put(f"{cut.path}v1/", {"released": True})
    subscriber = Subscriber(web, cut.path, cut.api.token)
    subscriber.first()
    assert len(subscriber.rows) == 5
    new = cut.concept("New")
    cut.api.put(f"{cut.path}concepts/B/", {"names": [{"name": "Other", "locale": "en"}]})
    cut.api.delete(f"{cut.path}concepts/A/")
    assert subscriber.changes() >= 3
    cut.mapping(new, f"{cut.path}concepts/B/")
    cut.api.put(f"{cut.path}concepts/C/reactivate/")
    assert subscriber.changes() >= 2
    assert subscriber.changes() <= 2  # repeats are harmless: the newest comes again
    cut.cut("v2", released=True)
    fresh = Subscriber(web, cut.path, cut.api.token)
    fresh.first()
    moment = ("is_latest_version", "to_concept_name_resolved", "from_concept_name_resolved", "child_concept_urls")

    def lasting(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return {url: {key: value for key, value in row.items() if key not in moment} for url, row in rows.items()}

    assert subscriber.rows[f"{cut.path}concepts/A/"]["retired"] is True
    assert lasting(subscriber.rows) == lasting(fresh.rows)
