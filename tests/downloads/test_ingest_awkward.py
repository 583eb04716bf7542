"""Awkward archives brought in: what a row may hold, whose it is, what the report says of it (contract 6)."""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from core import blobs, jobs
from core.models import User
from downloads import services
from downloads.formats import archive_in, words
from downloads.jobs import imports, ingest
from downloads.models import Identifier, IngestRun, MediaRecord, Record, RecordMedia, Recordset, RejectedRow
from tests import house
from tests.downloads import making
from tests.house import wait_for
from tests.template import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _empty_bucket(running_house: house.House) -> None:
    blobs.delete(*making.keys())


def adds_up(report: ingest.Report) -> bool:
    became = report.added + report.changed + report.unchanged + report.restored + report.attached + report.rejects
    return report.read == became


def repacked(path: Path, **changed: Any) -> Path:
    """A download archive with some members put through a function: `occurrence_csv=lambda data: …`."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    for name, change in changed.items():
        member = name.replace("_csv", ".csv").replace("_xml", ".xml")
        found = change(members[member])
        assert found != members[member]
        members[member] = found
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def downloaded(folder: Path, rq: dict[str, Any] | None, **more: Any) -> Path:
    path = folder / "download.zip"
    path.write_bytes(making.content(making.built(rq, **more)))
    return path


def forget() -> None:
    for model in (RecordMedia, Record, MediaRecord, Identifier):
        model.objects.all().delete()


def test_the_report_adds_up_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """D42: every row read is counted once, attached ones too, and the sentence tells why read is not added."""
    records = [*making.specimens(6), *making.specimens(2), {"id": "", "dwc:genus": "Nobody"}]
    media = [{"coreid": "r0", "dcterms:identifier": "m0"}, {"coreid": "nowhere", "dcterms:identifier": "m1"}]
    attached = [{"coreid": "r1", "dwc:identifiedBy": name} for name in ("Ada", "Bo")]
    path = making.archive(tmp_path, records, media, attached)
    with pytest.raises(SystemExit):
        call_command("ingest_dwca", str(path), "--json")
    report = ingest.Report.from_json(json.loads(capsys.readouterr().out))
    assert adds_up(report)
    assert (report.read, report.added, report.attached, report.rejects) == (13, 7, 2, 4)
    with pytest.raises(SystemExit) as ended:
        call_command("ingest_dwca", str(path), "--dry-run")
    assert ended.value.code == 3
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "Dry run, nothing was changed. 13 rows read: 7 unchanged, 2 attached to records, 4 rejected (2 came before, "
        "1 has no identifier, 1 belongs to no record of the archive)."
    )
    assert {"read: 13", "unchanged: 7", "attached: 2", "rejected, duplicate_row: 2"} <= set(said)


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (ingest.Report(), "0 rows read. Nothing changed."),
        (ingest.Report(read=1, added=1, version=7), "1 row read: 1 added. Data version 7."),
        (
            ingest.Report(read=1200, unchanged=1199, changed=1, removed=1, links=2, version=8),
            "1,200 rows read: 1 changed, 1,199 unchanged. 1 row of the store removed, which the archive lacks. "
            "2 links made or ended. Data version 8.",
        ),
    ],
)
def test_sentences(report: ingest.Report, sentence: str) -> None:
    """D42: a report in words."""
    assert report.sentence() == sentence


def test_the_samples_say_what_became_of_their_rows() -> None:
    """D42: `seed_downloads` tells what became of every row of its four archives."""
    out = io.StringIO()
    call_command("seed_downloads", records=60, stdout=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    for line in lines:
        read, became = re.search(r": (\d+) rows read: ([^.]*)\.", line).groups()  # type: ignore[union-attr]
        assert " added" in became
        assert sum(map(int, re.findall(r"(?<![(\d])\d+", became))) == int(read)


def test_of_a_refused_archive_the_reasons_are_kept(tmp_path: Path) -> None:
    """D42: an archive refused for its rejects shows which rows they are and why."""
    path = making.archive(tmp_path, making.specimens(2) + [{"id": "", "dwc:genus": f"g{n}"} for n in range(3)])
    with pytest.raises(ingest.Refused):
        making.bring_in(path)
    run = making.latest_run()
    assert (run.state, run.version_id, run.report["rejected"]) == (IngestRun.State.FAILED, None, {"no_record_id": 3})
    assert [row.line for row in RejectedRow.objects.filter(run=run)] == [6, 7, 8]  # cells of two lines before
    assert not Record.objects.exists()


def test_names_of_columns_that_are_too_long(tmp_path: Path) -> None:
    """D43: a name longer than a word of the index can be is refused; the longest that fits is stored and found."""
    for names in ({"id": "1", "http://x.org/" + "é" * 500: "v"}, {"id": "1", "x" * 501: "v"}):
        with pytest.raises(archive_in.Unreadable, match="name of more than 500 characters"):
            making.bring_in(making.archive(tmp_path, [names]))
    lone = tmp_path / "lone.csv"
    lone.write_text(f"id,{'x' * 501}\n1,2\n")
    with pytest.raises(archive_in.Unreadable, match="name of more than 500 characters"):
        making.bring_in(lone)
    name = "x" + "東" * 499
    assert making.bring_in(making.archive(tmp_path, [{"id": "1", name: "v"}])).added == 1
    assert making.built({f"data.{name}": "v"}).build.rows["occurrence.csv"] == 1  # type: ignore[union-attr]


def test_rows_without_an_id_are_attached_to_nothing(tmp_path: Path) -> None:
    """D42: an empty core id joins nothing: not the records that have none either."""
    records = [{"id": "", "dwc:occurrenceID": name} for name in ("o1", "o2")]
    report = making.bring_in(making.archive(tmp_path, records, (), [{"coreid": "", "dwc:identifiedBy": "me"}]))
    assert (report.added, report.attached, report.rejected) == (2, 0, {"orphan_extension": 1})
    assert not Record.objects.filter(raw__has_key="dwc:Identification").exists()


def test_a_row_in_conflict_has_not_vanished(tmp_path: Path) -> None:
    """D41: a row set aside because it claims another uuid than is known takes nothing from the store."""
    rows = making.specimens(5)
    making.bring_in(making.archive(tmp_path, rows))
    rows[0] = rows[0] | {"idigbio:uuid": "2d3acf81-35f8-491c-bbc2-72335efe1045"}
    report = making.bring_in(making.archive(tmp_path, rows[:4]))
    assert (report.unchanged, report.removed, report.rejected) == (3, 1, {"identifier_conflict": 1})
    assert adds_up(report)
    assert set(Record.objects.filter(v_to=None).values_list("raw__id", flat=True)) == {"r0", "r1", "r2", "r3"}


def test_what_is_attached_to_a_record_has_a_limit(tmp_path: Path) -> None:
    """D42: what is attached to a record becomes a cell: beyond the length of one it is set aside, by line."""
    attached = [{"coreid": "r0", "dwc:identificationRemarks": f"{n}{'ä' * 4000}"} for n in range(12)]
    attached.append({"coreid": "r1", "dwc:identificationRemarks": "a" * 100_000})
    report = making.bring_in(making.archive(tmp_path, making.specimens(2), (), attached))
    assert (report.attached, report.rejected) == (11, {"row_too_long": 2})
    assert adds_up(report)
    kept = Record.objects.get(raw__id="r0").raw["dwc:Identification"]
    assert [each["dwc:identificationRemarks"].strip("ä") for each in kept] == [str(n) for n in range(10)]
    assert list(RejectedRow.objects.values_list("file", "line")) == [("identification.csv", n) for n in (12, 13)]
    own = downloaded(tmp_path, {})
    forget()
    assert making.bring_in(own).added == 2


def test_every_word_of_a_long_record_is_found(tmp_path: Path) -> None:
    """D21: the last words of a row of a megabyte are found as the first; what no index entry holds does no harm."""
    cells = {f"dwc:term{n}": " ".join(f"w{n}x{m}" for m in range(28_000)) for n in range(4)}
    long = {"id": "long"} | cells | {"dwc:zz": "the very last zyzzyva"}
    beyond = {"id": "beyond"} | {f"dwc:term{n}": " ".join(f"w{n}öö{m}" for m in range(20_000)) for n in range(4)}
    attached = [
        {"coreid": "beyond", "dwc:identificationRemarks": " ".join(f"yyyyyy{n}" for n in range(22_000))},
    ]
    assert making.bring_in(making.archive(tmp_path, [long, beyond], (), attached)).added == 2
    held = Record.objects.get(raw__id="beyond").words.partition(words.ROOM)[0]
    assert "w0öö0 " in held
    assert "w3öö19999 " not in held
    for query in (
        {"data": {"type": "fulltext", "value": "zyzzyva w0x0"}},
        {"data.dwc:zz": "very last"},
        {"data.dwc:term3": "w3x27998 w3x27999"},
        {"data.dwc:term0": "w0öö0 w0öö1"},
    ):
        build = making.built(query).build
        assert build is not None
        assert build.rows["occurrence.csv"] == 1, query


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:00:00-05:00", "0001-01-01T00:00:00+05:00", "2014-01-01T00:00:00+23:00"]
)
def test_times_beyond_the_calendar(tmp_path: Path, text: str) -> None:
    """D40: a time that is outside the years 1 to 9999 elsewhere is no date, nor is one with an impossible offset."""
    making.bring_in(making.archive(tmp_path, [{"id": "1", "dwc:eventDate": text}]))
    record = Record.objects.get()
    assert (making.column(record, "t_datecollected"), record.raw["dwc:eventDate"]) == (None, text)


# -- archives of this service ------------------------------------------------------------------------------------------

PLACED = {"dwc:decimalLatitude": "10.123", "dwc:decimalLongitude": "20.345", "dwc:eventDate": "2014-02-03"}


def test_trusted_points_dates_and_numbers(tmp_path: Path) -> None:
    """D44: with --trust-index all kinds of terms are kept; what is not of its kind is left out, never an error."""
    making.bring_in(making.archive(tmp_path, [row | PLACED for row in making.specimens(2)]))
    path = downloaded(tmp_path, {})
    forget()
    making.bring_in(path, trust_index=True)
    record = Record.objects.filter(v_to=None).first()
    assert record is not None
    assert (record.lat, record.lon, making.column(record, "t_startdayofyear")) == (10.123, 20.345, 34)
    assert making.column(record, "s_datecollected") == "2014-02-03T00:00:00+00:00"
    forget()
    changes = {b"2014-02-03T00:00:00+00:00": b"some day", b",34,": b",1e30,"}

    def spoilt(data: bytes) -> bytes:
        for good, bad in changes.items():
            assert good in data
            data = data.replace(good, bad)
        return data

    assert making.bring_in(repacked(path, occurrence_csv=spoilt), trust_index=True).added == 2
    record = Record.objects.filter(v_to=None).first()
    assert record is not None
    found = [making.column(record, name) for name in ("t_datecollected", "t_startdayofyear", "t_genus")]
    assert found == [None, None, "acer"]


def test_trusted_terms_outlive_a_change_of_links(tmp_path: Path) -> None:
    """D44: a record whose links change keeps the index terms it was given; only those of its links are new."""
    making.bring_in(making.archive(tmp_path, [row | PLACED for row in making.specimens(3)]))
    path = repacked(
        downloaded(tmp_path, {}), occurrence_csv=lambda data: data.replace(b",acer,", b',"cor""rected, by hand",')
    )
    forget()
    making.bring_in(path, trust_index=True)
    before = Record.objects.filter(v_to=None).first()
    assert before is not None
    medium = {"coreid": "", "dcterms:identifier": "m", "ac:associatedSpecimenReference": str(before.uuid)}
    making.bring_in(making.archive(tmp_path, [{"id": "other"}], [medium], package="other"))
    after = Record.objects.get(uuid=before.uuid, v_to=None)
    assert after.pk != before.pk
    assert (making.column(before, "t_hasimage"), making.column(after, "t_hasimage")) == (False, True)
    assert making.column(after, "t_genus") == 'cor"rected, by hand'
    same = ("lat", "lon", "t_startdayofyear", "t_flags", "t_dqs", "t_recordids", "t_datecollected", "etag", "raw")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert set(re.split("[ \x01]", after.words)) == set(re.split("[ \x01]", before.words))
    assert making.column(after, "t_datemodified") > making.column(before, "t_datemodified")


def test_stated_identifiers_are_taken_with_care(tmp_path: Path) -> None:
    """D44: identifiers in somebody else's archive may be long or hold what the store cannot: it is brought in."""
    making.bring_in(making.archive(tmp_path, making.specimens(2)))
    path = downloaded(tmp_path, {})
    forget()
    long = b"\\\\R1\\u0000" + b"x" * 3000 + b'""'
    repacked(path, occurrence_csv=lambda data: data.replace(b'\\\\r1""', long))
    assert making.bring_in(path).added == 2
    assert any("\\r1xxx" in text for text in Identifier.objects.values_list("text", flat=True))


@pytest.mark.parametrize("core_type", ["mediarecords", "uniquenames"])
def test_archives_that_lack_the_uuids_of_records(tmp_path: Path, core_type: str) -> None:
    """D44: where `coreid` is not the record's and no column says its uuid, the archive is refused, not mistaken."""
    media = [{"coreid": name, "dcterms:identifier": f"m{name}"} for name in ("r0", "r1")]
    making.bring_in(making.archive(tmp_path, making.specimens(3), media))
    uuids = set(Record.objects.values_list("uuid", flat=True))
    query: dict[str, Any] = {"rq": None, "mq": {}} if core_type == "mediarecords" else {"rq": {}}
    whole = downloaded(tmp_path, **query, core_type=core_type)
    forget()
    making.bring_in(whole)
    assert set(Record.objects.values_list("uuid", flat=True)) <= uuids
    some = downloaded(tmp_path, **query, core_type=core_type, record_fields=["genus", "data.dwc:genus"])
    with pytest.raises(archive_in.Unreadable, match="does not say the uuids of its records"):
        making.bring_in(some)


def test_a_medium_is_no_record_of_itself(tmp_path: Path) -> None:
    """D44: in an archive of media, where `coreid` is the medium's own uuid, one without records is linked to none."""
    making.bring_in(making.archive(tmp_path, making.specimens(2), [{"coreid": "r0", "dcterms:identifier": "m"}]))
    path = downloaded(tmp_path, None, mq={}, core_type="mediarecords")
    record = RecordMedia.objects.get().record
    forget()
    repacked(path, multimedia_csv=lambda data: data.replace(f'"[""{record}""]"'.encode(), b""))
    assert making.bring_in(path).links == 0
    assert making.column(MediaRecord.objects.get(), "t_records") is None


# -- runs that end otherwise -------------------------------------------------------------------------------------------


def test_a_run_that_breaks_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D43: whatever stops an ingest by hand, its run does not go on for ever."""

    def fail(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("downloads.jobs.ingest.resolve.resolve", fail)
    with pytest.raises(KeyboardInterrupt):
        making.bring_in(making.archive(tmp_path, making.specimens(1)))
    run = making.latest_run()
    assert (run.state, run.error) == (IngestRun.State.FAILED, "The ingest was stopped.")
    assert run.finished_at is not None


def test_a_killed_run_is_over_a_living_one_is_not(tmp_path: Path) -> None:
    """D43: an ingest that was killed is marked so by the next look; one that waits for another goes on."""
    path = making.archive(tmp_path, making.specimens(3), package=str(uuid.uuid4()))
    database = connection.settings_dict
    address = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
    command = [sys.executable, str(ROOT / "manage.py"), "ingest_dwca", str(path)]
    environment = os.environ | {"DEBUG": "1", "DATABASE_URL": f"{address}/{database['NAME']}"}
    ingest.publish.lock_session()  # so that it waits in the middle
    try:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: IngestRun.objects.filter(state=IngestRun.State.RUNNING).exists(), what="the run")
            assert imports.close_abandoned() == 0
            assert making.latest_run().state == IngestRun.State.RUNNING
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
        wait_for(imports.close_abandoned, what="the end of the killed run's connection")
    finally:
        ingest.publish.unlock_session()
    run = making.latest_run()
    assert (run.state, run.error) == (IngestRun.State.FAILED, "The ingest was stopped.")
    assert making.bring_in(path).added == 3


def test_who_waits_for_another_ingest_can_be_stopped(tmp_path: Path) -> None:
    """D41: ingests exclude each other; one that waits says so, looks for its end meanwhile, and changes nothing."""
    path = making.archive(tmp_path, making.specimens(2))
    seen: list[tuple[str, int]] = []

    def stop(stage: str, rows: int) -> None:
        seen.append((stage, rows))
        if [each for each, _rows in seen].count("waiting for another ingest") == 2:
            raise jobs.Cancelled

    def hold(held: threading.Event, end: threading.Event) -> None:
        ingest.publish.lock_session()
        held.set()
        end.wait()
        ingest.publish.unlock_session()
        connection.close()

    held, end = threading.Event(), threading.Event()
    other = threading.Thread(target=hold, args=(held, end))
    other.start()
    try:
        held.wait()
        with pytest.raises(jobs.Cancelled):
            services.import_archive(str(path), ingest.Options(), progress=stop)
    finally:
        end.set()
        other.join()
    assert seen[-1] == ("waiting for another ingest", 2)
    assert not Record.objects.exists()
    assert making.bring_in(path).added == 2


def test_recordsets_of_urls_that_differ_in_their_query(tmp_path: Path, settings: Settings) -> None:
    """D44: of a server with all its archives under one name, each is a recordset of its own."""
    settings.ALLOW_PRIVATE_NETWORKS = True
    data = making.archive(tmp_path, making.specimens(2), package="").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        base = f"HTTP://127.0.0.1:{server.server_address[1]}/archive.do"
        for resource in ("birds", "bees", "birds"):
            services.import_archive(f"{base}?r={resource}", ingest.Options())
        server.shutdown()
    found = {str(recordset.uuid): recordset.record_count for recordset in Recordset.objects.all()}
    names = ("archive?r=birds", "archive?r=bees")
    assert found == {str(uuid.uuid5(uuid.NAMESPACE_URL, name)): 2 for name in names}


def test_the_admin_tells_what_became_of_an_archive(tmp_path: Path, client: Client) -> None:
    """D50: the page of a run has its report in words; of a dry run or a refused archive nothing looks done."""
    client.force_login(User.objects.create_superuser("keeper", password="x"))
    path = making.archive(tmp_path, making.specimens(3))
    making.bring_in(path, dry_run=True)
    making.bring_in(path)
    with pytest.raises(ingest.Refused):
        making.bring_in(making.archive(tmp_path, making.specimens(1)))
    dry, done, refused = IngestRun.objects.order_by("pk")
    page = client.get(f"/admin/downloads/ingestrun/{done.pk}/change/").content.decode()
    assert "3 rows read: 3 added. Data version 1." in page
    page = client.get(f"/admin/downloads/ingestrun/{dry.pk}/change/").content.decode()
    assert "Dry run, nothing was changed. 3 rows read: 3 added." in page
    page = client.get(f"/admin/downloads/ingestrun/{refused.pk}/change/").content.decode()
    assert "The archive lacks 2 of the 3 records in the store" in page
    assert "rows read:" not in page
    rows = client.get("/admin/downloads/ingestrun/").content.decode().split("<tr")[2:]
    assert ["dry run: nothing was changed" in row for row in rows] == [False, False, True]
    assert [re.search('field-removed">(.*?)</td>', row)[1] for row in rows] == ["-", "0", "0"]  # type: ignore[index]
