"""Importing folders of titles, and readers."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import pathlib
import urllib.request
import uuid as uuids
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core import blobs, errors, jobs
from core.models import Job, User
from nnels import models
from nnels.formats import folder, metadata, recognise
from nnels.jobs import catalogue
from nnels.jobs.importing import store, work
from nnels.services import files
from tests import house as servers_of
from tests.nnels import conftest as house
from tests.nnels import shelf

pytestmark = pytest.mark.django_db


def run(root: pathlib.Path, **options: Any) -> list[store.Outcome]:
    return work.run(root, sidecar_path=options.pop("sidecar_path", None), options=store.Options(**options)).lines


def import_items(*args: str) -> int:
    """Exit status of the command."""
    try:
        call_command("import_items", *args, stdout=io.StringIO(), stderr=io.StringIO())
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def state() -> tuple[Any, ...]:
    """Everything an import could write."""
    items = models.Item.objects.order_by("id").values_list("id", "uuid", "label", "changed", "revision")
    stored = models.File.objects.order_by("id").values_list("id", "sha256", "blob_key")
    found = sorted((entry.key, entry.modified) for entry in blobs.keys("nnels/"))
    return list(items), list(stored), found


@pytest.fixture(autouse=True)
def _empty_store(store_is_up: None) -> None:
    blobs.delete(*(entry.key for entry in blobs.keys("nnels/")))


@pytest.fixture
def store_is_up(running_house: servers_of.House) -> None:
    """The store runs."""


MIXED: dict[str, bytes | str] = {
    "rich.epub": shelf.epub(),
    "emma/emma.epub": shelf.epub(shelf.EPUB2_OPF),
    "emma/cover.jpg": b"\xff\xd8",
    "ecoutez/ncc.html": shelf.NCC,
    "ecoutez/01.mp3": b"ID3",
    "Third Book/book.opf": shelf.DAISY3_OPF,
    "Third Book/d.xml": "<dtbook/>",
    "Sound_book.zip": shelf.mp3_zip(),
    "Paper.pdf": b"%PDF-1.7 paper",
    "moby.brf": b",CALL ME ,I%MAEL4\r\n\f",
}


def test_kinds(tmp_path: pathlib.Path) -> None:
    """N45: EPUB, DAISY zip and folder, PDF, MP3 zip, BRF give the expected rows."""
    shelf.write(tmp_path, MIXED)
    lines = run(tmp_path)
    assert [line.outcome for line in lines] == ["created"] * 7, lines
    by_format = {file.format + file.item.label[:5]: file.item for file in models.File.objects.select_related("item")}
    rich = by_format["epubMoby-"]
    assert str(rich.uuid) == shelf.UUID
    assert rich.label == "Moby-Dick: The Whale"
    assert (rich.creators, rich.narrators) == (["Melville, Herman"], ["Ann Reader"])
    assert (rich.languages, rich.isbn) == (["eng", "fra"], ["9780142437247"])
    assert (rich.published_date, rich.publisher, rich.series) == ("1851-10-18", "Harper", "Classics 3")
    assert rich.description == "A whale & a captain"
    assert rich.subjects == ["Whaling", "Sea stories"]
    assert rich.duration == 3723
    assert rich.accessibility == {
        "accessMode": ["textual", "auditory"],
        "accessModeSufficient": ["textual,auditory"],
        "accessibilityFeature": ["tableOfContents"],
        "accessibilityHazard": ["none"],
        "accessibilitySummary": "All of it.",
        "conformsTo": ["http://www.idpf.org/epub/a11y/accessibility-20170105.html#wcag-aa"],
    }
    emma = by_format["epubEmma"]
    assert (emma.creators, emma.isbn, emma.series) == (["Austen, Jane"], ["9780141439518"], "Novels 4")
    daisy2 = by_format["daisy202Écout"]
    assert (daisy2.languages, daisy2.narrators, daisy2.duration) == (["fra"], ["Une voix"], 7230)
    daisy3 = by_format["daisy3Third"]
    assert (str(daisy3.uuid), daisy3.narrators) == ("2b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b", ["A Voice"])
    assert by_format["mp3Sound"].label == "Sound book"
    assert by_format["pdfPaper"].rights == "restricted"
    assert by_format["brfmoby"].formats == ["brf"]
    for file in models.File.objects.all():
        found = blobs.stat(file.blob_key)
        assert found is not None
        assert found.size == file.bytes


def test_csv_sidecar(tmp_path: pathlib.Path) -> None:
    """N45: a CSV row names files and wins over what they say."""
    shelf.write(tmp_path, {
        "a/book.epub": shelf.epub(),
        "a/book.brf": b"BRF",
        "metadata.csv": "\ufefftitle,creators,languages,isbn,files,rights,published_date,shelf\r\n"
        '"=Whale, The","Melville, H.; Kent, R.",fr;en,0-14-243724-7;bad,a/book.epub;a/book.brf,open,c1851,x\r\n',
    })  # fmt: skip
    summary = work.run(tmp_path, sidecar_path=None, options=store.Options())
    (line,) = summary.lines
    assert (line.outcome, line.reason) == ("created", "bad_isbn")
    assert summary.warnings == ["unknown column shelf"]
    item = models.Item.objects.get()
    assert (item.label, item.creators) == ("=Whale, The", ["Melville, H.", "Kent, R."])
    assert (item.languages, item.isbn, item.rights) == (["fra", "eng"], ["9780142437247"], "open")
    assert (item.published_date, item.publisher, item.formats) == ("1851", "Harper", ["epub", "brf"])
    report = list(csv.reader(io.StringIO("".join(summary.csv()))))
    assert report[0] == ["path", "uuid", "isbn", "title", "outcome", "reason", "detail"]
    assert report[1][3] == "'=Whale, The"


def test_marc_sidecar(tmp_path: pathlib.Path) -> None:
    """N45: a MARCXML record finds its file by base name; ISBD punctuation goes."""
    shelf.write(tmp_path, {"deep/er/moby.brf": b"BRF", "records.xml": shelf.MARC})
    (line,) = run(tmp_path, sidecar_path=tmp_path / "records.xml")[:1]
    assert line.outcome == "created", line
    item = models.Item.objects.get(formats=["brf"])
    expected = {
        "label": "Moby-Dick: or, The whale", "creators": ["Melville, Herman", "Kent, R."], "languages": ["eng"],
        "isbn": ["9780142437247"], "edition": "2nd ed", "publisher": "Harper", "publisher_place": "New York",
        "published_date": "1851", "series": "Classics 3", "narrators": ["Ann Reader"], "description": "A whale.",
        "subjects": ["Whaling--Fiction", "Nantucket (Mass.)", "sea"], "audience": "Adults", "duration": 7230,
        "uuid": uuids.UUID("1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633c"),
        "accessibility": {
            "accessMode": ["textual"],
            "accessibilityFeature": ["tableOfContents"],
            "accessibilitySummary": "Text only.",
        },
    }  # fmt: skip
    assert {name: getattr(item, name) for name in expected} == expected


def test_again_is_unchanged(tmp_path: pathlib.Path) -> None:
    """N44: a second import is all `unchanged` and writes nothing."""
    shelf.write(tmp_path, MIXED)
    run(tmp_path)
    before = state()
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM nnels_catalogue")
        version = cursor.fetchone()
    lines = run(tmp_path)
    assert {line.outcome for line in lines} == {"unchanged"}
    assert state() == before
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM nnels_catalogue")
        assert cursor.fetchone() == version


def test_updates(tmp_path: pathlib.Path) -> None:
    """N44: changed metadata is `updated`; a changed file replaces its place; files gone from the folder stay."""
    shelf.write(tmp_path, {"moby.epub": shelf.simple_epub("Moby"), "moby.txt": "text"})
    run(tmp_path)
    item = models.Item.objects.get()
    old = models.File.objects.get(format="epub").blob_key
    shelf.write(tmp_path, {"moby.epub": shelf.simple_epub("Moby-Dick")})
    (tmp_path / "moby.txt").unlink()
    (line,) = run(tmp_path)
    assert line.outcome == "updated"
    again = models.Item.objects.get()
    assert (again.pk, again.label, again.formats) == (item.pk, "Moby-Dick", ["epub", "txt"])
    assert again.revision > item.revision
    assert models.RetiredBlob.objects.get().blob_key == old
    assert blobs.stat(old) is not None, "a link issued before still works"
    assert models.File.objects.get(format="epub").blob_key != old


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("a.mp3", bytes(40_000_000))
    return out.getvalue()


def traversal() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("../../evil.mp3", b"x")
    return out.getvalue()


XXE = shelf.RICH_OPF.replace(
    '<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE package [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
).replace("Harper", "&x;")


def test_rejections(tmp_path: pathlib.Path) -> None:
    """N46: broken and hostile titles are rejected with their reason and no trace; the others are imported; exit 1."""
    shelf.write(tmp_path, {
        "good.epub": shelf.simple_epub("Good"),
        "twin.epub": shelf.simple_epub("Twin"),
        "broken.epub": b"PK\x03\x04 no zip",
        "cut.epub": shelf.epub()[:400],
        "spineless.epub": shelf.epub(shelf.RICH_OPF.replace('<itemref idref="c"/>', "")),
        "xxe.epub": shelf.epub(XXE),
        "bomb.zip": bomb(),
        "evil.zip": traversal(),
        "bad/ncc.html": "",
        "what.xyz": b"\x00\x01",
        "___.txt": "no title",
        "rows.csv": "title,files\nGone,gone.pdf\nOutside,../secret.txt\nNothing,\n",
    })  # fmt: skip
    (tmp_path / "link.epub").symlink_to(tmp_path / "good.epub")
    lines = {line.path or line.title: line for line in run(tmp_path, sidecar_path=tmp_path / "rows.csv")}
    reasons = {path: line.reason for path, line in lines.items() if line.outcome == "rejected"}
    assert reasons == {
        "gone.pdf": "file_not_found",
        "../secret.txt": "unsafe_path",
        "Nothing": "no_files",
        "___.txt": "no_title",
        "bad": "bad_daisy",
        "bomb.zip": "too_large",
        "broken.epub": "bad_epub",
        "cut.epub": "bad_epub",
        "evil.zip": "unsafe_path",
        "link.epub": "unsafe_path",
        "spineless.epub": "bad_epub",
        "twin.epub": "duplicate_uuid",
        "what.xyz": "unknown_format",
        "xxe.epub": "bad_epub",
    }
    assert [item.label for item in models.Item.objects.all()] == ["Good"]
    assert len(list(blobs.keys("nnels/"))) == 1
    assert import_items(str(tmp_path), "--metadata", str(tmp_path / "rows.csv")) == 1


def test_command(tmp_path: pathlib.Path) -> None:
    """N46: exit 0 fine, 2 for usage and unreadable sidecars (nothing imported); a dry run writes nothing."""
    books = shelf.write(tmp_path / "books", {"a.epub": shelf.simple_epub("A"), "b.txt": "b"})
    report = tmp_path / "report.csv"
    before = state()
    assert import_items(str(books), "--dry-run", "--report", str(report)) == 0
    dry = report.read_text()
    assert dry.count("created") == 2
    assert state() == before
    assert models.ImportRun.objects.count() == 0
    shelf.write(tmp_path, {"bad.xml": "<a><b></a>", "bad.csv": "nothing,known\n1,2\n"})
    for sidecar in ("bad.xml", "bad.csv", "none.csv"):
        assert import_items(str(books), "--metadata", str(tmp_path / sidecar)) == 2
    assert import_items(str(tmp_path / "nowhere")) == 2
    assert state() == before
    assert import_items(str(books), "--unpublished", "--rights", "open", "--report", str(report)) == 0
    assert report.read_text() == dry
    assert set(models.Item.objects.values_list("published", "rights")) == {(False, "open")}
    made = models.ImportRun.objects.latest("id")
    assert (made.state, made.created_count) == ("succeeded", 2)


def test_warnings(tmp_path: pathlib.Path) -> None:
    """N45: long titles are cut, bad dates dropped, with a warning."""
    shelf.write(tmp_path, {
        "a.txt": "a", "metadata.tsv": f"title\tpublished_date\tfiles\n{'x' * 300}\tyesterday\ta.txt\n",
    })  # fmt: skip
    (line,) = run(tmp_path)
    assert line.outcome == "created"
    assert "bad_date" in line.detail
    assert "title_cut" in line.detail
    item = models.Item.objects.get()
    assert (len(item.label), item.published_date) == (255, None)


def test_uuid_order(tmp_path: pathlib.Path) -> None:
    """N44: UUID from the sidecar, else the EPUB, another identifier, the ISBN, the path; the same each time."""
    first = metadata.Metadata(uuid="", identifiers=["x-1"], isbn=["9780142437247"])
    by_identifier = metadata.resolve_uuid(first, relative_path="a")
    assert by_identifier == metadata.resolve_uuid(first, relative_path="b")
    by_isbn = metadata.resolve_uuid(metadata.Metadata(isbn=["9780142437247"]), relative_path="a")
    by_path = metadata.resolve_uuid(metadata.Metadata(), relative_path="a")
    assert len({by_identifier, by_isbn, by_path}) == 3
    assert by_path != metadata.resolve_uuid(metadata.Metadata(), relative_path="b")


def test_same_folder_same_bytes(tmp_path: pathlib.Path) -> None:
    """N45: a folder's zip is the same on every run, whatever its time stamps, and can be read back."""

    def digest() -> str:
        out = hashlib.sha256()
        folder.pour(tmp_path, out.update)
        return out.hexdigest()

    shelf.write(tmp_path, {"b/x.txt": "x" * 5000, "ncc.html": shelf.NCC, "a.mp3": b"ID3"})
    first = digest()
    os.utime(tmp_path / "a.mp3", (1, 1))
    assert digest() == first
    blocks: list[bytes] = []
    folder.pour(tmp_path, blocks.append)
    with zipfile.ZipFile(io.BytesIO(b"".join(blocks))) as book:
        assert book.namelist() == ["a.mp3", "b/x.txt", "ncc.html"]
        assert book.testzip() is None
    found = recognise.file(io.BytesIO(b"".join(blocks)), name="x.zip")
    assert (found.format, found.metadata.title) == ("daisy202", "Écoutez")


# --- the store fails ------------------------------------------------------------------------------------------------


def test_store_fails(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N48: storage failing mid-file: three tries, no row, no partial blob; the next title is imported."""
    shelf.write(tmp_path, {"a.epub": shelf.simple_epub("A", house.MOBY_UUID.hex), "b.txt": "b"})
    real, tries = blobs.Writer.write, []

    def failing(self: blobs.Writer, data: bytes, /) -> int:
        if self.key.endswith(".epub"):
            tries.append(self.key)
            raise blobs.StoreUnavailable("gone")
        return real(self, data)

    monkeypatch.setattr(blobs.Writer, "write", failing)
    lines = run(tmp_path)
    assert [(line.outcome, line.reason) for line in lines] == [("rejected", "storage_unavailable"), ("created", "")]
    assert len(tries) == 3
    assert models.Item.objects.get().label == "b"
    assert [entry.key for entry in blobs.keys("nnels/")] == [models.File.objects.get().blob_key]


def test_commit_fails(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N48: when the transaction fails the new blobs are deleted."""
    shelf.write(tmp_path, {"a.epub": shelf.simple_epub("A")})

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(catalogue, "settle", fail)
    with pytest.raises(RuntimeError):
        run(tmp_path)
    assert list(blobs.keys("nnels/")) == []
    assert not models.Item.objects.exists()


def test_failed_return_of_an_earlier_content(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, client: Client, token: str
) -> None:
    """N54: when an earlier content comes back and its import fails, links issued to it work on."""
    headers = {"access-token": token}
    shelf.write(tmp_path, {"a.txt": "first"})
    run(tmp_path)
    item, first = models.Item.objects.get(), models.File.objects.get().blob_key
    (url,) = client.get(f"/api/repo_items/{item.pk}", headers=headers).json()["data"][0]["file_resources"]
    shelf.write(tmp_path, {"a.txt": "second"})
    run(tmp_path)
    models.RetiredBlob.objects.filter(blob_key=first).update(at=timezone.now() - timedelta(hours=23))
    shelf.write(tmp_path, {"a.txt": "first"})

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("boom")

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "settle", fail)
        with pytest.raises(RuntimeError):
            run(tmp_path)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"first"
    # An import that is writing the blob again is safe from the sweep until it has committed.
    assert models.RetiredBlob.objects.get(blob_key=first).at > timezone.now() - timedelta(hours=1)
    run(tmp_path)
    assert models.File.objects.get().blob_key == first
    assert not models.RetiredBlob.objects.filter(blob_key=first).exists()


def test_ten_failures_end_the_import(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N48: ten titles in a row that the store refuses end the import."""
    shelf.write(tmp_path, {f"{number:02}.txt": f"{number}" for number in range(12)})

    def refuse(self: blobs.Writer, data: bytes, /) -> int:
        raise blobs.StoreUnavailable("gone")

    monkeypatch.setattr(blobs.Writer, "write", refuse)
    with pytest.raises(work.StoreGone):
        run(tmp_path)


# --- as a job -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_job(tmp_path: pathlib.Path, settings: Settings) -> None:
    """N47: the admin's import is a job: one per folder, progress in titles, counts and a report."""
    settings.NNELS_IMPORT_ROOT = str(tmp_path)
    shelf.write(tmp_path / "books", {"a.epub": shelf.simple_epub("A"), "x.xyz": b"?"})
    user = house.make_user("keeper", is_staff=True)
    first = files.request_import("books", requested_by=user, rights="open")
    assert files.request_import("books", requested_by=user).pk == first.pk
    assert jobs.run_queued() == 1
    first.refresh_from_db()
    assert first.job_id is not None
    job = Job.objects.get(pk=first.job_id)
    assert (job.state, first.state) == ("succeeded", "succeeded")
    assert (first.created_count, first.rejected_count) == (1, 1)
    assert job.progress["done"] == job.progress["total"] == 2
    report = b"".join(blobs.reader(first.report_key)).decode()
    assert "x.xyz,,,,rejected,unknown_format" in report
    assert first.report_key in files.live_blobs([first.report_key, "nnels/other"])
    for outside in ("..", "/etc", "nowhere"):
        with pytest.raises(errors.Invalid):
            files.request_import(outside, requested_by=user)


@pytest.mark.django_db(transaction=True)
def test_job_is_cancelled_between_titles(
    tmp_path: pathlib.Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N47: cancel acts between titles; what was committed stays."""
    settings.NNELS_IMPORT_ROOT = str(tmp_path)
    shelf.write(tmp_path / "books", {f"{number}.txt": f"{number}" for number in range(5)})
    user = house.make_user("keeper", is_staff=True)
    made = files.request_import("books", requested_by=user)
    job_id = made.job_id
    assert job_id is not None
    attempt = jobs.claim(job_id)
    assert attempt is not None
    real = store.take

    def cancelling(planned: Any, **kwargs: Any) -> Any:
        outcome = real(planned, **kwargs)
        if planned.path == "1.txt":
            files.cancel_import(job_id)
            attempt.beat()
        return outcome

    monkeypatch.setattr(store, "take", cancelling)
    with pytest.raises(jobs.Cancelled):
        work.job(attempt)
    assert sorted(models.Item.objects.values_list("label", flat=True)) == ["0", "1"]


def test_names_that_are_not_utf8(tmp_path: pathlib.Path) -> None:
    """N46: names of old archives (Latin-1) are taken as they are shown; where a folder's pages name them, refused."""
    old = os.fsdecode(b"caf\xe9.txt")
    shelf.write(tmp_path, {"good.epub": shelf.simple_epub("Good"), "ncc/ncc.html": shelf.NCC, f"ncc/{old}": "x"})
    (tmp_path / old).write_text("un café")
    (tmp_path / os.fsdecode(b"leer\xe9.txt")).write_text("")
    (tmp_path / os.fsdecode(b"dossier\xe9")).mkdir()
    for _ in range(2):
        summary = work.run(tmp_path, sidecar_path=None, options=store.Options())
        told = {line.path: (line.outcome, line.reason, line.detail) for line in summary.lines}
        "".join(summary.csv()).encode()
    assert told == {
        "good.epub": ("unchanged", "", ""),
        "ncc": ("rejected", "unsafe_path", r"the name caf\xe9.txt is not UTF-8"),
        r"caf\xe9.txt": ("unchanged", "", ""),
        r"leer\xe9.txt": ("rejected", "unknown_format", r"leer\xe9.txt is empty"),
        r"dossier\xe9": ("rejected", "no_files", "no files"),
    }
    assert set(models.Item.objects.values_list("label", flat=True)) == {"Good", r"caf\xe9"}


def test_pipes_keep_nobody_waiting(tmp_path: pathlib.Path) -> None:
    """N46: what is neither a file nor a folder is not opened, wherever it is named."""
    shelf.write(tmp_path, {"metadata.csv": "title,files\nNamed,pipe.txt\n", "folder/a.txt": "a"})
    for path in ("pipe.txt", "loose.txt", "folder/b.txt"):
        os.mkfifo(tmp_path / path)
    lines = work.run(tmp_path, sidecar_path=None, options=store.Options()).lines
    assert {(line.path, line.outcome, line.reason) for line in lines} == {
        (path, "rejected", "unsafe_path") for path in ("pipe.txt", "folder", "loose.txt")
    }


# --- readers --------------------------------------------------------------------------------------------------------


def test_readers(tmp_path: pathlib.Path, reader: User) -> None:
    """N50: idempotent; unknown accounts and bad cells are rejected and reported."""
    table, report = tmp_path / "readers.csv", tmp_path / "report.csv"
    house.make_user("second")
    table.write_text(
        "username,print_disability_verified,verified_until,home_library\n"
        "Test-Account,yes,2030-01-31,Town Library\nsecond,1,,\nnobody,yes,,\nsecond,maybe,,\nsecond,yes,31/1/2030,\n"
    )

    def go() -> tuple[int, list[list[str]]]:
        try:
            call_command("import_readers", str(table), "--report", str(report), stdout=io.StringIO(),
                         stderr=io.StringIO())  # fmt: skip
        except SystemExit as end:
            return int(end.code or 0), list(csv.reader(io.StringIO(report.read_text())))
        return 0, list(csv.reader(io.StringIO(report.read_text())))

    code, lines = go()
    assert code == 1
    assert [line[1:] for line in lines[1:]] == [
        ["updated", ""], ["created", ""], ["rejected", "unknown_account"], ["rejected", "bad_flag"],
        ["rejected", "bad_date"],
    ]  # fmt: skip
    found = models.Reader.objects.get(user=reader)
    assert found.home_library is not None
    assert (found.home_library.name, str(found.verified_until)) == ("Town Library", "2030-01-31")
    _, again = go()
    assert [line[1] for line in again[1:3]] == ["unchanged", "unchanged"]


def test_readers_stay_verified(tmp_path: pathlib.Path, reader: User) -> None:
    """N50: a line cut short is rejected, a column that is not there leaves alone what it would say."""
    table, report = tmp_path / "readers.csv", tmp_path / "report.csv"
    models.Reader.objects.filter(user=reader).update(verified_until="2030-01-31")
    known = models.Reader.objects.filter(user=reader, print_disability_verified=True, verified_until="2030-01-31")
    table.write_text(
        "username,print_disability_verified,verified_until,home_library\n"
        f"{reader.username}\n{reader.username},yes,2031-01-31,Town Library,more\n"
    )
    with pytest.raises(SystemExit) as end:
        call_command("import_readers", str(table), "--report", str(report), stdout=io.StringIO(), stderr=io.StringIO())
    assert end.value.code == 1
    lines = list(csv.reader(io.StringIO(report.read_text())))
    assert lines[1:] == [[reader.username, "rejected", "bad_row"]] * 2
    assert known.exists()
    table.write_text(f"username,home_library\n{reader.username},Town Library\n")
    call_command("import_readers", str(table), stdout=io.StringIO())
    assert known.filter(home_library__name="Town Library").exists()
    table.write_text("name,home_library\n")
    with pytest.raises(SystemExit) as end:
        call_command("import_readers", str(table), stdout=io.StringIO(), stderr=io.StringIO())
    assert end.value.code == 2
