"""The pages of repositories and exports in Debian's Chromium: looking, building, following a build, deleting; without
scripts, at phone width, accessible (contract §7)."""

from __future__ import annotations

import io
import json
import pathlib
import re
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from core.models import Job
from exports.models import ExportBuild
from tests import house
from tests.browser.looks import audit, picture
from tests.exports import conftest
from tests.exports.conftest import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

world = conftest.world  # the same small world as the app's own tests
PASSWORD = "a-long-secret-9"


@pytest.fixture
def cut(world: World) -> World:
    world.fill()
    world.cut("v1", released=True, description="First")
    world.repo("Secret", public_access="None", name="Nobody's business")
    return world


def log_in(page: Page, base: str, username: str) -> None:
    page.goto(f"{base}/accounts/login/")
    page.get_by_label("User name or e-mail").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def test_build_and_delete(browser: Page, web: house.Web, start_worker: Callable[..., house.Worker], cut: World) -> None:
    """X60: pages lead from the list to a build, follow it by themselves, give the file, and delete it again."""
    base = web.base_url
    browser.goto(f"{base}/exports/")
    assert browser.get_by_text("Nobody's business").count() == 0
    audit(browser, "exports-list")
    browser.get_by_label("Search").fill("source one")
    browser.get_by_role("button", name="Search").click()
    browser.get_by_role("link", name="Source one").click()
    assert browser.get_by_role("button", name="Build").count() == 0
    audit(browser, "exports-repository")
    log_in(browser, base, "editor")
    browser.goto(f"{base}/exports{cut.path}")
    browser.get_by_role("button", name="Build").click()
    browser.get_by_text("The export is being built.").wait_for()
    browser.get_by_role("link", name="queued").click()
    assert browser.locator("strong").inner_text() == "queued"
    assert browser.get_by_role("progressbar").count() == 1
    browser.get_by_role("link", name="Stop that").click()  # WCAG 2.2.1: what moves by itself can be stopped
    assert browser.evaluate("fetch(location).then(answer => answer.headers.get('refresh'))") is None
    audit(browser, "exports-queued")
    browser.get_by_role("link", name="Refresh this page by itself").click()
    start_worker()
    browser.locator("strong", has_text="ready").wait_for()  # the page asks again by itself
    audit(browser, "exports-ready")
    build = ExportBuild.objects.get()
    assert browser.get_by_text(build.tgz_sha256).count() == 1
    with browser.expect_download() as coming:
        browser.get_by_role("link", name=".tgz").click()
    assert coming.value.suggested_filename == f"Src1_v1.{build.last_updated:%Y%m%d%H%M%S}.tgz"
    data = pathlib.Path(coming.value.path()).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["export.json"]
    browser.goto(f"{base}/exports{cut.path}")
    audit(browser, "exports-built")
    browser.get_by_role("button", name="Rebuild").click()
    browser.get_by_text("The export is being rebuilt").wait_for()
    house.wait_for(lambda: not Job.objects.filter(state__in=("queued", "running")).exists(), what="the rebuild")
    browser.goto(f"{base}/exports{cut.path}")
    browser.get_by_role("button", name="Delete export").click()
    browser.get_by_text("The export was deleted.").wait_for()
    assert browser.get_by_role("button", name="Build").count() == 1
    browser.goto(f"{base}/exports/help/")
    audit(browser, "exports-help")


def test_failure_is_told(browser: Page, web: house.Web, cut: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X60: the pages tell of a build that failed, and offer to build again; a private repository looks like none."""
    from core import jobs

    with monkeypatch.context() as patch:
        patch.setattr("exports.jobs.build._arrays", lambda _: 1 / 0)
        assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
        jobs.run_queued()
    log_in(browser, web.base_url, "outsider")
    browser.goto(f"{web.base_url}/exports{cut.path}")
    assert "internal_error" in browser.get_by_role("alert").inner_text()
    assert browser.get_by_role("button", name="Build").count() == 1
    assert browser.get_by_role("button", name="Delete export").count() == 0
    audit(browser, "exports-failed")
    browser.goto(f"{web.base_url}/exports/orgs/MyOrg/sources/Secret/")
    browser.get_by_role("heading", name="Not found").wait_for()
    audit(browser, "exports-missing")


def test_without_scripts(plain: Page, web: house.Web, cut: World) -> None:
    """X60: without scripts, on a phone: log in, build by form with CSRF token, see the state."""
    log_in(plain, web.base_url, "editor")
    plain.goto(f"{web.base_url}/exports{cut.path}")
    assert plain.locator("form input[name=csrfmiddlewaretoken]").count() >= 1
    plain.get_by_role("button", name="Build").click()
    plain.get_by_text("The export is being built.").wait_for()
    plain.get_by_role("link", name="queued").click()
    assert plain.locator("strong").inner_text() == "queued"
    plain.get_by_role("link", name="Source one").click()
    plain.get_by_role("button", name="Delete export").click()
    plain.get_by_text("The export was deleted.").wait_for()
    assert ExportBuild.objects.get().state == "cancelled"
    plain.goto(f"{web.base_url}/exports/?q=nothing-like-it")
    assert plain.get_by_text("Nothing found.").count() == 1


def test_other_exports(plain: Page, browser: Page, web: house.Web, worker: house.Worker, cut: World) -> None:
    """X60: without scripts, of a private repository: packages, tables, changes and parts are built and fetched."""
    cut.cut("v2")
    assert cut.api.put(cut.path, {"public_access": "None"}).status_code == 200
    log_in(plain, web.base_url, "editor")
    plain.goto(f"{web.base_url}/exports{cut.path}")
    plain.get_by_role("link", name="FHIR, tables, changes and parts of v2").click()
    path = plain.url
    browser.goto(path)
    audit(browser, "version")
    for title, ask in (
        ("FHIR package", lambda section: section.get_by_role("button", name="Build").click()),
        ("Tables", lambda section: section.get_by_role("button", name="Build").click()),
        ("Changes since v1", lambda _: _ask(plain, "Since", "v1", "Build the changes")),
        ("Part: names in en only", lambda _: _ask(plain, "Locales of names and descriptions", "en", "Build the part")),
    ):
        section = plain.locator("section").filter(has=plain.get_by_role("heading", name=title))
        ask(section)
        plain.get_by_text("The export is being built.").wait_for()
        _followed(plain)
        with plain.expect_download() as coming:
            section.get_by_role("listitem").first.get_by_role("link").click()
        assert coming.value.suggested_filename.startswith("Src1_v2_")
    browser.goto(path)
    audit(browser, "version-ready")
    _ask(browser, "Since", "never", "Build the changes")
    assert "neither a version" in browser.get_by_role("alert").inner_text()
    assert browser.get_by_label("Since", exact=True).input_value() == "never"
    audit(browser, "version-wrong")
    plain.goto(path)
    first = plain.locator("section").filter(has=plain.get_by_role("heading", name="Tables"))
    first.get_by_role("button", name="Delete export").click()
    plain.get_by_text("The export was deleted.").wait_for()
    assert first.get_by_role("listitem").count() == 0


def _ask(page: Page, label: str, words: str, button: str) -> None:
    page.get_by_label(label, exact=True).fill(words)
    page.get_by_role("button", name=button).click()


def _followed(page: Page) -> None:
    """Watch the page refresh itself until nothing is being built."""
    if page.get_by_role("link", name="Refresh this page by itself").count():
        page.get_by_role("link", name="Refresh this page by itself").click()
        page.get_by_role("link", name="Stop that").wait_for(state="detached", timeout=30_000)
    page.goto(page.url.partition("?")[0])


def test_from_a_file_to_an_export(browser: Page, web: house.Web, worker: house.Worker, world: World) -> None:
    """X59, X60: staff upload a file of a wrong kind and a right one; its page follows it to the repository, whose
    version is built and fetched."""
    world.staff.is_superuser = True
    world.staff.save()
    log_in(browser, web.base_url, "boss")
    browser.goto(f"{web.base_url}/admin/exports/importjob/")
    browser.get_by_role("link", name="Add import job").click()

    def upload(name: str, data: bytes) -> None:
        browser.set_input_files("#id_file", {"name": name, "mimeType": "application/octet-stream", "buffer": data})
        browser.locator("input[name=_save]").click()

    browser.get_by_label("New owner").fill("nobody")
    upload("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(100))
    browser.locator("#id_owner_error").wait_for()
    assert browser.get_by_label("New owner").input_value() == "nobody"
    browser.get_by_label("New owner").fill("")
    upload("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(100))
    browser.locator(".field-state", has_text="failed").wait_for()  # the page asks again by itself
    assert "not UTF-8" in browser.locator(".field-error").inner_text()
    picture(browser, "exports-admin-import-failed")
    browser.goto(f"{web.base_url}/admin/exports/importjob/add/")
    place = {"owner": world.org.mnemonic, "owner_type": "Organization"}
    row = {"source": "Up", "concept_class": "Finding", "names": [{"name": "Fever", "locale": "en"}], **place}
    records = [
        {"type": "Source", "id": "Up", "name": "Uploaded", **place},
        {"type": "Concept", "id": "C1", **row},
        {"type": "Concept", "id": "C2", **row, "names": []},
        {"type": "Source Version", "id": "v1", "source": "Up", "released": True, "description": "First", **place},
    ]
    upload("rows.json", "\n".join(map(json.dumps, records)).encode())
    browser.locator(".field-state", has_text="succeeded").wait_for()
    picture(browser, "exports-admin-import")
    assert "at least one name" in browser.locator(".field-troubles").inner_text()
    browser.locator(".field-brought a").click()
    browser.get_by_role("heading", name="Uploaded").wait_for()
    browser.get_by_role("button", name="Build").click()
    browser.get_by_role("link", name="FHIR, tables, changes and parts").click()
    _followed(browser)
    with browser.expect_download() as coming:
        browser.get_by_role("link", name="tgz").first.click()
    with tarfile.open(coming.value.path()) as tar:
        (member,) = tar.getmembers()
        found = json.load(tar.extractfile(member))  # type: ignore[arg-type]
    assert [concept["id"] for concept in found["concepts"]] == ["C1"]


def test_admin_actions(browser: Page, web: house.Web, cut: World) -> None:
    """X59: in the admin: export now, cancel, release; a token whose secret is shown once."""
    cut.staff.is_superuser = True
    cut.staff.save()
    base = f"{web.base_url}/admin"
    browser.goto(f"{base}/login/?next=/admin/exports/repoversion/")
    browser.fill("#id_username", "boss")
    browser.fill("#id_password", PASSWORD)
    browser.click("input[type=submit]")

    def act(action: str, told: str) -> None:
        browser.locator("input.action-select").first.check()
        browser.locator("select[name=action]").select_option(label=action)
        browser.get_by_role("button", name="Run").or_(browser.get_by_role("button", name="Go")).first.click()
        browser.get_by_text(told).wait_for()

    act("Release", "1 released.")
    act("Export now", "1 asked for.")
    assert ExportBuild.objects.get().state == "queued"
    browser.goto(f"{base}/exports/exportbuild/")
    act("Cancel", "1 cancelled.")
    assert ExportBuild.objects.get().state == "cancelled"
    browser.goto(f"{base}/exports/exportstoken/add/")
    browser.locator(".select2-selection").click()
    browser.locator(".select2-search__field").fill("outsider")
    browser.locator(".select2-results__option", has_text="outsider").click()
    browser.fill("#id_label", "tool")
    browser.locator("input[name=_save]").click()
    told = browser.get_by_text("it is shown only now").inner_text()
    secret = re.search("[0-9a-f]{40}", told)
    assert secret is not None
    assert conftest.Api(secret[0]).get("/user/").json()["username"] == "outsider"
    browser.goto(f"{base}/exports/exportstoken/")
    assert secret[0] not in browser.content()
    assert secret[0][:6] in browser.content()
