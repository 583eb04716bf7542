"""The layout of the files (contract §5), without the store."""

import csv
import datetime
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from dwca.read import DwCAReader
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from downloads.formats import cells, citation, dwca, eml, manifest, members, normalise, reshape, terms

SNAPSHOT = datetime.datetime(2026, 11, 22, 3, 49, 49, 387349, tzinfo=datetime.UTC)
RAW_RECORDS = ["dwc:genus", "dwc:locality", "symbiota:verbatimScientificName"]
RAW_MEDIA = ["ac:tag", "dcterms:title"]
DWC_TEXT = {"t": "http://rs.tdwg.org/dwc/text/"}


def layout(**options: Any) -> list[members.Member]:
    defaults: dict[str, Any] = {
        "form": "dwca-csv",
        "core_type": "records",
        "core_source": "indexterms",
        "record_fields": None,
        "mediarecord_fields": None,
        "raw_record_columns": RAW_RECORDS,
        "raw_media_columns": RAW_MEDIA,
    }
    return members.members(**defaults | options)


def names(**options: Any) -> list[str]:
    return [member.name for member in layout(**options)]


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("int", 89, "89"),
        ("float", 14 / 69, "0.2028985507246377"),
        ("float", 1.0, "1.0"),
        ("bool", True, "true"),
        ("bool", False, "false"),
        ("list", ["a", "b"], '["a", "b"]'),
        ("list", ["é", "\\", "𝒳"], r'["\u00e9", "\\", "\ud835\udcb3"]'),
        ("list", [], ""),
        ("point", (29.8809, -82.27977), '{"lat": 29.8809, "lon": -82.27977}'),
        ("date", "2008-03-29T00:00:00+00:00", "2008-03-29T00:00:00+00:00"),
        ("text", "acer", "acer"),
    ],
)
def test_values(kind: terms.Kind, content: Any, text: str) -> None:
    """D33: cells as §5.1 writes them."""
    assert cells.WRITERS[kind](content) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain text", "plain text"),
        (" spaced ", " spaced "),
        ("a,b", '"a,b"'),
        ('say "no"', '"say ""no"""'),
        ("a\r\nb\rc\nd", '"a\nb\nc\nd"'),
        ("a\tb", "a\tb"),
        ("", ""),
    ],
)
def test_dialect(text: str, cell: str) -> None:
    """D33: quoted only where needed, inner line ends LF."""
    assert cells.cell(text) == cell


def test_tab_dialect() -> None:
    assert cells.cell("a,b\tc", cells.TAB) == '"a,b\tc"'
    assert cells.line(["a,b", "c"], cells.TAB) == "a,b\tc\r\n"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-5.5", "-5.5"),
        ("x=", "x="),
    ],
)
def test_spreadsheets(text: str, safe: str) -> None:
    """D33: no cell is taken for a formula, numbers stay numbers."""
    assert cells.harmless(text) == safe


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20), min_size=2))
def test_lines_read_back(texts: list[str]) -> None:
    """D34: any text comes back out of a line, line ends aside."""
    for delimiter in (cells.COMMA, cells.TAB):
        line = cells.line(texts, delimiter)
        assert line.endswith("\r\n")
        (row,) = csv.reader(io.StringIO(line, newline=""), delimiter=delimiter)
        assert row == [
            text.replace("\r\n", "\n").replace("\r", "\n") if _quotes(text, delimiter) else text for text in texts
        ]


def _quotes(text: str, delimiter: str) -> bool:
    return any(char in text for char in f'{delimiter}"\r\n')


def test_index_line() -> None:
    """D35: 81 cells behind the id, `idigbio:version` empty."""
    raw = {"dwc:genus": "Acer", "dwc:locality": 'a "b", c\r\nd', "dwc:vernacularName": "Érable"}
    index = normalise.record(raw, uuid="u", recordset="r", modified="2008-03-29T00:00:00+00:00", today="2026-01-01")
    line = cells.index_line("records", normalise.with_media(index, ["m1", "m2"]))
    (row,) = csv.DictReader(io.StringIO(layout()[0].header + "u" + line, newline=""))
    assert len(row) == 82
    assert row["coreid"] == row["idigbio:uuid"] == "u"
    assert row["dwc:locality"] == 'a "b", c\nd'
    assert row["idigbio:commonnames"] == '["\\u00c9rable"]'
    assert row["idigbio:mediarecords"] == '["m1", "m2"]'
    assert row["idigbio:hasImage"] == "true"
    assert row["idigbio:version"] == ""


def test_raw_line() -> None:
    """D33: raw cells as they are; attached rows as JSON in the store's key order."""
    columns = cells.places(["dwc:Identification", "dwc:genus"])
    raw = {"dwc:genus": " Acer", "id": "7", "dwc:Identification": [{"bb": "ü", "a": 1}]}
    assert cells.raw_line(raw, columns) == ',"[{""a"": 1, ""bb"": ""\\u00fc""}]", Acer\r\n'
    assert cells.raw_line({}, {}) == "\r\n"


def test_raw_columns() -> None:
    """D33: the union, ASCII-sorted, without ids and names with a space or quote."""
    given_names = ["b", "a", "B", "id", "coreid", "a b", 'c"d', "dwc:genus"]
    assert cells.raw_columns(given_names) == ["B", "a", "b", "dwc:genus"]


def test_members() -> None:
    """D33: four data files in order, the core in front."""
    four = ["occurrence.csv", "occurrence_raw.csv", "multimedia.csv", "multimedia_raw.csv"]
    assert names() == four
    assert names(core_source="raw") == [four[1], four[0], *four[2:]]
    assert names(core_type="mediarecords") == [four[2], four[0], four[1], four[3]]
    assert names(core_type="mediarecords", core_source="raw")[0] == "multimedia_raw.csv"
    assert names(form="dwca-tsv") == [name.replace("csv", "tsv") for name in four]
    assert names(core_type="uniquenames") == ["names.csv", *four]
    assert names(core_type="uniquelocality") == ["locality.csv", *four]
    assert names(has_deleted=True) == [*four, "deleted.csv"]
    assert names(form="csv") == ["occurrence.csv"]


def test_headers() -> None:
    """D33, D35: every file starts with the id column, headers as §3.2, none twice."""
    for member in layout():
        header = next(csv.reader([member.header]))
        assert header[0] == "coreid"
        assert len(set(header)) == len(header)
        assert member.is_whole
    assert [len(member.columns) for member in layout()] == [81, 3, 21, 2]
    assert layout(core_type="uniquenames")[0].header == "id,dwc:scientificName,idigbio:itemCount\r\n"
    assert layout(core_type="uniquelocality", form="tsv")[0].header == "id\tdwc:locality\tidigbio:itemCount\r\n"


def headers(**options: Any) -> dict[str, str]:
    return {member.name: member.header.strip() for member in layout(**options)}


def test_field_lists() -> None:
    """D38: sorted behind the id; a companion without columns is left out, the core never."""
    index_only = headers(record_fields=["scientificname", "genus", "genus"], mediarecord_fields=[])
    assert index_only == {"occurrence.csv": "coreid,dwc:genus,dwc:scientificName"}
    data_only = headers(record_fields=["data.dwc:locality", "data.dwc:genus"], mediarecord_fields=["tag"])
    assert data_only == {
        "occurrence.csv": "coreid",
        "occurrence_raw.csv": "coreid,dwc:genus,dwc:locality",
        "multimedia.csv": "coreid,ac:tag",
    }
    mixed = headers(record_fields=["data.dwc:genus", "genus"], mediarecord_fields=["data.ac:tag", "tag"])
    assert list(mixed) == ["occurrence.csv", "occurrence_raw.csv", "multimedia.csv", "multimedia_raw.csv"]
    assert not any(member.is_whole for member in layout(record_fields=["genus"], mediarecord_fields=[]))


def test_field_lists_of_bare_files() -> None:
    """D38: the one file of csv and tsv holds every column that was named."""
    assert headers(form="csv", record_fields=["data.dwc:genus", "genus"]) == {
        "occurrence.csv": "coreid,dwc:genus,data.dwc:genus"
    }, "no header twice"
    assert headers(form="tsv", record_fields=["data.dwc:locality"]) == {"occurrence.tsv": "coreid\tdwc:locality"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("dwca-csv", "records", "indexterms"), "U.zip"),
        (("csv", "records", "indexterms"), "U.records.csv"),
        (("csv", "records", "raw"), "U.records.raw.csv"),
        (("tsv", "mediarecords", "indexterms"), "U.mediarecords.tsv"),
        (("csv", "uniquenames", "indexterms"), "U.uniquenames.csv"),
        (("csv", "uniquenames", "raw"), "U.uniquenames.csv"),
        (("parquet", "records", "indexterms"), "U.records.parquet"),
    ],
)
def test_file_names(options: tuple[str, str, str], expected: str) -> None:
    form, core_type, core_source = options
    assert members.file_name("U", form=form, core_type=core_type, core_source=core_source) == expected


def test_media_types() -> None:
    assert members.media_type("dwca-tsv") == "application/zip"
    assert members.media_type("csv") == "text/csv; charset=utf-8"
    assert members.media_type("tsv") == "text/tab-separated-values; charset=utf-8"
    assert members.media_type("geojson") == "application/geo+json"


def test_meta_xml() -> None:
    """D33: one core with id, extensions with coreid, right indices, line ends and row types."""
    root = etree.fromstring(dwca.meta_xml(layout()))
    assert root.tag == "{http://rs.tdwg.org/dwc/text/}archive"
    assert root.get("metadata") == "eml.xml"
    assert [etree.QName(part).localname for part in root] == ["core", "extension", "extension", "extension"]
    for part, member in zip(root, layout(), strict=True):
        assert dict(part.attrib.items()) == {
            "encoding": "UTF-8",
            "fieldsTerminatedBy": ",",
            "linesTerminatedBy": "\\r\\n",
            "fieldsEnclosedBy": '"',
            "ignoreHeaderLines": "1",
            "rowType": member.row_type,
        }
        assert part.findtext("t:files/t:location", namespaces=DWC_TEXT) == member.name
        key = part.find("t:id" if member.is_core else "t:coreid", DWC_TEXT)
        assert key is not None
        assert key.get("index") == "0"
        fields = part.findall("t:field", DWC_TEXT)
        assert [int(field.attrib["index"]) for field in fields] == list(range(1, len(member.columns) + 1))
        assert [terms.curie(field.attrib["term"]) for field in fields] == [column.header for column in member.columns]


def test_meta_xml_begins_with_a_declaration_and_escapes() -> None:
    files = layout(raw_record_columns=["http://example.org/a?b=1&c=<d>"])
    written = dwca.meta_xml(files)
    assert written.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<archive ')
    assert b'fieldsEnclosedBy="&quot;"' in written
    assert b"a?b=1&amp;c=&lt;d&gt;" in written


def test_meta_xml_of_other_cores() -> None:
    rows = [part.get("rowType") for part in etree.fromstring(dwca.meta_xml(layout(core_type="uniquenames")))]
    assert rows == [
        "http://rs.tdwg.org/dwc/terms/Taxon",
        "http://rs.tdwg.org/dwc/terms/Occurrence",
        "http://rs.tdwg.org/dwc/terms/Occurrence",
        "http://rs.tdwg.org/ac/terms/multimedia",
        "http://rs.tdwg.org/ac/terms/multimedia",
    ]
    tabbed = etree.fromstring(dwca.meta_xml(layout(form="dwca-tsv", core_type="uniquelocality", has_deleted=True)))
    assert tabbed[0].get("rowType") == "http://rs.tdwg.org/dwc/terms/Location"
    assert {part.get("fieldsTerminatedBy") for part in tabbed} == {"\\t"}
    assert "deleted.tsv" not in [part.findtext("t:files/t:location", namespaces=DWC_TEXT) for part in tabbed]


def test_compat_2016() -> None:
    """D40: the descriptor of COMPAT="2016"."""
    written = dwca.meta_xml(layout(), compat="2016")
    assert written.startswith(b"\n<archive")
    assert b"<?xml" not in written
    assert b"metadata" not in written
    assert b"<core " not in written
    root = etree.fromstring(written)
    assert len(root) == 4
    assert {part.get("encoding") for part in root} == {"utf-8"}
    assert {part.get("linesTerminatedBy") for part in root} == {"\\n"}


def test_citation() -> None:
    """D36: the shape that scripts parse, letter for letter."""
    shares = [
        citation.Share("5ab348ab-439a-4697-925c-d6abe0c09b92", 79),
        citation.Share("09b18522-5643-478f-86e9-d2e34440d43e", 100),
    ]
    assert citation.text({"genus": "acer"}, shares, snapshot=SNAPSHOT) == (
        "https://www.idigbio.org/portal (2026),\n"
        'Query: {"genus": "acer"},\n'
        "179 records, accessed on 2026-11-22T03:49:49.387349,\n"
        "contributed by 2 Recordsets, Recordset identifiers:\n"
        "https://www.idigbio.org/portal/recordsets/09b18522-5643-478f-86e9-d2e34440d43e (100 records)\n"
        "https://www.idigbio.org/portal/recordsets/5ab348ab-439a-4697-925c-d6abe0c09b92 (79 records)\n"
    )
    assert "\nQuery: null,\n" in citation.text(None, shares, snapshot=SNAPSHOT)


def test_equal_shares_are_ordered_by_uuid() -> None:
    shares = [citation.Share("b", 1), citation.Share("a", 1), citation.Share("c", 2)]
    assert [share.recordset for share in citation.ordered(shares)] == ["c", "a", "b"]


def test_bibtex_and_ris() -> None:
    entry: dict[str, Any] = {
        "title": "Specimens of {Acer} & 50% _more_",
        "publisher": "iDigBio",
        "url": "http://h/downloads/u.zip",
        "note": "line one\nTY  - HACK",
        "accessed": SNAPSHOT,
    }
    bib = citation.bibtex("u-1", **entry)
    assert bib.startswith("@misc{u-1,\n")
    assert r"title = {{Specimens of \{Acer\} \& 50\% \_more\_}}" in bib
    ris = citation.ris("u-1", **entry)
    assert ris.startswith("TY  - DATA\r\n")
    assert ris.endswith("ER  - \r\n")
    assert sum(line.startswith("TY  - ") for line in ris.splitlines()) == 1


def test_manifest() -> None:
    """D36: sums, counts and recordsets."""
    written = manifest.manifest(
        build="b",
        data_version=3,
        snapshot=SNAPSHOT,
        query={"rq": {"genus": "acer"}},
        files=[manifest.File("occurrence.csv", 10, 1, "ab"), manifest.File("eml.xml", 5, None, "cd")],
        media_without_record=2,
        recordsets=[
            manifest.Source("c", "C", "", 1),
            manifest.Source("a", "Ñ", "CC0", 1),
            manifest.Source("b", "B", "", 2),
        ],
    )
    assert json.loads(written) == {
        "build": "b",
        "data_version": 3,
        "snapshot": "2026-11-22T03:49:49.387349+00:00",
        "query": {"rq": {"genus": "acer"}},
        "files": [
            {"name": "occurrence.csv", "bytes": 10, "rows": 1, "sha256": "ab"},
            {"name": "eml.xml", "bytes": 5, "sha256": "cd"},
        ],
        "excluded": {"media_without_record": 2},
        "recordsets": [
            {"uuid": "b", "name": "B", "license": "", "records": 2},
            {"uuid": "a", "name": "Ñ", "license": "CC0", "records": 1},
            {"uuid": "c", "name": "C", "license": "", "records": 1},
        ],
    }


def metadata(recordsets: list[manifest.Source]) -> bytes:
    return eml.eml_xml(
        build="b",
        title="Specimens <1>",
        creator="iDigBio",
        contact="data@example.org",
        published=SNAPSHOT.date(),
        query={"rq": {"locality": "a\x00b & c"}},
        recordsets=recordsets,
    )


def test_eml() -> None:
    """D33: title, creator, pubDate, query, licences and recordsets."""
    root = etree.fromstring(
        metadata([manifest.Source("u1", "Herbár & co", "CC BY", 7), manifest.Source("u2", "B", "", 1)])
    )
    assert root.findtext("dataset/title") == "Specimens <1>"
    assert root.findtext("dataset/creator/organizationName") == "iDigBio"
    assert root.findtext("dataset/pubDate") == "2026-11-22"
    assert "locality" in (root.findtext("dataset/abstract/para") or "")
    rights = [para.text for para in root.findall("dataset/intellectualRights/para")]
    assert rights == ["Licence: CC BY", "Licence: not stated"]
    assert "Herbár & co (u1): 7 records, licence CC BY" in [para.text for para in root.findall("dataset/purpose/para")]


AWKWARD = ['line\nbreak, "quoted"', "日本語 𝒳 e\u0301", "tab\there", "", " lead", "a\r\nb"]


@pytest.mark.parametrize("form", ["dwca-csv", "dwca-tsv"])
@pytest.mark.parametrize("core_type", ["records", "mediarecords", "uniquenames"])
def test_archives_open(tmp_path: Path, form: str, core_type: str) -> None:
    """D34: python-dwca-reader opens what these pieces make, awkward cells included."""
    files = layout(form=form, core_type=core_type)
    random.seed(1)
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in files:
            rows = [[f"id{n}", *(random.choice(AWKWARD) for _ in member.columns)] for n in range(5)]
            archive.writestr(member.name, member.header + "".join(cells.line(row, member.delimiter) for row in rows))
        archive.writestr("eml.xml", metadata([]))
        archive.writestr("meta.xml", dwca.meta_xml(files))
    with DwCAReader(str(path)) as opened:
        assert opened.core_contains_term(terms.uri(files[0].columns[0].header))
        assert [row.id for row in opened] == [f"id{n}" for n in range(5)]
        extensions = [row.extensions for row in opened]
        assert all(len(found) == len(files) - 1 for found in extensions)
        values = {value for row in opened for value in row.data.values()}
    assert values <= {text.replace("\r\n", "\n") for text in AWKWARD} | {text.strip() for text in AWKWARD}


_CELLS = st.text(alphabet='a,"\t\n=é ', max_size=6)


@given(rows=st.lists(st.lists(_CELLS, min_size=4, max_size=4), max_size=8), data=st.data())
def test_stored_lines_in_another_shape(rows: list[list[str]], data: st.DataObject) -> None:
    """D38: chosen columns, tabs and harmless cells of stored lines are what the cells written anew would be."""
    stored = "".join(cells.line([f"id-{n}", *row]) for n, row in enumerate(rows)).encode()
    columns = data.draw(st.none() | st.lists(st.none() | st.integers(0, 3), max_size=5))
    delimiter = data.draw(st.sampled_from([cells.COMMA, cells.TAB]))
    is_safe = data.draw(st.booleans())
    how = reshape.Reshape(columns=columns, delimiter=delimiter, is_safe=is_safe)
    expected = ""
    for number, row in enumerate(rows):
        texts = row if columns is None else ["" if place is None else row[place] for place in columns]
        shown = [cells.harmless(text) for text in texts] if is_safe else texts
        expected += cells.line([f"id-{number}", *shown], delimiter)
    assert how.converter()(stored).decode() == expected
