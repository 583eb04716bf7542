"""Importers and other commands (contract 6)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from django.test import Client
from pytest_django import Settings

from core.models import Job, User
from registry.demo import source as demo_source
from registry.formats import imports as formats
from registry.formats import samples
from registry.jobs import request
from registry.models import Account, Harvest, HarvestRun, Organization, Record
from tests.registry.conftest import command, run
from tests.registry.test_api import SAMPLE

pytestmark = pytest.mark.django_db(transaction=True)


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


ORGANIZATIONS = (
    'name,description,url,logo_url,ckan_harvest_url\nPacIOOS,Pacific,http://p.example.org/,,\nCaRA,"a, b",,,\n'
)


def test_organizations(tmp_path: Path) -> None:
    """X48: organisations by name from CSV and JSON; a second import changes nothing."""
    path = file(tmp_path, "o.csv", ORGANIZATIONS)
    assert command("registry_import_organizations", path)[:2] == (
        0,
        "2 created, 0 updated, 0 unchanged, 0 rejected\n",
    )
    assert command("registry_import_organizations", path)[1] == "0 created, 0 updated, 2 unchanged, 0 rejected\n"
    changed = file(tmp_path, "o.json", json.dumps([{"name": "CaRA", "description": "new"}]))
    assert command("registry_import_organizations", changed)[1] == "0 created, 1 updated, 0 unchanged, 0 rejected\n"
    assert set(Organization.objects.values_list("slug", flat=True)) == {"PacIOOS", "CaRA"}


HARVEST_FORMS: dict[str, tuple[str, bytes]] = {
    "answer": ("h.json", b'{"status":"success","data":[' + SAMPLE + b"]}"),
    "array": ("h.json", b"[" + SAMPLE + b"]"),
    "mongo": (
        "h.json",
        SAMPLE.replace(b'"2017-04-27T00:05:01.717Z"', b'{"$date":"2017-04-27T00:05:01.717Z"}') + b"\n",
    ),
    "mongo-ms": ("h.json", SAMPLE.replace(b'"2017-04-27T00:05:01.717Z"', b'{"$date":{"$numberLong":"1493251501717"}}')),
}


@pytest.mark.parametrize("form", HARVEST_FORMS)
def test_harvests(form: str, tmp_path: Path, client: Client) -> None:
    """X48: a saved list, a bare array and MongoDB lines give the same harvest, byte for byte, and run nothing."""
    name, content = HARVEST_FORMS[form]
    path = file(tmp_path, name, content)
    code, out, _ = command("registry_import_harvests", path, "--create-organizations")
    assert (code, out) == (0, "1 created, 0 updated, 0 unchanged, 0 rejected\n")
    assert client.get("/api/v1/Harvests").content == b'{"status":"success","data":[' + SAMPLE + b"]}"
    assert command("registry_import_harvests", path)[1] == "0 created, 0 updated, 1 unchanged, 0 rejected\n"
    assert not Job.objects.exists()


def test_ckan_harvests(tmp_path: Path) -> None:
    """X48: CKAN's source list gives harvests with our types and intervals."""
    result = [
        {"url": "http://a.example.org/iso/", "title": "A", "type": "waf", "active": True, "frequency": "WEEKLY"},
        {"url": "http://b.example.org/csw", "title": "B", "type": "csw", "active": False, "frequency": "MANUAL"},
    ]
    for source in result:
        source["publisher_title"] = "PacIOOS"
    path = file(tmp_path, "ckan.json", json.dumps({"success": True, "result": result}))
    assert command("registry_import_harvests", path, "--create-organizations")[0] == 0
    rows = Harvest.objects.order_by("name").values_list("harvest_type", "publish", "harvest_interval")
    assert list(rows) == [("WAF", True, 7), ("CSW", False, 0)]


def test_harvests_csv_round_trip(tmp_path: Path, organization: Organization) -> None:
    """X48: CSV rows come in by `_id`, else by url; inconsistent counters are dropped and reported."""
    head = "_id,name,url,harvest_type,organization,publish,harvest_interval,harvest_contact,ckan_harvest_url\n"
    path = file(tmp_path, "h.csv", head + ",One,http://one.example.org/,WAF,PacIOOS,true,3,a@example.org,\n")
    assert command("registry_import_harvests", path)[0] == 0
    one = Harvest.objects.get()
    assert (one.name, one.publish, one.harvest_interval) == ("One", True, 3)
    path = file(tmp_path, "h.csv", head + f"{one.uid},Two,http://one.example.org/,WAF,PacIOOS,false,3,,\n")
    assert command("registry_import_harvests", path)[1].startswith("0 created, 1 updated")
    wrong = json.loads(SAMPLE) | {"last_bad_count": 7}
    code, _, err = command("registry_import_harvests", file(tmp_path, "h.json", json.dumps([wrong])))
    assert code == 0
    assert "inconsistent" in err
    assert Harvest.objects.get(uid=wrong["_id"]).last_record_count is None


def test_import_moves_the_folder(tmp_path: Path, add_harvest: Callable[..., Harvest], client: Client) -> None:
    """X48: a file that unpublishes or moves a harvest moves what the folder serves, and starts no run."""
    harvest = add_harvest()
    run(harvest)
    etag = client.get("/waf/PacIOOS/")["ETag"]
    row = {"_id": harvest.uid, "name": harvest.name, "url": harvest.url, "organization": "NANOOS", "publish": True}
    path = file(tmp_path, "h.json", json.dumps([row]))
    assert command("registry_import_harvests", path, "--create-organizations")[1].startswith("0 created, 1 updated")
    assert client.get("/waf/PacIOOS/", HTTP_IF_NONE_MATCH=etag).status_code == 200
    etag = client.get("/waf/NANOOS/")["ETag"]
    assert b".xml" in b"".join(client.get("/waf/NANOOS/"))
    for publish in (False, True):
        path = file(tmp_path, "h.json", json.dumps([{**row, "publish": publish}]))
        assert command("registry_import_harvests", path)[1].startswith("0 created, 1 updated")
        listing = client.get("/waf/NANOOS/", HTTP_IF_NONE_MATCH=etag)
        assert listing.status_code == 200
        assert (b".xml" in b"".join(listing)) == publish
    assert harvest.runs.count() == 1


def test_rejects(tmp_path: Path, organization: Organization) -> None:
    """X48: rejects are reported with line and reason and exit 2; strict and dry-run write nothing."""
    good = {"name": "Good", "url": "http://good.example.org/", "organization": "PacIOOS", "harvest_type": "WAF"}
    rows = [good, {**good, "url": "ftp://x/"}, {**good, "url": "http://n.example.org/", "organization": "Nobody"}, 7]
    path = file(tmp_path, "h.json", json.dumps(rows))
    for flag in ("--strict", "--dry-run"):
        code, out, _ = command("registry_import_harvests", path, flag)
        assert (code, Harvest.objects.count()) == (2, 0)
        assert "nothing was written" in out
    report = tmp_path / "report.csv"
    code, _, _ = command("registry_import_harvests", path, "--report", report)
    assert (code, Harvest.objects.count()) == (2, 1)
    with report.open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert [(line["line"], line["outcome"]) for line in lines] == [
        ("1", "created"),
        ("2", "rejected"),
        ("3", "rejected"),
        ("4", "rejected"),
    ]
    assert lines[1]["reason"].startswith("url: ")
    assert "Nobody" in lines[2]["reason"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"7", b'"x"', b"[1", b"a\0b"])
def test_unreadable(content: bytes, tmp_path: Path) -> None:
    """X48: an unreadable file is exit 1 and nothing is written."""
    assert command("registry_import_harvests", file(tmp_path, "h.json", content))[0] == 1
    assert command("registry_import_harvests", tmp_path / "missing.json")[0] == 1
    assert not Harvest.objects.exists()


HUGE = {"last_harvest_dt": "2017-04-27T00:05:01.717Z", "last_record_count": 10**12}
HUGE |= {"last_good_count": 10**12, "last_bad_count": 0}


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("organizations", {"name": "Good", "description": "a\0b"}),
        ("organizations", {"name": "a\0b"}),
        ("harvests", {"name": "n", "url": "http://n.example.org/", "organization": "a\0b"}),
        ("harvests", {"_id": "a\0b", "name": "n", "url": "http://n.example.org/", "organization": "PacIOOS"}),
        ("users", {"email": "ana@example.org", "name": "a\0b"}),
        ("users", {"emails": [{"address": "ana@example.org"}], "profile": {"name": "a\0b"}}),
        ("users", {"email": "ana@example.org", "name": "a" * 5000}),
        ("users", {"email": "ana@example.org", "poc_name": "a" * 5000}),
        ("organizations", {"name": "n" * 201}),
        ("harvests", {"name": "n", "url": "http://n.example.org/", "organization": "PacIOOS"} | HUGE),
    ],
)
def test_values_with_no_room(what: str, row: dict[str, Any], tmp_path: Path, organization: Organization) -> None:
    """X48: a row with a NUL or with more than there is room for is rejected in words, the rows beside it go in."""
    good = {"organizations": {"name": "Fine"}, "users": {"email": "ben@example.org", "name": "Ben"}}
    good["harvests"] = {"name": "Fine", "url": "http://f.example.org/", "organization": "PacIOOS"}
    path = file(tmp_path, "x.json", json.dumps([row, good[what]]))
    code, out, _ = command(f"registry_import_{what}", path, "--create-organizations")
    assert (code, out) == (2, "1 created, 0 updated, 0 unchanged, 1 rejected\n")


def test_import_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """X48: files over the limits of bytes and rows are unreadable."""
    monkeypatch.setattr(formats, "MAX_ROWS", 2)
    with pytest.raises(formats.UnreadableFileError):
        formats.read(b"[{},{},{}]", name="x.json")
    monkeypatch.setattr(formats, "MAX_BYTES", 5)
    with pytest.raises(formats.UnreadableFileError):
        formats.read(b"[{},{}]", name="x.json")


def test_mongo_user(tmp_path: Path, client: Client) -> None:
    """X49: an imported MongoDB bcrypt hash allows plain and digest login; login tokens are not imported."""
    digest = hashlib.sha256(b"old-secret-1").hexdigest()
    stored = bcrypt.hashpw(digest.encode(), bcrypt.gensalt(4)).decode()
    document = {
        "_id": "Kp3vJ9mQw7RtY2xZa",
        "emails": [{"address": "old@example.org", "verified": True}],
        "profile": {"name": "Olga Dahl", "organization": "PacIOOS"},
        "roles": ["approved"],
        "services": {"password": {"bcrypt": stored}, "resume": {"loginTokens": [{"hashedToken": "secret"}]}},
    }
    path = file(tmp_path, "u.json", json.dumps(document) + "\n")
    assert command("registry_import_users", path, "--create-organizations")[0] == 0
    user = User.objects.get(uid="Kp3vJ9mQw7RtY2xZa")
    assert (user.password, user.api_tokens.count()) == (f"bcrypt_sha256${stored}", 0)
    assert user.registry_account.approved
    assert command("registry_import_users", path)[1] == "0 created, 0 updated, 1 unchanged, 0 rejected\n"
    user.addresses.update(is_verified=False)
    assert command("registry_import_users", path)[1] == "0 created, 1 updated, 0 unchanged, 0 rejected\n"
    assert user.addresses.get().is_verified
    for body in ("password=old-secret-1", f"password={digest}&hashed=true"):
        answer = client.post(
            "/api/v2/login", f"email=old@example.org&{body}", content_type="application/x-www-form-urlencoded"
        )
        assert answer.json()["data"]["userId"] == user.uid


def test_csv_users(tmp_path: Path, organization: Organization) -> None:
    """X48: people from CSV, by e-mail, with rejects for what is no address."""
    text = "email,name,organizations,approved\nana@example.org,Ana Silva,PacIOOS,true\nnobody,X,,\n"
    code, out, _ = command("registry_import_users", file(tmp_path, "u.csv", text))
    assert (code, out) == (2, "1 created, 0 updated, 0 unchanged, 1 rejected\n")
    account = Account.objects.get()
    assert (account.user.first_name, account.approved, account.organizations.get()) == ("Ana", True, organization)
    assert not account.user.has_usable_password()


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_documents(form: str, tmp_path: Path, organization: Organization) -> None:
    """X48: a folder or zip of ISO records becomes a harvest's records as a run, without any network."""
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    for number in range(3):
        file(folder / "sub" if number else folder, f"d{number}.xml", samples.iso19139(number))
    file(folder, "bad.xml", b"<a/>")
    path = folder
    if form == "zip":
        path = tmp_path / "docs.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for document in sorted(folder.rglob("*.xml")):
                archive.write(document, document.relative_to(folder))
    code, out, _ = command("registry_import_documents", path, "--harvest", harvest.uid)
    assert (code, out) == (2, "ok: 4 documents, 3 good, 1 bad\n")
    assert HarvestRun.objects.get().trigger == "import"
    assert set(Record.objects.values_list("identity", flat=True)) == {"d0.xml", "sub/d1.xml", "sub/d2.xml", "bad.xml"}


def test_documents_too_large(tmp_path: Path, organization: Organization, settings: Settings) -> None:
    """X48: a document over the limit is told of and counts bad, its copy from before stays; one of just the limit is
    read whole."""
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    path = tmp_path / "docs.zip"

    def put(**bodies: bytes) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in bodies.items():
                archive.writestr(f"{name}.xml", body)

    good, grown = samples.iso19139(1), samples.iso19139(2)
    put(exact=good, growing=grown)
    assert command("registry_import_documents", path, "--harvest", harvest.uid)[0] == 0
    settings.REGISTRY_MAX_DOCUMENT_BYTES = len(good)
    # cut at the limit the first would still be a good record, but not the one that was sent
    put(long=good + b"\n" * 100, growing=grown + b" " * 5000, exact=good)
    code, out, _ = command("registry_import_documents", path, "--harvest", harvest.uid)
    assert (code, out) == (2, "ok: 3 documents, 1 good, 2 bad\n")
    told = f"The document is larger than {len(good)} bytes."
    issues = HarvestRun.objects.latest("pk").issues.order_by("id")
    assert list(issues.values_list("stage", "severity", "code", "url", "message")) == [
        ("fetch", "error", "too_large", "long.xml", told),
        ("fetch", "error", "too_large", "growing.xml", told),
    ]
    new, kept = (Record.objects.get(identity=f"{name}.xml") for name in ("long", "growing"))
    assert (new.valid, new.content_sha256, new.size, new.stale_since) == (False, "", 0, None)
    assert (kept.valid, kept.size, kept.stale_since is not None) == (True, len(grown), True)
    code, out, _ = command("registry_check", path)
    assert (code, out.count(told), "1 good, 2 bad" in out) == (2, 2, True)


@pytest.mark.parametrize("name", ["/etc/passwd.xml", "../up.xml", "a/../../up.xml"])
def test_hostile_zip(name: str, tmp_path: Path, organization: Organization) -> None:
    """X48: a zip with absolute or parent names is refused whole."""
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.xml", samples.iso19139(1))
        archive.writestr(name, samples.iso19139(2))
    assert command("registry_import_documents", path, "--harvest", harvest.uid)[0] == 1
    assert not HarvestRun.objects.exists()


def test_encrypted_zip(tmp_path: Path, organization: Organization) -> None:
    """X48: an encrypted zip is refused before anything is stored."""
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.xml", samples.iso19139(1))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    code, _, err = command("registry_import_documents", path, "--harvest", harvest.uid)
    assert (code, "encrypted" in err) == (1, True)
    assert command("registry_check", path)[0] == 1
    assert not HarvestRun.objects.exists()


def damaged(name: bytes, at: bytes, offset: int, value: bytes) -> bytes:
    """A zip of one document with a few bytes changed behind a mark."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name.decode(), samples.iso19139(1))
    data = bytearray(packed.getvalue())
    start = data.index(at) + offset
    data[start : start + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        damaged("é.xml".encode(), b"PK\x01\x02", 46, b"\xff"),  # a name that is not the UTF-8 it says
        damaged(b"a.xml", b"PK\x01\x02", 6, b"\xa0"),  # needs a version of zip nobody knows
        damaged(b"a.xml", b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),  # a directory far outside
        damaged(b"a.xml", b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"),  # a document far outside
    ],
)
def test_zip_that_contradicts_itself(data: bytes, tmp_path: Path, organization: Organization) -> None:
    """X48: whatever is wrong with a zip is said in words, by import and check."""
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    path = file(tmp_path, "odd.zip", data)
    code, _, err = command("registry_check", path)
    assert (code, err.startswith("unreadable: ")) == (1, True)
    code, _, err = command("registry_import_documents", path, "--harvest", harvest.uid)
    assert (code in (1, 2), "zip" in err or "member" in err) == (True, True), err
    assert not Record.objects.exists()


def test_folder_with_an_odd_name(tmp_path: Path, organization: Organization) -> None:
    """X48: a file whose name is no text makes the folder unreadable, in words."""
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.xml")).write_bytes(samples.iso19139(1))
    for name, more in (("registry_check", []), ("registry_import_documents", ["--harvest", harvest.uid])):
        code, _, err = command(name, tmp_path, *more)
        assert (code, "is not UTF-8" in err) == (1, True)


@pytest.mark.parametrize(
    "date",
    [{"$date": -99999999999999}, {"$date": -62135596800001}, "9999-12-31T23:59:59-10:00", "0001-01-01T00:00+10:00"],
)
def test_dates_beyond_the_calendar(date: Any, tmp_path: Path, organization: Organization, client: Client) -> None:
    """X48: a date no calendar has room for is none; the row goes in and the list can be read."""
    row = {"_id": "A" * 17, "name": "n", "url": "http://h.example/", "organization": "PacIOOS", "last_harvest_dt": date}
    path = file(tmp_path, "harvests.json", json.dumps([row]).encode())
    assert command("registry_import_harvests", path)[0] == 0
    assert "last_harvest_dt" not in client.get("/api/v1/Harvests").json()["data"][0]


@pytest.mark.parametrize("depth", [900, 51, 49])
def test_deep_values(depth: int, tmp_path: Path, organization: Organization) -> None:
    """X48: a row of more than fifty levels is rejected in words, the row beside it goes in."""
    deep = b'{"name":"Deep","x":' + b"[" * depth + b"]" * depth + b"}"
    path = file(tmp_path, "organizations.json", b"[" + deep + b',{"name":"Flat"}]')
    code, out, err = command("registry_import_organizations", path)
    assert (code, "deeper than 50" in err) == ((2, True) if depth > 50 else (0, False))
    assert out.startswith("1 created" if depth > 50 else "2 created")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_zip(packing: int, tmp_path: Path, organization: Organization) -> None:
    """X48: a zip with a damaged document fails the run in words, and the records from before stay."""
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("good.xml", samples.iso19139(1))
    harvest = Harvest.objects.create(name="Own", url="http://127.0.0.1:9/", organization=organization)
    assert command("registry_import_documents", path, "--harvest", harvest.uid)[0] == 0
    data = bytearray(path.read_bytes())
    data[120:160] = bytes(255 - byte for byte in data[120:160])
    path.write_bytes(data)
    command("registry_import_documents", path, "--harvest", harvest.uid)
    made = HarvestRun.objects.latest("pk")
    assert (made.state, made.failure_code) == ("fail", "listing_failed")
    assert "good.xml" in made.failure_message
    assert Record.objects.get().valid
    assert command("registry_check", path)[0] == 1


def test_check(tmp_path: Path, served: demo_source.Server, source: demo_source.Source) -> None:
    """X48: `registry_check` counts and prints issues for a path and a URL, and stores nothing."""
    bad = file(tmp_path, "bad.xml", samples.iso19139(1)[:-9])
    code, out, _ = command("registry_check", bad)
    assert (code, "1 documents, 0 good, 1 bad; malformed 1" in out) == (2, True)
    code, out, _ = command("registry_check", served.url("nginx"))
    assert (code, out.splitlines()[-1]) == (0, "6 documents, 6 good, 0 bad; no issues")
    source.faults["/nginx/"] = "404"
    assert command("registry_check", served.url("nginx"))[0] == 1
    assert not Record.objects.exists()


def test_seed_twice() -> None:
    """X50: `seed_registry` twice equals once, and its sample row is the document's."""
    command("seed_registry")
    assert request.queue_due() == 3, "the demo's own sources are due; the document's is paused"
    before = (Harvest.objects.count(), Organization.objects.count(), User.objects.count())
    assert before[:2] == (4, 6)
    command("seed_registry")
    assert (Harvest.objects.count(), Organization.objects.count(), User.objects.count()) == before
    user = User.objects.get(uid="fbdpsNf4oHiX79vMJ")
    assert user.email == "me@email.com"
    assert Client().get("/api/v1/Harvests/n3N6xBLyZIs9LGwEF").content == b'{"status":"success","data":' + SAMPLE + b"}"


def test_collection_is_deterministic() -> None:
    """X50: the generated documents are the same each time: about 60, four of them bad, in eight languages."""
    first, second = list(samples.collection()), list(samples.collection())
    assert first == second
    assert len(first) == 60


def test_factory(add_person: Callable[..., User]) -> None:
    """X48: importing a known person fills what is missing and takes nothing away."""
    user = add_person("ana")
    row = formats.Row(1, {"email": "ANA@example.org", "name": "Other Name", "approved": "false"})
    from registry.jobs import bring_in

    outcome = bring_in.run([row], "users", bring_in.Options())
    user.refresh_from_db()
    assert outcome.lines[0][2] == "updated"
    assert (user.first_name, user.registry_account.approved) == ("Other", True)
