"""Parts of an export by locale and without retired rows, and the export of HEAD (contract §10.7)."""

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import jobs
from exports.models import ExportBuild, Repo
from exports.services import imports
from tests.exports.conftest import World, person
from tests.exports.test_export import QUERY, body, inside, location

Json = dict[str, Any]


def name(text: str, locale: str, **more: Any) -> Json:
    return {"name": text, "locale": locale, "name_type": "FULLY_SPECIFIED", **more}


@pytest.fixture
def cut(world: World) -> World:
    """A and B as in the small world, C retired; F has names and descriptions in three locales."""
    world.fill()
    names = [name("Fever", "en", locale_preferred=True), name("Fièvre", "fr"), name("Fiebre", "es")]
    told = [{"description": "Hot", "locale": "en"}, {"description": "Chaud", "locale": "fr"}]
    world.concept("F", names=names, descriptions=told)
    world.cut("v1")
    return world


def streamed(world: World, address: str, more: str = "") -> bytes:
    joint = "&" if "?" in address else "?"
    answer = world.api.get(f"{address}{joint}stream=true{more}")
    assert answer.status_code == 200, (answer.status_code, answer.headers)
    return body(answer)


def built(world: World, address: str) -> Json:
    assert world.api.post(address).status_code == 202
    jobs.run_queued()
    found: Json = json.loads(inside(streamed(world, address)))
    return found


def test_locale(cut: World) -> None:
    """V1: names and descriptions of the locale only, shown by it; who has none there keeps the name it is shown by."""
    document = built(cut, f"{cut.path}v1/export/?locale=fr")
    rows = {row["id"]: row for row in document["concepts"]}
    assert set(rows) == {"A", "B", "C", "F"}
    assert [one["name"] for one in rows["F"]["names"]] == ["Fièvre"]
    assert [one["description"] for one in rows["F"]["descriptions"]] == ["Chaud"]
    assert (rows["F"]["display_name"], rows["F"]["display_locale"]) == ("Fièvre", "fr")
    assert [one["name"] for one in rows["B"]["names"]] == ["Bêta"]
    assert rows["B"]["display_locale"] == "en"
    assert document["export_variant"] == {"locale": ["fr"], "includeRetired": True}
    assert len(document["mappings"]) == 2
    two = built(cut, f"{cut.path}v1/export/?locale=es,fr")
    (row,) = (row for row in two["concepts"] if row["id"] == "F")
    assert [one["name"] for one in row["names"]] == ["Fièvre", "Fiebre"]
    assert row["display_name"] == "Fiebre"
    assert {key: row[key] for key in ("checksums", "url", "version")} == {
        key: rows["F"][key] for key in ("checksums", "url", "version")
    }


def test_without_retired(cut: World) -> None:
    """V2: without retired rows the archive holds what the JSON without includeRetired shows."""
    gone = cut.mapping(f"{cut.path}concepts/A/", f"{cut.path}concepts/F/")
    assert cut.api.delete(gone, {"update_comment": "gone"}).status_code == 204
    cut.cut("v2")
    address = f"{cut.path}v2/export/?includeRetired=false"
    document = built(cut, address)
    shown = json.loads(body(cut.api.get(f"{cut.path}v2/{QUERY.replace('&includeRetired=true', '')}")))
    for kind in ("concepts", "mappings"):
        assert document[kind] == shown[kind]
    status = cut.api.get(f"{cut.path}v2/export/status/?includeRetired=false").json()
    assert status["counts"] == {
        "references": 0, "concepts": 3, "retired_concepts": 0, "mappings": 2, "retired_mappings": 0,
    }  # fmt: skip


def test_apart(cut: World) -> None:
    """V3: each part has its own build, name, status and end; the plain export is byte for byte what it was."""
    cut.build(f"{cut.path}v1/")
    path = f"{cut.path}v1/export/"
    plain = streamed(cut, path)
    part = f"{path}?locale=fr&includeRetired=false"
    assert cut.anonymous.get(part).status_code == 204
    built(cut, part)
    ready = cut.anonymous.get(part)
    assert ready["X-Export-Filename"].startswith("Src1_v1_fr_active.")
    assert ready["Link"] == f'<{path}status/?locale=fr&includeRetired=false>; rel="status"'
    assert cut.anonymous.get(ready["Link"][1 : ready["Link"].index(">")]).json()["status"] == "ready"
    assert cut.anonymous.get(f"{path}?locale=fr")["X-Export-Status"] == "none"
    # saying the parameters otherwise is the same part; saying nothing by them is the plain export
    assert cut.anonymous.get(f"{path}?includeRetired=no&locale=fr,fr").status_code == 303
    assert cut.anonymous.get(f"{path}?includeRetired=true&locale=")["ETag"] == cut.anonymous.get(path)["ETag"]
    lines = streamed(cut, part, "&format=ndjson").splitlines()
    assert len(lines) == 1 + 3 + 2
    first = streamed(cut, part)
    assert cut.api.post(f"{part}&force=true").status_code == 202
    jobs.run_queued()
    assert streamed(cut, part) == first
    link = location(cut.anonymous.get(part))
    assert cut.api.delete(part).status_code == 200
    assert cut.anonymous.get(link).status_code == 410
    assert streamed(cut, path) == plain
    assert cut.api.delete(path).status_code == 200


def test_collection(cut: World) -> None:
    """V4: a collection's parts keep its references."""
    held = cut.repo("Coll", kind="collection")
    cut.refer(held, f"{cut.path}concepts/")
    cut.cut("c1", repo=held)
    document = built(cut, f"{held.uri}c1/export/?locale=es&includeRetired=false")
    assert [row["id"] for row in document["concepts"]] == ["F", "B", "A"]
    assert len(document["references"]) == 1
    assert list(document)[-3:] == ["concepts", "references", "mappings"]


def test_importable(cut: World) -> None:
    """V5: a part can be imported as a source of its own."""
    built(cut, f"{cut.path}v1/export/?locale=fr&includeRetired=false")
    data = streamed(cut, f"{cut.path}v1/export/?locale=fr&includeRetired=false")
    imports.request([data], name="part.tgz", options={"owner": "users/editor"}, user=cut.editor)
    jobs.run_queued()
    found = cut.api.get("/users/editor/sources/Src1/concepts/?limit=0&verbose=true")
    assert {row["id"]: row["display_name"] for row in json.loads(body(found))} == {
        "A": "Alpha", "B": "Bêta", "F": "Fièvre",
    }  # fmt: skip


@pytest.mark.parametrize("query", ["locale=a b", "locale=,", "locale=%00", "locale=" + ",".join(map(str, range(11))),
                                   "locale=" + "x" * 51, "locale=" + ",".join(c * 40 for c in "abcd"),
                                   "includeRetired=maybe"])  # fmt: skip
def test_bad(cut: World, query: str) -> None:
    """V6: what is no locale or no boolean is 400 naming the field."""
    for method in ("GET", "POST", "DELETE"):
        answer = cut.api(method, f"{cut.path}v1/export/?{query}")
        assert (answer.status_code, list(answer.json())) == (400, [query.partition("=")[0]])
    assert cut.api.get(f"{cut.path}v1/export/status/?{query}").status_code == 400


def test_head_is_off(cut: World) -> None:
    """V7: without EXPORTS_HEAD_FOR_ADMINS HEAD is 405 to administrators too."""
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert cut.api(method, f"{cut.path}HEAD/export/").status_code == 405


def test_head(cut: World, settings: Settings) -> None:
    """V8: with it administrators export HEAD as the equivalent GET shows it; everybody else still gets 405."""
    settings.EXPORTS_HEAD_FOR_ADMINS = True
    path = f"{cut.path}HEAD/export/"
    for api in (cut.anonymous, cut.stranger):
        for method in ("GET", "HEAD", "POST", "DELETE", "PUT"):
            answer = api(method, path)
            assert (answer.status_code, answer["Allow"]) == (405, "OPTIONS")
        assert api.get(f"{path}status/").status_code == 405
        assert api.get(f"{path}events/").status_code == 405
    assert cut.api.get(path).status_code == 204
    document = built(cut, path)
    assert document == json.loads(body(cut.api.get(f"{cut.path}HEAD/{QUERY}")))
    ready = cut.api.get(path)
    assert (ready.status_code, "X-Export-Stale" in ready) == (303, False)
    assert ready["X-Export-Filename"].startswith("Src1_HEAD.")
    assert cut.stranger.get(path)["X-Export-Status"] == "none"
    assert cut.api("OPTIONS", path)["Allow"] == "GET, POST, DELETE, HEAD, OPTIONS"
    status = cut.api.get(f"{path}status/").json()
    assert status["counts"] == {
        "references": 0, "concepts": 4, "retired_concepts": 1, "mappings": 2, "retired_mappings": 0,
    }  # fmt: skip
    newest = max(row["updated_on"] for row in document["concepts"] + document["mappings"])
    assert status["last_updated"] == newest
    lines = cut.api.get(f"{path}?format=ndjson")
    assert lines.json() == {"format": ['"ndjson" is not one of tgz, zip, tar.']}
    part = built(cut, f"{path}?includeRetired=false")
    assert [row["id"] for row in part["concepts"]] == ["F", "B", "A"]
    for below in ("delta/?since=v1", "fhir.tgz/", "csv.zip/", "README/"):
        assert cut.api.get(f"{cut.path}HEAD/export/{below}").status_code == 405


def test_head_goes_on(cut: World, settings: Settings) -> None:
    """V9: a write makes HEAD's archive stale; the next POST builds again while the old one is served."""
    settings.EXPORTS_HEAD_FOR_ADMINS = True
    path = f"{cut.path}HEAD/export/"
    built(cut, path)
    assert cut.api.post(path).status_code == 303
    cut.concept("G")
    stale = cut.api.get(path)
    assert (stale.status_code, stale["X-Export-Stale"]) == (303, "true")
    assert cut.api.post(path).status_code == 202
    assert cut.api.get(path)["X-Export-Rebuild"] == "queued"
    jobs.run_queued()
    fresh = cut.api.get(path)
    assert "X-Export-Stale" not in fresh
    assert fresh["ETag"] != stale["ETag"]
    assert json.loads(inside(streamed(cut, path)))["concepts"][0]["id"] == "G"
    assert cut.api.delete(path).status_code == 200
    assert cut.api.get(path).status_code == 204


def test_head_of_a_collection(cut: World, settings: Settings) -> None:
    """V8: HEAD of a collection with its references, as the equivalent GET shows it."""
    settings.EXPORTS_HEAD_FOR_ADMINS = True
    held = cut.repo("Coll", kind="collection")
    cut.refer(held, f"{cut.path}concepts/A/", f"{cut.path}mappings/1/")
    document = built(cut, f"{held.uri}HEAD/export/")
    assert document == json.loads(body(cut.api.get(f"{held.uri}HEAD/{QUERY}")))
    assert len(document["references"]) == 2
    Repo.objects.filter(pk=held.pk).update(public_access="None")
    assert cut.anonymous.get(f"{held.uri}HEAD/export/").status_code == 401
    assert cut.stranger.get(f"{held.uri}HEAD/export/").status_code == 403
    assert cut.boss.get(f"{held.uri}HEAD/export/").status_code == 303


def test_admin(cut: World) -> None:
    """V10: the admin builds a part again as the part it is."""
    built(cut, f"{cut.path}v1/export/?locale=fr")
    old = ExportBuild.objects.get()
    person("root", is_staff=True, is_superuser=True)
    client = Client()
    assert client.login(username="root", password="a-long-secret-9")
    sent = {"action": "rebuild", "_selected_action": [str(old.pk)]}
    assert client.post("/admin/exports/exportbuild/", sent).status_code == 302
    jobs.run_queued()
    new = ExportBuild.objects.get(state="ready")
    assert (new.variant, new.label, new.tgz_sha256) == (old.variant, old.label, old.tgz_sha256)
