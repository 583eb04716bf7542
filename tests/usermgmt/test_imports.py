"""Getting people and clients in (contract 6)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client, override_settings

from core import auth
from core.models import EmailAddress, Mail, User
from tests.usermgmt import world
from usermgmt.formats import users_file
from usermgmt.jobs import mails
from usermgmt.models import ApiClient
from usermgmt.services import clients, crowd, imports, seed

pytestmark = pytest.mark.django_db

GOOD = """username,firstname,lastname,email,emails,institution,position,is_validated,is_active,id
Zoe,Zoë,Quirk,zoe@x.org,z2@x.org; z3@x.org,MIT,,yes,1,500
amin,أمين,"de ""la"" Cruz, jr",amin@x.org,,,Kaatib,true,true,
ghost,,,,,,,0,t,501
"""


def run(path: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    out = io.StringIO()
    try:
        call_command("import_users", str(path), *options, stdout=out, stderr=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def write(tmp_path: Path, content: str | bytes, name: str = "people.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def directory() -> list[tuple[Any, ...]]:
    fields = ("username", "first_name", "last_name", "email", "institution", "position", "is_validated", "is_active")
    people = User.objects.order_by("username").values_list(*fields, "username_n", "first_n", "last_n", "name_n")
    addresses = EmailAddress.objects.order_by("address").values_list(
        "address", "is_primary", "is_verified", "address_n"
    )
    return [*people, *addresses]


def test_good_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + GOOD)
    assert run(path) == (0, "3 created, 0 updated, 0 unchanged, 0 rejected, 0 deactivated\n")
    zoe, amin, ghost = (User.objects.get(username=name) for name in ("zoe", "amin", "ghost"))
    assert (zoe.pk, ghost.pk, zoe.institution, zoe.position) == (500, 501, "MIT", None)
    assert amin.pk > 501
    assert (amin.last_name, amin.position, ghost.is_validated) == ('de "la" Cruz, jr', "Kaatib", False)
    assert not zoe.has_usable_password()
    assert zoe.first_n == "zoe"
    rows = EmailAddress.objects.filter(user=zoe).values_list("address", "is_primary", "is_verified")
    assert list(rows) == [("zoe@x.org", True, True), ("z2@x.org", False, True), ("z3@x.org", False, True)]
    assert world.person().pk > amin.pk


def test_twice_changes_nothing(tmp_path: Path) -> None:
    """UM44: `import_users` twice changes nothing."""
    path = write(tmp_path, GOOD)
    run(path)
    before = directory()
    assert run(path) == (0, "0 created, 0 updated, 3 unchanged, 0 rejected, 0 deactivated\n")
    assert directory() == before
    assert run(write(tmp_path, "username,institution,firstname\nzoe,,\n"))[1].startswith("0 created, 1 updated")
    zoe = User.objects.get(username="zoe")
    assert (zoe.institution, zoe.first_name) == (None, "Zoë")
    assert run(write(tmp_path, "username,email\nzoe,new@x.org\n"))[1].startswith("0 created, 1 updated")
    zoe.refresh_from_db()
    assert zoe.email == "new@x.org"
    assert zoe.addresses.get(is_primary=True).address == "new@x.org"


BAD = [
    ("", "username", "missing"),
    ("has space", "username", "malformed"),
    ("x" * 65, "username", "malformed"),
    ("dup", "username", "repeated in the file"),
]


def test_rejects(tmp_path: Path) -> None:
    """UM44: rejects list line and field, good rows are stored."""
    world.person("known", email="taken@x.org")
    content = (
        "username,firstname,email,is_active,id\n"
        "first,A,a@x.org,1,\n"  # 2
        ",B,,,\n"
        "has space,B,,,\n"
        "first,again,,,\n"  # 5
        "mail1,B,not-an-address,,\n"
        "mail2,B,TAKEN@x.org,,\n"
        "mail3,B,a@X.org,,\n"  # 8
        f"long,{'x' * 257},,,\n"
        "bool,B,,maybe,\n"
        "id,B,,,0\n"  # 11
        "known,B,,,99\n"
        "short,B\n"
        "control,B\x07,,,\n"  # 14
        "last,Z,z@x.org,,\n"
    )
    report = tmp_path / "rejects.csv"
    code, _ = run(write(tmp_path, content), "--rejects", str(report))
    assert code == 2
    with report.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["line", "username", "field", "message"]
    assert [(int(row[0]), row[1], row[2]) for row in rows[1:]] == [
        (3, "", "username"),
        (4, "has space", "username"),
        (5, "first", "username"),
        (6, "mail1", "email"),
        (7, "mail2", "email"),
        (8, "mail3", "email"),
        (9, "long", "firstname"),
        (10, "bool", "is_active"),
        (11, "id", "id"),
        (12, "known", "id"),
        (13, "short", ""),
        (14, "control", "firstname"),
    ]
    assert User.objects.filter(username__in=["first", "last"]).count() == 2
    assert User.objects.count() == 3


def test_oversized_values_refuse_the_row_alone(tmp_path: Path) -> None:
    """UM44: too long a value of any column rejects its row, with line and field; good rows are stored."""
    rows = ["ok,,,", f"bool,,{'x' * 1001},", f"number,,,{'1' * 1001}", f"cell,{'x' * 200_000},,", "ok2,,,"]
    report = tmp_path / "rejects.csv"
    path = write(tmp_path, "username,firstname,is_active,id\n" + "\n".join(rows))
    assert run(path, "--rejects", str(report))[0] == 2
    told = [line.split(",")[:3] for line in report.read_text().splitlines()[1:]]
    assert told == [["3", "bool", "is_active"], ["4", "number", "id"], ["5", "cell", "firstname"]]
    assert set(User.objects.values_list("username", flat=True)) == {"ok", "ok2"}


def test_half_characters_refuse_the_row_alone(tmp_path: Path) -> None:
    """UM44: JSON can spell halves of surrogate pairs, which nothing can store: a reject, and the report is written."""
    rows = [
        {"username": "good"},
        {"username": "bad", "firstname": "\ud800"},
        {"username": "ba\ud800"},
        {"username": "bad", "emails": ["\udfff@x.org"]},
        {"username": "bad", "email": "a\ud800@x.org"},
        {"username": "bad", "\ud800": 1},
        {"username": "last"},
    ]
    report = tmp_path / "rejects.csv"
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), "p.jsonl")
    assert run(path, "--rejects", str(report))[0] == 2
    told = [line.split(",")[:3] for line in report.read_text().splitlines()[1:]]
    assert told == [
        ["2", "bad", "firstname"],
        ["3", "ba\\ud800", "username"],
        ["4", "bad", "emails"],
        ["5", "bad", "email"],
        ["6", "bad", "\\ud800"],
    ]
    assert set(User.objects.values_list("username", flat=True)) == {"good", "last"}


def test_rejects_are_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """UM45: memory holds at any size, also of the rejects: no more than two batches of them live at a time."""
    monkeypatch.setattr(imports, "BATCH", 10)
    lines: list[int] = []
    living: weakref.WeakSet[users_file.Reject] = weakref.WeakSet()

    def note(reject: users_file.Reject) -> None:
        lines.append(reject.line)
        living.add(reject)
        assert len(living) <= 20

    bad = (users_file.Reject(number, f"u{number}", "email", "not an e-mail address") for number in range(1, 201))
    assert imports.run(bad, reject=note).rejected == 200
    assert lines == list(range(1, 201))
    assert not living


def test_a_report_that_cannot_be_written_stops_the_import(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(CommandError, match="No such file or directory"):
        run(path, "--rejects", str(tmp_path / "missing" / "rejects.csv"))
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_killed_and_rerun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UM44: killed half-way and rerun ends complete."""
    monkeypatch.setattr(imports, "BATCH", 10)
    path = write(tmp_path, "username,email\n" + "".join(f"user{n},u{n}@x.org\n" for n in range(35)))

    def die(outcome: imports.Outcome) -> None:
        if outcome.created == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imports.run(users_file.read(path, max_bytes=10**6), progress=die)
    assert User.objects.count() == 20
    assert run(path) == (0, "15 created, 0 updated, 20 unchanged, 0 rejected, 0 deactivated\n")
    assert EmailAddress.objects.count() == 35


def test_forms_of_a_file_are_one(tmp_path: Path) -> None:
    """UM45: CSV, JSON-lines and gzip give the same directory, ids kept."""
    objects = [
        {
            "username": "Zoe",
            "firstname": "Zoë",
            "lastname": "Quirk",
            "email": "zoe@x.org",
            "emails": ["z2@x.org", "z3@x.org"],
            "institution": "MIT",
            "position": None,
            "is_validated": True,
            "is_active": True,
            "id": "500",
        },
        {
            "username": "amin",
            "firstname": "أمين",
            "lastname": 'de "la" Cruz, jr',
            "email": "amin@x.org",
            "position": "Kaatib",
            "is_validated": "true",
        },
        {"username": "ghost", "is_validated": False, "id": 501},
    ]
    lines = "".join(json.dumps(each) + "\n" for each in objects)
    seen = []
    for name, content in (
        ("p.csv", GOOD.encode()),
        ("p.csv.gz", gzip.compress(GOOD.encode())),
        ("p.jsonl", lines.encode()),
        ("p.jsonl.gz", gzip.compress(lines.encode())),
    ):
        assert run(write(tmp_path, content, name))[0] == 0
        assert User.objects.get(username="zoe").pk == 500
        assert User.objects.get(username="ghost").pk == 501
        seen.append(directory())
        User.objects.all().delete()
    assert all(each == seen[0] for each in seen)


def test_the_objects_of_an_answer_are_input(tmp_path: Path) -> None:
    """UM45: the objects of 2.4 are valid input."""
    answer = json.dumps(
        {
            "id": "7",
            "username": "mgatto10",
            "firstname": "احمد",
            "lastname": "صفيان",
            "email": "m@x.org",
            "institution": None,
            "position": "Kaatib",
        }
    )
    assert run(write(tmp_path, answer + "\n{bad\n[]\n" + '{"username":"x","nick":"y"}', "p.jsonl"))[0] == 2
    assert User.objects.get(pk=7).first_name == "احمد"


@pytest.mark.parametrize("option", ["--dry-run", "--strict"])
def test_nothing_is_written(tmp_path: Path, option: str) -> None:
    """UM46: `--dry-run`, and `--strict` with a bad row, write nothing."""
    code, output = run(write(tmp_path, "username\ngood\nbad name\n"), option)
    assert code == (2 if option == "--dry-run" else 1)
    assert User.objects.count() == 0
    assert ("1 created" in output) == (option == "--dry-run")


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"username\nok\nb\xffd\n", "p.csv", "not UTF-8 at byte 13"),
        (b"\xff\xfe\x00", "p.jsonl", "not UTF-8 at byte 0"),
        (b"username,shoe\n", "p.csv", "shoe"),
        (b"firstname\nx\n", "p.csv", "username"),
        (b"", "p.csv", "username"),
        (b"username,username\n", "p.csv", "repeated"),
        (b"\x1f\x8bnonsense", "p.csv.gz", "p.csv.gz"),
        (b'username\n"open\n', "p.csv", "line"),
        (b"username\n" + b"x" * 2_000_000, "p.csv", "byte 9"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, name: str, told: str) -> None:
    """UM46: non-UTF-8 names the byte offset; unreadable file, unknown or missing header: one message."""
    code, output = run(write(tmp_path, content, name))
    assert code == 1
    assert told in output
    assert "aborted" in output


def test_a_damaged_archive(tmp_path: Path) -> None:
    """UM46: unreadable file: one message."""
    packed = bytearray(gzip.compress("".join(f"user{n * 7919}\n" for n in range(5000)).encode()))
    packed[2000:2100] = bytes(byte ^ 0x5A for byte in packed[2000:2100])
    code, output = run(write(tmp_path, bytes(packed), "p.jsonl.gz"))
    assert (code, output.startswith("aborted: ")) == (1, True)


def test_the_name_tells_the_form_in_any_letter_case(tmp_path: Path) -> None:
    assert run(write(tmp_path, "username\nfine\n", "PEOPLE.CSV"))[0] == 0


def test_too_large_and_absent(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"username\n" + b"name\n" * 1000), "p.csv.gz")
    assert run(path, "--max-bytes", "100")[0] == 1
    assert run(tmp_path / "absent.csv")[0] == 1


def test_deactivate_missing(tmp_path: Path) -> None:
    """UM46: `--deactivate-missing` is refused when there are rejects."""
    world.person("stays")
    world.person("goes")
    world.person("boss", is_staff=True)
    assert run(write(tmp_path, "username\nstays\nbad name\n"), "--deactivate-missing")[0] == 1
    assert User.objects.filter(is_active=True).count() == 3
    assert run(write(tmp_path, "username\nstays\n"), "--deactivate-missing")[0] == 0
    assert set(User.objects.filter(is_active=True).values_list("username", flat=True)) == {"stays", "boss"}


def test_password_hashes(tmp_path: Path) -> None:
    user = world.person("old", password="correct horse")
    content = f"username,password_hash\nnew,{user.password}\nbad,md5-what\nempty,\n"
    assert run(write(tmp_path, content))[0] == 2
    assert User.objects.get(username="new").check_password("correct horse")
    assert not User.objects.get(username="empty").has_usable_password()


def test_a_new_password_hash_revokes_tokens(tmp_path: Path) -> None:
    changed, same = world.person("changed", password="correct horse"), world.person("same", password="correct horse")
    tokens = [auth.issue_token(user, audience="nnels")[0] for user in (changed, same)]
    other = hashers.make_password("battery staple")
    assert run(write(tmp_path, f"username,password_hash\nchanged,{other}\nsame,{same.password}\n"))[0] == 0
    for token in tokens:
        token.refresh_from_db()
    assert [token.revoked_at is None for token in tokens] == [False, True]


def test_rebuild_search() -> None:
    world.person("jose", "José", "Núñez", more=["x@y.org"])
    before = directory()
    User.objects.update(first_n="", name_n="", username_n="")
    EmailAddress.objects.update(address_n="")
    assert imports.rebuild_search() == 3
    assert directory() == before
    assert imports.rebuild_search() == 0


def test_legacy_pairs(tmp_path: Path) -> None:
    """UM47: An imported legacy pair authenticates unchanged."""
    world.api()
    world.person("owner")
    rows = [
        {"owner": "owner", "name": "Old", "networks": "127.0.0.1", "key": "Legacy Key/1", "secret": "s3cr:t"},
        {"owner": "owner", "name": "Wait", "networks": ["127.0.0.1"], "key": "k2", "secret": "x", "state": "pending"},
        {"owner": "nobody", "name": "No", "networks": "127.0.0.1", "key": "k3", "secret": "x"},
        {"owner": "owner", "name": "Colon", "networks": "127.0.0.1", "key": "k:4", "secret": "x"},
        {"owner": "owner", "name": "Net", "networks": "nope", "key": "k5", "secret": "x"},
    ]
    path = tmp_path / "clients.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\nbroken\n")
    for expected in ("2 created, 0 known, 4 rejected\n", "0 created, 2 known, 4 rejected\n"):
        out = io.StringIO()
        with pytest.raises(SystemExit) as end:
            call_command("import_clients", str(path), stdout=out, stderr=io.StringIO())
        assert end.value.code == 2
        assert out.getvalue() == expected
    answer = Client().get("/api/v1/users/username/mgatto", HTTP_AUTHORIZATION=world.basic("Legacy Key/1", "s3cr:t"))
    assert answer.status_code == 404
    answer = Client().get("/api/v1/users/username/mgatto", HTTP_AUTHORIZATION=world.basic("k2", "x"))
    assert answer.json() == {"error": {"Auth": "API Client not yet Approved for Access"}}
    assert ApiClient.objects.get(name="Old").please_rotate
    browser = Client()
    browser.force_login(User.objects.get(username="owner"))
    page = browser.get("/portal/api-clients").content.decode()
    assert "please regenerate" in page
    assert "s3cr" not in page


def test_approving_a_legacy_pair(tmp_path: Path) -> None:
    """UM30: approving leaves keys unchanged: a client imported as pending works with the pair it came with."""
    world.api()
    owner = world.person("owner")
    row = {"owner": "owner", "name": "Old", "networks": "127.0.0.1", "key": "k2", "secret": "x", "state": "pending"}
    path = tmp_path / "clients.jsonl"
    path.write_text(json.dumps(row))
    call_command("import_clients", str(path), stdout=io.StringIO())
    client = ApiClient.objects.get()
    clients.approve(client, actor=world.reviewer())
    (pair,) = client.credentials.all()
    assert (pair.key, pair.revoked_at) == ("k2", None)
    text = mails.render_approved(Mail.objects.get(kind="usermgmt.approved", to=owner.email))
    assert "Key: k2" in text
    assert "set already" in text
    assert "/portal/reveal/" not in text
    answer = Client().get("/api/v1/users/username/mgatto", HTTP_AUTHORIZATION=world.basic("k2", "x"))
    assert answer.status_code == 404


def test_legacy_pairs_that_cannot_be_stored(tmp_path: Path) -> None:
    """UM47: what no database holds, and addresses that are none of the web's, are rejects."""
    world.api()
    world.person("owner")
    row = {"owner": "owner", "name": "Old", "networks": "127.0.0.1", "key": "k", "secret": "x"}
    bad = [{"name": "N\0"}, {"owner": "o\0"}, {"description": "\ud800"}, {"url": "javascript:alert(1)"}]
    path = tmp_path / "clients.jsonl"
    path.write_text("\n".join(json.dumps({**row, **change}) for change in bad))
    out, told = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit):
        call_command("import_clients", str(path), stdout=out, stderr=told)
    assert out.getvalue() == "0 created, 0 known, 4 rejected\n"
    assert [line.split(":")[0] for line in told.getvalue().splitlines()] == [
        "line 1, name",
        "line 2, owner",
        "line 3, description",
        "line 4, url",
    ]


def test_rejects_of_clients(tmp_path: Path) -> None:
    """UM47: the rejected lines of an import of pairs go into a report when asked; it holds no secret."""
    world.api()
    world.person("owner")
    row = {"owner": "owner", "name": "Old", "networks": "127.0.0.1", "key": "k", "secret": "s3cr3t"}
    path, report = tmp_path / "clients.jsonl", tmp_path / "rejects.csv"
    bad = [{**row, "owner": "=nobody"}, row, {**row, "key": "a:b"}, {**row, "state": 5}]
    path.write_text("\n".join(map(json.dumps, bad)) + "\n{\n")
    told = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("import_clients", str(path), "--rejects", str(report), stdout=io.StringIO(), stderr=told)
    assert (end.value.code, told.getvalue()) == (2, "")
    lines = list(csv.reader(io.StringIO(report.read_text())))
    assert [line[:3] for line in lines] == [
        ["line", "username", "field"],
        ["1", "=nobody", "owner"],
        ["3", "owner", "key"],
        ["4", "owner", "state"],
        ["5", "", ""],
    ]
    assert "s3cr3t" not in report.read_text()
    with pytest.raises(SystemExit) as end:
        call_command("import_clients", str(path), "--rejects", str(tmp_path / "no" / "where"), stderr=io.StringIO())
    assert end.value.code == 1


def seeded() -> str:
    out = io.StringIO()
    call_command("seed_usermgmt", stdout=out)
    return out.getvalue()


def test_seed(tmp_path: Path) -> None:
    """UM47: `seed_usermgmt` is idempotent."""
    with override_settings(DEBUG=True):
        key, secret = seeded().split("key ")[1].split(" (")[0].split(", secret ")
        before = directory()
        assert "already" in seeded()
        assert directory() == before
    response = Client().get("/api/v1/users/username/mgatt", HTTP_AUTHORIZATION=world.basic(key, secret))
    assert [user["id"] for user in response.json()["users"]] == ["1", "2"]
    assert set(ApiClient.objects.values_list("state", flat=True)) == set(ApiClient.State.values)
    assert len(seed.PEOPLE) >= 60
    with override_settings(DEBUG=False), pytest.raises(CommandError):
        call_command("seed_usermgmt")


def test_crowd() -> None:
    assert crowd.grow(300) == 300
    assert crowd.grow(300) == 0
    users = list(User.objects.filter(username__startswith="crowd-"))
    foreign = sum(not user.first_name.translate(str.maketrans("éêíóúáñüřşçıịă", "e" * 14)).isascii() for user in users)
    assert 0.18 < foreign / 300 < 0.45
    before = directory()
    imports.rebuild_search()
    assert directory() == before
