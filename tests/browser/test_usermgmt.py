"""The portal in Debian's Chromium: the whole story, accessibility, without scripts, by keyboard (contract 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import requests

from core.models import User
from tests import house, mailbox
from tests.browser import staff
from tests.browser.looks import WIDE, audit, picture
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

    staff.log_in(browser, portal, "reviewer", PASSWORD, to="/admin/usermgmt/apiclient/")
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


def log_in_to_admin(page: Page, base: str, *, to: str) -> None:
    page.context.clear_cookies()
    page.goto(f"{base}/admin/login/?next={to}")
    page.fill("#id_username", "reviewer")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")


def mailed(smtp: mailbox.Mailbox, to: str, pattern: str) -> str:
    """What a mail to somebody says, once it came."""

    def found() -> str | None:
        bodies = [message.get_content() for message in list(smtp.messages) if to in str(message["To"])]
        hits = [hit[0] for body in bodies if (hit := re.search(pattern, body))]
        return hits[-1] if hits else None

    return house.wait_for(found, what=f"a mail to {to} with {pattern}")


def test_forgotten_password(browser: Page, portal: str, worker: house.Worker, smtp: mailbox.Mailbox) -> None:
    """UM48: from the entrance by the mailed link to a new password and in; each fault at its field, none loses the
    way."""
    world.person("amal", "Amal", "Haddad", email="amal@example.org", password=PASSWORD)
    browser.goto(f"{portal}/portal/")
    browser.get_by_role("link", name="Forgot password").click()
    browser.get_by_label("E-mail address").fill("nobody@nowhere")
    browser.get_by_role("button", name="Send the link").click()
    assert browser.evaluate("document.activeElement.id") == "form-errors"
    assert browser.get_by_label("E-mail address").input_value() == "nobody@nowhere"
    audit(browser, "usermgmt-forgot-fault")
    browser.get_by_label("E-mail address").fill("amal@example.org")
    browser.get_by_role("button", name="Send the link").click()
    browser.get_by_role("heading", name="Look into your mail").wait_for()
    link = mailed(smtp, "amal@example.org", r"http\S+/portal/password/reset/\S+")
    browser.goto(link)
    new = "a wholly other phrase 2"
    for first, second, field in (("12345678", "12345678", "new_password1"), (new, f"{new}!", "new_password2")):
        browser.get_by_label("New password", exact=True).fill(first)
        browser.get_by_label("New password confirmation").fill(second)
        browser.get_by_role("button", name="Set the password").click()
        browser.locator(f"#id_{field}_error").wait_for()
        assert browser.locator(".field.wrong").count() == 1
    audit(browser, "usermgmt-reset-fault")
    browser.get_by_label("New password", exact=True).fill(new)
    browser.get_by_label("New password confirmation").fill(new)
    browser.get_by_role("button", name="Set the password").click()
    browser.get_by_text("Your new password is set.").wait_for()
    browser.get_by_label("User name or e-mail").fill("Amal@example.org")
    browser.get_by_label("Password").fill(new)
    browser.get_by_role("button", name="Log in").click()
    browser.get_by_role("heading", name="API Clients", exact=True).wait_for()
    browser.goto(link)
    browser.get_by_text("This link was used already").wait_for()
    browser.get_by_role("link", name="Ask for a new one.").click()
    browser.get_by_role("button", name="Send the link").wait_for()


def test_another_address(browser: Page, portal: str, worker: house.Worker, smtp: mailbox.Mailbox) -> None:
    """UM48: another e-mail address is asked for, proven by its link and told to the old one."""
    user = world.person("amal", "Amal", "Haddad", email="old@example.org", password=PASSWORD)
    log_in(browser, portal, "amal")
    browser.get_by_role("link", name="My Profile").click()
    browser.get_by_role("textbox", name="E-mail").fill("nobody")
    browser.get_by_role("button", name="Change e-mail").click()
    assert "Enter a valid email address." in browser.locator("section:has(#email) .error").inner_text()
    assert browser.get_by_role("textbox", name="E-mail").input_value() == "nobody"
    browser.get_by_role("textbox", name="E-mail").fill("new@example.org")
    browser.get_by_role("button", name="Change e-mail").click()
    browser.get_by_text("Waiting for you to follow the link sent to new@example.org.").wait_for()
    browser.goto(mailed(smtp, "new@example.org", r"http\S+/portal/verify/\S+"))
    browser.get_by_role("button", name="Confirm my address").click()
    browser.get_by_text("Your e-mail address was changed.").wait_for()
    assert browser.get_by_role("textbox", name="E-mail").input_value() == "new@example.org"
    assert mailed(smtp, "old@example.org", "new@example.org")
    assert User.objects.get(pk=user.pk).email == "new@example.org"


def test_decisions_on_both_sides(browser: Page, portal: str) -> None:
    """UM41, UM50: a person asks for a service and a change; staff open each, refuse with a reason and accept; the
    person reads what came of it."""
    owner = world.person("amal", "Amal", "Haddad", password=PASSWORD)
    program = world.program(owner, name="Finder")
    log_in(browser, portal, "amal")
    browser.goto(f"{portal}/portal/services")
    browser.get_by_role("button", name="Request Access to Atmosphere").click()
    browser.get_by_text("Your request for Atmosphere was recorded.").wait_for()

    def propose(words: str) -> None:
        browser.goto(f"{portal}/portal/api-clients/{program.client.pk}")
        browser.get_by_label("IP address(es)").fill("0.0.0.0/0")
        browser.get_by_label("Use of the data").fill(words)
        browser.get_by_role("button", name="Save").click()
        assert "would admit every address" in browser.locator(".field.wrong").inner_text()
        assert browser.get_by_label("Use of the data").input_value() == words
        browser.get_by_label("IP address(es)").fill("192.0.2.0/24")
        browser.get_by_role("button", name="Save").click()
        browser.get_by_role("heading", name="Change waiting for staff").wait_for()

    def decide(table: str, row: str, button: str, reason: str = "") -> None:
        log_in_to_admin(browser, portal, to=f"/admin/usermgmt/{table}/?state__exact=")
        browser.goto(f"{portal}/admin/usermgmt/{table}/")
        browser.locator("#result_list tbody tr", has_text=row).locator("th a").click()
        picture(browser, f"usermgmt-admin-{table}")
        browser.get_by_role("button", name=button, exact=True).click()
        if reason:
            browser.get_by_role("link", name="Cancel").wait_for()
            browser.get_by_label("Reason").fill(reason)
            picture(browser, f"usermgmt-admin-{table}-ask")
            browser.locator("#content input[type=submit]").click()
        browser.locator(".messagelist .success").wait_for()

    propose("To sell it.")
    decide("clientchangerequest", "To sell it.", "Refuse…", "No selling.")
    browser.set_viewport_size({"width": 400, "height": 900})
    width = browser.locator("td.field-proposed").evaluate("cell => cell.offsetWidth")
    assert width > 100, "not squeezed to a letter a line"
    browser.set_viewport_size(WIDE)
    decide("servicerequest", "Atmosphere", "Deny…", "Not this year.")
    browser.context.clear_cookies()
    log_in(browser, portal, "amal")
    browser.goto(f"{portal}/portal/services")
    browser.get_by_text("Not this year.").wait_for()
    audit(browser, "usermgmt-service-denied")
    browser.goto(f"{portal}/portal/api-clients/{program.client.pk}")
    browser.get_by_text("No selling.").wait_for()
    propose("To give it.")
    decide("clientchangerequest", "To give it.", "Accept")
    program.client.refresh_from_db()
    assert program.client.data_use == "To give it."


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
