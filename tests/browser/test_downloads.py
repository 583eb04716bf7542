"""The pages of downloads in Debian's Chromium: with and without scripts, on a desktop and on a phone (contract 7)."""

from __future__ import annotations

import pathlib
import re
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from core import jobs
from core.models import User
from downloads.models import Download, IngestRun, Record, Recordset, RejectedRow
from tests import house
from tests.browser import staff
from tests.browser.looks import NARROW, WIDE, assert_fits, audit, picture
from tests.downloads import making

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

Look = Callable[[str], None]
PASSWORD = "quite unguessable 1"


@pytest.fixture
def base(web: house.Web, tmp_path: pathlib.Path) -> str:
    """The address of a service with three maples and two oaks, whose names try to be markup."""
    rows = making.specimens(3) + making.specimens(2, genus="Quercus", start=3)
    media = [{"coreid": "r0", "dcterms:identifier": "m0", "ac:accessURI": "https://media.example.org/0.jpg"}]
    making.bring_in(making.archive(tmp_path, rows, media), name="Herbario <b>Ñanay</b>")
    return str(web.base_url)


@pytest.fixture(params=["with scripts", "without scripts"])
def page(request: pytest.FixtureRequest, browser: Page) -> Any:
    """A page, once with scripts and once without."""
    if request.param == "without scripts":
        session = browser.context.new_cdp_session(browser)
        session.send("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.set_viewport_size(WIDE)
    return browser


@pytest.fixture
def look(request: pytest.FixtureRequest, page: Page) -> Callable[[str], None]:
    """Check what the page looks like, and keep it; axe itself is a script."""

    def with_scripts(name: str) -> None:
        audit(page, f"downloads-{name}")

    def without(_name: str) -> None:
        page.set_viewport_size(NARROW)
        assert_fits(page)
        page.set_viewport_size(WIDE)

    return with_scripts if request.node.callspec.params["page"] == "with scripts" else without


def test_from_form_to_file(page: Page, base: str, worker: house.Worker, look: Look) -> None:
    """D49: estimate, then request; the page of the download follows it to its file, which is what was asked for."""
    page.goto(f"{base}/")
    page.get_by_role("link", name=re.compile("download", re.IGNORECASE)).first.click()
    page.goto(f"{base}/downloads/")
    look("form")
    page.get_by_label("Genus").fill("acer")
    page.get_by_role("button", name="Estimate").click()
    estimate = page.locator("#estimate")
    assert "Exactly 3 records and 1 media records" in " ".join(estimate.inner_text().split())
    assert page.get_by_label("Genus").input_value() == "acer"
    look("estimate")
    assert not Download.objects.exists()
    page.get_by_label("File", exact=True).select_option("csv")
    page.get_by_label("Only these fields").fill("genus, data.dwc:locality")
    page.get_by_role("button", name="Request").click()
    assert re.fullmatch(rf"{re.escape(base)}/downloads/[0-9a-f-]{{36}}", page.url)
    page.get_by_text("Ready.").wait_for()
    look("ready")
    link = page.get_by_role("link", name=re.compile(r"\.csv$"))
    with urllib.request.urlopen(str(link.get_attribute("href")), timeout=30) as answer:
        assert len(making.ids(answer.read())) == 3
    assert '"genus": "acer"' in page.locator("pre").inner_text()


def test_faults_at_their_fields(page: Page, base: str, look: Look) -> None:
    """D49: a fault is shown at its field and in a summary that leads there; what was typed is kept."""
    page.goto(f"{base}/downloads/")
    page.get_by_label("Genus").fill("acer")
    page.get_by_label("Media query as JSON").fill('{"format": {"type": "prefx"}}')
    page.get_by_role("button", name="Request").click()
    wrong = page.locator(".field.wrong")
    assert wrong.count() == 1
    assert "The operator prefx is not known." in wrong.inner_text()
    assert page.get_by_label("Media query as JSON").input_value() == '{"format": {"type": "prefx"}}'
    assert page.get_by_label("Genus").input_value() == "acer"
    look("fault")
    page.get_by_role("alert").get_by_role("link").click()
    assert page.url.endswith("#id_mq")
    page.get_by_label("Media query as JSON").fill("")
    page.get_by_label("Tell this e-mail address").fill("nobody")
    page.get_by_role("button", name="Request").click()
    assert "The email address is not valid." in page.locator(".field.wrong").inner_text()
    assert not Download.objects.exists()


def test_cancel_by_who_asked(page: Page, base: str, chromium: BrowserContext, look: Look) -> None:
    """D49: the browser that asked may cancel; one without its cookie is not offered to and may not."""
    page.goto(f"{base}/downloads/")
    page.get_by_label("Genus").fill("quercus")
    page.get_by_role("button", name="Request").click()
    page.get_by_text("Queued.").wait_for()
    address, cookies = page.url, chromium.cookies()
    page.get_by_role("link", name="Keep it still").click()  # a page that renews itself may not be all there is
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    look("queued")
    chromium.clear_cookies()
    page.goto(address)
    assert page.get_by_role("button", name="Cancel").count() == 0
    chromium.add_cookies(cookies)  # type: ignore[arg-type]  # what was read may be set
    page.goto(address)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("This download was cancelled.").wait_for()
    assert page.url == address
    look("cancelled")
    assert Download.objects.get().state == Download.State.CANCELLED
    page.get_by_role("button", name="Request again").click()
    assert page.get_by_label("Query as JSON", exact=True).input_value() == '{"genus": "quercus"}'
    page.get_by_label("Collected from").fill("2020")
    page.get_by_label("Collected until").fill("1990")
    page.get_by_role("button", name="Request").click()
    assert "before “Collected from”" in page.locator(".field.wrong").inner_text()
    page.get_by_label("Collected from").fill("")
    page.get_by_label("Collected until").fill("")
    page.get_by_role("button", name="Request").click()
    page.get_by_text("Queued.").wait_for()
    assert page.url != address


def test_fields_and_recordsets(page: Page, base: str, look: Look) -> None:
    """D49: the pages of fields and recordsets are readable at any width; record data is text, never markup."""
    page.goto(f"{base}/downloads/fields")
    assert page.locator("#scientificname").count() == 1
    look("fields")
    page.get_by_role("link", name="Recordsets").click()
    look("recordsets")
    page.get_by_role("link", name="Herbario <b>Ñanay</b>").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Herbario <b>Ñanay</b>"
    assert page.locator("main b").count() == 0
    look("recordset")
    page.get_by_role("button", name="Request these records").click()
    assert page.get_by_label("Recordset", exact=True).input_value() == str(Recordset.objects.get().pk)


def test_expired(page: Page, base: str, look: Look) -> None:
    """D49: the page of an expired download is a 410 that offers to ask for the same again."""
    placed = making.place({"genus": "acer"}, form="tsv")
    Download.objects.filter(pk=placed.download.pk).update(
        state=Download.State.EXPIRED, expired_at=placed.download.created_at
    )
    answer = page.goto(f"{base}/downloads/{placed.download.pk}")
    assert answer is not None
    assert answer.status == 410
    look("expired")
    page.get_by_role("button", name="Request again").click()
    assert page.get_by_label("Query as JSON", exact=True).input_value() == '{"genus": "acer"}'
    assert page.get_by_label("File", exact=True).input_value() == "tsv"


def log_in(page: Page, base: str, path: str) -> None:
    User.objects.create_superuser("keeper", password=PASSWORD)
    staff.log_in(page, base, "keeper", PASSWORD, to=path)


def test_admin_upload(browser: Page, base: str, worker: house.Worker, tmp_path: pathlib.Path) -> None:
    """D50: an archive uploaded in the admin is brought in as a job; its run shows the report and the rows set aside."""
    browser.set_viewport_size(WIDE)
    rows = [*making.specimens(4, genus="Abies", start=10), {"id": "r10", "dwc:genus": "Picea"}]
    path = making.archive(tmp_path, rows, name="abies.zip", package="0b9c56e2-3d5c-4f4c-8f0e-0d6f2f3c1a11")
    log_in(browser, base, "/admin/downloads/recordset/")
    browser.get_by_role("link", name="Upload archive").click()
    picture(browser, "downloads-admin-upload")
    browser.get_by_role("button", name="Upload archive").click()
    picture(browser, "downloads-admin-upload-fault")
    assert not IngestRun.objects.filter(source="abies.zip").exists()
    browser.set_input_files("input[type=file]", str(path))
    browser.get_by_role("button", name="Upload archive").click()
    browser.wait_for_url("**/ingestrun/*/change/")
    run = IngestRun.objects.get(source="abies.zip")
    house.wait_for(lambda: IngestRun.objects.get(pk=run.pk).state == IngestRun.State.DONE, what="the ingest")
    browser.reload()
    text = browser.locator("#content").inner_text()
    picture(browser, "downloads-admin-run")
    assert "duplicate_identifier" in text
    assert Record.objects.filter(t_genus="abies").count() == 4
    assert RejectedRow.objects.filter(run=run).count() == 1
    browser.goto(f"{base}/admin/downloads/ingestrun/")
    picture(browser, "downloads-admin-runs")
    browser.goto(f"{base}/admin/downloads/ingestrun/{run.pk}/change/")
    browser.get_by_role("link", name="The rows that were set aside").click()
    browser.locator("#result_list tbody tr").wait_for()  # one, or this fails
    picture(browser, "downloads-admin-rejects")


def act(page: Page, name: str, ident: object) -> str:
    """Choose an action for one row of a list; what the admin says then."""
    page.locator(f"input.action-select[value='{ident}']").check()
    page.locator("select[name=action]").select_option(label=name)
    with page.expect_navigation():
        page.locator("button[name=index]").click()
    return str(page.locator(".messagelist").inner_text())


def test_admin_downloads(browser: Page, base: str) -> None:
    """D50: the list of downloads with its progress, and each of its actions."""
    browser.set_viewport_size(WIDE)
    done = making.place({"genus": "acer"}, email="ada@example.org").download
    waiting, failed = (making.place({"genus": genus}).download for genus in ("quercus", "abies"))
    assert done.build is not None
    assert done.build.job_id is not None
    jobs.run(done.build.job_id)
    Download.objects.filter(pk=failed.pk).update(state=Download.State.FAILED, error="The file could not be stored.")
    log_in(browser, base, "/admin/downloads/download/")
    browser.locator("#result_list").wait_for()
    rows = browser.locator("#result_list tbody tr")
    assert rows.count() == 3
    assert '{"genus": "acer"}' in rows.last.locator(".field-query").inner_text()
    assert "100.0" in rows.last.locator(".field-percent").inner_text()
    picture(browser, "downloads-admin-downloads")
    for action, download, said in (
        ("Pin", done, "1 pinned."),
        ("Unpin", done, "1 unpinned."),
        ("Send mails and webhooks again", done, "1 told again."),
        ("Cancel", waiting, "1 cancelled."),
        ("Retry failed", failed, "1 retried."),
        ("Expire now", done, "1 expired."),
    ):
        assert said in act(browser, action, download.pk), action
    for download, state in ((waiting, Download.State.CANCELLED), (failed, Download.State.WAITING)):
        assert Download.objects.get(pk=download.pk).state == state
    assert Download.objects.get(pk=done.pk).expires_at <= timezone.now()
    assert "0 cancelled" in act(browser, "Cancel", done.pk)
    picture(browser, "downloads-admin-acted")
    browser.goto(f"{base}/admin/downloads/download/{done.pk}/change/")
    assert "waiting" not in browser.locator(".field-build_itself").inner_text()
    picture(browser, "downloads-admin-download")
    browser.goto(f"{base}/admin/downloads/download/{done.pk}/history/")
    assert "unpin" in browser.locator("#content").inner_text()
