"""The portal in Debian's Chromium: the whole story, accessibility, without scripts, by keyboard (contract 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import requests

from core.models import User
from tests import house
from tests.browser.looks import audit, picture
from tests.usermgmt import world
from usermgmt.models import ApiLink
from usermgmt.services import clients, provision

if TYPE_CHECKING:
    from playwright.sync_api import Page

PASSWORD = "quite unguessable 1"


@pytest.fixture
def portal(web: house.Web) -> str:
    """The address of a portal with an API, services and a reviewer who can log in."""
    ApiLink.objects.create(api=world.api(), event="help", url="/docs/#usermgmt")
    world.service("coge", access_url="https://coge.example.org", approval_policy="auto")
    world.service("atmosphere", description="Virtual machines.")
    world.person("reviewer", "Robin", "Reyes", is_staff=True, password=PASSWORD)
    return str(web.base_url)


def log_in(page: Page, base: str, username: str) -> None:
    page.goto(f"{base}/portal/login")
    page.get_by_label("User name or e-mail").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def fill_client(page: Page, name: str = "Collaborator finder") -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Description").fill("Suggests collaborators.")
    page.get_by_label("URL").fill("https://example.org/about")
    page.get_by_label("IP address(es)").fill("127.0.0.1, ::1")
    page.get_by_label("Use of the data").fill("To suggest people while a form is filled in.")


def test_register_approve_reveal_search(browser: Page, portal: str) -> None:
    """UM48: register → approve → reveal → search passes in a real browser."""
    world.seed_people()
    world.person("amal", "أمل", "Haddad", password=PASSWORD)
    browser.goto(f"{portal}/portal/")
    audit(browser, "usermgmt-entrance")
    browser.get_by_role("link", name="CyVerse Login").click()
    audit(browser)
    log_in(browser, portal, "amal")
    audit(browser)
    browser.get_by_role("link", name="Register a Client").click()
    audit(browser)
    browser.get_by_role("button", name="Save").click()
    summary = browser.get_by_role("alert")
    assert summary.get_by_role("link").count() == 5
    assert browser.evaluate("document.activeElement.id") == "form-errors"
    audit(browser, "usermgmt-errors")
    fill_client(browser)
    browser.get_by_role("button", name="Save").click()
    browser.get_by_text("Your client was successfully registered").first.wait_for()
    audit(browser, "usermgmt-pending")
    browser.get_by_role("button", name="Log out").click()

    browser.goto(f"{portal}/admin/login/?next=/admin/usermgmt/apiclient/")
    browser.fill("#id_username", "reviewer")
    browser.fill("#id_password", PASSWORD)
    browser.click("input[type=submit]")
    browser.get_by_role("link", name="Collaborator finder").click()
    picture(browser, "usermgmt-review")
    browser.get_by_role("button", name="Approve").click()
    browser.get_by_text("1 approved.").first.wait_for()
    picture(browser, "usermgmt-queue")
    browser.context.clear_cookies()

    log_in(browser, portal, "amal")
    browser.get_by_role("button", name="Reveal the secret of Collaborator finder").click()
    audit(browser, "usermgmt-revealed")
    key = browser.locator("#shown-key").inner_text()
    secret = browser.locator("#shown-secret").inner_text()
    answer = requests.get(f"{portal}/api/v1/users/username/mgatt", auth=(key, secret), timeout=10)
    assert [user["username"] for user in answer.json()["users"]] == ["mgatto10", "mgatto30"]
    browser.get_by_role("link", name="Collaborator finder", exact=True).click()
    audit(browser, "usermgmt-client")

    browser.goto(f"{portal}/portal/api-clients")
    browser.get_by_role("link", name="Regenerate Keys of Collaborator finder").click()
    audit(browser)
    browser.get_by_role("button", name="Regenerate Keys").click()
    assert browser.locator("#shown-key").inner_text() != key
    again = requests.get(f"{portal}/api/v1/users/username/mgatt", auth=(key, secret), timeout=10)
    assert again.json() == {"error": {"Auth": "Invalid API Key"}}
    browser.reload()
    assert browser.locator("#shown-key").count() == 0


@pytest.mark.parametrize("path", ["profile", "services", "register", "username/forgot", "password", "password/forgot"])
def test_every_other_page_is_accessible(browser: Page, portal: str, path: str) -> None:
    """UM48: Portal pages pass the accessibility audit."""
    user = world.person("amal", "أمل", "Haddad", password=PASSWORD)
    if path in ("profile", "services", "password"):
        log_in(browser, portal, "amal")
        from usermgmt.models import Service

        provision.request_access(user=user, service=Service.objects.get(slug="atmosphere"))
    browser.goto(f"{portal}/portal/{path}")
    audit(browser, f"usermgmt-{path.replace('/', '-')}")


def test_client_pages_are_accessible(browser: Page, portal: str) -> None:
    """UM48: rotate, revoke, a denied client and the mailed link pass the audit."""
    owner = world.person("amal", "Amal", "Haddad", password=PASSWORD)
    program = world.program(owner, name="Long running finder of collaborators")
    denied = world.pending(owner, name="Denied one")
    clients.deny(denied, actor=User.objects.get(username="reviewer"), reason="Say more.")
    log_in(browser, portal, "amal")
    pages = {
        "clients": "",
        "rotate": f"{program.client.pk}/rotate",
        "revoke": f"{program.client.pk}/revoke",
        "denied": str(denied.pk),
    }
    for name, path in pages.items():
        browser.goto(f"{portal}/portal/api-clients/{path}")
        audit(browser, f"usermgmt-{name}")
    browser.goto(f"{portal}/portal/reveal/{'x' * 43}")
    browser.get_by_text("This link was used").first.wait_for()
    audit(browser)


def test_without_scripts(plain: Page, portal: str) -> None:
    """UM48: Portal pages work without scripts."""
    world.person("amal", "Amal", "Haddad", password=PASSWORD)
    log_in(plain, portal, "amal")
    plain.get_by_role("link", name="Register a Client").click()
    fill_client(plain, "Plain client")
    plain.get_by_role("button", name="Save").click()
    plain.get_by_text("Your client was successfully registered").first.wait_for()
    plain.get_by_role("link", name="Apps & Services").click()
    plain.get_by_role("button", name="Request Access to Coge").click()
    plain.get_by_text("Your request for Coge was recorded").first.wait_for()
    picture(plain, "usermgmt-no-script")


def test_by_keyboard(browser: Page, portal: str) -> None:
    """UM48: the keyboard alone logs in and registers a client; focus is always visible."""
    world.person("amal", "Amal", "Haddad", password=PASSWORD)
    browser.goto(f"{portal}/portal/login")
    keys = browser.keyboard

    def tab_to(name: str) -> None:
        for _ in range(40):
            keys.press("Tab")
            if browser.evaluate("document.activeElement === document.body"):
                continue  # past the last element, on the way to the first
            focused = browser.evaluate(
                "() => { const e = document.activeElement;"
                " return (e.getAttribute('aria-label') || (e.labels && e.labels[0] && e.labels[0].textContent)"
                " || e.textContent || '').trim(); }"
            )
            outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", focused
            if re.match(name, focused):
                return
        raise AssertionError(f"no way to {name} by keyboard")

    tab_to("User name or e-mail")
    keys.type("amal")
    tab_to("Password")
    keys.type(PASSWORD)
    keys.press("Enter")
    browser.wait_for_url("**/portal/api-clients")
    tab_to("Register a Client")
    keys.press("Enter")
    browser.wait_for_url("**/new/user-api")
    for label, text in (
        ("Name", "Typed client"),
        ("Description", "Typed."),
        ("URL", "https://example.org"),
        ("IP address", "127.0.0.1"),
        ("Use of the data", "To type."),
    ):
        tab_to(label)
        keys.type(text)
    tab_to("Save")
    keys.press("Enter")
    browser.wait_for_url("**/portal/api-clients")
    browser.get_by_text("Your client was successfully registered").first.wait_for()
