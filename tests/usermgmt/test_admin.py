"""Staff review in the admin (contract 3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.models import User
from tests.usermgmt import world
from usermgmt.formats import workdays
from usermgmt.models import ApiClient, ServiceRequest
from usermgmt.services import clients, provision

pytestmark = pytest.mark.django_db
QUEUE = "/admin/usermgmt/apiclient/"


@pytest.fixture
def staff() -> User:
    return world.reviewer()


@pytest.fixture
def browser(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def act(browser: Client, action: str, *rows: Any, path: str = QUEUE, **more: Any) -> str:
    form = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return browser.post(path, form, follow=True).content.decode()


def test_the_queue(browser: Client) -> None:
    """UM41: the queue shows who waits, for how long, and for what."""
    owner = world.person("amal", "Amal", "Haddad", institution="UA", position="Engineer")
    client = world.pending(owner, name="Finder", networks="10.0.0.0/8, 192.0.2.1")
    ApiClient.objects.update(submitted_at=timezone.now() - timedelta(days=7))
    page = browser.get(QUEUE).content.decode()
    for text in ("Finder", "amal", "Amal Haddad", "UA", "Engineer", "5.0"):
        assert text in page
    assert "Finder" in browser.get(f"{QUEUE}?age=2&state__exact=pending&q=amal").content.decode()
    assert "Finder" not in browser.get(f"{QUEUE}?state__exact=approved").content.decode()
    detail = browser.get(f"{QUEUE}{client.pk}/change/").content.decode()
    for text in ("warning: a wide network", "registered", "validated, active", "To suggest people."):
        assert text in detail
    assert browser.post(f"{QUEUE}{client.pk}/delete/", {"post": "yes"}).status_code == 403


def test_review_times(browser: Client) -> None:
    """UM41: the queue tells how long decisions took."""
    assert "Decisions in the last 90 days: 0" in browser.get(QUEUE).content.decode()
    clients.approve(world.pending(), actor=world.reviewer())
    world.pending()
    page = browser.get(QUEUE).content.decode()
    assert "Decisions in the last 90 days: 1" in page
    assert "waiting now: 1" in page


def test_approving(browser: Client, staff: User) -> None:
    """UM41: one decision; the message tells what changed and what someone else decided first."""
    first, second = world.pending(name="First"), world.pending(name="Second")
    own = world.pending(staff, name="Own")
    clients.deny(second, actor=world.person(is_staff=True, username="other"), reason="No.")
    page = act(browser, "approve", first, second, own)
    assert "1 approved." in page
    assert "Second is denied already by other." in page
    assert "Nobody decides on their own client." in page
    assert dict(ApiClient.objects.values_list("name", "state")) == {
        "First": "approved",
        "Second": "denied",
        "Own": "pending",
    }


def test_denying_needs_a_reason(browser: Client) -> None:
    """UM41: denial without reason is refused."""
    client = world.pending()
    for form in ({}, {"reason": ""}, {"reason": "   "}):
        page = act(browser, "deny", client, **form)
        assert 'name="reason"' in page
        assert ApiClient.objects.get().state == "pending"
    act(browser, "deny", client, reason="Say more.")
    client.refresh_from_db()
    assert (client.state, client.decision_reason) == ("denied", "Say more.")


def test_the_other_decisions(browser: Client) -> None:
    program = world.program()
    assert "1 suspended." in act(browser, "suspend", program.client)
    assert "1 reinstated." in act(browser, "reinstate", program.client)
    page = act(browser, "narrow", program.client)
    assert 'name="scopes"' in page
    coge = world.service("coge")
    answer = act(
        browser, "narrow", program.client,
        narrowed="1", scopes=["services:add"], services=[coge.pk], expires_at="2030-01-01 00:00",
    )  # fmt: skip
    assert "1 narrowed." in answer
    client = program.fresh()
    assert (client.scopes, client.is_limited_to_services) == (["services:add"], True)
    assert client.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    # who narrows again starts from what the client has
    page = act(browser, "narrow", program.client)
    assert re.findall(r'value="(users:search|services:add)"[^>]*checked', page) == ["services:add"]
    assert re.search(r'name="all_services"[^>]*checked', page) is None
    assert re.search(rf'<option value="{coge.pk}" selected>', page)
    assert 'value="2030-01-01 00:00:00"' in page
    assert "1 revoked." in act(browser, "revoke", program.client)
    assert "revoked already" in act(browser, "approve", program.client)


def test_changes(browser: Client) -> None:
    program = world.program()
    for accept in ("accept", "refuse"):
        change = clients.propose(
            program.client, form=world.form(url="https://new.example.org"), actor=program.client.owner
        )
        assert change is not None
        path = "/admin/usermgmt/clientchangerequest/"
        assert "https://new.example.org" in browser.get(path).content.decode()
        assert browser.get(f"{path}{change.pk}/change/").status_code == 200
        act(browser, accept, change, path=path, reason="Because.")
        change.refresh_from_db()
        assert change.state == f"{accept}ed" if accept == "accept" else change.state == "refused"
        type(program.client).objects.update(url="https://old.example.org")


def test_service_requests(browser: Client) -> None:
    service = world.service("coge")
    path = "/admin/usermgmt/servicerequest/"
    for number, (action, state) in enumerate([("approve", "approved"), ("grant", "granted"), ("deny", "denied")]):
        user = world.person(f"asker{number}")
        provision.request_access(user=user, service=service)
        request = ServiceRequest.objects.get(user=user)
        act(browser, action, request, path=path, reason="So.")
        request.refresh_from_db()
        assert request.state == state
        assert browser.get(f"{path}{request.pk}/change/").status_code == 200
    said = act(browser, "grant", request, path=path)
    assert f"{request} is denied already." in said
    assert f"{request}: {request}" not in said


def test_the_page_of_a_request_offers_its_decisions(browser: Client) -> None:
    """UM41: whoever reads a request can decide on it there, and sees what a change would replace."""
    program = world.program()
    change = clients.propose(program.client, form=world.form(url="https://new.example.org"), actor=program.client.owner)
    assert change is not None
    provision.request_access(user=world.person("asker"), service=world.service("coge"))
    request, waiting = ServiceRequest.objects.get(), world.pending(name="Waiting")
    for row, table, offered in (
        (change, "clientchangerequest", ["accept", "refuse"]),
        (request, "servicerequest", ["approve", "grant", "deny"]),
        (waiting, "apiclient", ["approve", "deny", "narrow"]),
    ):
        path = f"/admin/usermgmt/{table}/"
        page = browser.get(f"{path}{row.pk}/change/").content.decode()
        assert re.findall(r'name="action" value="(\w+)"', page) == offered
        asked = browser.post(path, {"action": offered[-1], "_selected_action": row.pk}).content.decode()
        assert f'<a href="{path}">Cancel</a>' in asked
        said = browser.post(path, {"action": offered[0], "_selected_action": row.pk}, follow=True).content.decode()
        assert f"1 {offered[0].rstrip('e')}ed." in said
    page = browser.get(f"/admin/usermgmt/clientchangerequest/{change.pk}/change/").content.decode()
    assert "URL: https://new.example.org" in page
    assert "(now:" not in page
    assert 'name="action"' not in page


def test_a_change_is_shown_beside_what_it_replaces(browser: Client) -> None:
    """UM41: a reviewer compares without opening another page; lists read as a person writes them."""
    program = world.program()
    form = world.form(networks="192.0.2.0/24, 198.51.100.7", url="https://new.example.org")
    old = program.client.url
    assert clients.propose(program.client, form=form, actor=program.client.owner) is not None
    page = browser.get("/admin/usermgmt/clientchangerequest/").content.decode()
    assert f"URL: https://new.example.org (now: {old})" in page
    assert "IP addresses: 192.0.2.0/24, 198.51.100.7 (now: " in page


@pytest.mark.parametrize(
    "table",
    ["api", "maintainer", "service", "userservice", "clientevent", "clientdailyusage", "searchaudit"],
)
def test_tables(browser: Client, table: str) -> None:
    world.program()
    world.service("coge")
    assert browser.get(f"/admin/usermgmt/{table}/").status_code == 200
    add = browser.get(f"/admin/usermgmt/{table}/add/").status_code
    assert add == (200 if table in ("api", "maintainer", "service") else 403)


def test_only_staff() -> None:
    client = Client()
    client.force_login(world.person())
    assert client.get(QUEUE).status_code == 302
    assert Client().post(QUEUE, {"action": "approve"}).status_code == 302


FRIDAY = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "days"), [(6, 0.25), (12, 0.5), (48, 0.5), (60, 0.5), (72, 1.0), (96, 2.0), (24 * 7, 5.0)]
)
def test_business_days(hours: int, days: float) -> None:
    end = FRIDAY + timedelta(hours=hours)
    assert workdays.between(FRIDAY, end) == pytest.approx(days)
    assert workdays.between(workdays.before(end, days), end) == pytest.approx(days)
