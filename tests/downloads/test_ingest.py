"""Bringing archives in: identity, idempotence, quarantine, limits, round trips."""

from __future__ import annotations

import http.server
import io
import json
import re
import stat
import tarfile
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, ManagementUtility, call_command
from django.db import connection
from pytest_django import Settings

from core import blobs, jobs
from downloads import services
from downloads.formats import archive_in
from downloads.jobs import fetch, ingest, rerender
from downloads.jobs.ingest import identity, render
from downloads.models import (
    Identifier,
    IngestRun,
    MediaRecord,
    RawColumnSet,
    Record,
    RecordMedia,
    Recordset,
    RejectedRow,
    StoreVersion,
)
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _empty_bucket(running_house: house.House) -> None:
    blobs.delete(*making.keys())


def media_rows(*coreids: str) -> list[dict[str, str]]:
    return [
        {"coreid": coreid, "dcterms:identifier": f"m{n}", "ac:accessURI": f"https://media.example.org/{n}.jpg"}
        for n, coreid in enumerate(coreids)
    ]


def current() -> dict[str, Record]:
    return {record.raw["id"]: record for record in Record.objects.filter(v_to=None)}


def test_again_changed_vanished_returned(tmp_path: Path) -> None:
    """D41: Re-ingest: 0 changes; vanished and returned rows by 6.2."""
    rows = making.specimens(6)
    path = making.archive(tmp_path, rows, media_rows("r0", "r0", "r1"))
    first = making.bring_in(path)
    assert (first.read, first.added, first.links, first.version, first.rejected) == (9, 9, 3, 1, {})
    again = making.bring_in(path)
    assert (again.unchanged, again.added, again.changed, again.removed, again.version) == (9, 0, 0, 0, None)
    assert StoreVersion.objects.count() == 1

    rows[2] = rows[2] | {"dwc:genus": "Quercus"}
    fewer = making.bring_in(making.archive(tmp_path, rows[1:], media_rows("r1", "r1", "r1")))
    assert (fewer.changed, fewer.removed, fewer.version) == (3, 1, 2)  # r2, and two media now say another coreid
    records = current()
    assert "r0" not in records
    assert (making.column(records["r2"], "t_genus"), records["r2"].v_from) == ("quercus", 2)
    assert records["r1"].v_from == 2  # its links changed
    assert making.column(records["r1"], "t_mediarecords") == [
        str(m) for m in RecordMedia.objects.filter(v_to=None).values_list("media", flat=True)
    ]
    assert records["r3"].v_from == 1

    back = making.bring_in(making.archive(tmp_path, rows, media_rows("r1", "r1", "r1")))
    assert (back.restored, back.added, back.changed) == (1, 0, 0)
    assert making.column(current()["r0"], "t_hasimage") is False
    kept = making.bring_in(making.archive(tmp_path, rows[:5], media_rows("r1", "r1", "r1")), keep_missing=True)
    assert (kept.removed, kept.version) == (0, None)


def test_a_uuid_is_identifier_enough(tmp_path: Path) -> None:
    """D41: a row with nothing but its idigbio:uuid is taken under it, and is the same row when it comes again."""
    record, medium = "1c29be70-24e7-480b-aab1-61224ded0f34", "2d3acf81-35f8-491c-bbc2-72335efe1045"
    rows = [*making.specimens(2), {"id": "", "dwc:genus": "Acer", "idigbio:uuid": record}]
    media = [{"coreid": "r0", "idigbio:uuid": medium, "dc:type": "StillImage"}]
    report = making.bring_in(making.archive(tmp_path, rows, media))
    assert (report.added, report.rejected) == (4, {})
    assert Record.objects.filter(uuid=record, v_to=None).exists()
    assert str(RecordMedia.objects.get().media) == medium
    again = making.bring_in(making.archive(tmp_path, rows, media))
    assert (again.unchanged, again.version) == (4, None)


def test_what_an_archive_says_of_itself_is_kept_up_to_date(tmp_path: Path) -> None:
    """D41: the same rows under another name and licence: no new version, but the recordset is told anew."""
    making.bring_in(making.archive(tmp_path, making.specimens(2)))
    first = Recordset.objects.get()
    making.bring_in(making.archive(tmp_path, making.specimens(2)))
    assert Recordset.objects.get().modified_at == first.modified_at
    eml = (
        f'<eml packageId="{first.uuid}"><dataset><title>Renamed</title>'
        "<intellectualRights><para>CC0 1.0</para></intellectualRights></dataset></eml>"
    )
    report = making.bring_in(making.archive(tmp_path, making.specimens(2), extra={"eml.xml": eml.encode()}))
    assert (report.unchanged, report.version) == (2, None)
    recordset = Recordset.objects.get()
    assert (recordset.name, recordset.eml, "CC0" in recordset.licence) == ("Renamed", eml, True)


SET = "5b8a6f0e-27a1-4f0b-9d50-7a1f5a2c3d4e"


def test_identifiers() -> None:
    """D44: which identifiers a row has, the best first; lower-case, without byte order marks."""
    record = {"idigbio:recordId": "\ufeffURN:X:1 ", "dwc:occurrenceID": "Occ 1", "id": "R1"}
    assert identity.record_identifiers(record, SET) == ["urn:x:1", f"{SET}\\occ 1", f"{SET}\\r1"]
    assert identity.record_identifiers({"id": "R1"}, SET) == [f"{SET}\\r1"]
    medium = {"dcterms:identifier": "HTTP://M/1", "ac:providerManagedID": "P", "idigbio:recordId": "X"}
    assert identity.media_identifiers(medium, SET) == ["x", "p", f"{SET}\\media\\http://m/1"]
    assert identity.media_identifiers({"ac:accessURI": "http://m/1"}, SET) == []


def test_uuids_of_rows(tmp_path: Path) -> None:
    """D44: the uuid a row states, else the one its identifier is known by, else one made of it and the recordset."""
    own = "0C7F5F9E-6A43-4B0E-9E5F-2D9A3A1F4C55"
    rows = [{"id": "R0", "dwc:genus": "a"}, {"id": "r1", "idigbio:uuid": own}, {"id": "r2", "dwc:occurrenceID": "Occ"}]
    making.bring_in(making.archive(tmp_path, rows, package=SET))
    made = {name: str(record.uuid) for name, record in current().items()}
    assert made == {
        "R0": str(uuid.uuid5(uuid.UUID(SET), f"{SET}\\r0")),
        "r1": own.lower(),
        "r2": str(uuid.uuid5(uuid.UUID(SET), f"{SET}\\occ")),
    }
    known = [{"id": "new", "dwc:occurrenceID": "r0"}, *rows[1:]]
    report = making.bring_in(making.archive(tmp_path, known, package=SET))
    assert (report.added, report.changed) == (0, 1)
    assert str(current()["new"].uuid) == made["R0"]


def test_recordsets(tmp_path: Path) -> None:
    """D44: the recordset is the one named, else that of the packageId, else of the source's name."""
    named = uuid.uuid4()
    rows = making.specimens(1)
    making.bring_in(making.archive(tmp_path, rows, package="Some Collection"))
    making.bring_in(making.archive(tmp_path, rows, package=SET), recordset=named)
    making.bring_in(making.archive(tmp_path, rows, package="", name="our_herbarium.zip"))
    names = ("Some Collection", "our_herbarium")
    found = set(Recordset.objects.values_list("uuid", flat=True))
    assert found == {named, *(uuid.uuid5(uuid.NAMESPACE_URL, name) for name in names)}


def test_mass_delete_needs_saying_so(tmp_path: Path) -> None:
    making.bring_in(making.archive(tmp_path, making.specimens(10)))
    few = making.archive(tmp_path, making.specimens(4))
    with pytest.raises(ingest.Refused, match="6 of the 10 records"):
        making.bring_in(few)
    assert Record.objects.filter(v_to=None).count() == 10
    assert making.latest_run().state == IngestRun.State.FAILED
    assert making.bring_in(few, allow_mass_delete=True).removed == 6


def test_each_reject_is_set_aside(tmp_path: Path) -> None:
    """D42: Each reject reason is quarantined with its line; good rows stored."""
    other = making.archive(tmp_path, [{"id": "x", "idigbio:recordId": "taken"}], package="other", name="other.zip")
    making.bring_in(other)
    good = making.specimens(20)
    bad = [
        {"id": "", "dwc:genus": "Nobody"},
        good[3],
        good[4] | {"dwc:genus": "Other"},
        {"id": "y", "idigbio:recordId": "TAKEN"},
    ]
    path = making.archive(tmp_path, good + bad, media_rows("r0", "nowhere"))
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    width = members["occurrence.csv"].splitlines()[0].count(b",") + 1
    members["occurrence.csv"] += b"too,few\n" + b"z," + b"a" * 300_000 + b"," * (width - 2) + b"\n"
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    report = making.bring_in(path)
    assert report.rejected == {
        "duplicate_identifier": 1,
        "duplicate_row": 1,
        "identifier_conflict": 1,
        "no_record_id": 1,
        "orphan_extension": 1,
        "row_too_long": 1,
        "wrong_column_count": 1,
    }
    assert (report.added, report.read) == (21, 28)
    rejects = {row.reason: row for row in RejectedRow.objects.filter(run=making.latest_run())}
    lines = members["occurrence.csv"].decode().splitlines()
    for reason in ("no_record_id", "wrong_column_count", "row_too_long", "duplicate_row", "identifier_conflict"):
        assert rejects[reason].file == "occurrence.csv"
        assert rejects[reason].message
    assert lines[rejects["wrong_column_count"].line - 1] == "too,few"
    assert lines[rejects["row_too_long"].line - 1].startswith("z,aaa")
    assert lines[rejects["no_record_id"].line - 1].startswith(",Nobody")
    assert json.loads(rejects["identifier_conflict"].row)["idigbio:recordId"] == "TAKEN"
    assert set(current()) == {f"r{n}" for n in range(20)} | {"x"}


def test_of_a_long_reject_the_beginning_is_kept(tmp_path: Path) -> None:
    """D42: of a row set aside 8 KB are kept, whatever its letters take, and in whichever pass it was found."""
    rows = [
        *making.specimens(9),
        {"id": "", "dwc:genus": "東" * 5000},
        {"id": "r0", "dwc:genus": "𐍈" * 5000},
        {"id": "r1", "dwc:genus": "b" * 9000},
    ]
    making.bring_in(making.archive(tmp_path, rows))
    kept = {reject.reason + reject.row[15]: reject.row for reject in RejectedRow.objects.all()}
    assert len(kept) == 3
    assert all(2000 < len(row.encode()) <= 8192 for row in kept.values()), kept.keys()
    assert sum(len(row.encode()) == 8192 for row in kept.values()) >= 1


def test_mostly_bad_archives_are_refused(tmp_path: Path) -> None:
    path = making.archive(tmp_path, making.specimens(2) + [{"id": "", "dwc:genus": f"g{n}"} for n in range(3)])
    with pytest.raises(ingest.Refused, match="3 of 5 rows would be rejected, more than half: 3 have no identifier"):
        making.bring_in(path)
    assert Record.objects.count() == 0
    half = making.archive(tmp_path, making.specimens(3) + [{"id": "", "dwc:genus": f"g{n}"} for n in range(3)])
    assert making.bring_in(half).added == 3


def test_half_of_the_rows_may_vanish(tmp_path: Path) -> None:
    """D41: over half needs saying so, half does not."""
    making.bring_in(making.archive(tmp_path, making.specimens(10)))
    assert making.bring_in(making.archive(tmp_path, making.specimens(5))).removed == 5


META = (
    '<archive xmlns="http://rs.tdwg.org/dwc/text/"><core rowType="http://rs.tdwg.org/dwc/terms/Occurrence">'
    '<files><location>{}</location></files><id index="0"/><field index="1" term="dwc"/></core></archive>'
)


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def _slip(path: Path) -> Path:
    return _zip(path, {"meta.xml": META.format("../../etc/passwd").encode(), "../../etc/passwd": b"id,a\n1,2\n"})


def _bomb(path: Path) -> Path:
    return _zip(path, {"meta.xml": META.format("o.csv").encode(), "o.csv": b"1,aaaaaaaa\n" * 4_000_000})


def _symlink(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("meta.xml", META.format("o.csv"))
        link = zipfile.ZipInfo("o.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    return path


def _tar_symlink(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as target:
        link = tarfile.TarInfo("o.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(link)
    return path


def _entity(path: Path) -> Path:
    bomb = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + META.format("o.csv").replace("dwc", "&x;", 1)
    return _zip(path, {"meta.xml": bomb.encode(), "o.csv": b"1,2\n"})


def _truncated(path: Path) -> Path:
    full = making.archive(path.parent, making.specimens(50), name="full.zip").read_bytes()
    path.write_bytes(full[: len(full) // 2])
    return path


def _corrupt(path: Path) -> Path:
    data = bytearray(_zip(path, {"meta.xml": META.format("o.csv").encode(), "o.csv": b"1,acer\n" * 5000}).read_bytes())
    middle = data.index(b"o.csv") + 60
    data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)
    return path


def _encrypted(path: Path) -> Path:
    _zip(path, {"meta.xml": b"<archive/>"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def _missing_file(path: Path) -> Path:
    return _zip(path, {"meta.xml": META.format("o.csv").encode()})


def _not_an_archive(path: Path) -> Path:
    path.write_bytes(b"%PDF-1.4 something else")
    return path


def _broken_meta(path: Path) -> Path:
    return _zip(path, {"meta.xml": b"<archive><core>", "o.csv": b"1,2\n"})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_slip, "unsafe name"),
        (_bomb, "more than 200 times"),
        (_symlink, "symbolic link"),
        (_tar_symlink, "symbolic link"),
        (_entity, "document type"),
        (_truncated, "cut short"),
        (_corrupt, "cut short"),
        (_encrypted, "encrypted"),
        (_missing_file, "lacks the file o.csv"),
        (_not_an_archive, "not a zip archive"),
        (_broken_meta, "not well-formed"),
    ],
)
def test_hostile_archives(
    tmp_path: Path, make: Callable[[Path], Path], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """D43: Zip slip, bomb, symlink, entity, truncation: one sentence, nothing written."""
    path = make(tmp_path / "hostile.bin")
    with pytest.raises(archive_in.Unreadable, match=sentence) as refused:
        making.bring_in(path)
    assert (
        refused.value.message.count(".")
        - refused.value.message.count("o.csv")
        - refused.value.message.count("meta.xml")
        == 1
    )
    assert (Record.objects.count(), Recordset.objects.count(), StoreVersion.objects.count()) == (0, 0, 0)
    run = making.latest_run()
    assert (run.state, run.error) == (IngestRun.State.FAILED, refused.value.message)
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(path))
    assert ended.value.code == 1
    assert capsys.readouterr().err.strip() == refused.value.message


def test_limits_on_real_bytes(tmp_path: Path) -> None:
    path = making.archive(tmp_path, making.specimens(30))
    for limits, sentence in (
        (archive_in.Limits(members=2), "more than 2 members"),
        (archive_in.Limits(unpacked=500), "more than 500 bytes"),
        (archive_in.Limits(packed=100), "larger than 100 bytes"),
        (archive_in.Limits(columns=2), "more than 2 columns"),
        (archive_in.Limits(xml=10), "larger than 10 bytes"),
    ):
        with pytest.raises(archive_in.Unreadable, match=sentence), archive_in.opened(path, limits=limits) as opened:
            list(opened.rows(opened.tables[0]))


def test_limits_of_the_contract() -> None:
    """D43: how much of everything an archive may hold, and that a longer cell or row is set aside."""
    gib = 2**30
    assert archive_in.Limits() == archive_in.Limits(
        packed=10 * gib,
        unpacked=100 * gib,
        ratio=200,
        members=10_000,
        row=2**20,
        cell=2**18,
        columns=1000,
        xml=10 * 2**20,
    )


@pytest.mark.parametrize(
    ("limits", "genera", "message"),
    [
        (archive_in.Limits(cell=12), ["a" * 12, "a" * 13], "A cell is longer than 12 bytes."),
        (archive_in.Limits(cell=12), ["é" * 6, "é" * 6 + "a"], "A cell is longer than 12 bytes."),
        (archive_in.Limits(cell=60, row=60), ["a" * 28, "a" * 29], "The row is longer than 60 bytes."),
    ],
)
def test_a_cell_or_row_that_is_too_long(
    tmp_path: Path, limits: archive_in.Limits, genera: list[str], message: str
) -> None:
    """D42: a cell or a whole row as long as may be is taken, one byte more is set aside."""
    rows = [{"id": f"r{n}", "dwc:genus": genus} for n, genus in enumerate(genera)]
    if limits.row == 60:
        rows = [row | {"dwc:family": "b" * 30} for row in rows]
    with archive_in.opened(making.archive(tmp_path, rows), limits=limits) as opened:
        fits, beyond = opened.rows(opened.tables[0])
    assert isinstance(fits, archive_in.Row)
    assert isinstance(beyond, archive_in.Problem)
    assert (beyond.reason, beyond.message) == ("row_too_long", message)


def test_own_archive_comes_back_equal(tmp_path: Path) -> None:
    """D44: Own archive → empty store → own archive: equal raw cells and uuids."""
    rows = [row | {"dwc:occurrenceRemarks": 'tab\there, "quoted" = 1 🌿'} for row in making.specimens(12)]
    extra = [{"coreid": "r1", "dwc:identifiedBy": "Ñ. 山田", "dwc:identificationRemarks": 'a "b"\\c'}]
    making.bring_in(making.archive(tmp_path, rows, media_rows("r0", "r1", "r1"), extra))
    first = making.members(making.built({}))
    own = tmp_path / "own.zip"
    own.write_bytes(making.content(making.built({})))

    for model in (RecordMedia, Record, MediaRecord):
        model.objects.all().delete()
    for statement in ("Download", "Build", "StoreVersion", "RawColumnSet", "Identifier", "Recordset"):
        from django.apps import apps

        apps.get_model("downloads", statement).objects.all().delete()
    report = making.bring_in(own)
    assert (report.added, report.rejected) == (15, {})
    second = making.members(making.built({}))
    assert second["occurrence_raw.csv"] == first["occurrence_raw.csv"]
    assert second["multimedia_raw.csv"] == first["multimedia_raw.csv"]
    assert making.ids(second["multimedia.csv"]) == making.ids(first["multimedia.csv"])
    same = ("idigbio:uuid", "idigbio:recordset", "dwc:genus", "dwc:scientificName", "idigbio:hasImage")
    for before, after in zip(making.rows(first["occurrence.csv"]), making.rows(second["occurrence.csv"]), strict=True):
        assert [before[name] for name in same] == [after[name] for name in same]
    assert making.bring_in(own).version is None


def test_trusted_index_terms_are_kept(tmp_path: Path) -> None:
    making.bring_in(making.archive(tmp_path, making.specimens(3)))
    own = tmp_path / "own.zip"
    own.write_bytes(making.content(making.built({})))
    members = {name: data for name, data in making.members(making.built({})).items() if name != "manifest.json"}
    members["occurrence.csv"] = members["occurrence.csv"].replace(b",acer,", b",corrected,")
    _zip(own, members)
    Record.objects.all().delete()
    making.bring_in(own, trust_index=True)
    assert set(Record.objects.values_list("t_genus", flat=True)) == {"corrected"}


def test_a_new_raw_term_before_and_after_rerender(tmp_path: Path) -> None:
    """D45: A new raw term is in the next archive, before and after re-render alike."""
    making.bring_in(making.archive(tmp_path, making.specimens(5), media_rows("r0")))
    old = making.members(making.built({}))
    assert b"zan:newTerm" not in old["occurrence_raw.csv"]
    more = making.archive(tmp_path, [{"id": "n", "zan:newTerm": "new, value"}], package="other", name="other.zip")
    making.bring_in(more)
    assert RawColumnSet.objects.filter(kind="records").count() == 2
    before = making.members(making.built({}))["occurrence_raw.csv"]
    fields = {"record_fields": ["data.zan:newTerm", "data.dwc:genus", "genus"]}
    fields_before = making.content(making.built({}, form="csv", **fields))
    assert [row["zan:newTerm"] for row in making.rows(before) if row["zan:newTerm"]] == ["new, value"]
    assert len(making.rows(before)) == 6
    assert rerender.rerender() == 5
    assert rerender.rerender() == 0
    assert making.members(making.built({}, force=True))["occurrence_raw.csv"] == before
    assert making.content(making.built({}, form="csv", force=True, **fields)) == fields_before


def test_readings(tmp_path: Path) -> None:
    """Encodings, delimiters, defaults, many files, sub-folders, lone files, tar: contract 6.1 and 6.2."""
    meta = (
        '<archive xmlns="http://rs.tdwg.org/dwc/text/"><core encoding="windows-1250" fieldsTerminatedBy="||" '
        'fieldsEnclosedBy="" linesTerminatedBy="\\r\\n" ignoreHeaderLines="0" '
        'rowType="http://rs.tdwg.org/dwc/terms/Occurrence"><files><location>a.txt</location><location>b.txt</location>'
        '</files><id index="0"/><field index="1" term="http://rs.tdwg.org/dwc/terms/locality"/>'
        '<field term="http://rs.tdwg.org/dwc/terms/country" default="Polska"/>'
        '<field index="2" term="http://example.org/own"/></core></archive>'
    )
    path = tmp_path / "nested.tar.gz"
    with tarfile.open(path, "w:gz") as target:
        for name, data in {
            "deep/er/meta.xml": meta.encode(),
            "deep/er/a.txt": "1||Łódź|| \r\n".encode("cp1250"),
            "deep/er/b.txt": b"2||a\x81b\0c||x|y\r\n",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    assert making.bring_in(path).added == 2
    records = current()
    assert records["1"].raw == {"id": "1", "dwc:locality": "Łódź", "dwc:country": "Polska"}
    assert records["2"].raw == {
        "id": "2",
        "dwc:country": "Polska",
        "dwc:locality": "a\ufffdbc",
        "flag_encoding_error": "true",
        "http://example.org/own": "x|y",
    }
    lone = tmp_path / "lone.tsv"
    lone.write_text("id\tgenus\thttp://rs.tdwg.org/dwc/terms/country\n5\tPuma\tPerú\n", "utf-8")
    assert making.bring_in(lone).added == 1
    assert current()["5"].raw == {"id": "5", "dwc:genus": "Puma", "dwc:country": "Perú"}
    folder = tmp_path / "folder"
    folder.mkdir()
    with zipfile.ZipFile(making.archive(tmp_path, making.specimens(2), package="f")) as source:
        source.extractall(folder)
    assert making.bring_in(folder).added == 2


@pytest.mark.parametrize(
    ("spelt", "sign"),
    [
        (",", ","),
        ("\\t", "\t"),
        ("tab", "\t"),
        ("0x09", "\t"),
        ("&#9;", "\t"),
        ("&amp;#9;", "\t"),
        ("||", "||"),
        ("|", "|"),
        (";", ";"),
    ],
)
def test_delimiters(tmp_path: Path, spelt: str, sign: str) -> None:
    """Every delimiter of contract 6.2, however its descriptor spells it."""
    path = tmp_path / "cut.zip"
    meta = (
        f'<archive xmlns="http://rs.tdwg.org/dwc/text/"><core fieldsTerminatedBy="{spelt}" ignoreHeaderLines="1" '
        'rowType="http://rs.tdwg.org/dwc/terms/Occurrence"><files><location>a.txt</location></files><id index="0"/>'
        '<field index="1" term="http://rs.tdwg.org/dwc/terms/genus"/>'
        '<field index="2" term="http://rs.tdwg.org/dwc/terms/locality"/></core></archive>'
    )
    rows = (["id", "genus", "locality"], ["7", "Acer", '"left, of; the | gate"' if sign != "||" else "left"])
    _zip(path, {"meta.xml": meta.encode(), "a.txt": "\n".join(map(sign.join, rows)).encode()})
    assert making.bring_in(path).added == 1
    place = "left" if sign == "||" else "left, of; the | gate"
    assert current()["7"].raw == {"id": "7", "dwc:genus": "Acer", "dwc:locality": place}


def test_exit_statuses(tmp_path: Path, running_house: house.House) -> None:
    """D43: the command ends with 1 when an archive is refused, 2 when it is told nonsense; nothing is written."""
    broken = _truncated(tmp_path / "cut.zip")
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(broken))
    assert ended.value.code == 1
    with pytest.raises(SystemExit) as ended:
        ManagementUtility(["manage.py", "ingest_dwca", "x.zip", "--recordset", "nonsense"]).execute()
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        ManagementUtility(["manage.py", "ingest_dwca"]).execute()
    assert ended.value.code == 2
    for told in (
        ["ingest_dwca", ""],
        ["seed_downloads", "--records", "-5"],
        ["seed_downloads", "--records", "10000001"],
    ):
        with pytest.raises(SystemExit) as ended:
            ManagementUtility(["manage.py", *told]).execute()
        assert ended.value.code == 2
    assert not IngestRun.objects.exclude(source=str(broken)).exists()
    assert not Record.objects.exists()
    assert not StoreVersion.objects.exists()


def test_links_and_attached_rows(tmp_path: Path) -> None:
    records = [
        {"id": "a", "idigbio:uuid": "0f0e0d0c-0b0a-4908-8706-050403020100"},
        {"id": "b", "idigbio:uuid": "1f0e0d0c-0b0a-4908-8706-050403020100"},
    ]
    media = [
        {"coreid": "a", "dcterms:identifier": "shared"},
        {"coreid": "", "dcterms:identifier": "free"},
    ]
    media[0]["ac:associatedSpecimenReference"] = f"urn:uuid:{records[1]['idigbio:uuid']}"
    making.bring_in(making.archive(tmp_path, records, media, [{"coreid": "b", "dwc:identifiedBy": "Ñ"}]))
    shared, free = (MediaRecord.objects.get(raw__contains={"dcterms:identifier": name}) for name in ("shared", "free"))
    assert making.column(shared, "t_records") == [records[0]["idigbio:uuid"], records[1]["idigbio:uuid"]]
    assert (making.column(free, "t_records"), making.column(free, "t_hasspecimen")) == (None, False)
    stored = current()
    assert [making.column(stored[name], "t_hasimage") for name in "ab"] == [True, True]
    assert str(stored["a"].uuid) == records[0]["idigbio:uuid"]
    assert stored["b"].raw["dwc:Identification"] == [{"dwc:identifiedBy": "Ñ"}]
    assert making.column(stored["a"], "t_recordids") == [f"{stored['a'].recordset_id}\\a"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = making.archive(tmp_path, [*making.specimens(3), *making.specimens(1)])
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(path), "--json", "--name", "Herbarium", "--dry-run")
    assert ended.value.code == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["added"], said["version"], said["rejected"]) == (3, None, {"duplicate_row": 1})
    assert Record.objects.count() == 0
    with pytest.raises(SystemExit) as ended:
        call_command(
            "ingest_dwca", str(path), "--recordset", "9c5b8a1e-1f43-4f0b-9d50-7a1f5a2c3d4e", "--name", "Herbarium"
        )
    assert ended.value.code == 3
    assert "added: 3" in capsys.readouterr().out
    assert Recordset.objects.get().name == "Herbarium"
    assert str(Recordset.objects.get().uuid) == "9c5b8a1e-1f43-4f0b-9d50-7a1f5a2c3d4e"
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(making.archive(tmp_path, making.specimens(3))))
    assert ended.value.code == 0
    with pytest.raises(CommandError):
        call_command("ingest_dwca", str(path), "--recordset", "nonsense")


def test_the_report_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """D42: `--report` leaves the counts, or what was wrong, in a file; where it cannot be written nothing is read."""
    path, file = making.archive(tmp_path, [*making.specimens(3), *making.specimens(1)]), tmp_path / "report.json"
    with pytest.raises(CommandError) as refused:
        call_command("ingest_dwca", str(path), "--report", str(tmp_path / "no" / "such" / "folder"))
    assert refused.value.returncode == 2
    assert Record.objects.count() == 0
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(path), "--report", str(file))
    assert ended.value.code == 3
    said = json.loads(file.read_text())
    assert (said["added"], said["version"], said["rejected"]) == (3, 1, {"duplicate_row": 1})
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(_not_an_archive(tmp_path / "x.zip")), "--report", str(file))
    assert ended.value.code == 1
    assert set(json.loads(file.read_text())) == {"error"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server with an archive and with a link that leads to a forbidden address; what it was asked for."""
    data = making.archive(tmp_path, making.specimens(2)).read_bytes()
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if self.path == "/moved.zip" else 200)
            if self.path == "/moved.zip":
                self.send_header("Location", "http://169.254.169.254/archive.zip")
            body = b"" if self.path == "/moved.zip" else data
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_private_addresses_are_refused(settings: Settings, served: tuple[str, list[str]]) -> None:
    """D48: private addresses are not asked for an archive, nor what a redirect names; an allowed one is read."""
    base, asked = served
    settings.ALLOW_PRIVATE_NETWORKS = True
    assert making.bring_in(f"{base}/archive.zip").added == 2
    for path, is_private_allowed in (("/moved.zip", True), ("/archive.zip", False)):
        settings.ALLOW_PRIVATE_NETWORKS = is_private_allowed
        with pytest.raises(archive_in.Unreadable, match="are not fetched"):
            making.bring_in(f"{base}{path}")
        assert making.latest_run().state == IngestRun.State.FAILED
    assert asked == ["/archive.zip", "/moved.zip"]


def test_fetching_can_be_stopped(settings: Any, served: tuple[str, list[str]]) -> None:
    """D43: an ingest by URL that is cancelled stops in the middle of the transfer."""
    settings.ALLOW_PRIVATE_NETWORKS = True
    base, _asked = served
    run = services.upload_archive(f"{base}/archive.zip", ingest.Options())
    stops: list[str] = []

    def stop() -> None:
        stops.append("looked")
        raise jobs.Cancelled

    with pytest.raises(jobs.Cancelled), fetch.local(f"{base}/archive.zip", run, check=stop):
        stops.append("fetched")
    assert stops == ["looked"]
    jobs.run_queued()
    run.refresh_from_db()
    assert (run.state, run.report["added"]) == (IngestRun.State.DONE, 2)


def _written() -> list[tuple[Any, ...]]:
    """What was made of every row, the time of its making aside."""
    rows = [*Record.objects.order_by("uuid", "v_from"), *MediaRecord.objects.order_by("uuid", "v_from")]
    time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00")
    return [
        (row.uuid, row.v_from, row.v_to, time.sub("", row.line_index), row.line_raw, row.words, row.etag, row.raw)
        for row in rows
    ]


def test_rendering_in_processes(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """D47: with processes beside it an ingest writes the same rows, whatever their number."""
    monkeypatch.setattr(render, "_BATCH", 7)
    path = making.archive(tmp_path, making.specimens(60), media_rows(*(f"r{n}" for n in range(20))))
    making.bring_in(path)
    alone = _written()
    assert len(alone) == 80
    for table in (Record, MediaRecord, RecordMedia, Identifier, RawColumnSet, IngestRun, StoreVersion):
        table.objects.all().delete()
    settings.DOWNLOADS_INGEST_PROCESSES = 2
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "core.settings")  # they read their own; a deployment has it set
    monkeypatch.setenv("DEBUG", "1")
    report = making.bring_in(path)
    assert (report.added, report.links) == (80, 20)
    assert _written() == alone


def test_stopped_while_it_writes(tmp_path: Path) -> None:
    """D37: an ingest stopped in the middle of writing leaves the store as it was, and may come again."""
    making.bring_in(making.archive(tmp_path, making.specimens(5)))
    before = _written()
    path = making.archive(tmp_path, making.specimens(9, genus="Quercus"), name="again.zip")
    seen: list[str] = []

    def stop(stage: str, rows: int) -> None:
        seen.append(stage)
        if stage == "normalising" and rows == 9:
            raise jobs.Cancelled

    with pytest.raises(jobs.Cancelled):
        services.import_archive(str(path), ingest.Options(), progress=stop)
    assert seen[-1] == "normalising"
    assert (_written(), StoreVersion.objects.count()) == (before, 1)
    assert making.bring_in(path).changed == 5
    assert StoreVersion.objects.count() == 2


def _counted() -> int:
    """Record rows as the planner knows them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::int FROM pg_class WHERE oid = 'downloads_record'::regclass")
        return int(cursor.fetchone()[0])


def test_the_planner_is_told_of_many_rows_not_of_a_few(tmp_path: Path) -> None:
    """D47: what an ingest costs depends on its rows, not on the store's."""
    making.bring_in(making.archive(tmp_path, making.specimens(40)))
    assert _counted() == 40
    making.bring_in(making.archive(tmp_path, making.specimens(43), name="few.zip"), recordset=_only_recordset())
    assert (Record.objects.count(), _counted()) == (43, 40)
    making.bring_in(making.archive(tmp_path, making.specimens(60), name="many.zip"), recordset=_only_recordset())
    assert _counted() == 60


def _only_recordset() -> uuid.UUID:
    return Recordset.objects.get().pk


def test_samples_are_deterministic_and_multilingual(tmp_path: Path) -> None:
    call_command("seed_downloads", records=200, stdout=io.StringIO())
    assert Record.objects.filter(v_to=None).count() == 200
    assert Record.objects.filter(t_genus="acer").exists()
    assert Record.objects.filter(t_country="日本").exists()
    assert RecordMedia.objects.exists()
    versions = StoreVersion.objects.count()
    call_command("seed_downloads", records=200, stdout=io.StringIO())
    assert StoreVersion.objects.count() == versions


def test_a_job_brings_in_an_upload(tmp_path: Path) -> None:
    from core import jobs
    from downloads import services

    path = making.archive(tmp_path, making.specimens(3))
    with path.open("rb") as stream:
        run = services.upload_archive(stream, ingest.Options(), name="sample.zip")
    (key,) = making.keys()
    assert "/uploads/" in key
    jobs.run_queued()
    run.refresh_from_db()
    assert (run.state, run.report["added"]) == (IngestRun.State.DONE, 3)
    assert run.job is not None
    assert run.job.state == "succeeded"
    assert making.keys() == []
    bad = services.upload_archive(io.BytesIO(b"nothing"), ingest.Options(), name="bad.zip")
    jobs.run_queued()
    bad.refresh_from_db()
    assert (bad.state, bad.error) == (IngestRun.State.FAILED, "The file is not a zip archive, or it is cut short.")
