"""The content API and the whole documents (contract §2.6–§2.8, §5)."""

import datetime as dt
import io
import json
import random
import zipfile
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from exports.invented import Invented
from exports.models import Concept, ConceptVersion, Fragment, Repo
from exports.services import seeding
from exports.views import lists
from exports.writing import concepts, drafts
from tests import together
from tests.exports import meeting
from tests.exports.conftest import World
from tests.exports.test_export import QUERY, body, download, inside
from tests.exports.test_imports import run
from tests.house import wait_for

CODED = drafts.Draft("A", {"datatype": "Coded"}, "editor", "update", force=True)
CONCEPT = [
    "type",
    "uuid",
    "id",
    "external_id",
    "concept_class",
    "datatype",
    "display_name",
    "display_locale",
    "names",
    "descriptions",
    "extras",
    "retired",
    "source",
    "source_url",
    "owner",
    "owner_name",
    "owner_url",
    "version",
    "created_on",
    "updated_on",
    "version_created_on",
    "version_created_by",
    "update_comment",
    "is_latest_version",
    "locale",
    "url",
    "owner_type",
    "version_url",
    "previous_version_url",
    "parent_concept_urls",
    "child_concept_urls",
    "version_updated_on",
    "version_updated_by",
    "checksums",
    "retire_reason",
]
MAPPING = [
    "type",
    "uuid",
    "id",
    "external_id",
    "retired",
    "map_type",
    "source",
    "owner",
    "owner_type",
    "owner_url",
    "from_concept_code",
    "from_concept_name",
    "from_concept_url",
    "to_concept_code",
    "to_concept_name",
    "to_concept_url",
    "from_source_owner",
    "from_source_owner_type",
    "from_source_url",
    "from_source_name",
    "to_source_owner",
    "to_source_owner_type",
    "to_source_url",
    "to_source_name",
    "from_source_version",
    "to_source_version",
    "url",
    "version",
    "versioned_object_id",
    "versioned_object_url",
    "is_latest_version",
    "update_comment",
    "version_url",
    "created_on",
    "updated_on",
    "created_by",
    "updated_by",
    "version_created_on",
    "version_updated_on",
    "version_updated_by",
    "from_concept_name_resolved",
    "to_concept_name_resolved",
    "sort_weight",
    "retire_reason",
    "extras",
    "public_can_view",
    "checksums",
]


def whole(world: World, path: str, query: str = "") -> dict[str, Any]:
    answer = world.api.get(f"{path}{QUERY}{query}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = json.loads(body(answer))
    return found


def test_shape(world: World) -> None:
    """X28: export.json: one ASCII line, concepts before mappings, keys exactly as §5."""
    world.fill()
    world.cut("v1")
    raw = body(world.api.get(f"{world.path}v1/{QUERY}"))
    assert raw.isascii()
    assert b"\n" not in raw
    assert b"B\\u00eata" in raw
    document = json.loads(raw)
    assert len(document) == 57
    assert list(document)[-2:] == ["concepts", "mappings"]
    assert [list(row) for row in document["concepts"]] == [CONCEPT] * 3
    assert list(document["mappings"][1]) == MAPPING
    assert [row["id"] for row in document["concepts"]] == ["C", "B", "A"]
    assert raw == json.dumps(document, ensure_ascii=True).encode()
    assert list(document["concepts"][0]["names"][0]) == [
        "uuid", "name", "external_id", "type", "locale", "locale_preferred", "name_type", "checksum", "retired",
        "retire_reason",
    ]  # fmt: skip
    assert (len(world.api.get(world.path).json()), len(world.api.get(f"{world.path}v1/").json())) == (60, 55)
    collection = world.repo("C1", kind="collection")
    world.cut("c1", repo=collection)
    assert len(world.api.get(collection.uri).json()) == 47
    assert len(world.api.get(f"{collection.uri}c1/").json()) == 50
    assert len(world.api.get(f"{world.path}concepts/").json()[0]) == 29
    assert len(world.api.get(f"{world.path}concepts/A/").json()) == 33


def test_frozen(world: World) -> None:
    """X30: editing HEAD, renaming a mapped concept, adding a child changes no byte of a frozen version."""
    urls = world.fill()
    world.cut("v1")
    before = body(world.api.get(f"{world.path}v1/{QUERY}"))
    assert world.api.put(urls[1], {"names": [{"name": "Renamed", "locale": "en"}]}).status_code == 200
    world.concept("Child", parent_concept_urls=[urls[0]])
    world.api.put(world.path, {"name": "New name", "website": "http://example.org"})
    head = whole(world, world.path)
    assert {row["id"]: row["child_concept_urls"] for row in head["concepts"]}["A"] == [f"{world.path}concepts/Child/"]
    assert {row["id"]: row.get("to_concept_name_resolved") for row in head["mappings"]}["1"] == "Renamed"
    assert body(world.api.get(f"{world.path}v1/{QUERY}")) == before
    old = world.api.get(f"{urls[1]}versions/").json()
    assert [one["display_name"] for one in old] == ["Renamed", "Bêta"]


def test_retired(world: World) -> None:
    """X31: retired rows are in the archive, in JSON only with includeRetired=true."""
    world.fill()
    world.cut("v1")
    assert len(whole(world, f"{world.path}v1/")["concepts"]) == 3
    shown = json.loads(body(world.api.get(f"{world.path}v1/?includeConcepts=true&limit=0")))
    assert [row["id"] for row in shown["concepts"]] == ["B", "A"]
    assert len(world.api.get(f"{world.path}v1/concepts/?includeRetired=YES").json()) == 3
    assert len(world.api.get(f"{world.path}concepts/").json()) == 2
    assert world.api.get(f"{world.path}concepts/?includeRetired=maybe").status_code == 400


def test_unknown_target(world: World) -> None:
    """X32: a mapping to an unknown source has 46 keys and the stated values."""
    urls = world.fill()
    far = whole(world, world.path)["mappings"][0]
    assert list(far) == [key for key in MAPPING if key != "to_concept_name_resolved"]
    assert (far["to_source_url"], far["to_source_name"]) == ("/orgs/Elsewhere/sources/ICD/", "ICD")
    assert (far["to_source_owner"], far["to_source_owner_type"], far["to_concept_url"]) == ("", None, None)
    assert far["to_concept_code"] == "X1"
    here = whole(world, world.path)["mappings"][1]
    assert (here["to_concept_url"], here["to_source_owner"], here["to_concept_name_resolved"]) == (
        urls[1],
        "MyOrg",
        "Bêta",
    )


def test_limits(world: World) -> None:
    """X33: limit=0 = all rows; limit=-1 400; 100000 honoured."""
    for number in range(35):
        world.concept(f"n{number}")
    ask = f"{world.path}?includeConcepts=true"
    assert len(world.api.get(ask).json()["concepts"]) == 30
    many = world.api.get(f"{ask}&limit=100000")
    assert (len(json.loads(body(many))["concepts"]), many["X-Total-Concepts"]) == (35, "35")
    assert len(json.loads(body(world.api.get(f"{ask}&limit=0")))["concepts"]) == 35
    assert [row["id"] for row in world.api.get(f"{ask}&limit=2&offset=33").json()["concepts"]] == ["n1", "n0"]
    assert len(world.api.get(f"{world.path}concepts/").json()) == 25
    message = {"limit": ["A valid non-negative integer is required."]}
    for bad in ("-1", "abc", "1.5", "²"):
        refused = world.api.get(f"{ask}&limit={bad}")
        assert (refused.status_code, refused.json()) == (400, message)
        assert world.api.get(f"{world.path}concepts/?limit={bad}").json() == message
    assert world.api.get(f"{world.path}concepts/?page=0").status_code == 400
    assert world.api.get(f"{world.path}concepts/?offset=-1").status_code == 400


def test_large_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: a limit beyond that of lists is honoured and streamed, and offset counts for every array."""
    urls = world.fill()
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, *urls[:2], f"{world.path}mappings/1/")
    world.cut("c1", repo=collection)
    monkeypatch.setattr(lists, "MOST", 2)
    query = "?includeConcepts=true&includeMappings=true&includeRetired=true"
    for path in (collection.uri, f"{collection.uri}c1/"):
        everything = json.loads(body(world.api.get(f"{path}{query}&limit=0")))
        for offset in (0, 1, 2):
            shares = []
            for limit in (1, 2, 3, 100_000, 0):
                answer = world.api.get(f"{path}{query}&limit={limit}&offset={offset}")
                assert answer.streaming == (limit not in (1, 2))
                assert answer.get("X-Total-Concepts") == ("2" if limit else None)
                told = json.loads(body(answer))
                shares.append({key: told[key] for key in ("concepts", "references", "mappings")})
                assert shares[-1] == {
                    key: everything[key][offset : offset + limit if limit else None] for key in shares[-1]
                }, (path, limit, offset)


def test_first_byte(world: World) -> None:
    """X33: limit=0 sends its first bytes before the last row is read."""
    world.fill()
    answer = world.api.get(f"{world.path}{QUERY}")
    blocks = iter(answer.streaming_content)
    assert next(blocks).endswith(b'"concepts": [')
    world.concept("zzz")  # the snapshot was taken when the stream began
    assert b"zzz" not in b"".join(blocks)


def test_updated_since(world: World) -> None:
    """X34: every updatedSince spelling gives the same rows; garbage 400; unchanged repository 200."""
    world.fill()
    moment = dt.datetime(2016, 8, 22, 10, 11, 12, tzinfo=dt.UTC)
    ConceptVersion.objects.filter(concept__mnemonic="A").update(updated_at=moment)
    ConceptVersion.objects.filter(concept__mnemonic="B").update(updated_at=moment - dt.timedelta(microseconds=1))
    spellings = (
        "2016-08-22T10:11:12Z", "2016-08-22T10:11:12.000000Z", "2016-08-22T10:11:12%2B00:00",
        "2016-08-22T15:41:12%2B05:30", "2016-08-22T15:41:12+05:30", "2016-08-22T10:11:12", "20160822101112",
        "2016-08-22_101112", "1471860672", "2016-08-22%2010:11:12", "2016-08-22T10:11:12.0Z",
        "2016-08-22T03:11:12-0700",
    )  # fmt: skip
    for spelling in spellings:
        answer = world.api.get(f"{world.path}{QUERY}&updatedSince={spelling}")
        assert answer["X-Updated-Since"] == "2016-08-22T10:11:12.000000+00:00", spelling
        assert {row["id"] for row in json.loads(body(answer))["concepts"]} == {"A", "C"}, spelling
        rows = world.api.get(f"{world.path}concepts/?includeRetired=true&updatedSince={spelling}")
        assert rows["X-Updated-Since"] == answer["X-Updated-Since"]
        assert {row["id"] for row in rows.json()} == {"A", "C"}, spelling
    assert {row["id"] for row in whole(world, world.path, "&updatedSince=2016-08-22")["concepts"]} == {"A", "B", "C"}
    nine = world.api.get(f"{world.path}concepts/?updatedSince=999999999")
    assert nine["X-Updated-Since"] == "2001-09-09T01:46:39.000000+00:00"
    later = world.api.get(f"{world.path}concepts/?includeRetired=true&updatedSince=2016-08-22T10:11:12.000001Z")
    assert {row["id"] for row in later.json()} == {"C"}
    for garbage in ("garbage", "2016-02-30", "2016-08-22T25:00:00Z", "99999999999999", "12345"):
        refused = world.api.get(f"{world.path}{QUERY}&updatedSince={garbage}")
        assert (refused.status_code, refused.json()) == (
            400, {"updatedSince": [f'"{garbage}" is not a timestamp.']},
        )  # fmt: skip
    later = whole(world, world.path, "&updatedSince=2100-01-01")
    assert (later["concepts"], later["mappings"], later["id"]) == ([], [], "Src1")


def test_membership_counts(world: World) -> None:
    """X35: an old concept newly added to a collection is in its diff."""
    urls = world.fill()
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, urls[0])
    last = max(row["updated_on"] for row in whole(world, collection.uri)["concepts"])
    stamp = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    assert last < stamp
    world.refer(collection, urls[1])
    changed = whole(world, collection.uri, f"&updatedSince={stamp}")
    assert [row["id"] for row in changed["concepts"]] == ["B"]
    world.cut("c1", repo=collection)
    assert [row["id"] for row in whole(world, f"{collection.uri}c1/", f"&updatedSince={stamp}")["concepts"]] == ["B"]


def test_write_clock(world: World) -> None:
    """X36: concurrent writers cannot commit below an already visible updated_on."""
    draft = drafts.Draft("slow", {"names": [{"name": "s", "locale": "en"}], "concept_class": "X"}, "editor")
    with meeting.writing(world.source, draft):
        quick = together.in_background(lambda: world.concept("quick"))
        wait_for(together.is_waiting, what="the quick one to wait for the lock")
    quick.join(30)
    versions = ConceptVersion.objects.select_related("concept")
    stamps = {version.concept.mnemonic: version.updated_at for version in versions}
    assert stamps["slow"] < stamps["quick"]
    Repo.objects.update(write_clock=dt.datetime(2090, 1, 1, tzinfo=dt.UTC))
    world.concept("after")
    assert ConceptVersion.objects.get(concept__mnemonic="after").updated_at > dt.datetime(2090, 1, 1, tzinfo=dt.UTC)


def test_compress(world: World) -> None:
    """X37: Compress: true gives application/zip with export.json."""
    world.fill()
    answer = world.api.get(f"{world.path}?includeConcepts=true&includeMappings=true&limit=1", Compress="true")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(body(answer))) as box:
        assert box.namelist() == ["export.json"]
        assert len(json.loads(box.read("export.json"))["concepts"]) == 2


def test_paging(world: World) -> None:
    """X38: paging headers are the union; next/previous absolute, absent at the ends."""
    for number in range(7):
        world.concept(f"n{number}")
    ask = f"{world.path}concepts/?sortAsc=id"
    first = world.api.get(f"{ask}&limit=3")
    assert {key: first[key] for key in ("num_found", "num_returned", "offset", "pages", "page_number")} == {
        "num_found": "7", "num_returned": "3", "offset": "0", "pages": "3", "page_number": "1",
    }  # fmt: skip
    assert first["next"].startswith("http")
    assert "previous" not in first
    middle = world.api.get(first["next"].partition("//")[2].partition("/")[1] + first["next"].split("/", 3)[3])
    assert [row["id"] for row in middle.json()] == ["n3", "n4", "n5"]
    assert (middle["num_returned"], middle["offset"], middle["page_number"]) == ("3", "3", "2")
    assert middle["previous"].startswith("http://testserver/")
    back = world.api.get("/" + middle["previous"].split("/", 3)[3])
    assert back.json() == first.json()
    last = world.api.get(f"{ask}&limit=3&offset=6")
    assert "next" not in last
    assert (last["num_returned"], last["page_number"]) == ("1", "3")
    assert [row["id"] for row in world.api.get("/" + last["previous"].split("/", 3)[3]).json()] == ["n3", "n4", "n5"]
    past = world.api.get(f"{ask}&limit=3&page=9")
    assert (past.json(), past["num_found"], past["num_returned"]) == ([], "7", "0")
    assert "next" not in past
    head = world.api.head(f"{ask}&limit=3")
    assert (head["num_found"], body(head)) == ("7", b"")
    assert len(json.loads(body(world.api.get(f"{ask}&limit=0")))) == 7
    assert [row["id"] for row in world.api.get(f"{world.path}concepts/?q=N5").json()] == ["n5"]
    assert len(world.api.get(f"{world.path}concepts/?q=%25").json()) == 0
    assert len(world.api.get(f"{world.path}concepts/?locale=en&conceptClass=Diagnosis&datatype=N/A").json()) == 7
    assert world.api.get(f"{world.path}concepts/?locale=xx").json() == []
    assert world.api.get(f"{world.path}concepts/?sortAsc=nonsense").status_code == 400
    assert [row["id"] for row in world.api.get(f"{world.path}concepts/?sortDesc=name&limit=2").json()] == ["n6", "n5"]


@pytest.mark.parametrize("name", ["page", "limit", "offset"])
def test_numbers_beyond_any_list(world: World, name: str) -> None:
    """X38: a paging number too large to count with is a 400 that names it; the largest allowed is just past the end."""
    world.concept("only")
    refused = world.api.get(f"{world.path}concepts/?{name}=999999999999999999")
    message = "Ensure this value is less than or equal to 1000000000000000."
    assert (refused.status_code, refused.json()) == (400, {name: [message]})
    for query in (f"{name}=1000000000000000", f"{name}=1000000000000000&limit=1000"):
        allowed = world.api.get(f"{world.path}concepts/?{query}")
        assert (allowed.status_code, len(allowed.json())) == (200, 1 if name == "limit" else 0)
        assert allowed["num_found"] == "1"


def test_head_of_long_answers(world: World) -> None:
    """X38: HEAD of a list or a whole document gives the headers, and no length that the answer to GET has not."""
    world.fill()
    for path in ("/orgs/", f"{world.path}concepts/?limit=2", f"{world.path}{QUERY}", f"{world.path}concepts/?limit=0"):
        for accepted in ("identity", "gzip"):
            got = world.api.get(path, **{"Accept-Encoding": accepted})
            told = world.api.head(path, **{"Accept-Encoding": accepted})
            assert (told.status_code, body(told)) == (200, b""), path
            assert told.get("Content-Length") in (None, got.get("Content-Length")), path
            assert told["Content-Type"] == got["Content-Type"]
            assert told.get("num_found") == got.get("num_found")
            body(got)


def test_most_rows_of_a_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X38: a list shows at most 1,000 rows, whatever limit is asked for."""
    assert lists.MOST == 1000
    monkeypatch.setattr(lists, "MOST", 2)
    for number in range(3):
        world.concept(f"n{number}")
    cut = world.api.get(f"{world.path}concepts/?limit=5000")
    assert (len(cut.json()), cut["num_returned"], cut["pages"]) == (2, "2", "2")
    assert "limit=2" in cut["next"]


def test_names(world: World) -> None:
    """X39: names: [] is 400 and stores nothing; PUT without names keeps them."""
    data = {"id": "N", "concept_class": "Drug", "datatype": "N/A"}
    without: list[dict[str, Any]] = [{}, {"names": []}]
    for names in without:
        refused = world.api.post(f"{world.path}concepts/", {**data, **names})
        assert refused.json() == {"names": ["A concept must have at least one name."]}
    assert not Concept.objects.exists()
    url = world.concept("N", "First")
    assert world.api.put(url, {"datatype": "Text"}).json()["names"][0]["name"] == "First"
    made = world.api.post(f"{url}names/", {"name": "Zwei", "locale": "de"})
    assert made.status_code == 201
    uuid = made.json()["uuid"]
    assert world.api.put(f"{url}names/{uuid}/", {"name": "Drei"}).json()["name"] == "Drei"
    assert world.api.get(f"{url}names/{uuid}/").json()["locale"] == "de"
    both = world.api.get(f"{url}names/").json()
    assert [name["name"] for name in both] == ["First", "Drei"]
    assert world.api.put(url, {"datatype": "Coded"}).json()["names"] == both
    assert world.api.put(url, {"names": []}).status_code == 400
    assert world.api.delete(f"{url}names/{uuid}/").status_code == 204
    only = world.api.get(f"{url}names/").json()[0]["uuid"]
    assert world.api.delete(f"{url}names/{only}/").status_code == 400
    assert world.api.post(f"{url}descriptions/", {"description": "About", "locale": "en"}).status_code == 201
    assert ConceptVersion.objects.count() == 7
    twice = world.api.post(f"{world.path}concepts/", {**data, "names": [{"name": "x", "locale": "en"}]})
    assert (twice.status_code, twice.json()) == (400, {"__all__": ["Concept ID must be unique within a source."]})


def test_retire(world: World) -> None:
    """X40: retire: 204, new version; old version's export unchanged."""
    urls = world.fill()
    world.cut("v1")
    world.build(f"{world.path}v1/")
    before = inside(download(world, f"{world.path}v1/"))
    answer = world.api.delete(urls[0], {"update_comment": "why not", "retire_reason": "duplicate"})
    assert answer.status_code == 204
    now = world.api.get(urls[0]).json()
    assert (now["retired"], now["update_comment"], now["retire_reason"]) == (True, "why not", "duplicate")
    assert len(world.api.get(f"{urls[0]}versions/").json()) == 2
    assert inside(download(world, f"{world.path}v1/")) == before == body(world.api.get(f"{world.path}v1/{QUERY}"))
    assert world.api.put(f"{urls[0]}reactivate/").status_code == 204
    assert world.api.get(urls[0]).json()["retired"] is False
    assert world.api.delete(f"{urls[0]}?hardDelete=true").status_code == 403
    assert world.boss.delete(f"{urls[0]}?hardDelete=true").status_code == 409
    fresh = world.concept("fresh")
    assert world.boss.delete(f"{fresh}?hardDelete=true").status_code == 204
    assert world.api.get(fresh).status_code == 404


def test_references(world: World) -> None:
    """X41: unresolvable expression: added:false; private content stays out of other owners' public collections."""
    urls = world.fill()
    collection = world.repo("Coll", kind="collection")
    path = f"{collection.uri}references/"
    private = world.repo("Secret", owner=world.editor, public_access="None")
    hidden = world.concept("S1", source=private)
    told = world.api.put(path, {"data": {"expressions": [urls[0], f"{world.path}concepts/none/", "nonsense", hidden]}})
    assert told.status_code == 200
    assert [one["added"] for one in told.json()] == [True, False, False, False]
    assert [row["id"] for row in world.api.get(f"{collection.uri}concepts/").json()] == ["A"]
    version = world.api.get(f"{urls[1]}versions/").json()[0]["version"]
    world.cut("v1")
    more = [f"{urls[1]}{version}/", f"{world.path}v1/concepts/C/"]
    assert [one["added"] for one in world.api.put(path, {"data": {"expressions": more}}).json()] == [True, True]
    assert world.api.put(f"{path}?cascade=sourcemappings", {"data": {"expressions": [urls[0]]}}).json()[1]["added"]
    assert world.api.put(f"{path}?cascade=all", {"data": {"expressions": []}}).status_code == 400
    assert len(world.api.get(f"{path}?verbose=true").json()[0]) == 24
    assert len(world.api.get(path).json()[0]) == 8
    assert len(whole(world, collection.uri)["concepts"]) == 3
    world.cut("c1", repo=collection)
    expansion = world.api.get(f"{collection.uri}c1/expansions/autoexpand-c1/").json()
    assert expansion["summary"] == {"active_concepts": 2, "active_mappings": 1}
    # a source that turns private disappears from other owners' public collections
    private_later = world.repo("Later", owner=world.editor)
    shown = world.concept("L1", source=private_later)
    assert world.refer(collection, shown)[0]["added"] is True
    world.api.put(private_later.uri, {"public_access": "None"})
    assert "L1" not in [row["id"] for row in whole(world, collection.uri)["concepts"]]
    assert world.api.delete(path, {"references": [urls[0]]}).status_code == 200
    assert "A" not in [row["id"] for row in whole(world, collection.uri)["concepts"]]
    assert world.api.delete(path, {"references": "*"}).status_code == 200
    assert whole(world, collection.uri)["concepts"] == []
    assert len(whole(world, f"{collection.uri}c1/")["concepts"]) == 3


def test_pins_follow_references(world: World) -> None:
    """X41: a member is shown as the oldest remaining reference names it, and that counts as a change."""
    urls = world.fill()
    old = world.api.get(urls[0]).json()["version"]
    world.cut("v1")
    world.api.put(urls[0], {"datatype": "Text"})
    collection = world.repo("Coll", kind="collection")

    def held() -> list[str]:
        return [row["datatype"] for row in whole(world, collection.uri)["concepts"]]

    world.refer(collection, f"{urls[0]}{old}/")
    world.refer(collection, f"{world.path}v1/concepts/A/")
    world.refer(collection, urls[0])
    assert held() == ["N/A"]
    path = f"{collection.uri}references/"
    world.api.delete(path, {"references": [f"{urls[0]}{old}/"]})
    assert held() == ["N/A"]
    last = whole(world, collection.uri)["concepts"][0]["updated_on"]
    stamp = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    assert last < stamp
    world.api.delete(path, {"references": [f"{world.path}v1/concepts/A/"]})
    assert held() == ["Text"]
    changed = whole(world, collection.uri, f"&updatedSince={stamp}")
    assert [row["id"] for row in changed["concepts"]] == ["A"]
    world.api.delete(path, {"references": [urls[0]]})
    assert held() == []


def test_clock_of_a_collection(world: World) -> None:
    """X36: in a collection of several sources too, nothing commits below an updated_on somebody has seen."""
    first = world.concept("A")
    other = world.repo("Src2")
    second = world.concept("B", source=other)
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, first, second)
    answers: list[int] = []

    def edit() -> None:
        answers.append(world.api.put(second, {"datatype": "Text"}).status_code)

    with meeting.writing(world.source, CODED):
        editing = together.in_background(edit)
        wait_for(together.is_waiting, what="the writer of the other source to wait for the collection")
        seen = max(row["updated_on"] for row in whole(world, collection.uri)["concepts"])
    editing.join(30)
    assert answers == [200]
    rows = {row["id"]: row["updated_on"] for row in whole(world, collection.uri)["concepts"]}
    assert seen < rows["A"] < rows["B"]


def test_joining_waits(world: World) -> None:
    """X36: rows join a collection only after those who are changing them are done."""
    url = world.concept("A")
    collection = world.repo("Coll", kind="collection")
    with meeting.writing(world.source, CODED):
        joining = together.in_background(lambda: world.refer(collection, url))
        wait_for(together.is_waiting, what="the reference to wait for the source")
        assert whole(world, collection.uri)["concepts"] == []
    joining.join(30)
    (row,) = whole(world, collection.uri)["concepts"]
    assert row["datatype"] == "Coded"
    # a row from the future is no later than its membership
    moment = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)
    late = world.concept("Late")
    ConceptVersion.objects.filter(concept__mnemonic="Late").update(updated_at=moment)
    world.refer(collection, late)
    more = world.concept("More")
    world.refer(collection, more)
    found = whole(world, collection.uri, "&updatedSince=2090-01-01T00:00:00Z")["concepts"]
    assert [row["id"] for row in found] == ["Late", "More"]


def test_latest(world: World) -> None:
    """X42: latest = newest released version, 404 when none."""
    world.cut("v1")
    assert world.api.get(f"{world.path}latest/").status_code == 404
    assert world.api.put(f"{world.path}v1/", {"released": True}).json()["released"] is True
    world.cut("v2")
    assert world.api.get(f"{world.path}latest/").json()["id"] == "v1"
    world.cut("v3", released=True)
    assert world.api.get(f"{world.path}latest/").json()["id"] == "v3"
    assert [one["id"] for one in world.api.get(f"{world.path}versions/").json()] == ["HEAD", "v3", "v2", "v1"]
    assert [one["id"] for one in world.api.get(f"{world.path}versions/?released=true").json()] == ["v3", "v1"]
    twice = world.api.post(f"{world.path}versions/", {"id": "v2"})
    assert (twice.status_code, twice.json()) == (409, {"detail": "Source version 'v2' already exist."})
    assert world.api.delete(f"{world.path}v3/").status_code == 204
    assert world.api.get(f"{world.path}latest/").json()["id"] == "v1"
    for method in ("PUT", "DELETE"):
        assert world.api(method, f"{world.path}HEAD/", {}).status_code == 405


def test_odd_ids(world: World) -> None:
    """X4: ids outside the plain characters are percent-encoded in URLs and requested encoded once more."""
    url = world.concept("x/y%z w")
    assert url == f"{world.path}concepts/x%2Fy%25z w/"
    found = world.api.get(f"{world.path}concepts/x%252Fy%2525z%20w/")
    assert (found.status_code, found.json()["id"], found.json()["url"]) == (200, "x/y%z w", url)
    made = world.api.post(
        f"{world.path}concepts/", {"id": "é+1", "concept_class": "X", "names": [{"name": "n", "locale": "en"}]}
    )
    assert made["Location"].endswith("/concepts/%25C3%25A9+1/")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b'{"id": ', "detail"),
        (b"[1]", "detail"),
        (b'{"id": "a\\u0000b"}', "id"),
        (b'{"id": "a\\ud800"}', "id"),
        (b'{"extras": ' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}", "detail"),
        (b'{"id": "q", "concept_class": "c", "names": [{"name": "n", "locale": "en"}], "extras": []}', "extras"),
        (b'{"id": "q", "concept_class": "c", "names": "n"}', "names"),
        (b'{"concept_class": "c", "names": [{"name": "n", "locale": "en"}]}', "id"),
        (b'{"id": NaN}', "detail"),
    ],
)
def test_bad_concepts(world: World, data: bytes, field: str) -> None:
    """X39: bad input is a 400 naming the field, never a 500, and stores nothing."""
    answer = world.api("POST", f"{world.path}concepts/", data)
    assert answer.status_code == 400
    assert field in answer.json()
    assert not Concept.objects.exists()


def test_deepest_body(world: World) -> None:
    """X39: fifty levels of nesting are stored, one more is refused."""
    for levels, status in ((50, 201), (51, 400)):
        extras: Any = {}
        for _ in range(levels - 2):  # the body itself and the innermost object are two
            extras = {"a": extras}
        data = {"id": f"d{levels}", "concept_class": "c", "names": [{"name": "n", "locale": "en"}], "extras": extras}
        assert world.api.post(f"{world.path}concepts/", data).status_code == status


def test_bad_input(world: World, settings: Settings) -> None:
    """X39: the rest of contract §2.8."""
    url = world.concept("A")
    weight = world.api.post(f"{world.path}mappings/", {
        "map_type": "SAME-AS", "from_concept_url": url, "to_concept_url": url, "sort_weight": "x"})  # fmt: skip
    assert (weight.status_code, list(weight.json())) == (400, ["sort_weight"])
    assert list(world.api.put(world.path, {"public_access": "Public"}).json()) == ["public_access"]
    for bad in ("a b/c%", "export", "HEAD", "..", ""):
        refused = world.api.post(f"{world.path}versions/", {"id": bad})
        assert (refused.status_code, list(refused.json())) == (400, ["id"])
    answer = world.api.client.post(
        f"{world.path}versions/", "id=v1", content_type="text/plain",
        headers={"Authorization": f"Token {world.api.token}"},
    )  # fmt: skip
    assert answer.status_code == 415
    settings.EXPORTS_BODY_MAX_BYTES = 10
    assert world.api.post(f"{world.path}versions/", {"id": "much-too-long"}).status_code == 413


def test_addresses_nobody_can_read(world: World) -> None:
    """X39: what looks like a URL and is none is refused or taken as any other text, never a 500."""
    origin, bad = world.concept("A"), "http://["
    collection = world.repo("Coll", kind="collection")
    mapping = {"map_type": "X", "from_concept_url": origin, "to_concept_url": origin}
    for path, data, field in (
        ("mappings/", {**mapping, "from_concept_url": bad}, "from_concept_url"),
        ("mappings/", {**mapping, "to_concept_url": bad}, "to_concept_url"),
        ("mappings/", {**mapping, "sort_weight": 10**400}, "sort_weight"),
        ("concepts/", {"id": "B", "concept_class": "X", "names": [{"name": "B", "locale": "en"}],
                       "parent_concept_urls": [bad]}, "parent_concept_urls"),
        ("/importers/bulk-import/", {"file_url": bad}, "file_url"),
    ):  # fmt: skip
        answer = world.api.post(path if path.startswith("/") else f"{world.path}{path}", data)
        assert (answer.status_code, list(answer.json())) == (400, [field]), field
    away = {"map_type": "X", "from_concept_url": origin, "to_source_url": bad, "to_concept_code": "C"}
    made = world.api.post(f"{world.path}mappings/", away)
    assert (made.status_code, made.json()["to_source_url"]) == (201, bad)
    (told,) = world.api.put(f"{collection.uri}references/", {"data": {"expressions": [bad]}}).json()
    assert told == {"added": False, "expression": bad, "message": "Expression specified is not valid."}
    lines = json.dumps({"type": "Mapping", "source": "Src1", "owner": "MyOrg", **away, "id": "in"})
    assert run(world.api, lines.encode())["created"][0]["url"] == f"{world.path}mappings/in/"


def test_too_long(world: World) -> None:
    """X39: what is too long to be kept is a 400 naming the field; a code of another repository may be of any length."""
    long = random.Random(1).randbytes(4000).hex()
    origin = world.concept("A")
    mapping = {"map_type": "X", "from_concept_url": origin}
    names = [{"name": "Long", "locale": "en"}]
    for method, path, data, field in (
        ("POST", "mappings/", {**mapping, "to_concept_url": f"/orgs/{long}/sources/S/concepts/1/"}, "to_concept_url"),
        ("POST", "mappings/", {"map_type": "X", "from_concept_url": f"{world.path}concepts/{long}/",
                               "to_concept_url": origin}, "from_concept_url"),
        ("POST", "concepts/", {"id": "L", "concept_class": "X", "names": names,
                               "parent_concept_urls": [f"{world.path}concepts/{long}/"]}, "parent_concept_urls"),
        ("PUT", "", {"default_locale": long}, "default_locale"),
        ("PUT", "/orgs/MyOrg/", {"name": long}, "name"),
        ("PUT", "/user/", {"name": long}, "name"),
        ("PUT", "/user/", {"email": f"{long}@example.org"}, "email"),
        ("PUT", "/user/", {"email": "no address"}, "email"),
    ):  # fmt: skip
        answer = world.api(method, path if path.startswith("/") else f"{world.path}{path}", data)
        assert (answer.status_code, list(answer.json())) == (400, [field]), (path, field)
    away = {**mapping, "to_source_url": "/orgs/Else/sources/S/", "to_concept_code": long}
    made = world.api.post(f"{world.path}mappings/", away)
    assert (made.status_code, made.json()["to_concept_code"]) == (201, long)
    assert world.api.put("/user/", {"email": "mine@example.org"}).status_code == 200


def test_nul_anywhere(world: World) -> None:
    """X39: NUL is a 4xx in every parameter and path, and names the parameter where it is one of text."""
    url = world.concept("A")
    collection = world.repo("Coll", kind="collection")
    world.cut("v1")
    source, held = world.path, collection.uri
    for path in ("/orgs/", "/users/", "/sources/", f"{held}references/", f"{source}concepts/", f"{held}mappings/"):
        answer = world.api.get(f"{path}?q=a%00")
        assert (answer.status_code, answer.json()) == (400, {"q": ["Null characters are not allowed."]}), path
    named = world.api("POST", "/importers/bulk-import/?name=a%00", "{}")
    assert (named.status_code, list(named.json())) == (400, ["name"])
    for path in (
        f"{source}concepts/?locale=%00", f"{source}concepts/?conceptClass=%00", f"{source}mappings/?mapType=%00",
        f"{source}concepts/?sortAsc=%00", f"{source}concepts/?limit=%00", f"{source}?includeConcepts=%00",
        f"{source}?updatedSince=%00", f"{source}v1/export/?format=%00", f"{source}v1/export/?dialect=%00",
        f"{source}v1/export/?locale=%00", "/importers/bulk-import/?task=%00", f"{source}versions/?released=%00",
    ):  # fmt: skip
        assert world.api.get(path).status_code in (400, 404), path
    for path in (
        f"{source}concepts/%00/", f"{source}%00/", f"{url}%00/", f"{url}names/%00/", f"{source}mappings/%00/",
        "/orgs/%00/", "/users/%00/", "/orgs/MyOrg/members/%00/", f"{held}expansions/%00/", "/tasks/%00/",
        "/exports/dl/%00/x.tgz", f"{source}webhooks/%00/", f"{source}v1/concepts/%00/", f"{source}v1/export/%00/",
        f"{source}concepts/A%2500/",
    ):  # fmt: skip
        assert world.api.get(path).status_code == 404, path
    for method, path in (("PUT", url), ("DELETE", url), ("PUT", f"{url}reactivate/"), ("POST", f"{url}names/")):
        refused = world.api(method, path, {"update_comment": "a\0", "name": "a\0", "locale": "en"})
        assert refused.status_code == 400, (method, path)
    assert world.api.put(f"{held}references/?cascade=%00", {"data": {"expressions": []}}).status_code == 400
    assert world.api.delete(f"{held}references/", {"references": ["\0"]}).status_code == 400
    assert world.anonymous.post("/users/login/", {"username": "a\0", "password": "b"}).status_code == 400


def test_diffs_add_up(world: World) -> None:
    """X57: for a source, export(v1) + diffs, retirements included, equals export(v2)."""
    urls = world.fill()
    world.cut("v1")
    first = whole(world, f"{world.path}v1/")
    since = max(row["updated_on"] for row in first["concepts"] + first["mappings"])
    world.concept("New")
    world.api.put(urls[1], {"names": [{"name": "Other", "locale": "en"}]})
    world.api.delete(urls[0])
    world.mapping(urls[1], f"{world.path}concepts/New/")
    diff = whole(world, world.path, f"&updatedSince={since}")
    world.cut("v2")
    second = whole(world, f"{world.path}v2/")
    moment = ("is_latest_version", "to_concept_name_resolved", "from_concept_name_resolved", "child_concept_urls")
    for kind in ("concepts", "mappings"):
        merged = {row["url"]: row for row in first[kind]} | {row["url"]: row for row in diff[kind]}
        expected = {row["url"]: row for row in second[kind]}
        assert [{k: v for k, v in merged[url].items() if k not in moment} for url in sorted(merged)] == [
            {k: v for k, v in expected[url].items() if k not in moment} for url in sorted(expected)
        ]


def test_constant_sql(world: World) -> None:
    """X58: ten times the rows, the same SQL: writing a batch, cutting a version, building an export."""
    counts = []
    world.api.get("/user/")  # a token notes its first use
    for name, size in (("Small", 20), ("Large", 200)):
        repo = world.repo(name)
        invented = Invented(repo.uri, seed=7)
        wanted = list(invented.concepts(size))
        with CaptureQueriesContext(connection) as writing:
            seeding.fill(repo, iter(wanted), concepts.write)
        with CaptureQueriesContext(connection) as cutting:
            world.cut("v1", repo=repo)
        with CaptureQueriesContext(connection) as building:
            world.build(f"{repo.uri}v1/")
        counts.append([len(seen.captured_queries) for seen in (writing, cutting, building)])
    assert counts[0] == counts[1]


def test_fragments_are_swept(world: World) -> None:
    """X30: fragments nobody holds any more are swept, those of frozen versions stay."""
    from exports.jobs import upkeep

    urls = world.fill()
    world.cut("v1")
    world.api.put(urls[0], {"datatype": "Text"})
    world.api.put(urls[0], {"datatype": "Coded"})
    Fragment.objects.filter(replaced_at__isnull=False).update(replaced_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    before = body(world.api.get(f"{world.path}v1/{QUERY}"))
    head = body(world.api.get(f"{world.path}{QUERY}"))
    assert upkeep.sweep_fragments() > 0
    assert upkeep.sweep_fragments() == 0
    assert body(world.api.get(f"{world.path}v1/{QUERY}")) == before
    assert body(world.api.get(f"{world.path}{QUERY}")) == head
