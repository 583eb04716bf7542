"""The demo's content, commands and check."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from core.models import ApiToken, User
from exports import demo
from exports.models import ExportBuild
from exports.services import seeding, tokens
from tests import house
from tests.exports.conftest import Api, World
from tests.exports.test_export import inside
from tests.exports.test_imports import concept, lines


def test_seed(transactional_db: None, web: house.Web, worker: house.Worker, tmp_path: Path) -> None:
    """X52: the seed is idempotent, its curl lines answer as documented, its archive comes back through import."""
    told: list[str] = []
    for _ in range(2):
        seeding.world(told.append)
    assert told[0] == told[5] == "5 repositories, 6 versions"
    token = tokens.issue(User.objects.get(username="demo"))[1]
    assert demo.check(web.base_url, {"exports_token": token}).startswith("exports: DEMO v1.1 built and fetched once")
    assert len(demo.lines(web.base_url, {"exports_token": token})) == 5
    api = Api(token)
    assert api.get("/orgs/CIEL/sources/CIEL/v2016-08-22/export/").status_code == 303
    assert api.get("/orgs/CIEL/collections/StarterSet/v1.2/export/").status_code == 303
    assert api.post("/orgs/CIEL/sources/CIEL/v2.2/export/").status_code == 202
    assert api.delete("/orgs/CIEL/sources/CIEL/v2.2/export/").status_code == 200
    assert api.delete("/orgs/CIEL/sources/CIEL/v2.2/export/").status_code == 204
    assert api.get("/orgs/DemoHealth/sources/DEMO/latest/").json()["id"] == "v1.0"
    assert Client().get("/orgs/DemoHealth/sources/Private/").status_code == 401
    file = tmp_path / "demo.tgz"
    call_command("export_ocl", "/orgs/DemoHealth/sources/DEMO/", "v1.0", "--out", str(file))
    before = json.loads(inside(file.read_bytes()))
    report = tmp_path / "report.json"
    call_command("import_ocl", str(file), "--owner", "orgs/Copy", "--report", str(report))
    assert len(json.loads(report.read_text())["created"]) == 521
    call_command("export_ocl", "/orgs/Copy/sources/DEMO/", "v1.0", "--out", str(file))
    after = json.loads(inside(file.read_bytes()))
    for kind in ("concepts", "mappings"):
        moved = json.loads(
            json.dumps(before[kind]).replace("/orgs/DemoHealth/", "/orgs/Copy/").replace('"DemoHealth"', '"Copy"')
        )
        assert [row["id"] for row in after[kind]] == [row["id"] for row in moved]
        assert [row["url"] for row in after[kind]] == [row["url"] for row in moved]
        assert [row["version"] for row in after[kind]] == [row["version"] for row in moved]


def test_commands(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """X59: tokens are issued and revoked at the command line; bad files and names end with the right status."""
    call_command("ocl_token", "editor", label="cli")
    secret = capsys.readouterr().out.strip()
    assert Api(secret).get("/user/").status_code == 200
    call_command("ocl_token", "editor", revoke=secret[:6])
    assert Api(secret).get("/user/").status_code == 401
    assert ApiToken.objects.get(label="cli").revoked_at is not None
    with pytest.raises(CommandError):
        call_command("ocl_token", "nobody")
    with pytest.raises(CommandError):
        call_command("export_ocl", world.path, "v9")
    bad = tmp_path / "bad.json"
    bad.write_text("hello")
    with pytest.raises(CommandError):
        call_command("import_ocl", str(bad))
    bad.write_text('{"type": "Nonsense"}\n')
    with pytest.raises(SystemExit) as ended:
        call_command("import_ocl", str(bad))
    assert ended.value.code == 2


def test_export_of_others(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X59: export_ocl takes a build somebody else has asked for, and says why one failed."""
    world.fill()
    world.cut("v1")
    assert world.api.post(f"{world.path}v1/export/").status_code == 202
    file = tmp_path / "v1.zip"
    call_command("export_ocl", world.path, "v1", "--format", "zip", "--out", str(file))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == ExportBuild.objects.get().zip_sha256
    world.cut("v2")
    monkeypatch.setattr("exports.jobs.build._arrays", lambda _: 1 / 0)
    with pytest.raises(CommandError, match="internal_error: Something went wrong"):
        call_command("export_ocl", world.path, "v2")


def test_import_tells(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """X54: import_ocl shows how far it is, and refuses an owner that is none."""
    monkeypatch.setattr("exports.management.commands.import_ocl.STEP", 2)
    monkeypatch.setattr("exports.jobs.imports.work.BATCH", 2)
    file = tmp_path / "rows.json"
    file.write_bytes(lines(*(concept(f"C{number}") for number in range(5))))
    call_command("import_ocl", str(file))
    told = capsys.readouterr()
    assert told.err.splitlines() == ["2 of 5 records", "4 of 5 records"]
    assert told.out.startswith("Processed: 5 of 5 | Created: 5")
    for owner in ("MyOrg", "orgs/", "teams/x", "orgs/a/b"):
        with pytest.raises(CommandError, match="--owner"):
            call_command("import_ocl", str(file), "--owner", owner)


def test_lists_cost_little(world: World, settings: Settings) -> None:
    """X58: a page of a list takes at most four statements; X37: Compress works on lists; X12 on pages too."""
    world.fill()
    world.api.get("/user/")
    with CaptureQueriesContext(connection) as seen:
        assert world.api.get(f"{world.path}concepts/").status_code == 200
    assert len(seen.captured_queries) <= 4, seen.captured_queries
    for path in (f"{world.path}concepts/", "/orgs/", world.path):
        answer = world.api.get(f"{path}?limit=1", Compress="true")
        data = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer["Content-Type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(data)) as box:
            assert json.loads(box.read("export.json"))
    settings.EXPORTS_REQUIRE_AUTH = True
    assert "Source one" not in Client().get("/exports/").content.decode()
