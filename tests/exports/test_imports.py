"""Imports: JSON lines and archives of every age, limits, rights, atomicity (contract §6)."""

import gzip
import io
import json
import random
import tarfile
import threading
import zipfile
from functools import partial
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from core import jobs
from core.models import Job
from exports.jobs.imports import rows
from exports.models import CollectionReference, ImportNote, Repo
from exports.serializers import imports as serializer
from tests import together
from tests.exports.conftest import Api, World
from tests.exports.test_export import download
from tests.house import wait_for

EVERYTHING = "?includeConcepts=true&includeMappings=true&includeRetired=true&limit=0"


def run(api: Api, data: bytes, query: str = "", name: str = "export.zip") -> dict[str, Any]:
    """Upload, let the job run, and give back the report with the task under ``task``."""
    answer = api.client.post(
        f"/importers/bulk-import/{query}",
        {"file": SimpleUploadedFile(name, data)},
        headers={"Authorization": f"Token {api.token}"},
    )
    assert answer.status_code == 202, answer.content
    jobs.run_queued()
    task = answer.json()["id"]
    report = json.loads(b"".join(api.get(f"/importers/bulk-import/?task={task}&result=report").streaming_content))
    return {**report, "task": api.get(f"/importers/bulk-import/?task={task}").json()}


def lines(*records: Any) -> bytes:
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in records).encode()


def exported(data: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found: dict[str, Any] = json.loads(tar.extractfile("export.json").read())  # type: ignore[union-attr]
    return found


def concept(mnemonic: str, **more: Any) -> dict[str, Any]:
    names = [{"name": f"Name {mnemonic}", "locale": "en", "locale_preferred": True}]
    base = {"type": "Concept", "id": mnemonic, "source": "Src1", "owner": "MyOrg", "owner_type": "Organization"}
    return {**base, "concept_class": "Drug", "datatype": "N/A", "names": names, **more}


@pytest.fixture
def archive(world: World) -> bytes:
    urls = world.fill()
    world.concept("x/y%z w", "Odd", parent_concept_urls=[urls[0]], extras={"b": 1, "a": 2.0})
    world.mapping(urls[0], "/orgs/MyOrg/sources/Src1/concepts/x%2Fy%25z w/", sort_weight=3)
    world.cut("v1", released=True, description="First")
    world.build(f"{world.path}v1/")
    return download(world, f"{world.path}v1/")


def test_round_trip(world: World, archive: bytes) -> None:
    """X52: an archive imported as a new source, then exported: equal concepts, mappings; imported again: no change."""
    before = exported(archive)
    assert world.boss.delete(world.path).status_code == 204
    report = run(world.boss, archive)
    assert report["failed"] == report["invalid"] == report["unknown"] == []
    assert len(report["created"]) == len(before["concepts"]) + len(before["mappings"]) + 1
    world.build(f"{world.path}v1/")
    after = exported(download(world, f"{world.path}v1/"))
    assert after["concepts"] == before["concepts"]
    assert after["mappings"] == before["mappings"]
    head = b"".join(world.api.get(f"{world.path}{EVERYTHING}").streaming_content)
    again = run(world.boss, archive)
    assert again["created"] == again["updated"] == again["failed"] == []
    assert b"".join(world.api.get(f"{world.path}{EVERYTHING}").streaming_content) == head


def old_archive(count: int) -> dict[str, Any]:
    """A document as of some year, with so many keys per concept."""
    body = {
        "type": "Concept", "uuid": "55572f688a86f24b48d935be", "id": "1", "external_id": None,
        "concept_class": "Test", "datatype": "Numeric", "display_name": "HIV", "display_locale": "en",
        "names": [{"uuid": "4624", "name": "HIV", "locale": "en", "locale_preferred": True,
                   "name_type": "Fully Specified"}],
        "descriptions": None, "extras": None, "retired": False, "source": "OLD", "source_url": "/orgs/WHO/sources/OLD/",
        "owner": "WHO", "owner_name": "WHO", "owner_url": "/orgs/WHO/", "version": "55572f688a86f24b48d935bf",
        "created_on": "2015-05-16T12:28:20.071", "updated_on": "2015-05-16T12:28:20.071",
        "version_created_on": "2015-05-16T12:28:20.071", "version_created_by": "paynejd", "update_comment": None,
        "is_latest_version": True, "locale": None, "url": "/orgs/WHO/sources/OLD/concepts/1/",
        "owner_type": "Organization", "version_url": "/orgs/WHO/sources/OLD/concepts/1/55572f688a86f24b48d935bf/",
        "mappings": None, "is_root_version": False, "previous_version_url": None, "parent_concept_urls": [],
        "child_concept_urls": [], "checksums": {"standard": "a" * 32, "smart": "b" * 32},
    }  # fmt: skip
    return {"concepts": [dict(list(body.items())[:count])], "mappings": []}


def packed(document: dict[str, Any], how: str) -> bytes:
    raw = json.dumps(document, indent=2 if how == "pretty" else None).encode()
    if how in ("json", "pretty"):
        return b"\xef\xbb\xbf" + raw
    out = io.BytesIO()
    if how == "zip":
        with zipfile.ZipFile(out, "w") as box:
            box.writestr("__MACOSX/._export.json", b"\0\5\26\7")
            box.writestr("CIEL/export.json", raw)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:gz" if how == "tgz" else "w") as tar:
        info = tarfile.TarInfo("export.json")
        info.size = len(raw)
        tar.addfile(info, io.BytesIO(raw))
    return out.getvalue()


@pytest.mark.parametrize("how", ["json", "pretty", "zip", "tgz", "tar"])
@pytest.mark.parametrize("count", [31, 33, 34])
def test_old_archives(world: World, how: str, count: int) -> None:
    """X53: 2015-style, 31/33/34-key, pretty-printed, __MACOSX archives import."""
    header = {"type": "Source", "id": "OLD", "short_code": "OLD", "name": "Old", "url": "/orgs/WHO/sources/OLD/",
              "owner": "WHO", "owner_type": "Organization", "created_at": "2015-05-16T12:28:20"}  # fmt: skip
    if count == 31:
        header |= {"type": "Source Version", "id": "v2015", "versionUrl": "/orgs/WHO/sources/OLD/v2015/"}
    body = old_archive(count)
    body["mappings"] = [
        {"type": "MappingVersion", "id": "55572f688a86f24b48d935c0", "mapType": "SAME-AS",
         "from_concept_url": "/orgs/WHO/sources/OLD/concepts/1/", "to_source_url": "/orgs/X/sources/ICD/",
         "to_concept_code": "B20", "created_at": "2015-05-16T12:28:20"}
    ]  # fmt: skip
    report = run(world.boss, packed({**header, **body}, how))
    assert [report[key] for key in ("failed", "invalid", "unknown", "permission_denied")] == [[], [], [], []]
    found = world.boss.get("/orgs/WHO/sources/OLD/concepts/1/").json()
    assert found["created_on"] == "2015-05-16T12:28:20.071000Z"
    assert found["names"][0]["name_type"] == "FULLY_SPECIFIED"
    assert world.boss.get("/orgs/WHO/sources/OLD/mappings/").json()[0]["to_source_name"] == "ICD"
    expected = 200 if count == 31 else 404
    assert world.boss.get("/orgs/WHO/sources/OLD/v2015/").status_code == expected


def test_broken_line(world: World) -> None:
    """X54: a broken line is reported with its number; with atomic=true nothing is stored."""
    data = lines(concept("L1"), '{"type": "Concept", "id": }', concept("L3", names=[]), concept("L4"))
    report = run(world.api, data, "?atomic=true", name="lines.json")
    assert world.api.get(f"{world.path}concepts/L1/").status_code == 404
    assert report["created"] == []
    report = run(world.api, data, name="lines.json")
    assert [entry["line"] for entry in report["invalid"]] == [2, 3]
    assert [entry["line"] for entry in report["created"]] == [1, 4]
    assert report["summary"].startswith("Processed: 2 of 4 | Created: 2")
    assert world.api.get(f"{world.path}concepts/L4/").status_code == 200


def bomb() -> bytes:
    return gzip.compress(b'{"type": "Concept", "id": "' + b"0" * 30_000_000 + b'"}')


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bomb(), "packed more than"),
        (b"[" * 100_000, "deeper than"),
        (b'[{"type": "Concept", "extras": ' + b"[" * 60 + b"]" * 60 + b"}]", "More than 50 levels"),
        (b'[{"type": "Concept", "id": "' + b"x" * 9_000_000 + b'"}]', "longer than"),
        (gzip.compress(random.Random(1).randbytes(9000).hex().encode())[:-3000], "ends in the middle"),
        (b'{"type": "Source Version", "concepts": [{"id": "1"}, {"id": ', "ends too early"),
        (b"PK\3\4 nothing", "damaged"),
        (b"hello", "neither JSON"),
    ],
)
def test_limits(world: World, data: bytes, words: str) -> None:
    """X55: zip bomb, over-deep, over-long, truncated input fail with a reason."""
    report = run(world.api, data)
    assert report["task"]["state"] == "FAILURE"
    assert words in report["task"]["message"]
    assert report["created"] == []


def test_goes_on(world: World, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """X43: an import that is interrupted goes on behind its last batch: every record is done and noted once."""
    from exports.jobs.imports import work

    assert world.boss.delete(world.path).status_code == 204
    monkeypatch.setattr(work, "BATCH", 2)
    whole, calls = rows.write, []

    def break_once(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("the server closed the connection unexpectedly")
        whole(*arguments)

    monkeypatch.setattr(rows, "write", break_once)
    answer = world.boss("POST", "/importers/bulk-import/", archive)
    jobs.run_queued()
    assert Job.objects.filter(kind="exports.import", state="queued").update(available_at=timezone.now()) == 1
    jobs.run_queued()
    path = f"/importers/bulk-import/?task={answer.json()['id']}&result=report"
    report = json.loads(b"".join(world.boss.get(path).streaming_content))
    assert report["failed"] == report["unchanged"] == []
    assert sorted(entry["url"] for entry in report["created"]) == sorted({entry["url"] for entry in report["created"]})
    assert len(report["created"]) == 4 + 3 + 1
    world.build(f"{world.path}v1/")
    assert exported(download(world, f"{world.path}v1/"))["concepts"] == exported(archive)["concepts"]


def test_rights(world: World) -> None:
    """X56: import respects rights per record (permission_denied)."""
    world.repo("Open", public_access="Edit")
    data = lines(concept("P1"), concept("P2", source="Open"))
    report = run(world.stranger, data)
    assert [entry["line"] for entry in report["permission_denied"]] == [1]
    assert [entry["line"] for entry in report["created"]] == [2]
    assert world.api.get(f"{world.path}concepts/P1/").status_code == 404


#: longer than an index takes, and not to be made shorter by compressing it
LONG = random.Random(1).randbytes(4000).hex()


def test_too_long(world: World) -> None:
    """X54: what is too long for us is invalid with its line, and the lines round it go on."""
    origin = world.concept("A")
    org = {"owner": "MyOrg", "owner_type": "Organization"}
    mapping = {"type": "Mapping", "map_type": "X", "source": "Src1", **org, "from_concept_url": origin}
    data = lines(
        concept("L1", parent_concept_urls=[f"/orgs/{LONG}/sources/S/concepts/1/"]),
        concept("L2", parent_concept_urls=[f"{world.path}concepts/{LONG}/"]),
        {**mapping, "to_concept_url": f"/orgs/{LONG}/sources/S/concepts/1/"},
        {**mapping, "from_concept_url": f"/orgs/{LONG}/sources/S/concepts/1/", "to_concept_url": origin},
        {"type": "Source", "id": "S9", "name": "S", **org, "default_locale": LONG},
        {"type": "Organization", "id": "O9", "name": LONG},
        {"type": LONG},
        # codes elsewhere may be of any length
        {**mapping, "id": "far", "to_source_url": "/orgs/Else/sources/S/", "to_concept_code": LONG},
        concept("good"),
    )
    report = run(world.api, data)
    assert report["task"]["state"] == "SUCCESS"
    assert [list(entry["errors"]) for entry in report["invalid"]] == [
        ["parent_concept_urls"], ["parent_concept_urls"], ["to_concept_url"], ["from_concept_url"], ["default_locale"],
        ["name"],
    ]  # fmt: skip
    assert [entry["line"] for entry in report["unknown"]] == [7]
    assert [entry["line"] for entry in report["created"]] == [8, 9]
    assert world.api.get(f"{world.path}mappings/far/").json()["to_concept_code"] == LONG


def test_references_of_a_source(world: World) -> None:
    """X54: a source takes no references, whatever a record calls it."""
    record = {"type": "Reference", "collection_url": world.path, "data": {"expressions": [world.concept("A")]}}
    report = run(world.api, lines(record))
    assert [entry["errors"] for entry in report["invalid"]] == [
        {"collection_url": [f"{world.path} is not a collection."]}
    ]
    assert not CollectionReference.objects.exists()


def test_times_to_come(world: World, archive: bytes) -> None:
    """X52: times of an archive that are still to come are not kept: the repository, and collections that show it, could
    never be written again."""
    document = exported(archive)
    for row in (document, *document["concepts"], *document["mappings"]):
        row["updated_on"] = "9999-12-31T23:59:59.999999Z"
    report = run(world.api, json.dumps(document).encode(), "?owner=users/editor")
    assert (report["task"]["state"], report["failed"], report["invalid"]) == ("SUCCESS", [], [])
    held = world.repo("Held", kind="collection")
    world.refer(held, "/users/editor/sources/Src1/concepts/A/")
    answer = world.api.put("/users/editor/sources/Src1/concepts/A/", {"datatype": "Text"})
    assert (answer.status_code, answer.json()["updated_on"][:2]) == (200, "20")
    assert world.api.get("/users/editor/sources/Src1/v1/").json()["updated_on"][:2] == "20"


def test_name_of_an_archive(world: World, archive: bytes) -> None:
    """X53: an archive of a repository whose name no address could hold makes none."""
    document = {**exported(archive), "url": "/orgs/MyOrg/sources/no name/"}
    report = run(world.api, json.dumps(document).encode())
    assert [entry["errors"] for entry in report["invalid"]] == [{"url": ['"no name" cannot name a repository.']}]
    assert Repo.objects.count() == 1


def test_all_types(world: World) -> None:
    """X54: JSON lines of every type, imported twice: the second run changes nothing."""
    data = lines(
        {"type": "Organization", "id": "NewOrg", "name": "New"},
        {"type": "Source", "id": "S2", "name": "S two", "owner": "NewOrg", "owner_type": "Organization"},
        {"type": "Collection", "id": "C2", "name": "C two", "owner": "NewOrg", "owner_type": "Organization"},
        concept("1", source="S2", owner="NewOrg"),
        concept("2", source="S2", owner="NewOrg"),
        {"type": "Mapping", "map_type": "NARROWER-THAN", "source": "S2", "owner": "NewOrg",
         "from_concept_url": "/orgs/NewOrg/sources/S2/concepts/1/",
         "to_concept_url": "/orgs/NewOrg/sources/S2/concepts/2/"},
        {"type": "Reference", "collection_url": "/orgs/NewOrg/collections/C2/", "__cascade": "sourcemappings",
         "data": {"expressions": ["/orgs/NewOrg/sources/S2/concepts/1/"]}},
        {"type": "Source Version", "id": "r1", "source": "S2", "owner": "NewOrg", "released": True},
        {"type": "Collection Version", "id": "r1", "collection": "C2", "owner": "NewOrg"},
        {"type": "Nonsense"},
    )  # fmt: skip
    report = run(world.api, data)
    assert len(report["created"]) == 9, report
    assert len(report["unknown"]) == 1
    assert len(world.api.get("/orgs/NewOrg/collections/C2/r1/concepts/").json()) == 1
    assert len(world.api.get("/orgs/NewOrg/collections/C2/r1/mappings/").json()) == 1
    again = run(world.api, data)
    assert again["created"] == again["updated"] == again["failed"] == []
    assert len(again["unchanged"]) == 9


def test_actions(world: World) -> None:
    """X54: `__action` says what a record may do; without it, and with update_if_exists, what is there is updated."""
    url = world.concept("A", "Alpha")
    mapped = world.mapping(url, "/orgs/Else/sources/ICD/concepts/X/", id="m1")
    data = lines(
        concept("A", __action="CREATE", datatype="Text"),
        concept("none", __action="UPDATE"),
        concept("A", __action="UPDATE", datatype="Coded"),
        concept("A", __action="REPLACE"),
        {"type": "Source", "id": "None", "owner": "MyOrg", "owner_type": "Organization", "__action": "DELETE"},
        {"type": "Organization", "id": "MyOrg", "name": "Other", "__action": "CREATE"},
        {"type": "Organization", "id": "MyOrg", "name": "Renamed", "__action": "UPDATE"},
        {"type": "Mapping", "id": "m1", "source": "Src1", "owner": "MyOrg", "__action": "DELETE"},
        concept("B", __action="CREATE"),
    )
    report = run(world.api, data, name="lines.json")
    told = {outcome: [entry["line"] for entry in report[outcome]] for outcome in serializer.OUTCOMES}
    assert told == {
        "created": [9], "updated": [3, 7], "unchanged": [], "deleted": [8], "failed": [1, 2, 5, 6], "invalid": [4],
        "permission_denied": [], "unknown": [],
    }  # fmt: skip
    assert report["summary"] == (
        "Processed: 4 of 9 | Created: 1 | Updated: 2 | Unchanged: 0 | Deleted: 1 | Failed: 4 | Invalid: 1 |"
        " Permission Denied: 0 | Unknown: 0"
    )
    assert world.api.get(url).json()["datatype"] == "Coded"
    assert world.api.get(mapped).json()["retired"] is True
    assert world.api.get("/orgs/MyOrg/").json()["name"] == "Renamed"
    again = run(world.api, lines(concept("A", datatype="Text"), concept("C")), "?update_if_exists=false", "lines.json")
    assert [[entry["line"] for entry in again[outcome]] for outcome in ("created", "failed")] == [[2], [1]]
    assert world.api.get(url).json()["datatype"] == "Coded"
    more = run(world.api, lines(concept("A", datatype="Text")), name="lines.json")
    assert [entry["line"] for entry in more["updated"]] == [1]
    assert world.api.get(url).json()["datatype"] == "Text"


def test_limits_by_setting(world: World, settings: Settings) -> None:
    """X55: the longest upload, content and record are as set; what is too long is refused before anything is stored."""
    data = lines(concept("L1"), concept("L2", extras={"x": "y" * 3000}))
    settings.EXPORTS_IMPORT_MAX_BYTES = len(data) - 1
    for send in (
        lambda: world.api("POST", "/importers/bulk-import/", data),
        lambda: world.api.client.post(
            "/importers/bulk-import/",
            {"file": SimpleUploadedFile("x.json", data)},
            headers={"Authorization": f"Token {world.api.token}"},
        ),
    ):
        refused = send()
        assert (refused.status_code, refused.json()) == (413, {"detail": "The upload is too large."})
    settings.EXPORTS_IMPORT_MAX_BYTES = 10**6
    for name, limit, words in (
        ("EXPORTS_IMPORT_MAX_UNPACKED", len(data) - 1, f"larger than {len(data) - 1} bytes"),
        ("EXPORTS_IMPORT_MAX_RECORD", 3000, "longer than 3000 bytes"),
    ):
        before = getattr(settings, name)
        setattr(settings, name, limit)
        for packed_data in (data, gzip.compress(data)):
            report = run(world.api, packed_data, name="lines.json")
            assert (report["task"]["state"], report["created"]) == ("FAILURE", [])
            assert words in report["task"]["message"]
        setattr(settings, name, before)
    assert world.api.get(f"{world.path}concepts/L1/").status_code == 404
    assert len(run(world.api, data, name="lines.json")["created"]) == 2


def test_task(world: World) -> None:
    """X54: an import can be watched, is unknown to others, and can be cancelled."""
    answer = world.api("POST", "/manage/bulkimport/", lines(concept("T1")))
    assert answer.status_code == 202
    task = answer.json()
    assert task["state"] == "PENDING"
    assert world.stranger.get(f"/tasks/{task['id']}/").status_code == 404
    assert world.api.delete("/importers/bulk-import/", {"task_id": task["id"]}).status_code == 204
    jobs.run_queued()
    assert world.api.get(f"/tasks/{task['id']}/").json()["state"] == "REVOKED"
    assert world.api.get(f"{world.path}concepts/T1/").status_code == 404
    assert world.api.post("/importers/bulk-import/?file_url=http://example.org/x.json").status_code == 400
    answer = world.api.post("/importers/bulk-import/", {"file_url": "http://example.org/x.json"})
    assert answer.status_code == 400
    assert answer.json() == {"file_url": ["This host is not allowed."]}
    assert world.anonymous.post("/importers/bulk-import/").status_code == 401


class Halfway:
    """Holds imports up behind their first batch of rows, until all of them are there or the test says go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.there, self.go_on = threading.Semaphore(0), threading.Event()
        self._seen: set[int] = set()
        self._write, self._count = rows.write, count
        monkeypatch.setattr(rows, "write", self)

    def __call__(self, *arguments: Any) -> None:
        self._write(*arguments)
        here = threading.get_ident()
        if here not in self._seen:
            self._seen.add(here)
            self.there.release()
            if len(self._seen) == self._count:
                self.go_on.set()
            assert self.go_on.wait(60)


def between(name: str) -> dict[str, Any]:
    """A record that ends a run of rows, so that those behind it are another batch."""
    return {"type": "Organization", "id": name}


def meet(world: World, monkeypatch: pytest.MonkeyPatch, *files: bytes, query: str = "?atomic=true") -> None:
    """Two imports at once, each held up behind its first batch of rows until the other one is there or waits; both end
    well at their first attempt."""
    answers = [world.api("POST", f"/importers/bulk-import/{query}", one) for one in files]
    assert [answer.status_code for answer in answers] == [202, 202]
    halfway = Halfway(monkeypatch, 2)
    threads = [together.in_background(partial(jobs.run, job.pk)) for job in Job.objects.filter(kind="exports.import")]
    assert halfway.there.acquire(timeout=60)
    # the other one either waits at its very beginning or is halfway as well
    wait_for(lambda: together.is_waiting() or halfway.go_on.is_set(), what="the second import")
    halfway.go_on.set()
    for thread in threads:
        thread.join(60)
    assert list(Job.objects.filter(kind="exports.import").values_list("state", "attempt")) == [("succeeded", 1)] * 2
    notes = ImportNote.objects.filter(outcome__in=("failed", "invalid", "permission_denied", "unknown"))
    assert [(note.url, note.errors) for note in notes] == []


def ids(world: World, source: str) -> set[str]:
    return {row["id"] for row in world.api.get(f"/orgs/MyOrg/sources/{source}/concepts/").json()}


def test_atomic_imports_in_each_others_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X36: atomic imports over the same sources and collections wait for one another, never in a circle."""
    other = world.repo("Src2")
    urls = [world.concept("A"), world.concept("B", source=other)]
    for name, url in zip(("Coll1", "Coll2"), urls, strict=True):
        world.refer(world.repo(name, kind="collection"), url)
    mine, theirs = concept("A", datatype="Text"), concept("B", source="Src2", datatype="Text")
    back = lines(theirs, between("Back"), concept("B1", source="Src2"), concept("A2"))
    forth = lines(mine, between("Forth"), concept("A3"), concept("B2", source="Src2"))
    meet(world, monkeypatch, forth, back)
    assert (ids(world, "Src1"), ids(world, "Src2")) == ({"A", "A2", "A3"}, {"B", "B1", "B2"})


def test_new_sources_in_each_others_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X36: atomic imports that make the same sources in opposite order: neither waits for the other in a circle."""

    def made(name: str) -> dict[str, Any]:
        return {"type": "Source", "id": name, "name": name, "owner": "MyOrg", "owner_type": "Organization"}

    forth = lines(made("N1"), concept("A", source="N1"), made("N2"), concept("B", source="N2"))
    back = lines(made("N2"), concept("C", source="N2"), made("N1"), concept("D", source="N1"))
    meet(world, monkeypatch, forth, back)
    assert (ids(world, "N1"), ids(world, "N2")) == ({"A", "D"}, {"B", "C"})


def test_referrers_in_each_others_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X36: atomic imports that rename the ends of a third source's mappings in opposite order wait for one another."""
    other, third = world.repo("Src2"), world.repo("Maps")
    ends = [(world.concept(f"A{number}"), world.concept(f"B{number}", source=other), number) for number in (1, 2)]
    for origin, target, number in ends:
        made = {"id": str(number), "map_type": "X", "from_concept_url": origin, "to_concept_url": target}
        assert world.api.post(f"{third.uri}mappings/", made).status_code == 201

    def renamed(name: str, source: str) -> dict[str, Any]:
        return concept(name, source=source, names=[{"name": f"New {name}", "locale": "en"}])

    forth = lines(renamed("A1", "Src1"), between("Forth"), renamed("A2", "Src1"))
    back = lines(renamed("B2", "Src2"), between("Back"), renamed("B1", "Src2"))
    meet(world, monkeypatch, forth, back)
    told = world.api.get(f"{third.uri}{EVERYTHING}")
    shown = json.loads(b"".join(told.streaming_content))["mappings"]
    assert {(row["from_concept_name_resolved"], row["to_concept_name_resolved"]) for row in shown} == {
        ("New A1", "New B1"),
        ("New A2", "New B2"),
    }


def test_archives_in_each_others_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X36: atomic imports of collections' archives under another owner: the sources their rows stay in are held."""
    other, held = world.repo("Src2"), world.repo("Held", kind="collection")
    world.refer(held, world.concept("A"), world.concept("B", source=other))
    told = json.loads(b"".join(world.api.get(f"{held.uri}{EVERYTHING}").streaming_content))
    rows_of = {row["id"]: row for row in told["concepts"]}
    files = []
    for name, order in (("F1", "AB"), ("F2", "BA")):
        moved = [{**rows_of[letter], "datatype": f"Text {name}", "checksums": {}} for letter in order]
        head = {"type": "Collection", "id": name, "url": f"/orgs/MyOrg/collections/{name}/", "name": name}
        files.append(json.dumps({**head, "concepts": moved, "mappings": []}).encode())
    monkeypatch.setattr("exports.jobs.imports.work.BATCH", 1)
    meet(world, monkeypatch, *files, query="?atomic=true&owner=users/editor")
    assert world.api.get(f"{world.path}concepts/A/").json()["datatype"].startswith("Text F")


def test_batches_in_each_others_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X36: ordinary imports whose batches go over the same sources in opposite order wait for one another as well."""
    world.repo("Src2")
    forth = lines(concept("A"), concept("B", source="Src2"))
    back = lines(concept("B2", source="Src2"), concept("A2"))
    meet(world, monkeypatch, forth, back, query="")
    assert (ids(world, "Src1"), ids(world, "Src2")) == ({"A", "A2"}, {"B", "B2"})


def test_cancel_of_an_atomic_import(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X54: an atomic import is cancelled while it runs, at once, and nothing of it is stored."""
    answer = world.api("POST", "/importers/bulk-import/?atomic=true", lines(concept("A1")))
    halfway = Halfway(monkeypatch, 2)
    job = Job.objects.get(kind="exports.import")
    thread = together.in_background(lambda: jobs.run(job.pk))
    assert halfway.there.acquire(timeout=60)
    try:
        lease = Job.objects.get(pk=job.pk).lease_until
        wait_for(lambda: Job.objects.filter(pk=job.pk, lease_until__gt=lease).exists(), what="a beat of the heart")
        assert world.api.delete("/importers/bulk-import/", {"task_id": answer.json()["id"]}).status_code == 204
    finally:
        halfway.go_on.set()
        thread.join(60)
    assert Job.objects.get(pk=job.pk).state == "cancelled"
    assert world.api.get(f"{world.path}concepts/").json() == []
