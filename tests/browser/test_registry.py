"""The registry's pages and admin in Debian's Chromium: the whole story, accessibility, no scripts (contract 7, 3)."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from core.models import Mail, User
from registry.demo import source as demo_source
from registry.formats import samples
from registry.models import Account, Harvest, HarvestRun, Organization, Record
from tests import house
from tests.browser import staff
from tests.browser.looks import audit, picture
from tests.house import wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "sand-and-sea-42"


@pytest.fixture
def source() -> demo_source.Source:
    """Forty records, some bad, one with a long Arabic title."""
    made = demo_source.Source()
    for number in range(40):
        made.put(f"station_{number:03d}.xml", samples.iso19139(number))
    made.put("invalid.xml", samples.iso19139(50).replace(b"gmd:dateStamp", b"gmd:dateOfStamp"))
    made.put("malformed.xml", samples.iso19139(51)[:-40])
    made.put("service.xml", samples.service(57))
    return made


@pytest.fixture
def served(source: demo_source.Source) -> Iterator[demo_source.Server]:
    with demo_source.Server(source) as server:
        yield server


@pytest.fixture
def registry(web: house.Web, worker: house.Worker, served: demo_source.Server) -> str:
    """The address of a registry with two organisations and a worker."""
    Organization.objects.create(name="PacIOOS", slug="PacIOOS", description="Pacific Islands")
    Organization.objects.create(name="AOOS", slug="AOOS")
    return str(web.base_url)


@pytest.fixture
def member(registry: str) -> User:
    """An approved member of PacIOOS."""
    user = User.objects.create_user("maria", "maria@example.org", PASSWORD, is_validated=True, first_name="María")
    user.addresses.update(is_verified=True)
    Account.objects.create(user=user, approved=True).organizations.add(Organization.objects.get(slug="PacIOOS"))
    return user


@pytest.fixture
def harvest(registry: str, served: demo_source.Server) -> Harvest:
    return Harvest.objects.create(
        name="Buoys of the bay",
        url=served.url("nginx"),
        organization=Organization.objects.get(slug="PacIOOS"),
        publish=True,
    )


def log_in(page: Page, base: str, username: str = "maria") -> None:
    page.goto(f"{base}/registry/login")
    page.get_by_label("User name or e-mail").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def log_in_to_admin(page: Page, base: str, *, to: str) -> None:
    User.objects.create_superuser("root", "root@example.org", PASSWORD)
    staff.log_in(page, base, "root", PASSWORD, to=to)


def ended(run: HarvestRun) -> bool:
    run.refresh_from_db()
    return run.state not in HarvestRun.ACTIVE


def wait_for_end() -> HarvestRun:
    """The newest run, once it has ended."""
    run = HarvestRun.objects.latest("id")
    wait_for(lambda: ended(run), what="the end of the run")
    return run


def test_register_and_add(browser: Page, registry: str, served: demo_source.Server) -> None:
    """X51: register, confirm the address, be approved, log in, preview an address and add it as a source."""
    browser.goto(f"{registry}/registry/")
    audit(browser, "registry-home")
    browser.get_by_role("link", name="Register").click()
    audit(browser, "registry-register")
    browser.get_by_label("E-mail address").fill("nina@example.org")
    browser.get_by_label("Name", exact=True).fill("Nina Kāne")
    browser.get_by_label("Organisation(s)").select_option(label="PacIOOS")
    browser.get_by_label("Contact person").fill("Nina Kāne")
    browser.get_by_label("Contact e-mail").fill("nina@example.org")
    browser.get_by_label("Password").fill(PASSWORD)
    browser.get_by_role("button", name="Register").click()
    browser.get_by_role("heading", name="Check your mail").wait_for()
    audit(browser)
    link = re.search(r"\S+/registry/verify\?key=\S+", Mail.objects.get(kind="registry.verify").body)
    assert link
    browser.goto(registry + link[0][link[0].index("/registry/verify") :])
    audit(browser, "registry-verify")
    browser.get_by_role("button", name="Confirm").click()
    browser.get_by_text("Your address is confirmed.").wait_for()

    log_in_to_admin(browser, registry, to="/admin/registry/account/")
    browser.locator("tr", has_text="nina").locator("input[type=checkbox]").check()
    browser.locator("select[name=action]").select_option(label="Approve")
    browser.get_by_role("button", name="Run").or_(browser.get_by_role("button", name="Go")).click()
    browser.get_by_text("1 approved.").wait_for()
    browser.context.clear_cookies()

    log_in(browser, registry, "nina@example.org")
    browser.goto(f"{registry}/registry/sources")
    browser.get_by_role("link", name="Preview an address").click()
    browser.get_by_label("Address").fill(served.url("nginx"))
    browser.get_by_role("button", name="Preview").click()
    browser.get_by_text("station_000.xml").first.wait_for()
    audit(browser, "registry-preview")
    assert not Harvest.objects.exists()
    browser.get_by_role("link", name="Add this source").click()
    assert browser.get_by_label("Address", exact=True).input_value() == served.url("nginx")
    browser.get_by_label("Name", exact=True).fill("Buoys of the bay")
    browser.get_by_label("Organisation", exact=True).select_option(label="PacIOOS")
    audit(browser, "registry-add")
    browser.get_by_role("button", name="Save").click()
    browser.get_by_role("heading", name="Buoys of the bay").wait_for()
    audit(browser, "registry-source-new")
    assert not HarvestRun.objects.exists(), "not published, so not run"


def test_wrong_values(browser: Page, registry: str, member: User, harvest: Harvest) -> None:
    """X51: a member who logs in comes back to the page; of a source that is all wrong the summary takes the focus,
    leads to each field, and nothing typed is lost; an address that answers nothing is told in the preview."""
    browser.goto(f"{registry}/registry/sources")
    browser.get_by_role("link", name="Log in").click()
    browser.get_by_label("User name or e-mail").fill("maria")
    browser.get_by_label("Password").fill("wrong")
    browser.get_by_role("button", name="Log in").click()
    assert browser.evaluate("document.activeElement.id") == "form-errors"
    browser.get_by_label("Password").fill(PASSWORD)
    browser.get_by_role("button", name="Log in").click()
    assert browser.url == f"{registry}/registry/sources"
    browser.get_by_role("link", name="Preview an address").click()
    browser.get_by_label("Address").fill("http://127.0.0.1:9/")
    browser.get_by_role("button", name="Preview").click()
    browser.get_by_text("The connection failed.").wait_for()
    browser.goto(f"{registry}/registry/sources/add")
    browser.evaluate("document.querySelector('main form').noValidate = true")
    typed = {
        "Name": "Mine",
        "Address": harvest.url,
        "Interval": "9999",
        "Contact e-mail": "nobody",
        "CKAN harvest page": "javascript:alert(1)",
        "No names like": "x" * 300,
        "User name at the source": "somebody",
    }
    for label, value in typed.items():
        browser.get_by_label(label, exact=True).fill(value)
    browser.get_by_role("button", name="Save").click()
    assert browser.evaluate("document.activeElement.id") == "form-errors"
    links = browser.get_by_role("alert").get_by_role("link").all_inner_texts()
    assert links == [
        "Address", "Organisation", "Interval", "Contact e-mail", "CKAN harvest page", "No names like",
        "Password at the source",
    ]  # fmt: skip
    assert browser.locator(".field.wrong").count() == len(links)
    for label, value in typed.items():
        assert browser.get_by_label(label, exact=True).input_value() == value
    audit(browser, "registry-wrong")


def test_harvest_and_read(browser: Page, registry: str, member: User, harvest: Harvest, source: Any) -> None:
    """X51: a member harvests an unpublished source, watches it, reads records and reports, and revokes a token."""
    Harvest.objects.update(publish=False)
    log_in(browser, registry)
    browser.goto(f"{registry}/registry/sources/{harvest.uid}")
    source.delay = 0.5
    browser.get_by_role("button", name="Harvest now").click()
    browser.get_by_text("This source is not published").wait_for()
    audit(browser, "registry-harvest-now")
    browser.get_by_role("button", name="Harvest now").click()
    run = wait_for(lambda: HarvestRun.objects.filter(state="running").first(), what="the run")
    browser.locator("progress[value]").wait_for()
    picture(browser, "registry-running")
    source.delay = 0
    wait_for(lambda: ended(run), what="the end of the run")
    browser.get_by_text("State: ok").wait_for()
    audit(browser, "registry-run")
    assert (run.state, run.good, run.bad) == ("ok", 41, 2)
    with browser.expect_download() as download:
        browser.get_by_role("link", name="CSV").click()
    report = pathlib.Path(download.value.path()).read_text()
    assert report.startswith("stage,severity,code,url,identifier,line,column,message")
    assert "malformed.xml" in report

    browser.get_by_role("link", name="Buoys of the bay").click()
    audit(browser, "registry-source")
    browser.get_by_role("link", name="Records").click()
    audit(browser, "registry-records")
    browser.get_by_label("Show").select_option("bad")
    browser.get_by_role("button", name="Show").click()
    assert browser.locator("tbody tr").count() == 2
    browser.get_by_label("Show").select_option("")
    browser.get_by_label("Search").fill("درجة حرارة")
    browser.get_by_role("button", name="Show").click()
    browser.locator("tbody tr a").first.click()
    audit(browser, "registry-record")
    browser.goto(f"{registry}/registry/records/{Record.objects.get(url__endswith='invalid.xml').pk}")
    audit(browser, "registry-record-bad")

    token = browser.request.post(
        f"{registry}/api/v2/login", form={"email": "maria@example.org", "password": PASSWORD}
    ).json()["data"]
    headers = {"X-Auth-Token": token["authToken"], "X-User-Id": token["userId"]}
    browser.goto(f"{registry}/registry/account")
    audit(browser, "registry-account")
    browser.get_by_role("button", name="Revoke").click()
    browser.get_by_text("The token was revoked.").wait_for()
    assert browser.request.get(f"{registry}/api/v2/logout", headers=headers).status == 401


def test_cancel_and_accept(browser: Page, registry: str, member: User, harvest: Harvest, source: Any) -> None:
    """X28, X25: a member cancels a run and accepts a shrunken source in the browser."""
    log_in(browser, registry)
    browser.goto(f"{registry}/registry/sources/{harvest.uid}")
    source.delay = 1.0
    browser.get_by_role("button", name="Harvest now").click()
    run = wait_for(lambda: HarvestRun.objects.filter(state="running").first(), what="the run")
    browser.get_by_role("button", name="Cancel").click()
    wait_for(lambda: ended(run), what="the cancellation")
    browser.get_by_text("State: cancelled").wait_for()
    audit(browser, "registry-cancelled")
    source.delay = 0
    for files in (dict(source.files), dict(list(source.files.items())[:3])):
        source.files = files
        browser.goto(f"{registry}/registry/sources/{harvest.uid}")
        browser.get_by_role("button", name="Harvest now").click()
        wait_for_end()
    browser.get_by_text("shrink_guard").first.wait_for()
    audit(browser, "registry-shrunk")
    browser.get_by_role("button", name="Accept and run again").click()
    assert (wait_for_end().state, Record.objects.count()) == ("ok", 3)
    for path in ("runs", "records", "edit", "delete"):
        browser.goto(f"{registry}/registry/sources/{harvest.uid}/{path}")
        audit(browser, path)
    browser.goto(f"{registry}/registry/sources")
    audit(browser, "registry-sources")
    browser.goto(f"{registry}/registry/nothing")
    audit(browser)


def test_without_scripts(plain: Page, registry: str, member: User, harvest: Harvest, source: Any) -> None:
    """X51: pages work without scripts at phone width: filter, add with an error, harvest, follow, delete."""
    log_in(plain, registry)
    plain.goto(f"{registry}/registry/sources")
    plain.get_by_label("Search").fill("no such")
    plain.get_by_role("button", name="Show").click()
    plain.get_by_text("No source found.").wait_for()
    plain.get_by_role("link", name="Add a source").click()
    plain.get_by_label("Name", exact=True).fill("Twice")
    plain.get_by_label("Address", exact=True).fill(harvest.url)
    plain.get_by_label("Organisation", exact=True).select_option(label="PacIOOS")
    plain.get_by_role("button", name="Save").click()
    plain.get_by_role("alert").first.wait_for()
    picture(plain, "registry-add-error-320")
    plain.goto(f"{registry}/registry/sources/{harvest.uid}")
    plain.get_by_role("button", name="Harvest now").click()
    plain.get_by_text("State: ok").wait_for()  # the page refreshes itself by <meta>
    picture(plain, "registry-run-plain-320")
    plain.goto(f"{registry}/registry/sources/{harvest.uid}")
    plain.get_by_role("link", name="Delete").click()
    plain.get_by_role("button", name="Delete").click()
    plain.get_by_text("The source is being deleted.").wait_for()
    wait_for(lambda: not Harvest.objects.exists(), what="the deletion")


def test_admin(browser: Page, registry: str, harvest: Harvest, source: Any) -> None:
    """X52: admin starts, follows, cancels and pauses harvests, accepts a shrink, and shows runs and the chart."""
    page = f"/admin/registry/harvest/{harvest.pk}/change/"
    log_in_to_admin(browser, registry, to=page)
    source.delay = 1.0
    browser.get_by_role("button", name="Harvest now").click()
    browser.get_by_text("1 queued.").wait_for()
    run = wait_for(lambda: HarvestRun.objects.filter(state="running").first(), what="the run")

    def shows_progress() -> bool:
        browser.reload()
        return bool(browser.locator(".field-history").get_by_text(re.compile(r"\d+ of 43")).count())

    wait_for(shows_progress, what="progress")
    picture(browser, "registry-admin-running")
    browser.get_by_role("button", name="Cancel the run").click()
    wait_for(lambda: ended(run), what="the cancellation")
    assert run.state == "cancelled"
    browser.get_by_role("button", name="Pause").click()
    browser.get_by_text("1 paused.").wait_for()
    browser.get_by_role("button", name="Resume").click()
    browser.get_by_text("1 resumed.").wait_for()
    source.delay = 0
    for files in (dict(source.files), dict(list(source.files.items())[:3])):
        source.files = files
        browser.get_by_role("button", name="Harvest now").click()
        browser.get_by_text("1 queued.").wait_for()
        wait_for_end()
    browser.reload()
    browser.locator(".field-history").get_by_text("shrink_guard").wait_for()
    browser.get_by_role("button", name="Accept shrink").click()
    browser.get_by_text("1 queued.").wait_for()
    assert wait_for_end().state == "ok"
    browser.reload()
    assert browser.locator(".field-good_and_bad meter").count() == 2
    picture(browser, "registry-admin-harvest")
    browser.locator(".field-history a").first.click()
    picture(browser, "registry-admin-run")
    browser.goto(f"{registry}/admin/registry/harvest/")
    picture(browser, "registry-admin-harvests")
    browser.get_by_role("link", name="Check documents or a source").click()
    browser.get_by_label("or address of a source").fill(harvest.url)
    browser.get_by_role("button", name="Upload").click()
    browser.get_by_text("Whole report (CSV)").wait_for()
    picture(browser, "registry-admin-check")
