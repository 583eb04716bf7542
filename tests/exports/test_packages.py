"""The FHIR package and the tables of a version (contract §10.3, §10.4)."""

import csv
import io
import json
import tarfile
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core import jobs
from exports.formats import fhir, tables
from exports.jobs import build as building
from exports.models import ExportBuild, Repo
from tests.exports.conftest import World
from tests.exports.test_export import body, location

Json = dict[str, Any]


def fetched(world: World, address: str) -> bytes:
    """The file behind an address, built through its job."""
    if world.api.get(address).status_code == 204:
        assert world.api.post(address).status_code == 202
        jobs.run_queued()
    answer = world.api.get(f"{address}?stream=true")
    assert answer.status_code == 200, (answer.status_code, answer.headers)
    return body(answer)


def package(world: World, path: str) -> dict[str, Json]:
    """The files of a FHIR package by name."""
    with tarfile.open(fileobj=io.BytesIO(fetched(world, f"{path}export/fhir.tgz/"))) as tar:
        assert all(name.startswith("package/") for name in tar.getnames())
        found = {name.removeprefix("package/"): tar.extractfile(name) for name in tar.getnames()}
        return {name: json.load(file) for name, file in found.items() if file is not None}


def sheets(world: World, path: str) -> dict[str, list[dict[str, str]]]:
    """The tables of a version by name."""
    with zipfile.ZipFile(io.BytesIO(fetched(world, f"{path}export/csv.zip/"))) as box:
        assert box.testzip() is None
        read = {name: io.StringIO(box.read(name).decode(), newline="") for name in box.namelist()}
    return {name: list(csv.DictReader(text, strict=True)) for name, text in read.items()}


def no_blanks(value: Any) -> None:
    """FHIR's JSON holds nothing empty."""
    assert value not in (None, "", [], {})
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        no_blanks(inner)


@pytest.fixture
def cut(world: World) -> World:
    urls = world.fill()
    icd = "/orgs/Elsewhere/sources/ICD/concepts/"
    world.mapping(urls[0], f"{icd}X1/", map_type="NARROWER-THAN")
    world.mapping(urls[0], f"{icd}X2/", map_type="BROADER-THAN")
    gone = world.mapping(urls[1], f"{icd}X9/")
    assert world.api.delete(gone, {"update_comment": "gone"}).status_code == 204
    child = world.concept("D", "Kind of A", parent_concept_urls=[urls[0]], descriptions=[
        {"description": "Said in French", "locale": "fr"}, {"description": "Said in English", "locale": "en"},
    ])  # fmt: skip
    assert child
    world.cut("v1.2", released=True)
    return world


def test_fhir_source(cut: World) -> None:
    """F1: a source's package holds a complete CodeSystem, a ValueSet and a ConceptMap in the standard layout."""
    files = package(cut, f"{cut.path}v1.2/")
    assert list(files)[:2] == ["package.json", ".index.json"]
    about = files["package.json"]
    assert (about["name"], about["version"], about["fhirVersions"]) == ("ocl.myorg.src1", "1.2.0", ["4.0.1"])
    index = files[".index.json"]
    assert index["index-version"] == 1
    for one in index["files"]:
        resource = files[one.pop("filename")]
        assert one.items() <= resource.items()
        no_blanks(resource)
    kinds = [one["resourceType"] for one in index["files"]]
    assert kinds == ["CodeSystem", "ValueSet", "ConceptMap"]
    system, values, mapped = (files[f"{kind}-Src1-v1.2.json"] for kind in kinds)
    assert {one["url"] for one in (system, values, mapped)} == {
        "urn:ocl:orgs:MyOrg:sources:Src1", "urn:ocl:orgs:MyOrg:sources:Src1/ValueSet",
        "urn:ocl:orgs:MyOrg:sources:Src1/ConceptMap",
    }  # fmt: skip
    assert (system["status"], system["content"], system["count"]) == ("active", "complete", 4)
    assert system["valueSet"] == values["url"]
    concepts = {one["code"]: one for one in system["concept"]}
    assert set(concepts) == {"A", "B", "C", "D"}
    assert {"code": "inactive", "valueBoolean": True} in concepts["C"]["property"]
    assert {"code": "parent", "valueCode": "A"} in concepts["D"]["property"]
    assert concepts["D"]["definition"] == "Said in English"
    assert concepts["B"]["designation"] == [
        {"language": "en", "use": {"display": "FULLY_SPECIFIED"}, "value": "Bêta"},
    ]  # fmt: skip
    assert values["compose"]["include"] == [{"system": system["url"], "version": "v1.2"}]


def test_fhir_map(cut: World) -> None:
    """F2: the ConceptMap groups mappings in force by the systems they join and says R4's equivalence of the target."""
    mapped = package(cut, f"{cut.path}v1.2/")["ConceptMap-Src1-v1.2.json"]
    groups = {one["target"]: one["element"] for one in mapped["group"]}
    assert set(groups) == {"urn:ocl:orgs:Elsewhere:sources:ICD", "urn:ocl:orgs:MyOrg:sources:Src1"}
    assert {one["source"] for one in mapped["group"]} == {"urn:ocl:orgs:MyOrg:sources:Src1"}
    away = {one["code"]: one["target"] for one in groups["urn:ocl:orgs:Elsewhere:sources:ICD"]}
    assert {one["code"]: one["equivalence"] for one in away["A"]} == {"X1": "wider", "X2": "narrower"}
    assert all("Map type" in one["comment"] for one in away["A"])
    assert away["B"] == [{"code": "X1", "equivalence": "equivalent"}]
    assert groups["urn:ocl:orgs:MyOrg:sources:Src1"][0]["target"][0]["display"] == "Bêta"


def test_fhir_collection(cut: World) -> None:
    """F3: a collection's package names its members in a ValueSet and brings a CodeSystem fragment per source."""
    other = cut.repo("Other", canonical_url="http://example.org/fhir/CodeSystem/other")
    url = cut.concept("Z", source=other)
    held = cut.repo("Coll", kind="collection")
    cut.refer(held, url, f"{cut.path}concepts/A/", f"{cut.path}mappings/1/")
    cut.cut("draft", repo=held)
    files = package(cut, f"{held.uri}draft/")
    assert files["package.json"]["version"] == "0.0.0-draft"
    values = files["ValueSet-Coll-draft.json"]
    assert (values["url"], values["status"]) == ("urn:ocl:orgs:MyOrg:collections:Coll", "draft")
    assert values["compose"] == {
        "inactive": True,
        "include": [
            {"system": "http://example.org/fhir/CodeSystem/other", "concept": [{"code": "Z", "display": "Name of Z"}]},
            {"system": "urn:ocl:orgs:MyOrg:sources:Src1", "concept": [{"code": "A", "display": "Alpha"}]},
        ],
    }
    for name, code in (("Other", "Z"), ("Src1", "A")):
        system = files[f"CodeSystem-{name}.json"]
        assert (system["content"], system["count"], system["concept"][0]["code"]) == ("fragment", 1, code)
        assert "version" not in system
    Repo.objects.filter(pk=other.pk).update(public_access="None")
    assert cut.api.post(f"{held.uri}draft/export/fhir.tgz/?force=true").status_code == 202
    jobs.run_queued()
    again = package(cut, f"{held.uri}draft/")["CodeSystem-Other.json"]
    assert again["url"] == "urn:ocl:orgs:MyOrg:sources:Other"


def test_fhir_empty(world: World) -> None:
    """F4: a version without rows gives a valid package without empty arrays."""
    world.cut("v0")
    held = world.repo("Coll", kind="collection")
    world.cut("c0", repo=held)
    for path in (f"{world.path}v0/", f"{held.uri}c0/"):
        files = package(world, path)
        for name, resource in files.items():
            if name not in ("package.json", ".index.json"):
                no_blanks(resource)
    assert "CodeSystem-Src1-v0.json" in package(world, f"{world.path}v0/")


@pytest.mark.parametrize("tail", ["fhir.tgz/", "csv.zip/"])
def test_states(cut: World, tail: str) -> None:
    """F5: a package is built, told of, fetched once and deleted like an export, and apart from it; equal bytes."""
    address = f"{cut.path}v1.2/export/{tail}"
    assert cut.anonymous.get(address).status_code == 204
    assert cut.anonymous.post(address).status_code == 401
    data = fetched(cut, address)
    form = tail[-4:-1]
    ready = cut.anonymous.get(address, Accept="application/zip, application/gzip")
    assert ready.status_code == 303
    assert ready["X-Export-Filename"].startswith(f"Src1_v1.2_{tail[:-5]}.")
    assert ready["X-Export-Filename"].endswith(f".{form}")
    assert location(ready).endswith(f".{form}")
    assert int(ready["X-Export-Size"]) == len(data)
    status = cut.anonymous.get(f"{address}status/").json()
    assert (status["status"], status["json"], [one["format"] for one in status["archives"]]) == ("ready", None, [form])
    assert status["progress"]["bytes"] == len(data)
    wrong = cut.api.get(f"{address}?format=tar")
    assert (wrong.status_code, wrong.json()) == (400, {"format": [f'"tar" is not one of {form}.']})
    assert cut.anonymous.get(f"{cut.path}v1.2/export/").status_code == 204
    assert cut.api.get(f"{cut.path}HEAD/export/{tail}").status_code == 405
    build = ExportBuild.objects.get()
    keys = [key for key in (build.tgz_key, build.zip_key) if key]
    assert len(keys) == 1
    assert building.live_blobs(keys) == set(keys)
    assert cut.api.post(f"{address}?force=true").status_code == 202
    jobs.run_queued()
    assert fetched(cut, address) == data
    link = location(cut.anonymous.get(address))
    assert cut.stranger.delete(address).status_code == 403
    assert cut.api.delete(address).status_code == 200
    assert cut.anonymous.get(link).status_code == 410
    Repo.objects.filter(pk=cut.source.pk).update(public_access="None")
    for below in ("", "status/"):
        assert cut.anonymous.get(address + below).status_code == 401
        assert cut.stranger.get(address + below).status_code == 403


def test_percent(cut: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """F5: percent rises and stays below 100 while a package is written."""
    seen: list[int] = []
    whole = jobs.Run.progress

    def note(self: jobs.Run, **values: Any) -> None:
        seen.append(values["percent"])
        whole(self, **values)

    monkeypatch.setattr(jobs.Run, "progress", note)
    for tail in ("fhir.tgz/", "csv.zip/"):
        seen.clear()
        fetched(cut, f"{cut.path}v1.2/export/{tail}")
        assert seen == sorted(seen)
        assert 50 < seen[-1] < 100


def test_csv(cut: World) -> None:
    """C1: four tables hold every row, name, description and mapping; commas, quotes and breaks come through."""
    odd = 'a "b", c\r\nd;é'
    cut.concept("E", odd, extras={"k": 1}, names=[
        {"name": odd, "locale": "en", "locale_preferred": True}, {"name": "Bis", "locale": "fr"},
    ])  # fmt: skip
    cut.cut("v2")
    found = sheets(cut, f"{cut.path}v2/")
    assert list(found) == ["concepts.csv", "names.csv", "descriptions.csv", "mappings.csv"]
    concepts = {row["id"]: row for row in found["concepts.csv"]}
    assert set(concepts) == {"A", "B", "C", "D", "E"}
    assert (concepts["C"]["retired"], concepts["E"]["display_name"], concepts["E"]["extras"]) == (
        "true",
        odd,
        '{"k": 1}',
    )
    assert concepts["D"]["parent_concept_urls"] == f"{cut.path}concepts/A/"
    names = [(row["concept_id"], row["name"], row["locale"]) for row in found["names.csv"]]
    assert ("E", odd, "en") in names
    assert ("E", "Bis", "fr") in names
    assert [row["description"] for row in found["descriptions.csv"]] == ["Said in French", "Said in English"]
    assert len(found["mappings.csv"]) == 5
    assert {row["map_type"] for row in found["mappings.csv"]} == {"SAME-AS", "NARROWER-THAN", "BROADER-THAN"}


def test_formulas(world: World) -> None:
    """C2: no cell begins as a formula, wherever it comes from."""
    bad = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
    world.concept("=A1", names=[{"name": name, "locale": "en"} for name in bad], external_id="=cmd|' /C calc'!A0",
                  descriptions=[{"description": "@x", "locale": "-1"}])  # fmt: skip
    world.mapping(f"{world.path}concepts/%3DA1/", "/orgs/Elsewhere/sources/ICD/concepts/X/", sort_weight=-1.5)
    world.cut("v1")
    found = sheets(world, f"{world.path}v1/")
    cells = [cell for rows in found.values() for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert [row["name"] for row in found["names.csv"]] == [f"'{name}" for name in bad]
    assert found["mappings.csv"][0]["sort_weight"] == "'-1.5"


@given(some.dictionaries(some.sampled_from(tables.TABLES["mappings.csv"][1]), some.text() | some.none(), min_size=1))
def test_any_text(row: Json) -> None:
    """C3: whatever text a row holds, the line reads back to it, the apostrophe aside."""
    text = tables.titles("mappings.csv") + tables.lines("mappings.csv", row)
    (read,) = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for key, value in row.items():
        wanted = value or ""
        assert read[key] == (f"'{wanted}" if wanted[:1] in ("=", "+", "-", "@", "\t", "\r") and wanted else wanted)


@pytest.mark.parametrize(
    ("name", "version"),
    [("v1.0", "1.0.0"), ("2016-08-22", "2016.0.0-08-22"), ("V2", "2.0.0"), ("1.2.3-rc.1", "1.2.3-rc.1"),
     ("draft", "0.0.0-draft"), ("1.2.3.4", "0.0.0-1.2.3.4"), ("v2016-08-22", "2016.0.0-08-22"), ("01", "1.0.0")],
)  # fmt: skip
def test_package_version(name: str, version: str) -> None:
    """F6: names of versions as semantic versions."""
    assert fhir.package_version(name) == version


def test_names() -> None:
    """F6: ids, names and canonical URLs stay within what FHIR allows."""
    assert fhir.identity("a_b c", "v1") == "a-b-c-v1"
    assert len(fhir.identity("x" * 100, "v")) == 64
    assert (fhir.computable("2nd-list"), fhir.computable("9")) == ("Nd_list", "Repository")
    assert fhir.package_name("Org", "9 Lives") == "ocl.org.x9-lives"
    assert fhir.system("/orgs/O/sources/S/", base="https://h") == "https://h/orgs/O/sources/S"
    assert fhir.system("http://snomed.info/sct") == "http://snomed.info/sct"
    assert fhir.system(None) is None
