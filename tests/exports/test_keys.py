"""The key tables of contract §5, key by key in their order: what each resource shows, in lists, verbose and alone."""

import datetime as dt
import json
from typing import Any

import pytest

from core import jobs
from exports.formats import stamps
from exports.models import ExportBuild, RepoVersion
from tests.exports.conftest import World
from tests.exports.test_content import CONCEPT, MAPPING
from tests.exports.test_export import QUERY, body


def words(text: str) -> list[str]:
    return text.split()


_TOP = (
    "type uuid id short_code name full_name description {0}_type custom_validation_schema public_access"
    " default_locale supported_locales website url owner owner_type owner_url"
)
_CONCEPTS = "concepts_url mappings_url"
_AUTOID = (
    "autoid_concept_mnemonic autoid_concept_external_id autoid_concept_name_external_id"
    " autoid_concept_description_external_id autoid_mapping_mnemonic autoid_mapping_external_id"
    " autoid_concept_mnemonic_start_from autoid_concept_external_id_start_from autoid_mapping_mnemonic_start_from"
    " autoid_mapping_external_id_start_from"
)
_SEMANTICS = (
    "experimental case_sensitive collection_reference hierarchy_meaning compositional version_needed hierarchy_root_url"
)
_TOUCHED = "created_on updated_on created_by updated_by extras external_id"
_CANONICAL = "canonical_url identifier publisher contact jurisdiction purpose copyright"

SOURCE = words(
    f"{_TOP.format('source')} {_TOUCHED} versions_url version {_CONCEPTS} {_CANONICAL} content_type revision_date"
    f" logo_url text {_SEMANTICS} meta {_AUTOID} checksums properties filters match_algorithms"
)
SOURCE_VERSION = words(
    f"{_TOP.format('source')} retired version_url previous_version_url {_TOUCHED} version {_CONCEPTS} is_processing"
    f" released {_CANONICAL} content_type revision_date text meta {_SEMANTICS} checksums properties filters"
    " match_algorithms external_exports source"
)
COLLECTION = words(
    f"{_TOP.format('collection')} {_TOUCHED} versions_url version {_CONCEPTS} expansions_url"
    f" custom_resources_linked_source preferred_source {_CANONICAL} meta immutable revision_date logo_url text"
    " experimental locked_date autoexpand_head expansion_url checksums"
)
COLLECTION_VERSION = words(
    f"{_TOP.format('collection')} version_url previous_version_url {_TOUCHED} version {_CONCEPTS} expansions_url"
    f" is_processing released retired {_CANONICAL} meta immutable revision_date text experimental locked_date"
    " autoexpand expansion_url checksums external_exports collection"
)
SOURCE_LISTED = words(
    "short_code name url owner owner_type owner_url version created_at id source_type updated_at canonical_url type"
    " checksums"
)
COLLECTION_LISTED = words(
    "short_code name url owner owner_type owner_url version created_at id collection_type updated_at canonical_url"
    " autoexpand_head type checksums"
)
VERSION_LISTED = (
    "type short_code name url canonical_url owner owner_type owner_url version created_at id {0}_type updated_at"
    " released retired version_url previous_version_url checksums"
)
CONCEPT_LISTED = words(
    "uuid checksums id external_id concept_class datatype url retired source owner owner_type owner_url display_name"
    " display_locale version update_comment locale version_created_by version_created_on is_latest_version versions_url"
    " version_url type versioned_object_id version_updated_on version_updated_by latest_source_version property"
    " retire_reason"
)
CONCEPT_DETAIL = words(
    "uuid extras checksums id external_id concept_class datatype url retired source owner owner_type owner_url"
    " display_name display_locale names descriptions created_on updated_on versions_url version type update_comment"
    " version_url updated_by created_by public_can_view versioned_object_id latest_source_version property"
    " retire_reason parent_concept_urls child_concept_urls"
)
MAPPING_DETAIL = [key for key in MAPPING if key != "owner_url"] + ["latest_source_version"]
_NOT_LISTED = words("extras created_on updated_on created_by updated_by public_can_view")
MAPPING_LISTED = [key for key in MAPPING_DETAIL if key not in _NOT_LISTED]
REFERENCE = words(
    "expression reference_type id last_resolved_at uri uuid include type code resource_version namespace system version"
    " valueset cascade filter display created_at updated_at concepts mappings translation transform created_by"
)
ORGANIZATION = words(
    "type uuid id public_access name company website location members created_on updated_on url extras created_by"
    " updated_by sources_url public_sources collections_url public_collections logo_url description text"
)
PERSON = words(
    "type uuid username name email company location preferred_locale orgs public_collections public_sources created_on"
    " updated_on created_by updated_by url organizations_url extras sources_url collections_url website is_superuser"
    " is_staff"
)
EXPANSION = words("mnemonic id parameters canonical_url url summary is_processing collection_version extras")
DESCRIPTION = words(
    "uuid description external_id type locale locale_preferred description_type checksum retired retire_reason"
)


@pytest.fixture
def full(world: World) -> World:
    """A source and a collection of its rows, both with a version."""
    urls = world.fill()
    told = {"description": "About Alpha", "locale": "en"}
    assert world.api.post(f"{urls[0]}descriptions/", told).status_code == 201
    world.cut("v1", released=True)
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, urls[0], f"{world.path}mappings/1/")
    world.cut("c1", repo=collection)
    return world


def keys(world: World, path: str) -> list[list[str]]:
    """The keys of an object, or of each object of a list."""
    answer = world.api.get(path)
    assert answer.status_code == 200, path
    found = answer.json()
    return [list(one) for one in (found if isinstance(found, list) else [found])]


def test_sizes() -> None:
    """X28: the tables have as many keys as the contract counts."""
    assert (len(SOURCE), len(SOURCE_VERSION), len(COLLECTION), len(COLLECTION_VERSION)) == (60, 55, 47, 50)
    assert (len(CONCEPT), len(CONCEPT_LISTED), len(CONCEPT_DETAIL)) == (35, 29, 33)
    assert (len(MAPPING), len(MAPPING_DETAIL), len(MAPPING_LISTED)) == (47, 47, 41)
    assert (len(REFERENCE), len(ORGANIZATION), len(PERSON), len(EXPANSION)) == (24, 22, 23, 9)


def test_repositories(full: World) -> None:
    """X28: sources and collections, alone, listed and verbose."""
    for kind, detail, listed in (("sources", SOURCE, SOURCE_LISTED), ("collections", COLLECTION, COLLECTION_LISTED)):
        for path in (f"/{kind}/", f"/orgs/MyOrg/{kind}/"):
            assert keys(full, path) == [listed]
            assert keys(full, f"{path}?verbose=true") == [detail]
    assert keys(full, full.path) == [SOURCE]
    assert keys(full, "/orgs/MyOrg/collections/Coll/") == [COLLECTION]
    made = full.api.post("/user/collections/", {"id": "Own", "name": "Own"})
    assert list(made.json()) == COLLECTION
    assert list(full.api.put("/user/collections/Own/", {"name": "Mine"}).json()) == COLLECTION


def test_versions(full: World) -> None:
    """X28: versions of both kinds, alone, listed and verbose, HEAD as well; with their arrays 57 and 53 keys."""
    arrays = ["concepts", "references", "mappings"]
    for path, name, detail, kind in (
        (full.path, "v1", SOURCE_VERSION, "source"),
        ("/orgs/MyOrg/collections/Coll/", "c1", COLLECTION_VERSION, "collection"),
    ):
        assert keys(full, f"{path}versions/") == [VERSION_LISTED.format(kind).split()] * 2
        assert keys(full, f"{path}versions/?verbose=true") == [detail] * 2
        assert keys(full, f"{path}{name}/") == keys(full, f"{path}HEAD/") == [detail]
        told = json.loads(body(full.api.get(f"{path}{name}/{QUERY}")))
        assert list(told) == detail + [one for one in arrays if kind == "collection" or one != "references"]
        assert list(told[kind]) == (SOURCE if kind == "source" else COLLECTION)
        put = full.api.put(f"{path}{name}/", {"description": "Words"})
        assert list(put.json()) == detail
        made = full.api.post(f"{path}versions/", {"id": "next"})
        assert list(made.json()) == detail


def test_concepts(full: World) -> None:
    """X28: concepts of sources, versions, collections and of everywhere, listed, verbose and alone."""
    lists = (
        "/concepts/", f"{full.path}concepts/", f"{full.path}v1/concepts/", "/orgs/MyOrg/collections/Coll/concepts/",
        "/orgs/MyOrg/collections/Coll/c1/concepts/",
        "/orgs/MyOrg/collections/Coll/c1/expansions/autoexpand-c1/concepts/",
    )  # fmt: skip
    for path in lists:
        for query, wanted in (("?id=A", CONCEPT_LISTED), ("?verbose=true", CONCEPT_DETAIL)):
            found = keys(full, path + query)
            assert found
            assert all(one == wanted for one in found), path
    url = f"{full.path}concepts/A/"
    for path in (
        url, f"{full.path}v1/concepts/A/", f"{url}versions/", "/orgs/MyOrg/collections/Coll/concepts/A/",
        "/orgs/MyOrg/collections/Coll/c1/concepts/A/",
    ):  # fmt: skip
        assert all(one == CONCEPT_DETAIL for one in keys(full, path)), path
    (newest, *_) = full.api.get(f"{url}versions/").json()
    assert keys(full, f"{url}{newest['version']}/") == [CONCEPT_DETAIL]
    assert keys(full, f"{url}descriptions/") == [DESCRIPTION]
    assert list(full.api.put(url, {"datatype": "Text"}).json()) == CONCEPT_DETAIL


def test_mappings(full: World) -> None:
    """X28: mappings likewise; those to a target that is not stored here lack its name everywhere."""
    lists = (
        "/mappings/", f"{full.path}mappings/", f"{full.path}v1/mappings/", "/orgs/MyOrg/collections/Coll/mappings/",
        "/orgs/MyOrg/collections/Coll/c1/mappings/",
        "/orgs/MyOrg/collections/Coll/c1/expansions/autoexpand-c1/mappings/", f"{full.path}concepts/A/mappings/",
    )  # fmt: skip
    for path in lists:
        for query, wanted in (("", MAPPING_LISTED), ("?verbose=true", MAPPING_DETAIL)):
            told = {row["id"]: list(row) for row in full.api.get(path + query).json()}
            assert told.pop("1") == wanted, path
            for others in told.values():
                assert others == [key for key in wanted if key != "to_concept_name_resolved"], path
    for path in (f"{full.path}mappings/1/", f"{full.path}v1/mappings/1/", f"{full.path}mappings/1/versions/"):
        assert keys(full, path) == [MAPPING_DETAIL]


def test_references(full: World) -> None:
    """X28: references in full, and the first eight keys of them in lists; expansions."""
    path = "/orgs/MyOrg/collections/Coll/"
    assert keys(full, f"{path}references/") == [REFERENCE[:8]] * 2
    assert keys(full, f"{path}references/?verbose=true") == [REFERENCE] * 2
    told = json.loads(body(full.api.get(f"{path}c1/{QUERY}")))
    assert [list(one) for one in told["references"]] == [REFERENCE] * 2
    by_kind = {one["reference_type"]: one for one in told["references"]}
    concept = by_kind["concepts"]
    assert (concept["type"], concept["code"], concept["system"]) == ("CollectionReference", "A", full.path)
    assert (concept["concepts"], concept["mappings"], by_kind["mappings"]["mappings"]) == (1, 0, 1)
    assert isinstance(concept["id"], int)
    for version in ("", "c1/"):
        assert keys(full, f"{path}{version}expansions/") == [EXPANSION]
        name = f"autoexpand-{version.strip('/') or 'HEAD'}"
        assert keys(full, f"{path}{version}expansions/{name}/") == [EXPANSION]
    results = full.api.put(f"{path}references/", {"data": {"expressions": [f"{full.path}concepts/B/", "x"]}}).json()
    assert [(list(one)[:3], one["added"]) for one in results] == [
        (["added", "expression", "message"], True),
        (["added", "expression", "message"], False),
    ]


def test_owners(full: World) -> None:
    """X28: organizations and people, alone and verbose; whose address is hidden still has the key."""
    assert keys(full, "/orgs/MyOrg/") == [ORGANIZATION]
    assert keys(full, "/orgs/?verbose=true") == [ORGANIZATION]
    assert keys(full, "/users/editor/orgs/?verbose=true") == [ORGANIZATION]
    organization = full.api.get("/orgs/MyOrg/").json()
    counts = [organization[key] for key in ("members", "public_sources", "public_collections")]
    assert (counts, organization["type"]) == ([1, 1, 1], "Organization")
    for path in ("/user/", "/users/outsider/"):
        assert keys(full, path) == [PERSON]
    assert keys(full, "/users/?verbose=true") == [PERSON] * 3
    assert full.api.get("/users/outsider/").json()["email"] is None
    assert full.boss.get("/users/outsider/").json()["email"] == "outsider@example.org"
    assert full.api.get("/user/").json()["orgs"] == 1


def test_values(full: World) -> None:
    """X28: what §5 says of values: the version is the id of a version, HEAD that of a repository; default locale
    first; the true last editor; floats as such; authors and times of the row and of its version apart."""
    source = full.api.get(full.path).json()
    version = full.api.get(f"{full.path}v1/").json()
    assert (source["type"], source["id"], source["version"]) == ("Source", "Src1", "HEAD")
    assert (version["type"], version["id"], version["version"], version["short_code"]) == (
        "Source Version", "v1", "v1", "Src1",
    )  # fmt: skip
    assert version["is_processing"] is False
    changed = {"default_locale": "fr", "supported_locales": ["en", "fr"]}
    assert full.api.put(full.path, changed).json()["supported_locales"] == ["fr", "en"]
    made = full.api.post(f"{full.path}mappings/", {
        "map_type": "SAME-AS", "from_concept_url": f"{full.path}concepts/A/",
        "to_concept_url": f"{full.path}concepts/B/", "sort_weight": 3})  # fmt: skip
    assert b'"sort_weight": 3.0' in made.content
    edited = full.boss.put(f"{full.path}mappings/1/", {"map_type": "NARROWER-THAN"}).json()
    assert (edited["created_by"], edited["updated_by"], edited["version_updated_by"]) == ("editor", "boss", "boss")
    concept = full.boss.put(f"{full.path}concepts/A/", {"datatype": "Text"}).json()
    assert (concept["created_by"], concept["updated_by"]) == ("editor", "boss")
    assert concept["created_on"] < concept["updated_on"]
    whole = {row["id"]: row for row in json.loads(body(full.api.get(f"{full.path}{QUERY}")))["concepts"]}["A"]
    assert (whole["created_on"], whole["version_created_on"]) == (concept["created_on"], concept["updated_on"])
    assert (whole["version_created_by"], whole["version_updated_by"]) == ("boss", "boss")
    assert whole["previous_version_url"].startswith(f"{full.path}concepts/A/")


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([("a", "fr", True), ("b", "en", False), ("c", "en", True)], "c"),
        ([("a", "fr", True), ("b", "en", False)], "b"),
        ([("a", "fr", False), ("b", "es", True)], "b"),
        ([("a", "fr", False), ("b", "es", False)], "a"),
    ],
)
def test_display_name(world: World, names: list[tuple[str, str, bool]], shown: str) -> None:
    """X28: the preferred name in the default locale, else any in it, else any preferred, else the first."""
    told = [{"name": name, "locale": locale, "locale_preferred": preferred} for name, locale, preferred in names]
    url = world.concept("N", names=told)
    found = world.api.get(url).json()
    assert (found["display_name"], found["names"][0]["name"]) == (shown, "a")


def test_status_document(full: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X49: the status document has its keys whatever the state, and the headers say the same."""
    path, document = f"{full.path}v1/export/", f"{full.path}v1/export/status/"
    wanted = words(
        "status rebuild version url progress attempt queued_at started_at finished_at eta_seconds error stale"
        " last_updated counts json archives"
    )

    def told() -> tuple[dict[str, Any], Any]:
        answer = full.api.get(path)
        found: dict[str, Any] = full.api.get(document).json()
        assert list(found) == wanted
        assert list(found["progress"]) == ["percent", "stage", "done", "total", "bytes"]
        assert (found["status"], found["url"], found["version"]) == (answer["X-Export-Status"], path, "v1")
        assert answer.get("X-Export-Rebuild") == found["rebuild"]
        if "X-Export-Progress" in answer:
            assert answer["X-Export-Progress"] == str(found["progress"]["percent"])
        fault = found["error"] or {"code": "", "message": ""}
        assert answer.get("X-Export-Error", "; ") == f"{fault['code']}; {fault['message']}"
        return found, answer

    none, answer = told()
    assert (none["status"], none["archives"], none["counts"], none["json"]) == ("none", [], None, None)
    assert "X-Export-Progress" not in answer
    assert "Retry-After" not in answer
    assert full.api.post(path).json() == full.api.get(document).json()
    queued, answer = told()
    assert (queued["status"], queued["attempt"], queued["started_at"], queued["finished_at"]) == (
        "queued", 0, None, None,
    )  # fmt: skip
    assert 1 <= int(answer["Retry-After"]) <= 30
    with monkeypatch.context() as patch:
        patch.setattr("exports.jobs.build._write", _fail)
        jobs.run_queued()
    failed, answer = told()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "too_large")
    assert failed["finished_at"] is not None
    full.build(f"{full.path}v1/")
    ready, answer = told()
    assert (ready["status"], ready["rebuild"], ready["error"], ready["progress"]["percent"]) == (
        "ready", None, None, 100,
    )  # fmt: skip
    assert list(ready["counts"]) == ["concepts", "mappings", "references", "retired_concepts", "retired_mappings"]
    assert [list(one) for one in ready["archives"]] == [["format", "filename", "size", "sha256"]] * 2
    assert ready["archives"][0]["filename"] == answer["X-Export-Filename"]
    assert ready["last_updated"] == answer["Last-Updated"].replace("+00:00", "Z")
    assert full.api.post(f"{path}?force=true").status_code == 202
    again, answer = told()
    assert (again["status"], again["rebuild"], again["progress"]["percent"]) == ("ready", "queued", 0)
    assert (answer.status_code, "Retry-After" in answer) == (303, True)


def _fail(*_: Any, **__: Any) -> None:
    raise jobs.Failure("too_large", "It is too large.")


def test_error_header(full: World) -> None:
    """X2: whatever a build died of, its header is ASCII on one line of at most 200 characters."""
    path = f"{full.path}v1/export/"
    assert full.api.post(path).status_code == 202
    ExportBuild.objects.update(state="failed", error_code="internal_error", error_message="Zerstört:\r\n" + "x" * 189)
    told = full.api.get(path)["X-Export-Error"]
    assert told == ("internal_error; Zerst rt:  " + "x" * 300)[:200]


def test_last_modified(full: World) -> None:
    """X16: Last-Modified is the same instant as Last-Updated, cut to the second."""
    moment = dt.datetime(2016, 8, 22, 10, 11, 12, 668_000, tzinfo=dt.UTC)
    RepoVersion.objects.filter(name="v1").update(last_child_update=moment)
    full.build(f"{full.path}v1/")
    for answer in (full.api.get(f"{full.path}v1/export/"), full.api.get(f"{full.path}v1/export/?stream=true")):
        assert answer["Last-Updated"] == "2016-08-22T10:11:12.668000+00:00"
        assert answer["Last-Modified"] == "Mon, 22 Aug 2016 10:11:12 GMT"
    assert stamps.digits(moment) == "20160822101112"
