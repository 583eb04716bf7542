"""`seed_nnels`."""

from __future__ import annotations

import io
import pathlib
import shutil
import subprocess
import zipfile

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from core import blobs
from nnels import models
from nnels.formats import epub
from nnels.seed import build, library, synthetic
from tests import house as servers_of
from tests.nnels import conftest as house

pytestmark = pytest.mark.django_db


def seed(*args: str) -> str:
    out = io.StringIO()
    call_command("seed_nnels", *args, stdout=out)
    return out.getvalue()


def test_seed_twice(client: Client, settings: Settings, running_house: servers_of.House) -> None:
    """N49: twice gives the same items and bytes; the document's examples work."""
    settings.DEBUG = True
    assert seed("--demo-accounts").startswith(f"{len(library.WORKS)} created, 0 updated, 0 unchanged")
    before = list(models.File.objects.order_by("id").values_list("id", "sha256", "blob_key"))
    items = list(models.Item.objects.order_by("id").values_list("id", "uuid", "changed", "revision"))
    assert seed("--demo-accounts").startswith(f"0 created, 0 updated, {len(library.WORKS)} unchanged")
    assert list(models.File.objects.order_by("id").values_list("id", "sha256", "blob_key")) == before
    assert list(models.Item.objects.order_by("id").values_list("id", "uuid", "changed", "revision")) == items
    basic = {"authorization": "Basic dGVzdC1hY2NvdW50Om5vdFJlYWw="}
    token = client.get("/api/login-token", headers=basic).json()["access_token"]
    headers = {"access-token": token}
    me = client.get("/api/users/me", headers=headers).json()
    assert me["self"]["href"].endswith("/api/v1.0/users/117")
    item = client.get("/api/v1.0/repo_items/6804", headers=headers).json()["data"][0]
    assert item["label"] == "Moby-Dick"
    assert len(item["file_resources"]) == 4
    uuid = item["uuid"]
    by_uuid = client.get(f"/api/v1.0/repo_items/uuid={uuid}?loadByFieldName=uuid", headers=headers)
    assert by_uuid.json()["data"][0]["id"] == 6804
    found = client.get("/api/basic_search/melville+white+whale", headers=basic).json()
    assert [row["id"] for row in found["data"]] == [6804]
    assert house.make_item("next").pk > 6804


def test_library_is_varied(running_house: servers_of.House) -> None:
    """N49: ten languages, right-to-left ones too, some hidden, some open, several formats."""
    languages = {work.language for work in library.WORKS}
    assert {"eng", "fra", "spa", "deu", "por", "rus", "ell", "jpn", "ara", "heb"} <= languages
    assert sum(not work.is_published for work in library.WORKS) >= 2
    assert sum(work.is_open for work in library.WORKS) >= 4
    assert {"txt", "brf", "daisy202"} <= {code for work in library.WORKS for code in work.more}
    assert 38 <= len(library.WORKS) <= 45


def test_epubs_are_valid(tmp_path: pathlib.Path) -> None:
    """N49: an EPUB checker accepts every generated EPUB, and making them again gives the same bytes."""
    checker = shutil.which("epubcheck")
    java = shutil.which("java")
    assert checker, "this test needs Debian's package epubcheck"
    assert java, "this test needs a Java runtime"
    for number, work in enumerate(library.WORKS):
        data = build.epub(work)
        assert build.epub(work) == data
        (tmp_path / f"{number:02}.epub").write_bytes(data)
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            epub.check(book)
    verdicts = check_epubs(java, pathlib.Path(checker).resolve(), tmp_path)
    assert verdicts == {f"{number:02}.epub": "accepted" for number in range(len(library.WORKS))}


# One Java process for all books: the start of each would cost more than the check.
BATCH = """
import com.adobe.epubcheck.api.EpubCheck;
import java.io.File;
import java.io.PrintWriter;
import java.io.StringWriter;

public class Batch {
    public static void main(String[] names) {
        for (String name : names) {
            StringWriter said = new StringWriter();
            // 0: accepted, 1: warnings, 2: errors.
            int verdict = new EpubCheck(new File(name), new PrintWriter(said)).doValidate();
            String shown = verdict == 0 ? "accepted" : said.toString().replace('\\n', ' ');
            System.out.println("CHECKED " + new File(name).getName() + " " + shown);
        }
    }
}
"""


def check_epubs(java: str, jar: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """What epubcheck says of each EPUB in a folder: `accepted`, or its messages."""
    (folder / "Batch.java").write_text(BATCH)
    quick = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    books = sorted(str(path) for path in folder.glob("*.epub"))
    done = subprocess.run(
        [java, *quick, "-cp", str(jar), str(folder / "Batch.java"), *books],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("CHECKED ")]
    return {name: verdict for _, name, verdict in lines}


def test_the_checker_finds_faults(tmp_path: pathlib.Path) -> None:
    """N49: the same check refuses a book with one wrong element, and says why."""
    good = build.epub(library.WORKS[0])
    with zipfile.ZipFile(io.BytesIO(good)) as book, zipfile.ZipFile(tmp_path / "bad.epub", "w") as bad:
        for entry in book.infolist():
            bad.writestr(entry, book.read(entry).replace(b"</h1>", b"</h1><blink>x</blink>"))
    checker, java = shutil.which("epubcheck"), shutil.which("java")
    assert checker
    assert java
    verdict = check_epubs(java, pathlib.Path(checker).resolve(), tmp_path)["bad.epub"]
    assert "blink" in verdict


def test_accounts_need_debug(running_house: servers_of.House) -> None:
    """N49: accounts with public passwords are made only with DEBUG."""
    with pytest.raises(CommandError):
        seed("--demo-accounts")


def test_bulk(client: Client, token: str, running_house: servers_of.House, monkeypatch: pytest.MonkeyPatch) -> None:
    """N49: synthetic titles share a few blobs, are searchable, the same on every run, and can be topped up."""
    monkeypatch.setattr(synthetic, "BATCH", 100)
    assert "210 synthetic" in seed("--items", "210")
    assert "215 synthetic" in seed("--items", "215")
    assert "215 synthetic" in seed("--items", "100")
    bulk = models.File.objects.filter(item__source="bulk")
    assert bulk.count() == 4 * 215
    corpus = synthetic.Corpus.make()
    labels = [corpus.item(number).label for number in range(215)]
    stored = models.Item.objects.filter(source="bulk").order_by("id").values_list("label", flat=True)
    assert list(stored) == labels
    found = client.get("/api/basic_search/fiction?fields=id", headers={"access-token": token}).json()
    assert 40 < found["count"] < 215
    keys = set(bulk.values_list("blob_key", flat=True))
    assert len(keys) == 4
    assert all(blobs.stat(key) for key in keys)
