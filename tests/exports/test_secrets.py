"""What is private stays so, wherever it could show: names in mappings, imports, values of the moment (contract §2.2,
§2.7, §6, §8)."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from core import jobs
from exports.models import ExportBuild, Fragment, Repo
from tests.exports.conftest import World
from tests.exports.test_content import whole
from tests.exports.test_export import body
from tests.exports.test_imports import concept, lines, run


def shown(world: World, path: str) -> dict[str, Any]:
    """``public_can_view`` of every mapping and concept at a path."""
    rows = [*whole(world, path)["mappings"]]
    return {row["id"]: row["public_can_view"] for row in rows}


def test_access_of_mappings(world: World) -> None:
    """X30: mappings say whether the public may see them as of now; frozen versions keep what they said."""
    urls = world.fill()
    world.mapping(urls[0], urls[1], id="tricky", extras={"public_can_view": True, "x": '"public_can_view": true'})
    world.cut("v1")
    frozen = body(world.api.get(f"{world.path}v1/?includeMappings=true&includeConcepts=true&limit=0"))
    assert set(shown(world, world.path).values()) == {True}
    before = Fragment.objects.count()
    with CaptureQueriesContext(connection) as seen:
        assert world.api.put(world.path, {"public_access": "None"}).status_code == 200
    assert len(seen.captured_queries) < 15
    assert shown(world, world.path) == {"1": False, "2": False, "tricky": False}
    tricky = world.api.get(f"{world.path}mappings/tricky/").json()
    assert tricky["extras"] == {"public_can_view": True, "x": '"public_can_view": true'}
    assert tricky["public_can_view"] is False
    assert Fragment.objects.count() == before + 3
    for fragment in Fragment.objects.all():
        assert fragment.length == len(fragment.body)
    assert body(world.api.get(f"{world.path}v1/?includeMappings=true&includeConcepts=true&limit=0")) == frozen
    world.cut("v2")
    assert set(shown(world, f"{world.path}v2/").values()) == {False}
    assert world.api.put(world.path, {"public_access": "Edit"}).status_code == 200
    assert set(shown(world, world.path).values()) == {True}
    same = Fragment.objects.count()
    assert world.api.put(world.path, {"public_access": "View"}).status_code == 200
    assert Fragment.objects.count() == same


def test_access_of_rows(world: World) -> None:
    """X13: lists and details tell of each row whether its own source is public, wherever it is shown."""
    world.fill()
    private = world.repo("Secret", public_access="None")
    hidden = world.concept("S1", source=private)
    everywhere = world.api.get("/concepts/?verbose=true").json()
    assert {row["id"]: row["public_can_view"] for row in everywhere} == {"A": True, "B": True, "S1": False}
    assert {row["id"] for row in world.anonymous.get("/concepts/").json()} == {"A", "B"}
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, hidden, f"{world.path}concepts/A/")
    for path in (collection.uri, f"{collection.uri}expansions/autoexpand-HEAD/"):
        rows = world.api.get(f"{path}concepts/?verbose=true").json()
        assert {row["id"]: row["public_can_view"] for row in rows} == {"A": True, "S1": False}
    assert world.api.get(f"{collection.uri}concepts/S1/").json()["public_can_view"] is False
    assert world.api.get(f"{collection.uri}concepts/A/").json()["public_can_view"] is True


def test_names_of_private_concepts(world: World) -> None:
    """X13: a mapping to another owner's private concept does not show its name, nor whether it is there."""
    secret = world.repo("Secret", owner=world.editor, public_access="None")
    hidden = world.concept("S1", "Hush", source=secret)
    mine = world.boss.post("/user/sources/", {"id": "Mine", "name": "Mine"}).json()["url"]
    data = {"id": "1", "concept_class": "X", "names": [{"name": "n", "locale": "en"}]}
    world.boss.post(f"{mine}concepts/", data)
    told = []
    for target in (hidden, f"{secret.uri}concepts/none/"):
        made = world.boss.post(f"{mine}mappings/", {
            "map_type": "SAME-AS", "from_concept_url": f"{mine}concepts/1/", "to_concept_url": target})  # fmt: skip
        assert made.status_code == 201
        keys = ("to_concept_name_resolved", "to_source_owner", "to_source_owner_type", "to_concept_url")
        told.append({key: made.json().get(key) for key in keys})
    assert told[0] == told[1] == {"to_concept_name_resolved": None, "to_source_owner": "",
                                  "to_source_owner_type": None, "to_concept_url": None}  # fmt: skip
    # nor may it begin there
    for origin in (hidden, f"{secret.uri}concepts/none/"):
        refused = world.stranger.post(f"{world.path}mappings/", {
            "map_type": "SAME-AS", "from_concept_url": origin, "to_concept_url": hidden})  # fmt: skip
        assert refused.status_code == 403
    world.api.put(world.path, {"public_access": "Edit"})
    refused = world.stranger.post(f"{world.path}mappings/", {
        "map_type": "SAME-AS", "from_concept_url": hidden, "to_concept_url": hidden})  # fmt: skip
    assert refused.json() == {"from_concept_url": [f'"{hidden}" is not a concept here.']}
    # it shows as soon as the source is public, and no longer when it is not
    world.api.put(secret.uri, {"public_access": "View"})
    assert world.boss.get(f"{mine}mappings/1/").json()["to_concept_name_resolved"] == "Hush"
    world.api.put(secret.uri, {"public_access": "None"})
    assert "to_concept_name_resolved" not in world.boss.get(f"{mine}mappings/1/").json()


def collection_archive(*rows: dict[str, Any]) -> bytes:
    header: dict[str, Any] = {"type": "Collection Version", "id": "c1", "short_code": "Coll", "name": "Coll",
              "version": "c1", "url": "/users/outsider/collections/Coll/", "owner": "outsider", "owner_type": "User",
              "collection": {}, "collection_type": None}  # fmt: skip
    return json.dumps({**header, "concepts": rows, "references": [], "mappings": []}).encode()


def test_import_tells_nothing(world: World) -> None:
    """X56: an import does not tell which rows a private source holds; what may be read is referenced."""
    secret = world.repo("Secret", public_access="None")
    world.concept("S1", source=secret)
    world.fill()
    rows = [
        {**concept(mnemonic, source=source), "url": f"/orgs/MyOrg/sources/{source}/concepts/{mnemonic}/"}
        for mnemonic, source in (("S1", "Secret"), ("S2", "Secret"), ("A", "Src1"), ("Z", "Src1"))
    ]
    report = run(world.stranger, collection_archive(*rows), name="export.json")
    assert [entry["url"].split("/")[-2] for entry in report["permission_denied"]] == ["S1", "S2", "Z"]
    assert [entry["url"].split("/")[-2] for entry in report["unchanged"]] == ["A"]


def test_import_bodies(world: World) -> None:
    """X55: an import takes what may hold records; other content types are 415, a wrong option names itself."""
    data = lines(concept("T1"))
    token = {"Authorization": f"Token {world.api.token}"}

    def send(kind: str, query: str = "") -> Any:
        return world.api.client.generic("POST", f"/importers/bulk-import/{query}", data, content_type=kind,
                                        headers=token)  # fmt: skip

    for kind in ("text/html", "application/x-www-form-urlencoded", "image/png", "multipart/mixed"):
        refused = send(kind)
        assert (refused.status_code, list(refused.json())) == (415, ["detail"]), kind
    for kind in ("application/json", "application/x-ndjson", "text/plain; charset=utf-8", "application/gzip", ""):
        assert send(kind).status_code == 202, kind
    wrong = send("application/json", "?update_if_exists=perhaps")
    assert (wrong.status_code, wrong.json()) == (400, {"update_if_exists": ["Must be a valid boolean."]})
    assert send("application/json", "?atomic=perhaps").json() == {"atomic": ["Must be a valid boolean."]}
    assert send("application/json", "?atomic=1&update_if_exists=No").status_code == 202


@pytest.mark.parametrize(("wanted", "built"), [("never", []), ("released", ["r1"]), ("always", ["r1", "r2"])])
def test_automatic_after_import(world: World, settings: Settings, wanted: str, built: list[str]) -> None:
    """X6: EXPORTS_AUTO_BUILD builds versions that an import cuts, like any other."""
    settings.EXPORTS_AUTO_BUILD = wanted
    data = lines(
        concept("1"),
        {"type": "Source Version", "id": "r1", "source": "Src1", "owner": "MyOrg", "released": True},
        {"type": "Source Version", "id": "r2", "source": "Src1", "owner": "MyOrg"},
    )
    assert len(run(world.api, data, name="lines.json")["created"]) == 3
    jobs.run_queued()
    assert sorted(ExportBuild.objects.filter(state="ready").values_list("version_name", flat=True)) == built
    world.boss.delete(f"{world.path}r2/")
    header: dict[str, Any] = {"type": "Source Version", "id": "a1", "short_code": "New", "name": "New",
              "released": True, "url": "/orgs/MyOrg/sources/New/", "owner": "MyOrg",
              "owner_type": "Organization", "version": "a1", "concepts": [], "mappings": []}  # fmt: skip
    assert len(run(world.api, json.dumps(header).encode(), name="export.json")["created"]) == 1
    jobs.run_queued()
    assert ExportBuild.objects.filter(version__name="a1", state="ready").exists() is (wanted != "never")
    assert Repo.objects.filter(mnemonic="New").exists()
