"""The export resource, request by request (contract §2.3, §2.4)."""

import datetime as dt
import functools
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from typing import Any
from urllib import parse

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import blobs, errors, jobs
from core.blobs import writing
from core.models import Job
from exports.formats import archives, stamps
from exports.jobs import build
from exports.models import ExportBuild, MappingVersion, RepoVersion
from exports.services import exports as services
from tests import together
from tests.exports.conftest import World
from tests.house import wait_for

QUERY = "?includeConcepts=true&includeMappings=true&includeRetired=true&limit=0"


def location(response: Any) -> str:
    """Path of a redirect's target."""
    parts = parse.urlsplit(str(response["Location"]))
    assert parts.scheme in ("http", "https")
    assert parts.netloc
    return parts.path


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def download(world: World, path: str, query: str = "") -> bytes:
    answer = world.api.get(f"{path}export/?stream=true{query}")
    assert answer.status_code == 200, answer.content
    return body(answer)


def inside(tgz: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(tgz)) as tar:
        assert tar.getnames() == [archives.MEMBER]
        return tar.extractfile(archives.MEMBER).read()  # type: ignore[union-attr]


@pytest.fixture
def ready(world: World) -> World:
    world.fill()
    world.cut("v1", released=True)
    world.build(f"{world.path}v1/")
    return world


def test_nothing_yet(world: World) -> None:
    """X2: no archive: 204, no Location; pending 204 (oclapi2 208) with status, progress, Retry-After."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    answer = world.anonymous.get(path)
    assert (answer.status_code, answer["X-Export-Status"], answer.content) == (204, "none", b"")
    assert "Location" not in answer
    posted = world.api.post(path)
    assert (posted.status_code, "Location" in posted) == (202, False)
    assert posted.json()["status"] == "queued"
    for method in ("GET", "HEAD"):
        pending = world.anonymous(method, path)
        assert (pending.status_code, pending["X-Export-Status"], pending["X-Export-Progress"]) == (204, "queued", "0")
        assert 1 <= int(pending["Retry-After"]) <= 30
        assert world.anonymous(method, f"{path}?dialect=oclapi2").status_code == 208
    assert world.api.post(path).json() == {"detail": "An export of this version is already being created."}
    assert world.api.post(f"{path}?dialect=oclapi2").status_code == 208
    assert world.anonymous.get(f"{world.path}v1/processing/").content == b"True"


def test_post_and_delete(ready: World) -> None:
    """X6: POST: 202, 409 while building, 303 with Location and URL after; noRedirect=true 204."""
    path = f"{ready.path}v1/export/"
    again = ready.api.post(path)
    assert (again.status_code, again["URL"]) == (303, path)
    assert location(again).startswith("/exports/dl/")
    other = ready.api.post(f"{path}?dialect=oclapi2")
    assert (other.status_code, "Location" in other, other["URL"]) == (303, False, path)
    assert ready.api.post(f"{path}?noRedirect=true").status_code == 204
    assert ExportBuild.objects.count() == 1


def test_delete(ready: World) -> None:
    """X8: DELETE: 200, again 204; oclapi2 204, 404."""
    path = f"{ready.path}v1/export/"
    gone = ready.api.delete(path)
    assert (gone.status_code, gone.json()) == (200, {"detail": "The export was deleted."})
    assert ready.api.delete(path).status_code == 204
    assert ready.anonymous.get(path).status_code == 204
    assert (ready.api.delete(f"{path}?dialect=oclapi2").status_code) == 404
    ready.build(f"{ready.path}v1/")
    last = ready.api.delete(path, Prefer="ocl-dialect=oclapi2")
    assert (last.status_code, last.content) == (204, b"")


def test_ready(ready: World) -> None:
    """X1: GET and HEAD on a ready export: 303, absolute Location, empty body; oclapi2 302."""
    for method in ("GET", "HEAD"):
        answer = ready.anonymous(method, f"{ready.path}v1/export/")
        assert answer.status_code == 303
        assert location(answer).startswith("/exports/dl/")
        assert answer.content == b""
        assert ready.anonymous(method, f"{ready.path}v1/export/?dialect=oclapi2").status_code == 302


def test_never_102(ready: World) -> None:
    """X3: status 102 is never sent; redirects, 204, 208 have no body."""
    path = f"{ready.path}v1/export/"
    seen = [ready.api(method, path + query) for method in ("GET", "HEAD", "POST") for query in ("", "?dialect=oclapi2")]
    ready.api.delete(path)
    seen += [ready.api.get(path), ready.api.post(path), ready.api.get(path), ready.api.get(f"{path}?dialect=oclapi2")]
    assert {answer.status_code for answer in seen} == {303, 302, 204, 202, 208}
    assert all(answer.content == b"" for answer in seen if answer.status_code in (204, 208, 302, 303))


def test_unknown(ready: World) -> None:
    """X4: unknown owner, repo, version or wrong case: 404."""
    for path in (
        "/orgs/Nobody/sources/Src1/v1/export/",
        "/orgs/MyOrg/sources/Nothing/v1/export/",
        "/orgs/MyOrg/sources/Src1/v9/export/",
        "/orgs/myorg/sources/Src1/v1/export/",
        "/orgs/MyOrg/collections/Src1/v1/export/",
        "/sources/Src1/v1/export/",
        "/orgs/MyOrg/sources/Src1/v1/export/%00",
        "/orgs/MyOrg/sources/Src1/v1/%FF/",
        "/orgs/MyOrg/sources/../sources/Src1/v1/export/x",
    ):
        answer = ready.anonymous.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."}), path
    assert ready.anonymous.get("/orgs/MyOrg/sources/Src1/v1%2E0/").status_code == 404
    ready.cut("v1.0")
    assert ready.anonymous.get("/orgs/MyOrg/sources/Src1/v1%2E0/").json()["id"] == "v1.0"


def test_head_version(ready: World) -> None:
    """X5: HEAD version: 405 to GET, HEAD, POST, DELETE."""
    for method in ("GET", "HEAD", "POST", "DELETE"):
        answer = ready.api(method, f"{ready.path}HEAD/export/")
        assert (answer.status_code, answer["Allow"]) == (405, "OPTIONS")
        if method != "HEAD":
            assert answer.json() == {"detail": "Exports exist only for repository versions, not for HEAD."}
    for version, allowed in (("HEAD", "OPTIONS"), ("v1", "GET, POST, DELETE, HEAD, OPTIONS")):
        options = ready.api("OPTIONS", f"{ready.path}{version}/export/")
        assert (options.status_code, options["Allow"]) == (200, allowed)
    put = ready.api.put(f"{ready.path}v1/export/", {})
    assert (put.status_code, put.json()) == (405, {"detail": 'Method "PUT" not allowed.'})
    assert set(put["Allow"].split(", ")) == {"GET", "POST", "DELETE", "HEAD", "OPTIONS"}


def test_one_of_twenty(world: World) -> None:
    """X7: of 20 simultaneous POSTs exactly one is 202 and one build runs."""
    world.fill()
    version = world.cut("v1")

    def ask() -> str:
        return services.request(version, user=world.editor).outcome

    outcomes = together.at_once([ask] * 20)
    assert sorted(outcomes) == ["active"] * 19 + ["created"]
    assert Job.objects.filter(kind="exports.build_export").count() == 1
    jobs.run_queued()
    assert ExportBuild.objects.filter(state="ready").count() == 1


def test_dialects(ready: World) -> None:
    """X9: Prefer and ?dialect= switch one request only; bad ?dialect= 400."""
    path = f"{ready.path}v1/export/"
    preferred = ready.api.get(path, Prefer="return=minimal, ocl-dialect=oclapi2")
    assert (preferred.status_code, preferred["Preference-Applied"]) == (302, "ocl-dialect=oclapi2")
    assert ready.api.get(path).status_code == 303
    assert ready.api.get(f"{path}?dialect=ocl2016", Prefer="ocl-dialect=oclapi2").status_code == 303
    assert ready.api.get(path, Prefer="ocl-dialect=other").status_code == 303
    bad = f"{path}?dialect=other"
    assert [ready.api(method, bad).status_code for method in ("GET", "POST", "DELETE")] == [400, 400, 400]
    assert ready.api.get(path).status_code == 303
    # rights and methods come before parameters
    assert [ready.anonymous(method, bad).status_code for method in ("POST", "DELETE")] == [401, 401]
    assert ready.stranger.delete(bad).status_code == 403
    assert ready.api.put(bad, {}).status_code == 405


def test_slashes(ready: World) -> None:
    """X10: slash and slash-less answer alike, no redirect."""
    for path in (
        f"{ready.path}v1/export",
        f"{ready.path}v1/export/status",
        f"{ready.path}v1",
        ready.path[:-1],
        "/orgs",
    ):
        bare, slashed = ready.api.get(path), ready.api.get(f"{path}/")
        assert bare.status_code == slashed.status_code
        assert bare.content == slashed.content


def test_headers(ready: World) -> None:
    """X16: Last-Updated, Last-Modified, no-store, ETag = sha256 of the downloaded bytes."""
    answer = ready.anonymous.head(f"{ready.path}v1/export/")
    data = download(ready, f"{ready.path}v1/")
    assert answer["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert int(answer["X-Export-Size"]) == len(data)
    assert answer["Cache-Control"] == "no-store"
    assert answer["Last-Updated-Timezone"] == "UTC"
    newest = max(row["updated_on"] for row in json.loads(inside(data))["concepts"])
    assert answer["Last-Updated"] == newest.replace("Z", "+00:00")
    assert answer["Last-Modified"].endswith(" GMT")
    assert answer["Link"] == f'<{ready.path}v1/export/status/>; rel="status"'
    zipped = ready.anonymous.head(f"{ready.path}v1/export/?format=zip")
    assert zipped["ETag"] == f'"{hashlib.sha256(download(ready, f"{ready.path}v1/", "&format=zip")).hexdigest()}"'


def test_headers_of_refusals(ready: World, settings: Settings) -> None:
    """X16: refusals carry the state of the export too, as far as the caller may know it."""
    path = f"{ready.path}v1/export/"
    link = f'<{path}status/>; rel="status"'
    refused = (
        (ready.anonymous.get(f"{path}?format=rar"), 400), (ready.api.get(f"{path}?dialect=no"), 400),
        (ready.anonymous.post(path), 401), (ready.anonymous.delete(path), 401),
        (ready.stranger.delete(path), 403), (ready.stranger.post(f"{path}?force=true"), 403),
        (ready.api.put(path, {}), 405), (ready.api.post(f"{path}status/"), 405),
    )  # fmt: skip
    for answer, status in refused:
        assert answer.status_code == status
        assert (answer["Link"], answer["X-Export-Status"], answer["X-Export-Progress"]) == (link, "ready", "100")
        assert (answer["Cache-Control"], answer["Vary"]) == ("no-store", "Accept, Authorization, Prefer")
    settings.EXPORTS_MAX_HOURLY = 0
    ready.cut("v2")
    throttled = ready.api.post(f"{ready.path}v2/export/")
    assert (throttled.status_code, throttled["X-Export-Status"]) == (429, "none")
    assert "Retry-After" in throttled
    head = ready.api.get(f"{ready.path}HEAD/export/")
    assert (head.status_code, head["X-Export-Status"], head["Allow"]) == (405, "none", "OPTIONS")


def test_headers_tell_no_secrets(ready: World, settings: Settings) -> None:
    """X13: who may not see a repository does not learn of its exports, and a bad token learns nothing."""
    path = f"{ready.path}v1/export/"
    seen = [ready.anonymous.get(path, Authorization=f"Token {'0' * 40}"), ready.api.get(f"{ready.path}v9/export/")]
    ready.api.put(ready.path, {"public_access": "None"})
    seen += [who(method, path) for who in (ready.anonymous, ready.stranger) for method in ("GET", "POST", "DELETE")]
    ready.api.put(ready.path, {"public_access": "View"})
    settings.EXPORTS_REQUIRE_AUTH = True
    seen.append(ready.anonymous.get(path))
    assert [answer.status_code for answer in seen] == [401, 404, 401, 401, 401, 403, 403, 403, 401]
    for answer in seen:
        assert not [name for name in answer.headers if name.startswith(("X-Export", "Link", "Last-Updated"))]
        assert answer["Cache-Control"] == "no-store"


def test_file_name(ready: World) -> None:
    """X17: file name <repo>_<version>.<14 digits>.tgz; stamp = max updated_at, UTC, truncated."""
    answer = ready.anonymous.get(f"{ready.path}v1/export/")
    rows = json.loads(inside(download(ready, f"{ready.path}v1/")))
    newest = max(row["updated_on"] for row in rows["concepts"] + rows["mappings"])
    digits = "".join(letter for letter in newest[:19] if letter.isdigit())
    assert answer["X-Export-Filename"] == f"Src1_v1.{digits}.tgz"
    assert location(answer).endswith(f"/Src1_v1.{digits}.tgz")
    east = dt.timezone(dt.timedelta(hours=5, minutes=30))
    assert stamps.digits(dt.datetime(2016, 8, 22, 2, 11, 12, 999_999, tzinfo=east)) == "20160821204112"


def test_file_name_by_what_is_newest(world: World) -> None:
    """X17: the stamp is the newest concept's or mapping's, without any the version's own."""
    first, late = world.concept("A"), dt.datetime(2031, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    world.mapping(first, first)
    MappingVersion.objects.update(updated_at=late)
    empty = world.repo("Empty")
    world.cut("v1")
    bare = world.cut("v1", repo=empty)
    RepoVersion.objects.filter(pk=bare.pk).update(updated_at=late.replace(year=2032))
    for path in (world.path, empty.uri):
        world.build(f"{path}v1/")
    names = [world.api.get(f"{path}v1/export/")["X-Export-Filename"] for path in (world.path, empty.uri)]
    assert names == ["Src1_v1.20311231235959.tgz", "Empty_v1.20321231235959.tgz"]


def test_neighbours(ready: World) -> None:
    """X18: v1 never touches v1.0, nor a source a same-named collection."""
    ready.cut("v1.0")
    collection = ready.repo("Src1", kind="collection")
    ready.cut("v1", repo=collection)
    assert ready.anonymous.get(f"{ready.path}v1.0/export/").status_code == 204
    assert ready.anonymous.get(f"{collection.uri}v1/export/").status_code == 204
    ready.build(f"{ready.path}v1.0/")
    assert ready.api.delete(f"{ready.path}v1/export/").status_code == 200
    assert ready.anonymous.get(f"{ready.path}v1.0/export/").status_code == 303


def test_no_redirect_and_stream(ready: World) -> None:
    """X24: noRedirect=true gives url, lastUpdated, size, sha256; stream=true the bytes."""
    path = f"{ready.path}v1/export/"
    for form in ("tgz", "zip"):
        told = ready.anonymous.get(f"{path}?noRedirect=true&format={form}").json()
        assert set(told) == {"url", "lastUpdated", "size", "sha256"}
        streamed = ready.anonymous.get(f"{path}?stream=true&format={form}")
        data = body(streamed)
        assert (told["size"], told["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert told["lastUpdated"] == streamed["Last-Updated"]
        assert told["url"].endswith(f".{form}")
        assert ready.anonymous.get(told["url"].removeprefix("http://testserver")).status_code == 302
        # the link's own headers: caches on the way keep their hands off the bytes
        assert streamed["Cache-Control"] == "private, no-store, no-transform"
        assert streamed["ETag"] == f'"{told["sha256"]}"'


def test_formats(ready: World) -> None:
    """X25: ?format= and Accept choose the format; unknown ?format= 400; content types exact."""
    path = f"{ready.path}v1/export/"
    for form, kind in (
        ("tgz", "application/gzip"), ("zip", "application/zip"), ("tar", "application/x-tar"),
        ("ndjson", "application/x-ndjson"),
    ):  # fmt: skip
        assert ready.api.get(f"{path}?format={form}")["X-Export-Filename"].endswith(f".{form}")
        assert ready.api.get(path, Accept=kind)["X-Export-Filename"].endswith(f".{form}")
        streamed = ready.api.get(f"{path}?format={form}&stream=true")
        data = body(streamed)
        assert streamed["Content-Type"] == kind
        assert len(data) == int(streamed["Content-Length"])
    assert ready.api.get(path, Accept="text/plain")["X-Export-Filename"].endswith(".tgz")
    for method in ("GET", "POST"):
        bad = ready.api(method, f"{path}?format=rar")
        assert (bad.status_code, bad.json()) == (400, {"format": ['"rar" is not one of tgz, zip, tar, ndjson.']})


def test_archive(ready: World) -> None:
    """X26: common readers open tgz and zip; one export.json each."""
    tgz, zipped = download(ready, f"{ready.path}v1/"), download(ready, f"{ready.path}v1/", "&format=zip")
    with zipfile.ZipFile(io.BytesIO(zipped)) as box:
        assert box.namelist() == [archives.MEMBER]
        assert box.testzip() is None
        whole = box.read(archives.MEMBER)
    assert whole == inside(tgz) == inside(download(ready, f"{ready.path}v1/", "&format=tar"))
    lines = [json.loads(line) for line in download(ready, f"{ready.path}v1/", "&format=ndjson").splitlines()]
    document = json.loads(whole)
    assert lines[1:] == document.pop("concepts") + document.pop("mappings")
    assert lines[0] == document


def test_layout(ready: World) -> None:
    """X26: gzip and tar tell nothing of machine and moment; times are the stamp's; tags name what a format is of."""
    path = f"{ready.path}v1/export/"
    tgz, zipped = (download(ready, f"{ready.path}v1/", f"&format={form}") for form in ("tgz", "zip"))
    assert tgz[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    status = ready.api.get(f"{path}status/").json()
    stamp = dt.datetime.fromisoformat(status["last_updated"])
    with tarfile.open(fileobj=io.BytesIO(tgz)) as tar:
        (member,) = tar.getmembers()
    assert (member.mode, member.uid, member.gid, member.uname, member.gname) == (0o644, 0, 0, "", "")
    assert (member.mtime, member.size, member.type) == (int(stamp.timestamp()), status["json"]["size"], tarfile.REGTYPE)
    with zipfile.ZipFile(io.BytesIO(zipped)) as box:
        (entry,) = box.infolist()
    even = stamp.second - stamp.second % 2  # a zip counts in two seconds
    assert entry.date_time == (stamp.year, stamp.month, stamp.day, stamp.hour, stamp.minute, even)
    assert (entry.compress_type, entry.file_size, entry.extra) == (zipfile.ZIP_DEFLATED, member.size, b"")
    sums = {one["format"]: one["sha256"] for one in status["archives"]}
    for form, tag in (
        ("tgz", sums["tgz"]), ("zip", sums["zip"]), ("tar", f"{sums['tgz']}.tar"),
        ("ndjson", f"{status['json']['sha256']}.ndjson"),
    ):  # fmt: skip
        assert ready.api.head(f"{path}?format={form}")["ETag"] == f'"{tag}"'
    assert sums == {"tgz": hashlib.sha256(tgz).hexdigest(), "zip": hashlib.sha256(zipped).hexdigest()}


def test_same_bytes(ready: World) -> None:
    """X27: two builds of the same content have equal bytes."""
    path = f"{ready.path}v1/"
    first = [download(ready, path), download(ready, path, "&format=zip")]
    assert ready.api.post(f"{path}export/?force=true").status_code == 202
    jobs.run_queued()
    assert ExportBuild.objects.filter(state="replaced").count() == 1
    assert [download(ready, path), download(ready, path, "&format=zip")] == first


def test_equivalent(ready: World) -> None:
    """X29: the equivalent GET is byte-identical to export.json, sources and collections."""
    collection = ready.repo("Coll", kind="collection")
    ready.refer(collection, f"{ready.path}concepts/", f"{ready.path}mappings/1/")
    ready.cut("c1", repo=collection)
    ready.build(f"{collection.uri}c1/")
    for path in (f"{ready.path}v1/", f"{collection.uri}c1/"):
        whole = body(ready.anonymous.get(path + QUERY))
        assert inside(download(ready, path)) == whole
        status = ready.anonymous.get(f"{path}export/status/").json()
        assert status["json"] == {"size": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    assert list(json.loads(whole))[-3:] == ["concepts", "references", "mappings"]
    assert len(json.loads(whole)) == 53


def test_status(ready: World) -> None:
    """X49: status document and headers agree; percent never falls within an attempt."""
    path = f"{ready.path}v1/export/"
    answer, status = ready.api.get(path), ready.api.get(f"{path}status/").json()
    assert (answer["X-Export-Status"], answer["X-Export-Progress"]) == (status["status"], "100")
    assert None not in (status["queued_at"], status["started_at"], status["finished_at"])
    assert status["queued_at"] <= status["started_at"] <= status["finished_at"]
    assert status["counts"] == {
        "concepts": 3, "mappings": 2, "references": 0, "retired_concepts": 1, "retired_mappings": 0,
    }  # fmt: skip
    assert [one["format"] for one in status["archives"]] == ["tgz", "zip"]
    assert ready.api.get(f"{ready.path}HEAD/export/status/").status_code == 405
    page = ready.api.get(f"{path}status/", Accept="text/html")
    assert status["archives"][0]["sha256"] in page.content.decode()


def test_percent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X49: percent rises and stays below 100 until published."""
    world.fill()
    world.cut("v1")
    seen: list[int] = []
    whole = jobs.Run.progress

    def note(self: jobs.Run, **values: Any) -> None:
        seen.append(values["percent"])
        whole(self, **values)

    monkeypatch.setattr(jobs.Run, "progress", note)
    world.build(f"{world.path}v1/")
    assert seen == sorted(seen)
    assert 50 < seen[-1] < 100


def test_quota(world: World) -> None:
    """X48: a user's fourth active build is 429; 409 and 303 are not counted."""
    world.fill()
    for name in ("a", "b", "c", "d"):
        world.cut(name)
    paths = [f"{world.path}{name}/export/" for name in ("a", "b", "c", "d")]
    assert [world.stranger.post(path).status_code for path in paths] == [202, 202, 202, 429]
    assert world.stranger.post(paths[0]).status_code == 409
    refused = world.stranger.post(paths[3])
    assert refused.json()["detail"].startswith("Request was throttled. Expected available in ")
    assert "Retry-After" in refused
    assert world.boss.post(paths[3]).status_code == 202


def test_quota_at_once(world: World) -> None:
    """X48: simultaneous POSTs for several versions do not pass the quota of three."""
    names = [f"q{number}" for number in range(8)]
    versions = [world.cut(name) for name in names]

    def ask(version: Any) -> str:
        try:
            return services.request(version, user=world.editor).outcome
        except errors.Throttled:
            return "throttled"

    outcomes = sorted(together.at_once([functools.partial(ask, version) for version in versions]))
    assert outcomes == ["created"] * 3 + ["throttled"] * 5
    assert ExportBuild.objects.count() == 3


def test_hourly_quota(world: World, settings: Settings) -> None:
    """X48: builds started within an hour count too, ended ones as well; staff is exempt."""
    settings.EXPORTS_MAX_HOURLY = 2
    for name in ("a", "b", "c"):
        world.cut(name)
    for name in ("a", "b"):
        world.build(f"{world.path}{name}/")
    refused = world.api.post(f"{world.path}c/export/")
    assert refused.status_code == 429
    assert 3000 < int(refused["Retry-After"]) <= 3601
    # an archive that is there costs nothing, building it again does
    assert world.api.post(f"{world.path}a/export/").status_code == 303
    assert world.api.post(f"{world.path}a/export/?force=true").status_code == 429
    assert world.stranger.post(f"{world.path}c/export/").status_code == 202
    ExportBuild.objects.filter(version__name="a").update(created_at="2020-01-01T00:00:00Z")
    assert world.boss.post(f"{world.path}b/export/?force=true").status_code == 202
    assert world.api.post(f"{world.path}a/export/?force=true").status_code == 202


def test_rebuild(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X45: during a forced rebuild the old archive is served; a failed rebuild leaves it."""
    path = f"{ready.path}v1/export/"
    before = ready.api.get(path)["ETag"]
    assert ready.api.post(f"{path}?force=true").status_code == 202
    during = ready.api.get(path)
    assert (during.status_code, during["ETag"], during["X-Export-Rebuild"]) == (303, before, "queued")

    def fail(*_: Any, **__: Any) -> None:
        raise jobs.Failure("too_large", "It is too large.")

    monkeypatch.setattr("exports.jobs.build._write", fail)
    jobs.run_queued()
    after = ready.api.get(path)
    assert (after.status_code, after["ETag"], after["X-Export-Rebuild"]) == (303, before, "failed")
    assert after["X-Export-Error"] == "too_large; It is too large."
    assert download(ready, f"{ready.path}v1/")


def test_links_outlive_a_rebuild(ready: World) -> None:
    """X45: a link to the archive that was replaced works within its grace, and so long its bytes are kept."""
    path = f"{ready.path}v1/export/"
    link = location(ready.api.get(f"{path}?format=tar"))
    old = ExportBuild.objects.get()
    assert ready.api.put(f"{ready.path}v1/", {"description": "New words"}).status_code == 200
    assert ready.api.post(f"{path}?force=true").status_code == 202
    jobs.run_queued()
    old.refresh_from_db()
    fresh = ExportBuild.objects.get(state="ready")
    assert (old.state, fresh.tgz_sha256 != old.tgz_sha256) == ("replaced", True)
    answer = ready.anonymous.get(link)
    assert (answer.status_code, answer["ETag"]) == (200, f'"{old.tgz_sha256}.tar"')
    assert len(body(answer)) == int(answer["Content-Length"])
    keys = [old.tgz_key, old.zip_key, fresh.tgz_key, fresh.zip_key]
    assert build.live_blobs(keys) == set(keys)
    ExportBuild.objects.filter(pk=old.pk).update(ended_at=timezone.now() - dt.timedelta(seconds=60 + 3600 + 1))
    assert build.live_blobs(keys) == set(keys[2:])
    assert ready.api.delete(path).status_code == 200
    assert build.live_blobs(keys) == set()


def test_cancelled(world: World) -> None:
    """X2: after a build was cancelled nothing is there: 204 without a state to wait for, and the next POST is 202."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    assert world.api.post(path).status_code == 202
    assert world.api.delete(path).json() == {"detail": "The export was deleted."}
    answer = world.api.get(path)
    assert (answer.status_code, answer["X-Export-Status"]) == (204, "none")
    for name in ("Location", "Retry-After", "X-Export-Progress", "X-Export-Error"):
        assert name not in answer
    assert world.api.post(path).status_code == 202


def test_failed_then_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X43: after a failure GET is 204 with the error, and the next POST is 202 at once."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    with monkeypatch.context() as patch:
        patch.setattr("exports.jobs.build._arrays", lambda _: 1 / 0)
        assert world.api.post(path).status_code == 202
        jobs.run_queued()
    failed = world.api.get(path)
    assert (failed.status_code, failed["X-Export-Status"]) == (204, "failed")
    assert failed["X-Export-Error"].startswith("internal_error")
    world.build(f"{world.path}v1/")
    assert world.api.get(path).status_code == 303


@pytest.mark.parametrize("form", ["tgz", "zip"])
def test_one_archive_is_refused(world: World, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """X46: when the store takes one archive and not the other, the build fails and neither is left behind."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    before = {entry.key for entry in blobs.keys("exports/")}
    put = writing.Writer._put

    def refuse(self: writing.Writer, data: bytes) -> None:
        if self.key.endswith(form):
            raise blobs.StoreUnavailable
        put(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(writing.Writer, "_put", refuse)
        assert world.api.post(path).status_code == 202
        for _ in range(3):
            Job.objects.filter(state="queued").update(available_at="2020-01-01T00:00:00Z")
            jobs.run_queued()
    failed = world.api.get(path)
    assert (failed.status_code, failed["X-Export-Status"]) == (204, "failed")
    assert failed["X-Export-Error"].startswith("storage_unavailable; ")
    assert {entry.key for entry in blobs.keys("exports/")} == before
    world.build(f"{world.path}v1/")
    assert world.api.get(path).status_code == 303


def test_code_of_an_outage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X46: a database that stays away while an archive is made is no code the contract does not know."""
    world.fill()
    world.cut("v1")
    assert world.api.post(f"{world.path}v1/export/").status_code == 202

    def away(*_: Any) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(build, "_fill", away)
    for _ in range(3):
        Job.objects.filter(state="queued").update(available_at="2020-01-01T00:00:00Z")
        jobs.run_queued()
    answer = world.api.get(f"{world.path}v1/export/")
    assert answer["X-Export-Error"].startswith("internal_error; ")
    assert not answer.has_header("Content-Type")


def test_workers_lost(world: World) -> None:
    """X43: a build whose workers die is tried three times, then it has failed and the next POST is 202 at once."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    assert world.api.post(path).status_code == 202
    pk = Job.objects.get(kind="exports.build_export").pk
    for attempt in (1, 2, 3):
        assert world.api.get(path)["X-Export-Status"] == "queued"
        assert jobs.claim(pk) is not None
        assert world.api.get(path)["X-Export-Status"] == "processing"
        assert world.api.get(f"{path}status/").json()["attempt"] == attempt
        assert world.api.post(path).status_code == 409
        Job.objects.filter(pk=pk).update(lease_until=timezone.now() - dt.timedelta(seconds=1))
        jobs.sweep()
    failed = world.api.get(path)
    assert (failed.status_code, failed["X-Export-Status"]) == (204, "failed")
    assert failed["X-Export-Error"].startswith("worker_lost; ")
    assert world.api.get(f"{path}status/").json()["error"]["code"] == "worker_lost"
    world.build(f"{world.path}v1/")
    assert world.api.get(path).status_code == 303


def test_stale(ready: World) -> None:
    """X45: editing a version's metadata leaves the archive and marks it stale."""
    path = f"{ready.path}v1/"
    assert ready.api.put(path, {"description": "New words"}).status_code == 200
    answer = ready.api.get(f"{path}export/")
    assert (answer.status_code, answer["X-Export-Stale"]) == (303, "true")
    assert ready.api.post(f"{path}export/").status_code == 303
    assert ready.api.post(f"{path}export/?force=true").status_code == 202
    jobs.run_queued()
    fresh = ready.api.get(f"{path}export/")
    assert "X-Export-Stale" not in fresh
    assert inside(download(ready, path)) == body(ready.api.get(path + QUERY))


def test_fenced_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X44: a cancelled or replaced worker cannot publish."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    whole = archives.TwinArchive.close

    def close_late(self: archives.TwinArchive) -> None:
        assert world.api.delete(path).status_code == 200  # somebody deletes while the last bytes are written
        whole(self)

    monkeypatch.setattr(archives.TwinArchive, "close", close_late)
    assert world.api.post(path).status_code == 202
    jobs.run_queued()
    assert world.api.get(path).status_code == 204
    assert ExportBuild.objects.get().state == "cancelled"


def test_deleted_while_publishing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X44: a DELETE that meets the publication waits for it and wins; neither of them dies in a deadlock."""
    world.fill()
    world.cut("v1")
    path = f"{world.path}v1/export/"
    answers: list[int] = []

    deleting: list[threading.Thread] = []
    whole = build._require

    def delete() -> None:
        answers.append(world.api.delete(path).status_code)

    def meet(moved: int) -> None:
        # the job's row is locked by us now, and stays so until this transaction ends
        deleting.append(together.in_background(delete))
        wait_for(together.is_waiting, what="the deletion to wait for the publication")
        whole(moved)

    monkeypatch.setattr(build, "_require", meet)
    assert world.api.post(path).status_code == 202
    jobs.run_queued()
    deleting[0].join(30)
    assert answers == [200]
    assert Job.objects.get(kind="exports.build_export").state == "succeeded"
    assert ExportBuild.objects.get().state == "deleted"
    assert world.api.get(path)["X-Export-Status"] == "none"


def token_row() -> list[tuple[Any, ...]]:
    """Which transactions last wrote the tokens."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text FROM core_apitoken ORDER BY id")
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def test_few_queries(ready: World) -> None:
    """X58: GET export takes at most 3 queries and no storage call; POST at most 8."""
    token = {"Authorization": f"Token {ready.api.token}"}
    ready.api.get(f"{ready.path}v1/export/")
    noted = token_row()
    with CaptureQueriesContext(connection) as seen:
        answer = ready.anonymous.client.get(f"{ready.path}v1/export/", headers=token)
    assert answer.status_code == 303
    assert len(seen.captured_queries) <= 3, seen.captured_queries
    # the look-up of the token may note its use, but did so just before
    others = [query["sql"] for query in seen.captured_queries if "FROM core_apitoken" not in query["sql"]]
    assert all(sql.startswith("SELECT") for sql in others), others
    assert token_row() == noted
    ready.cut("v2")
    with CaptureQueriesContext(connection) as seen:
        posted = ready.api.post(f"{ready.path}v2/export/")
    frame = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT")
    asked = [query["sql"] for query in seen.captured_queries if not query["sql"].startswith(frame)]
    assert len(asked) <= 8, asked
    assert posted.status_code == 202
    assert posted.json() == ready.api.get(f"{ready.path}v2/export/status/").json()
