"""Deltas between versions and since an instant (contract §10.2)."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from core import blobs, jobs
from exports.formats import archives, stamps
from exports.jobs import build as building
from exports.jobs import doctor, upkeep
from exports.models import ExportBuild, Fragment, Repo
from tests.exports.conftest import World
from tests.exports.test_export import body, download, inside, location
from tests.exports.test_imports import lines, run

Json = dict[str, Any]


def built(world: World, address: str) -> Json:
    """The document of a delta, built through its job and fetched by its link."""
    asked = world.api.post(address)
    assert asked.status_code == 202, asked.content
    jobs.run_queued()
    found: Json = json.loads(inside(streamed(world, address)))
    return found


def streamed(world: World, address: str, more: str = "") -> bytes:
    answer = world.api.get(f"{address}&stream=true{more}")
    assert answer.status_code == 200, (answer.status_code, answer.headers, answer.content)
    return body(answer)


def rows(document: Json, name: str) -> list[tuple[str, str]]:
    return [(one["action"], one["row"].get("id")) for one in document[name]]


def laid_over(document: Json, delta: Json, kind: str) -> dict[str, Json]:
    """What a client holds after applying a delta to an export."""
    key = "expression" if kind == "references" else "url"
    held = {row[key]: row for row in document[kind]}
    for one in delta[kind]:
        if one["action"] == "removed":
            del held[one["row"][key]]
        else:
            held[one["row"][key]] = one["row"]
    return held


@pytest.fixture
def two(world: World) -> World:
    """v1, then in v2: D new, A renamed (which renames it in a mapping), B retired, C back from retirement."""
    urls = world.fill()
    world.cut("v1", released=True)
    world.concept("D", "Delta")
    named = {"names": [{"name": "Aleph", "locale": "en", "locale_preferred": True}]}
    assert world.api.put(urls[0], named).status_code == 200
    assert world.api.delete(urls[1], {"update_comment": "gone"}).status_code == 204
    assert world.api.put(f"{urls[2]}reactivate/", {}).status_code == 204
    world.cut("v2")
    return world


def test_between_versions(two: World) -> None:
    """D1: added, changed, retired rows; a delta laid over the export of v1 gives the rows of v2 exactly."""
    for name in ("v1", "v2"):
        two.build(f"{two.path}{name}/")
    old, new = (json.loads(inside(download(two, f"{two.path}{name}/"))) for name in ("v1", "v2"))
    delta = built(two, f"{two.path}v2/export/delta/?since=v1")
    assert {row: action for action, row in rows(delta, "concepts")} == {
        "A": "changed", "B": "retired", "C": "changed", "D": "added",
    }  # fmt: skip
    # the name of A shows in its mapping
    assert rows(delta, "mappings") == [("changed", "1")]
    for kind in ("concepts", "mappings"):
        assert laid_over(old, delta, kind) == {row["url"]: row for row in new[kind]}
    assert (delta["type"], delta["since"], delta["version"]) == ("Source Version Delta", "v1", "v2")
    assert delta["counts"]["concepts"] == {"added": 1, "changed": 2, "retired": 1, "removed": 0}
    back = built(two, f"{two.path}v1/export/delta/?since=v2")
    assert ("removed", "D") in rows(back, "concepts")
    for kind in ("concepts", "mappings"):
        assert laid_over(new, back, kind) == {row["url"]: row for row in old[kind]}
    same = built(two, f"{two.path}v2/export/delta/?since=v2")
    assert (same["concepts"], same["mappings"]) == ([], [])


def collection(world: World) -> Repo:
    """c1 holds A, B and a mapping; c2 lost B and gained C."""
    urls = world.fill()
    held = world.repo("Coll", kind="collection")
    world.refer(held, urls[0], urls[1], f"{world.path}mappings/1/")
    world.cut("c1", repo=held)
    gone = world.api.delete(f"{held.uri}references/", {"references": [urls[1]]})
    assert gone.status_code == 200
    world.refer(held, urls[2])
    world.cut("c2", repo=held)
    return held


def test_removed(world: World) -> None:
    """D2: rows and references a collection holds no more are told as removed, as they were last held."""
    held = collection(world)
    for name in ("c1", "c2"):
        world.build(f"{held.uri}{name}/")
    old, new = (json.loads(inside(download(world, f"{held.uri}{name}/"))) for name in ("c1", "c2"))
    delta = built(world, f"{held.uri}c2/export/delta/?since=c1")
    assert rows(delta, "concepts") == [("added", "C"), ("removed", "B")]
    assert list(delta)[-3:] == ["concepts", "references", "mappings"]
    assert [one["action"] for one in delta["references"]] == ["added", "removed"]
    for kind in ("concepts", "mappings", "references"):
        key = "expression" if kind == "references" else "url"
        assert laid_over(old, delta, kind) == {row[key]: row for row in new[kind]}


def test_since_an_instant(two: World) -> None:
    """D3: every spelling of an instant; rows changed since then, told apart by what they were before."""
    moment = Repo.objects.get(pk=two.source.pk).versions.get(name="v1").created_at
    spelling = stamps.iso(moment)
    delta = built(two, f"{two.path}v2/export/delta/?since={spelling}")
    assert {row: action for action, row in rows(delta, "concepts")} == {
        "A": "changed", "B": "retired", "C": "changed", "D": "added",
    }  # fmt: skip
    assert delta["since"] == spelling
    assert delta["since_version_url"] is None
    early = built(two, f"{two.path}v2/export/delta/?since=2001-01-01")
    assert {action for action, _ in rows(early, "concepts")} == {"added"}
    assert len(early["mappings"]) == 2
    # another spelling of the same instant is the same delta
    again = two.api.post(f"{two.path}v2/export/delta/?since=20010101000000")
    assert again.status_code == 303


def test_removed_since_an_instant(world: World) -> None:
    """D3: what any version cut since then held, and the newest before it, is told as removed."""
    held = collection(world)
    first, second = held.versions.get(name="c1"), held.versions.get(name="c2")
    # the stamp of c1's own archive lies before c1 was cut, and yet B must go
    assert first.last_child_update is not None
    stamp = stamps.digits(first.last_child_update)
    for since in (stamp, stamps.iso(first.created_at), stamps.iso(second.created_at)):
        delta = built(world, f"{held.uri}c2/export/delta/?since={since}")
        assert ("removed", "B") in rows(delta, "concepts"), since
        assert [one["row"]["code"] for one in delta["references"] if one["action"] == "removed"] == ["B"]


def removed(world: World, address: str) -> set[str]:
    """Ids of the rows and expressions of the references that a delta calls removed."""
    delta = built(world, address)
    gone = [one["row"] for kind in ("concepts", "references", "mappings") for one in delta.get(kind, ())
            if one["action"] == "removed"]  # fmt: skip
    assert sum(told["removed"] for told in delta["counts"].values()) == len(gone)
    return {row.get("expression", row["id"]) for row in gone}


def newest(repo: Repo) -> str:
    """The T of a client that has seen all of a repository's HEAD."""
    return stamps.iso(Repo.objects.get(pk=repo.pk).write_clock) or ""


def test_removed_from_head(world: World) -> None:
    """D3: what was only ever in HEAD is told as removed to whom may have seen it there, and to nobody else."""
    urls = world.fill()
    held = world.repo("Coll", kind="collection")
    world.refer(held, urls[0])
    world.cut("c1", repo=held)
    before = newest(held)
    world.refer(held, urls[1], f"{world.path}mappings/1/")
    seen = newest(held)
    assert world.api.delete(f"{held.uri}references/", {"references": [urls[1]]}).status_code == 200
    mapping = {"type": "Reference", "collection_url": held.uri, "__action": "DELETE",
               "data": {"expressions": [f"{world.path}mappings/1/"]}}  # fmt: skip
    assert len(run(world.api, lines(mapping))["deleted"]) == 1
    after = world.api.put(held.uri, {"description": "Edited"}).json()["updated_on"]
    world.cut("c2", repo=held)
    told = {"B", urls[1], "1", f"{world.path}mappings/1/"}
    for since, expected in ((before, told), (seen, told), (after, set())):
        assert removed(world, f"{held.uri}c2/export/delta/?since={since}") == expected, since
    # a version cut before they left has nothing to do with it
    assert removed(world, f"{held.uri}c1/export/delta/?since={before}") == set()
    # what is back again is not gone
    world.refer(held, urls[1])
    world.cut("c3", repo=held)
    assert removed(world, f"{held.uri}c3/export/delta/?since={seen}") == {"1", f"{world.path}mappings/1/"}
    # and what a version held as well is told once
    assert world.api.delete(f"{held.uri}references/", {"references": [urls[1]]}).status_code == 200
    world.cut("c4", repo=held)
    delta = built(world, f"{held.uri}c4/export/delta/?since={seen}")
    assert rows(delta, "concepts").count(("removed", "B")) == 1


def test_deleted_for_good(world: World) -> None:
    """D3: rows deleted for good, or with their whole source, are told as removed by their source and collections."""
    other = world.repo("Other")
    urls = [world.concept("A"), world.concept("B", source=other)]
    held = world.repo("Coll", kind="collection")
    world.refer(held, *urls)
    sources, collections = newest(world.source), newest(held)
    assert world.boss.delete(f"{urls[0]}?hardDelete=true").status_code == 204
    world.cut("v1")
    assert removed(world, f"{world.path}v1/export/delta/?since={sources}") == {"A"}
    assert world.api.delete(other.uri).status_code == 204
    world.cut("c1", repo=held)
    Fragment.objects.update(replaced_at=timezone.now() - timedelta(days=2))
    upkeep.sweep_fragments()
    assert removed(world, f"{held.uri}c1/export/delta/?since={collections}") == {"A", "B"}


def test_hidden_departures(world: World) -> None:
    """D7: a row of a private source that a collection did not show does not come out when it leaves."""
    held = world.repo("Coll", kind="collection", owner=world.editor)
    world.refer(held, world.concept("A"))
    assert world.api.put(world.path, {"public_access": "None"}).status_code == 200
    seen = newest(held)
    expression = f"{world.path}concepts/A/"
    assert world.api.delete(f"{held.uri}references/", {"references": [expression]}).status_code == 200
    world.cut("c1", repo=held)
    assert removed(world, f"{held.uri}c1/export/delta/?since={seen}") == {expression}


def test_states(two: World) -> None:
    """D4: a delta has states, links, status and end of its own; the plain export knows nothing of it."""
    address = f"{two.path}v2/export/delta/?since=v1"
    nothing = two.anonymous.get(address)
    assert (nothing.status_code, nothing["X-Export-Status"]) == (204, "none")
    assert two.anonymous.post(address).status_code == 401
    assert two.stranger.post(address).status_code == 202
    assert two.api.post(address).status_code == 409
    assert two.anonymous.get(f"{two.path}v2/export/")["X-Export-Status"] == "none"
    assert two.api.post(f"{two.path}v2/export/").status_code == 202
    jobs.run_queued()
    ready = two.anonymous.get(address)
    assert (ready.status_code, ready.content) == (303, b"")
    assert ready["X-Export-Filename"].startswith("Src1_v2_delta_v1.")
    assert ready["Link"] == f'<{two.path}v2/export/delta/status/?since=v1>; rel="status"'
    status = two.anonymous.get(f"{two.path}v2/export/delta/status/?since=v1").json()
    assert (status["status"], status["url"]) == ("ready", address)
    assert status["counts"]["added"] == 1
    page = two.anonymous.get(f"{two.path}v2/export/delta/status/?since=v1", Accept="text/html").content.decode()
    assert "?since=v1&amp;format=zip" in page
    assert two.anonymous.get(f"{two.path}v2/export/")["X-Export-Filename"].startswith("Src1_v2.2")
    assert two.stranger.delete(address).status_code == 403
    link = location(ready)
    assert two.api.delete(address).status_code == 200
    assert two.anonymous.get(link).status_code == 410
    assert two.api.delete(address).status_code == 204
    assert two.anonymous.get(f"{two.path}v2/export/").status_code == 303


def test_links(two: World, settings: Settings) -> None:
    """D4: the link of a delta works once and is followed by 410."""
    settings.EXPORTS_LINK_DELIVERY = "stream"
    address = f"{two.path}v2/export/delta/?since=v1"
    built(two, address)
    ready = two.anonymous.get(address)
    data = body(two.anonymous.get(location(ready)))
    assert ready["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert two.anonymous.get(location(ready)).status_code == 410


def test_formats(two: World) -> None:
    """D5: the four formats of an export hold the same rows; two builds give equal bytes."""
    address = f"{two.path}v2/export/delta/?since=v1"
    document = built(two, address)
    tgz = streamed(two, address)
    tar = streamed(two, address, "&format=tar")
    assert gzip.decompress(tgz) == tar
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert opened.getnames() == [archives.MEMBER]
    zipped = streamed(two, address, "&format=zip")
    with zipfile.ZipFile(io.BytesIO(zipped)) as box:
        assert json.loads(box.read(archives.MEMBER)) == document
    lines = two.api.get(f"{address}&stream=true&format=ndjson")
    data = body(lines)
    assert len(data) == int(lines["Content-Length"])
    held = [json.loads(line) for line in data.splitlines()]
    assert held[1:] == document["concepts"] + document["mappings"]
    assert two.api.post(f"{address}&force=true").status_code == 202
    jobs.run_queued()
    assert (streamed(two, address), streamed(two, address, "&format=zip")) == (tgz, zipped)
    assert two.api.get(f"{address}&format=rar").json() == {"format": ['"rar" is not one of tgz, zip, tar, ndjson.']}


@pytest.mark.parametrize("since", ["nothing", "HEAD", "2016-13-01", "%00", ""])
def test_bad_since(two: World, since: str) -> None:
    """D6: neither a version nor a timestamp is 400 naming the field, after rights and the version itself."""
    for method in ("GET", "POST", "DELETE"):
        answer = two.api(method, f"{two.path}v2/export/delta/?since={since}")
        assert (answer.status_code, list(answer.json())) == (400, ["since"])
    assert two.anonymous.post(f"{two.path}v2/export/delta/?since={since}").status_code == 401
    assert two.anonymous.get(f"{two.path}v9/export/delta/?since={since}").status_code == 404
    assert two.api.get(f"{two.path}HEAD/export/delta/?since={since}").status_code == 405
    assert two.api.put(f"{two.path}v2/export/delta/?since={since}", {}).status_code == 405


def test_other_repository(two: World) -> None:
    """D6: a version of another repository is unknown; `latest` is the newest released one."""
    other = two.repo("Other")
    two.cut("only-there", repo=other)
    assert two.api.get(f"{two.path}v2/export/delta/?since=only-there").status_code == 400
    assert two.api.get(f"{two.path}v2/export/delta/?since=latest")["Link"].count("since=v1") == 1


def test_private(two: World) -> None:
    """D7: the delta of a private repository is 401 and 403 for whom its export is."""
    Repo.objects.filter(pk=two.source.pk).update(public_access="None")
    for tail in ("delta/?since=v1", "delta/status/?since=v1"):
        assert two.anonymous.get(f"{two.path}v2/export/{tail}").status_code == 401
        assert two.stranger.get(f"{two.path}v2/export/{tail}").status_code == 403


def test_ends_with_its_versions(two: World) -> None:
    """D8: deleting the version a delta starts from, or its own, ends it and its links at once."""
    for victim in ("v1", "v2"):
        address = f"{two.path}v2/export/delta/?since=v1"
        if two.api.get(address).status_code == 204:
            built(two, address)
        link = location(two.anonymous.get(address))
        assert two.api.delete(f"{two.path}{victim}/").status_code == 204
        assert two.anonymous.get(link).status_code == 410
        if victim == "v1":
            assert two.api.get(address).status_code == 400
            two.cut("v1")
            # a new version of the old name is another one
            assert two.api.get(address).status_code == 204


def test_quota(two: World, settings: Settings) -> None:
    """D9: deltas count against the quota of builds like any other."""
    settings.EXPORTS_MAX_ACTIVE = 2
    path = f"{two.path}v2/export/delta/?since="
    assert [two.stranger.post(f"{path}20010{n}01").status_code for n in (1, 2, 3)] == [400] * 3
    assert [two.stranger.post(f"{path}2001-0{n}-01").status_code for n in (1, 2, 3)] == [202, 202, 429]


def test_kept(two: World, settings: Settings) -> None:
    """D10: the sweep keeps a delta's blobs while it is served; it ends after EXPORTS_VARIANT_DAYS, a plain one not."""
    built(two, f"{two.path}v2/export/delta/?since=v1")
    two.build(f"{two.path}v2/")
    delta, plain = ExportBuild.objects.exclude(variant="").get(), ExportBuild.objects.get(variant="")
    keys = [delta.tgz_key, delta.zip_key, plain.tgz_key, plain.zip_key, f"exports/{delta.uuid.hex}/lost.tgz"]
    assert building.live_blobs(keys) == set(keys[:4])
    ExportBuild.objects.update(finished_at=timezone.now() - timedelta(days=31))
    assert upkeep.expire_archives() == 1
    assert two.anonymous.get(f"{two.path}v2/export/").status_code == 303
    assert building.live_blobs(keys) == set(keys[2:4])


def test_doctor(two: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D11: doctor finds an archive that is not in the store, a double and a foreign current build."""
    two.build(f"{two.path}v2/")
    built(two, f"{two.path}v2/export/delta/?since=v1")
    assert list(doctor.invariants()) == []
    delta = ExportBuild.objects.exclude(variant="").get()
    blobs.delete(delta.zip_key)
    assert [delta.zip_key in one for one in doctor.invariants()] == [True]
    ExportBuild.objects.filter(variant="").update(variant=delta.variant)
    found = "\n".join(doctor.invariants())
    assert "2 archives" in found
    assert "not its own" in found
    with pytest.raises(SystemExit):
        call_command("doctor")


def test_admin(two: World, admin_client: Any) -> None:
    """D12: the admin lists deltas, builds one again and deletes it without touching the plain export."""
    two.build(f"{two.path}v2/")
    built(two, f"{two.path}v2/export/delta/?since=v1")
    delta = ExportBuild.objects.exclude(variant="").get()
    url = "/admin/exports/exportbuild/"
    assert delta.variant in admin_client.get(url).content.decode()
    for action in ("rebuild", "delete_export"):
        sent = {"action": action, "_selected_action": [str(delta.pk)]}
        assert admin_client.post(url, sent).status_code == 302
        jobs.run_queued()
    assert set(ExportBuild.objects.exclude(variant="").values_list("state", flat=True)) == {"deleted"}
    assert ExportBuild.objects.exclude(variant="").count() == 2
    assert ExportBuild.objects.get(variant="").state == "ready"


def test_constant_statements(two: World, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    """D13: asking for a ready delta takes at most one statement more than a plain export, and writes nothing."""
    built(two, f"{two.path}v2/export/delta/?since=v1")
    with django_assert_max_num_queries(4) as seen:
        assert two.anonymous.get(f"{two.path}v2/export/delta/?since=v1").status_code == 303
    assert all(query["sql"].startswith("SELECT") for query in seen.captured_queries)
