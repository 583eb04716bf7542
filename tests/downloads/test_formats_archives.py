"""Archives as they come out of the store: members, readers, joins, field lists (contract §5)."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from dwca.read import DwCAReader
from lxml import etree
from pytest_django import Settings

from downloads.formats import terms
from downloads.models import Download
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

DATA = ["occurrence.csv", "occurrence_raw.csv", "multimedia.csv", "multimedia_raw.csv"]
CITATIONS = ["records.citation.txt", "mediarecords.citation.txt"]
METADATA = ["eml.xml", "meta.xml", "manifest.json"]
AWKWARD = ['two\nlines, "quoted"', "日本語 𝒳 e\u0301", "tab\there", "Puma concolor", "=1+1"]
READ = """
import json, sys
from dwca.read import DwCAReader
with DwCAReader(sys.argv[1]) as archive:
    rows = [[row.id, row.data, [e.rowtype for e in row.extensions]] for row in archive]
print(json.dumps([archive.descriptor.core.type, rows]))
"""


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, running_house: house.House) -> None:
    """Ten records with awkward text; media on one, on two, and on none of them."""
    records = [
        row | {"dwc:habitat": AWKWARD[n % 5], "dwc:scientificName": ["Acer rubrum", "Puma concolor", ""][n % 3]}
        for n, row in enumerate(making.specimens(10))
    ]
    media = [
        {"coreid": f"r{n}", "dcterms:identifier": f"http://media/{m}.jpg", "dcterms:format": "image/jpeg"}
        | {"dcterms:title": AWKWARD[m % 5]}
        for m, n in enumerate((0, 1, 1, 4))
    ]
    making.bring_in(making.archive(tmp_path, records, media))


def parsed(data: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


def test_members_in_order() -> None:
    """D33: members and their order; every file starts with coreid; rows end CRLF."""
    found = making.members(making.built({}))
    assert list(found) == [*DATA, *CITATIONS, *METADATA]
    for name in DATA:
        rows = parsed(found[name])
        assert rows[0][0] == "coreid"
        assert {len(row) for row in rows} == {len(rows[0])}
        assert found[name].endswith(b"\r\n")
        assert not found[name].startswith(b"\xef\xbb\xbf")
    assert parsed(found["occurrence.csv"])[0][1:] == [term.header for term in terms.RECORD_TERMS]
    assert parsed(found["multimedia.csv"])[0][1:] == [term.header for term in terms.MEDIA_TERMS]


def test_no_rows() -> None:
    """D33: header-only files at 0 rows, no citation, and still a valid archive."""
    download = making.built({"genus": "nothing"})
    found = making.members(download)
    assert list(found) == [*DATA, *METADATA]
    assert all(len(parsed(found[name])) == 1 for name in DATA)


def test_rows_by_uuid() -> None:
    """D35: rows are in order of their own uuid."""
    found = making.members(making.built({}))
    for name, header in (("occurrence.csv", "idigbio:uuid"), ("multimedia.csv", "idigbio:uuid")):
        keys = [row[header] for row in making.rows(found[name])]
        assert keys == sorted(keys)
        assert len(set(keys)) == len(keys)
    assert making.ids(found["occurrence_raw.csv"]) == making.ids(found["occurrence.csv"])


def test_descriptor_fits_the_files() -> None:
    """D33: in meta.xml every field stands at its column."""
    found = making.members(making.built({}))
    for part in etree.fromstring(found["meta.xml"]):
        location = part.findtext("{*}files/{*}location")
        assert location is not None
        header = parsed(found[location])[0]
        fields = {int(field.attrib["index"]): terms.curie(field.attrib["term"]) for field in part.findall("{*}field")}
        assert [fields[place] for place in sorted(fields)] == header[1:]


@pytest.mark.parametrize("form", ["dwca-csv", "dwca-tsv"])
@pytest.mark.parametrize(
    ("core_type", "row_type"),
    [
        ("records", "http://rs.tdwg.org/dwc/terms/Occurrence"),
        ("mediarecords", "http://rs.tdwg.org/ac/terms/multimedia"),
        ("uniquenames", "http://rs.tdwg.org/dwc/terms/Taxon"),
        ("uniquelocality", "http://rs.tdwg.org/dwc/terms/Location"),
    ],
)
def test_readers(tmp_path: Path, form: str, core_type: str, row_type: str, dwca_compat: Path) -> None:
    """D34: both versions of python-dwca-reader open every archive form, and find the same in it."""
    path = tmp_path / "out.zip"
    path.write_bytes(making.content(making.built({}, form=form, core_type=core_type)))
    with DwCAReader(str(path)) as archive:
        here = [
            archive.descriptor.core.type,
            [[row.id, row.data, [e.rowtype for e in row.extensions]] for row in archive],
        ]
    assert here[0] == row_type
    assert here[1]
    old = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(path)],
        env={**os.environ, "PYTHONPATH": str(dwca_compat)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(old.stdout) == json.loads(json.dumps(here))


def test_awkward_cells_come_back(tmp_path: Path) -> None:
    """D34: line breaks, quotes, tabs and characters beyond the basic plane come back as they went in."""
    path = tmp_path / "out.zip"
    path.write_bytes(making.content(making.built({}, core_source="raw")))
    with DwCAReader(str(path)) as archive:
        habitats = {row.data[terms.uri("dwc:habitat")] for row in archive}
    assert habitats == {text.strip() for text in AWKWARD}
    found = making.members(making.built({}))
    assert {row["dwc:habitat"] for row in making.rows(found["occurrence_raw.csv"])} == set(AWKWARD)


@pytest.mark.parametrize("core_type", ["records", "mediarecords", "uniquenames", "uniquelocality"])
def test_every_row_joins(core_type: str) -> None:
    """D36: every extension row joins the core; manifest rows and sums are those of the files."""
    download = making.built({}, core_type=core_type)
    found = making.members(download)
    core, *extensions = [name for name in found if name.endswith(".csv")]
    keys = set(making.ids(found[core]))
    assert keys
    for name in extensions:
        assert set(making.ids(found[name])) <= keys
    manifest = json.loads(found["manifest.json"])
    rows = {file["name"]: file["rows"] for file in manifest["files"] if "rows" in file}
    assert rows == {name: len(making.ids(found[name])) for name in (core, *extensions)}
    assert download.build is not None
    assert {name: download.build.rows[name] for name in rows} == rows


FORMS = ["csv", "tsv", "dwca-csv", "dwca-tsv", "parquet", "geojson"]
LISTS = [["genus", "scientificname"], ["data.dwc:habitat"], ["data.dwc:habitat", "genus"]]


def table(download: Download) -> list[dict[str, Any]]:
    """The rows of the core, whatever the form."""
    data, form = making.content(download), download.form
    if form == "parquet":
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist()
        return rows
    if form == "geojson":
        return [{"coreid": each["id"], **each["properties"]} for each in json.loads(data)["features"]]
    delimiter = "\t" if form.endswith("tsv") else ","
    if not form.startswith("dwca"):
        return making.rows(data, delimiter)
    parts = [making.rows(data, delimiter) for name, data in making.members(download).items() if "occurrence" in name]
    return [dict(pair for row in rows for pair in row.items()) for rows in zip(*parts, strict=True)]


@pytest.mark.parametrize("fields", LISTS, ids=str)
def test_field_lists_in_every_form(tmp_path: Path, fields: list[str]) -> None:
    """D38: index-only, `data.`-only and mixed field lists work in each form."""
    placed = {"dwc:decimalLatitude": "10.1234", "dwc:decimalLongitude": "20.1234", "dwc:geodeticDatum": "WGS84"}
    rows = [row | placed | {"dwc:habitat": "bog"} for row in making.specimens(3, start=20)]
    making.bring_in(making.archive(tmp_path, rows, package=str(uuid.uuid4())))
    columns = {name[5:] if name.startswith("data.") else terms.RECORD_TERM[name].header for name in fields}
    wanted = {"data.dwc:habitat": "bog"}
    for form in FORMS:
        found = table(making.built(wanted, form=form, record_fields=fields, mediarecord_fields=[]))
        assert len(found) == 3, form
        assert {name for row in found for name in row} == {"coreid", *columns}, form
        assert all(row.get("dwc:genus", "acer") == "acer" for row in found), form
        assert all(row.get("dwc:habitat", "bog") == "bog" for row in found), form


def test_groups() -> None:
    """D39: names capitalised and counted, ids as §5.2 makes them, records carried by them."""
    found = making.members(making.built({}, core_type="uniquenames"))
    names = making.rows(found["names.csv"])
    assert [row["dwc:scientificName"] for row in names] == ["Acer rubrum", "Puma concolor"]
    assert sum(int(row["idigbio:itemCount"]) for row in names) == len(making.ids(found["occurrence.csv"]))
    for row in names:
        value = row["dwc:scientificName"].lower()
        assert row["id"] == str(uuid.uuid5(uuid.NAMESPACE_URL, f"uniquenames:{value}"))
        carried = [each for each in making.rows(found["occurrence.csv"]) if each["coreid"] == row["id"]]
        assert {each["dwc:scientificName"] for each in carried} == {value}
        assert len(carried) == int(row["idigbio:itemCount"])


def test_compat_2016(settings: Settings) -> None:
    """D40: COMPAT="2016" changes the descriptor and the member list, and nothing else."""
    new = making.members(making.built({}))
    settings.DOWNLOADS_COMPAT = "2016"
    old = making.members(making.built({}, force=True))
    assert list(old) == [*DATA, *CITATIONS, "meta.xml"]
    assert all(old[name] == new[name] for name in DATA)
    assert old["meta.xml"].startswith(b"\n<archive ")
    assert b"<core " not in old["meta.xml"]


def test_spreadsheet_safe() -> None:
    """D33: no cell is taken for a formula where that was asked."""
    found = making.members(making.built({}, spreadsheet_safe=True))
    habitats = {row["dwc:habitat"] for row in making.rows(found["occurrence_raw.csv"])}
    assert "'=1+1" in habitats
    assert "=1+1" not in habitats
