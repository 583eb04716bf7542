"""The catalogue and the library's admin in Debian's Chromium: languages, no scripts, phone width, keyboard, axe."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nnels import models
from nnels.jobs import catalogue
from nnels.services import tokens
from tests import house
from tests.browser import staff
from tests.browser.looks import audit, picture
from tests.nnels import conftest as library

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "notReal"
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"


@pytest.fixture
def shelves(web: house.Web) -> str:
    """The address of a library with titles in several scripts, a verified and an unverified reader."""
    library.moby(
        description="A captain hunts a white whale across the seas of the world. " * 6,
        narrators=["Reader, Ann"],
        narration="human",
        duration=7230,
        publisher="Harper",
        publisher_place="New York",
        series="Classics",
        files={"epub": b"book" * 400, "daisy202": b"sound" * 900, "txt": b"one", "txt:2": b"two"},
        accessibility={
            "accessMode": ["textual", "auditory"],
            "accessibilityFeature": ["tableOfContents", "structuralNavigation"],
            "accessibilityHazard": ["none"],
            "accessibilitySummary": "Text with headings and a table of contents.",
            "conformsTo": ["EPUB Accessibility 1.1 - WCAG 2.1 Level AA"],
        },
    )
    library.make_item("בראשית", languages=["heb"], creators=["אלמוני"], files={"txt": b"x"}, rights="open")
    library.make_item(LONG, languages=["deu"], creators=[LONG], files={"brf": b"x"})
    for number in range(40):
        library.make_item(f"Roman {number:02}", languages=["fra"], creators=["Roy, Gabrielle"], files={})
    library.make_user("reader", verified=True)
    library.make_user("unverified")
    return str(web.base_url)


def log_in(page: Page, name: str) -> None:
    page.get_by_label("User name or e-mail").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def test_find_and_download(browser: Page, shelves: str) -> None:
    """Beyond 7: search → title → log in → download, every page accessible."""
    browser.context.clear_cookies()
    browser.goto(f"{shelves}/nnels/")
    audit(browser, "nnels-home")
    browser.get_by_label("Title, creator, subject or ISBN").fill("whaling")
    browser.get_by_role("button", name="Search").click()
    browser.get_by_text("1 title", exact=True).wait_for()
    browser.get_by_role("link", name="Moby-Dick").click()
    audit(browser, "nnels-title")
    assert browser.locator("a[href*='/files/']").count() == 0
    browser.get_by_role("link", name="Log in to download").click()
    log_in(browser, "reader")
    browser.wait_for_url("**/nnels/titles/6804")
    audit(browser, "nnels-title-reader")
    with browser.expect_download() as started:
        browser.get_by_role("link", name="Download Plain text, part 2").click()
    assert started.value.suggested_filename == "Moby_Dick_9780142437247_2.txt"
    assert pathlib.Path(started.value.path()).read_bytes() == b"two"
    assert models.UrlIssue.objects.get().purpose == "page"
    browser.get_by_role("button", name="Log out").click()
    browser.goto(f"{shelves}/nnels/titles/6804")
    browser.get_by_role("link", name="Log in to download").wait_for()


def test_unverified_and_lost(browser: Page, shelves: str) -> None:
    """Beyond 7: who may not have a file, a search without hits, a bad search and a missing page are told so."""
    browser.context.clear_cookies()
    browser.goto(f"{shelves}/accounts/login?next=/nnels/titles/6804")
    log_in(browser, "unverified")
    browser.get_by_text("Ask your library to verify your account.").wait_for()
    audit(browser)
    for path, name in (("/nnels/?q=mobby", "nothing"), (f"/nnels/?q={'a+' * 40}", "too-long"), ("/nnels/x", "missing")):
        browser.goto(f"{shelves}{path}")
        audit(browser, f"nnels-{name}")
    browser.context.clear_cookies()


def test_french(browser: Page, shelves: str) -> None:
    """Beyond 7: the switch turns every page French and is remembered; titles keep their own language."""
    browser.context.clear_cookies()
    browser.goto(f"{shelves}/nnels/?q=roman")
    browser.get_by_role("link", name="Français").click()
    assert browser.locator("html").get_attribute("lang") == "fr"
    browser.get_by_text("40 titres").wait_for()
    audit(browser)
    browser.get_by_role("link", name="Suivante").click()
    browser.get_by_text("Page 2 sur 2").wait_for()
    picture(browser, "nnels-french")
    browser.goto(f"{shelves}/nnels/titles/6804")
    assert browser.locator("html").get_attribute("lang") == "fr"
    audit(browser, "nnels-french-title")
    browser.goto(f"{shelves}/nnels/?language=heb")
    assert browser.get_by_role("heading", name="בראשית").get_attribute("lang") == "he"
    browser.context.clear_cookies()


def test_without_scripts_on_a_phone(plain: Page, shelves: str) -> None:
    """Beyond 7: without scripts, 320 pixels wide: nothing scrolls sideways and a reader gets a link."""
    plain.goto(f"{shelves}/nnels/?language=deu")
    picture(plain, "nnels-narrow")
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not plain.evaluate(wide)
    plain.get_by_role("link", name=LONG).click()
    plain.get_by_role("heading", name=LONG, level=1).wait_for()
    assert not plain.evaluate(wide)
    picture(plain, "nnels-narrow-title")
    plain.get_by_role("link", name="Log in to download").click()
    log_in(plain, "reader")
    link = plain.get_by_role("link", name="Download Braille (BRF)")
    with plain.expect_download() as started:
        link.click()
    assert started.value.suggested_filename.endswith(".brf")


def test_by_keyboard(browser: Page, shelves: str) -> None:
    """Beyond 7: the keyboard alone searches and opens a title; focus is visible, the skip link comes first."""
    browser.context.clear_cookies()
    browser.goto(f"{shelves}/nnels/")
    keys = browser.keyboard
    keys.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the content"
    keys.press("Enter")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            keys.press("Tab")
            if browser.evaluate("document.activeElement === document.body"):
                continue  # past the last element, on the way to the first
            assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            if browser.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way to {selector} by keyboard")

    tab_to("#q")
    keys.type("moby dick")
    keys.press("Enter")
    browser.wait_for_url("**/nnels/?q=moby+dick*")
    tab_to(".titles a")
    keys.press("Enter")
    browser.wait_for_url("**/nnels/titles/6804")


def test_admin(browser: Page, shelves: str) -> None:
    """N51: staff look at a title with its files, upload one, verify a reader, see and revoke a token pair."""
    browser.context.clear_cookies()
    library.make_user("operator", is_staff=True, is_superuser=True)
    account = models.Reader.objects.get(user__username="reader").user
    tokens.login(account.pk)
    staff.log_in(browser, shelves, "operator", PASSWORD, to="/admin/nnels/item/")
    browser.get_by_role("link", name="Moby-Dick").wait_for()
    picture(browser, "nnels-admin-items")
    browser.get_by_role("link", name="Moby-Dick").click()
    picture(browser, "nnels-admin-item")
    browser.get_by_role("link", name="signed link").nth(3).wait_for()
    assert browser.get_by_role("link", name="signed link").count() == 4
    browser.select_option("#id_files-4-format", "txt")
    browser.fill("#id_files-4-part", "3")
    browser.set_input_files(
        "#id_files-4-upload", {"name": "three.txt", "mimeType": "text/plain", "buffer": b"Three little words."}
    )
    browser.get_by_role("button", name="Save and continue editing").click()
    browser.get_by_text("was changed successfully").wait_for()
    added = models.File.objects.get(item_id=6804, format="txt", part=3)
    assert added.blob_key == catalogue.blob_key(library.MOBY_UUID, added.sha256, "txt")

    browser.goto(f"{shelves}/admin/nnels/reader/")
    browser.get_by_label("Select this object for an action - reader").check()
    browser.select_option("select[name=action]", "withdraw")
    picture(browser, "nnels-admin-readers")
    browser.get_by_role("button", name="Go").click()
    browser.get_by_text("1 changed.").wait_for()
    assert not models.Reader.objects.get().print_disability_verified

    browser.goto(f"{shelves}/admin/nnels/tokenpair/")
    picture(browser, "nnels-admin-tokens")
    browser.locator("input.action-select").check()
    browser.select_option("select[name=action]", "revoke")
    browser.get_by_role("button", name="Go").click()
    browser.get_by_text("1 revoked.").wait_for()
    browser.goto(f"{shelves}/admin/nnels/issuetotal/")
    picture(browser, "nnels-admin-totals")
    browser.get_by_label("From").fill("2026-01")
    with browser.expect_download() as started:
        browser.get_by_role("button", name="Download").click()
    assert started.value.suggested_filename == "uses.csv"
    browser.context.clear_cookies()


def test_admin_faults_and_import(
    browser: Page, start_web: Callable[..., house.Web], worker: house.Worker, tmp_path: pathlib.Path
) -> None:
    """N51: a title that is all wrong keeps what was typed, with every fault at its field; a folder that is not there is
    refused and a good one is imported to its end, with a report of what was rejected."""
    base = start_web(NNELS_IMPORT_ROOT=str(tmp_path)).base_url
    library.make_user("operator", is_staff=True, is_superuser=True)
    browser.context.clear_cookies()
    browser.goto(f"{base}/admin/login/?next=/admin/nnels/item/add/")
    browser.fill("#id_username", "operator")
    browser.fill("#id_password", PASSWORD)
    browser.click("input[type=submit]")
    typed = {
        "label": "Wrong",
        "uuid": "none",
        "creators": "x" * 600,
        "languages": "elvish",
        "isbn": "123",
        "published_date": "31.12.1999",
        "accessibility": '{"accessibilitySummary": "\\u0000"}',
    }
    for name, value in typed.items():
        browser.fill(f"#id_{name}", value)
    browser.set_input_files("#id_files-0-upload", {"name": "x.epub", "mimeType": "x/y", "buffer": b"no book"})
    browser.select_option("#id_files-0-format", "epub")
    browser.click("input[name=_save]")
    browser.locator(".errornote").wait_for()
    assert {name for name in typed if browser.locator(f"#id_{name}_error").count()} == {*typed} - {"label"}
    assert "x.epub" in browser.locator("#files-group .errorlist").first.inner_text()
    assert {name: browser.input_value(f"#id_{name}") for name in typed} == typed
    picture(browser, "nnels-admin-item-wrong")
    assert not models.Item.objects.exists()

    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "A_small_book.txt").write_text("Once upon a time.")
    (folder / "noise.bin").write_bytes(bytes(range(256)))
    browser.goto(f"{base}/admin/nnels/importrun/add/")
    browser.fill("#id_folder", "../books")
    browser.click("input[name=_save]")
    browser.locator("#id_folder_error").wait_for()
    assert browser.input_value("#id_folder") == "../books"
    browser.fill("#id_folder", "books")
    browser.click("input[name=_save]")
    browser.get_by_text("books was asked for.").wait_for()

    def ended() -> bool:
        browser.reload()
        return browser.locator("td.field-state", has_text="succeeded").count() == 1

    house.wait_for(ended, what="the import")
    browser.locator("#result_list tbody th a").click()
    assert browser.locator(".field-rejected_count").inner_text().split()[-1] == "1"
    picture(browser, "nnels-admin-import")
    with browser.expect_download() as started:
        browser.get_by_role("link", name="report.csv").click()
    assert "noise.bin" in pathlib.Path(started.value.path()).read_text()
    assert models.Item.objects.get().label == "A small book"
    browser.context.clear_cookies()
