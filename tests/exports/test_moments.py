"""Values of the moment and memberships follow the settings of their repositories (contract §2.6, §2.7, §3, §5)."""

import datetime as dt
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports.formats import stamps
from exports.models import Concept, ConceptVersion, Fragment, Repo
from tests.exports.conftest import World
from tests.exports.test_content import whole
from tests.exports.test_export import body
from tests.exports.test_imports import run

FULL = "?includeConcepts=true&includeMappings=true&includeRetired=true&limit=0"


def names(english: str, french: str) -> list[dict[str, Any]]:
    return [
        {"name": english, "locale": "en", "locale_preferred": True, "name_type": "FULLY_SPECIFIED"},
        {"name": f"{french} bis", "locale": "fr"},
        {"name": french, "locale": "fr", "locale_preferred": True},
    ]


def resolved(row: dict[str, Any]) -> tuple[Any, Any]:
    return row["from_concept_name_resolved"], row.get("to_concept_name_resolved", "absent")


def test_default_locale(world: World) -> None:
    """X30: another default locale renames HEAD's concepts, in mappings as well; frozen versions keep their names."""
    tricky = 'É", "display_name": "\\x \U0001f600'
    first = world.concept("A", names=names("Alpha", tricky), extras={"display_name": "mine"})
    second = world.concept("B", names=names("Beta", "Bêta"), external_id=', "display_name": "Beta"')
    third = world.concept("C", "Gamma")
    more = {"x": ', "to_concept_name_resolved": 1', "to_concept_name_resolved": "mine"}
    world.mapping(first, second, id="inside", extras=more)
    world.mapping(third, "/orgs/Else/sources/ICD/concepts/X/", id="away", extras=more)
    other = world.repo("Other")
    world.mapping(first, third, id="half")
    path = f"{other.uri}mappings/"
    assert (
        world.api.post(path, {"map_type": "X", "from_concept_url": second, "to_concept_url": first}).status_code == 201
    )
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, first)
    world.cut("v1")
    frozen = body(world.api.get(f"{world.path}v1/{FULL}"))
    before = Fragment.objects.count()
    with CaptureQueriesContext(connection) as seen:
        assert world.api.put(world.path, {"default_locale": "fr"}).status_code == 200
    assert len(seen.captured_queries) < 25
    # two concepts, their two mappings here and the one elsewhere; nothing else is written anew
    assert Fragment.objects.count() == before + 5
    told = whole(world, world.path)
    assert [(c["id"], c["display_name"], c["display_locale"]) for c in told["concepts"]] == [
        ("C", "Gamma", "en"),
        ("B", "Bêta", "fr"),
        ("A", tricky, "fr"),
    ]
    assert {c["id"]: c["extras"] for c in told["concepts"]}["A"] == {"display_name": "mine"}
    assert {m["id"]: resolved(m) for m in told["mappings"]} == {
        "inside": (tricky, "Bêta"),
        "away": ("Gamma", "absent"),
        "half": (tricky, "Gamma"),
    }
    assert {m["id"]: m["extras"] for m in told["mappings"]}["inside"] == more
    assert resolved(whole(world, other.uri)["mappings"][0]) == ("Bêta", tricky)
    assert whole(world, collection.uri)["concepts"][0]["display_name"] == tricky
    assert world.api.get(f"{world.path}concepts/?sortAsc=name").json()[0]["display_name"] == "Bêta"
    assert set(Concept.objects.values_list("display_name", flat=True)) == {"Gamma", "Bêta", tricky}
    for fragment in Fragment.objects.all():
        assert fragment.length == len(fragment.body)
    assert body(world.api.get(f"{world.path}v1/{FULL}")) == frozen
    # there and back again
    told_by_sets = {c["id"]: c for c in told["concepts"]}
    assert world.api.put(world.path, {"default_locale": "en"}).status_code == 200
    assert body(world.api.get(f"{world.path}HEAD/{FULL}")).count(b'"display_locale": "en"') == 3
    assert world.api.put(world.path, {"default_locale": "fr"}).status_code == 200
    assert {c["id"]: c for c in whole(world, world.path)["concepts"]} == told_by_sets


def test_default_locale_of_imported_rows(world: World) -> None:
    """X30: names that came with an archive's rows give way when the default locale changes."""
    world.concept("A", names=names("Alpha", "Alphe"))
    world.cut("v1")
    archive = body(world.api.get(f"{world.path}v1/{FULL}"))
    assert run(world.api, archive, "?owner=users/editor", name="export.json")["failed"] == []
    copied = Repo.objects.get(user=world.editor)
    assert ConceptVersion.objects.get(source=copied).kept["display_name"] == "Alpha"
    assert world.api.put(copied.uri, {"default_locale": "fr"}).status_code == 200
    assert whole(world, copied.uri)["concepts"][0]["display_name"] == "Alphe"
    assert world.api.put(f"{copied.uri}concepts/A/", {"datatype": "Text"}).status_code == 200
    assert whole(world, copied.uri)["concepts"][0]["display_name"] == "Alphe"


def diff(world: World, collection: Repo, since: str) -> tuple[set[str], set[str]]:
    told = whole(world, collection.uri, f"&updatedSince={since}")
    return {c["id"] for c in told["concepts"]}, {m["id"] for m in told["mappings"]}


def test_source_public_again(world: World) -> None:
    """X35: rows that show again because their source became public, or their collection private, are in the diff."""
    urls = world.fill()
    theirs = world.repo("Coll", kind="collection", owner=world.editor)
    ours = world.repo("Ours", kind="collection")
    for collection in (theirs, ours):
        world.refer(collection, *urls, f"{world.path}mappings/1/")
    assert world.api.put(world.path, {"public_access": "None"}).status_code == 200
    last = world.api.put(theirs.uri, {"description": "seen"}).json()["updated_on"]
    assert diff(world, theirs, last) == (set(), set())
    assert world.api.put(world.path, {"public_access": "View"}).status_code == 200
    assert diff(world, theirs, last) == ({"A", "B", "C"}, {"1"})
    # the same owner's collection has shown them all the time
    assert diff(world, ours, last) == (set(), set())
    moment = Repo.objects.get(pk=theirs.pk).write_clock
    assert moment == Repo.objects.get(pk=world.source.pk).write_clock
    # at or after T
    assert diff(world, theirs, stamps.iso(moment) or "") == ({"A", "B", "C"}, {"1"})
    assert diff(world, theirs, stamps.iso(moment + dt.timedelta(microseconds=1)) or "") == (set(), set())
    later = world.api.put(theirs.uri, {"description": "seen again"}).json()["updated_on"]
    assert diff(world, theirs, later) == (set(), set())
    assert world.api.put(world.path, {"public_access": "Edit"}).status_code == 200
    assert diff(world, theirs, later) == (set(), set())
    assert world.api.put(world.path, {"public_access": "None"}).status_code == 200
    assert world.api.put(theirs.uri, {"public_access": "None"}).status_code == 200
    assert diff(world, theirs, later) == ({"A", "B", "C"}, {"1"})


def target(world: World, path: str) -> tuple[Any, ...]:
    (row,) = whole(world, path)["mappings"]
    keys = ("to_concept_url", "to_source_owner", "to_source_owner_type", "to_source_name", "to_concept_name_resolved")
    return len(row), *(row.get(key, "absent") for key in keys)


def test_target_comes_and_goes(world: World) -> None:
    """X32: a mapping tells of its target as it is now: unknown, its source stored, the concept too, deleted again."""
    url = "/orgs/MyOrg/sources/Later/concepts/X/"
    world.mapping(world.concept("A"), url)
    unknown = (46, None, "", None, "Later", "absent")
    assert target(world, world.path) == unknown
    later = world.repo("Later")
    assert target(world, world.path) == (46, url, "MyOrg", "Organization", "Later", "absent")
    world.concept("X", "Name", source=later)
    known = (47, url, "MyOrg", "Organization", "Later", "Name")
    assert target(world, world.path) == known
    world.cut("v1")
    assert world.api.delete(later.uri).status_code == 204
    assert target(world, world.path) == unknown
    assert target(world, f"{world.path}v1/") == known
