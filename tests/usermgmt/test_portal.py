"""The portal's pages, without a browser (contract 7)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import mail as django_mail
from django.test import Client

from core import jobs
from core.models import EmailAddress, Mail, User
from tests.usermgmt import world
from usermgmt.models import AddressCheck, FoundCount, Service
from usermgmt.services import clients

pytestmark = pytest.mark.django_db

REGISTER = {
    "username": "amal-h",
    "first_name": "أمل",
    "last_name": "Haddad",
    "email": "amal@example.org",
    "institution": "",
    "position": "",
    "password": "quite unguessable 1",
}


def login(user: User, **options: Any) -> Client:
    browser = Client(**options)
    browser.force_login(user)
    return browser


def links(kind: str) -> list[str]:
    """Confirmation links in the mails that went out."""
    assert kind
    jobs.run_queued()
    return [link for message in django_mail.outbox for link in re.findall(r"/portal/verify/[\w-]{43}", message.body)]


def test_the_entrance() -> None:
    """UM50: boxes Login, Register, Forgot password, help link."""
    for path in ("/portal", "/portal/"):
        page = Client().get(path).content.decode()
        for text in ("CyVerse Login", "Register", "Forgot password", "Science APIs"):
            assert text in page
    assert login(world.person()).get("/portal/")["Location"] == "/portal/api-clients"


def test_the_dashboard() -> None:
    """UM50: The dashboard has the three tabs, User Manual, Email the maintainer, Register a Client, Regenerate Keys so
    named."""
    from usermgmt.models import ApiLink

    ApiLink.objects.create(api=world.api(), event="help", url="/docs/")
    program = world.program()
    page = login(program.client.owner).get("/portal/api-clients").content.decode()
    for tab in ("My Profile", "Apps &amp; Services", "API Clients"):
        assert re.search(rf'<a class="tab" href="[^"]+"[^>]*>{tab}</a>', page)
    assert 'aria-current="page">API Clients' in page
    for text in ("User Manual", "Email the maintainer", "Register a Client", "Regenerate Keys", "My API Clients (1)"):
        assert text in page
    assert 'href="mailto:support@example.org"' in page
    assert f"cvs_{program.secret[4:8]}…{program.secret[-4:]}" in page
    assert program.secret not in page
    assert "Pending Client Registrations" not in page


@pytest.mark.parametrize("verb", ["", "/regenerate", "/rotate", "/revoke"])
def test_foreign_clients(verb: str) -> None:
    """UM49: Foreign client ids are 404."""
    program = world.program()
    stranger = login(world.person())
    for path in (f"/portal/api-clients/{program.client.pk}{verb}", f"/portal/api-clients/99999999999999999999{verb}"):
        assert stranger.get(path).status_code == 404
        assert stranger.post(path, {"seen": program.credential.pk}).status_code == 404
    assert program.get("/api/v1/users/username/mgatto").status_code == 404
    assert stranger.post(f"/portal/api-clients/{program.client.pk}/reveal").status_code == 404


def test_changes_need_post_and_csrf() -> None:
    """UM49: changes need POST and CSRF."""
    program = world.program()
    browser = login(program.client.owner, enforce_csrf_checks=True)
    for verb in ("regenerate", "rotate", "revoke"):
        path = f"/portal/api-clients/{program.client.pk}/{verb}"
        assert browser.get(path).status_code == 200
        assert browser.post(path, {"seen": program.credential.pk, "overlap": "0"}).status_code == 403
    assert browser.post("/portal/profile", {"part": "username", "username-username": "other"}).status_code == 403
    assert program.get("/api/v1/users/username/mgatto").status_code == 404
    assert login(program.client.owner).get("/portal/logout").status_code == 405


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x"])
def test_next_stays_here(target: str) -> None:
    """UM49: `next` stays on the host."""
    world.person("amal", password="quite unguessable 1")
    form = {"username": "amal", "password": "quite unguessable 1"}
    response = Client().post("/portal/login", {**form, "next": target})
    assert (response.status_code, response["Location"]) == (302, "/portal/api-clients")
    response = Client().post("/portal/login", {**form, "next": "/portal/services"})
    assert response["Location"] == "/portal/services"


def test_pages_ask_for_a_login() -> None:
    for path in ("profile", "services", "api-clients", "api-clients/1", "api-clients/new/user-api"):
        response = Client().get(f"/portal/{path}")
        assert response["Location"].startswith(f"/portal/login?next=/portal/{path}")


def test_unknown_and_closed_apis() -> None:
    api = world.api()
    browser = login(world.person())
    assert browser.get("/portal/api-clients/new/user-api").status_code == 200
    assert browser.get("/portal/api-clients/new/none").status_code == 404
    type(api).objects.update(is_open=False)
    assert browser.get("/portal/api-clients/new/user-api").status_code == 404
    assert browser.post("/portal/api-clients/new/user-api", {}).status_code == 404


def test_an_unvalidated_account_registers_no_client() -> None:
    world.api()
    form = {"name": "n", "description": "d", "url": "https://x.org", "networks": "10.0.0.1", "data_use": "u"}
    response = login(world.person(is_validated=False)).post("/portal/api-clients/new/user-api", form)
    assert "Confirm your e-mail address" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_registering() -> None:
    """UM48: a newcomer registers, follows the mailed link, logs in."""
    browser = Client()
    assert browser.post("/portal/register", REGISTER).status_code == 200
    user = User.objects.get(username="amal-h")
    assert (user.is_active, user.is_validated, user.email) == (False, False, "")
    form = {"username": "amal-h", "password": REGISTER["password"]}
    assert browser.post("/portal/login", form).status_code == 200
    (link,) = links("register")
    assert link not in "".join(Mail.objects.values_list("body", flat=True))
    assert browser.get(link).status_code == 200
    assert not User.objects.get(pk=user.pk).is_active
    assert browser.post(link)["Location"] == "/portal/login"
    assert browser.post(link).status_code == 404
    assert browser.get(link).status_code == 404
    user.refresh_from_db()
    assert (user.is_active, user.is_validated, user.email) == (True, True, "amal@example.org")
    assert user.addresses.get().is_verified
    assert browser.post("/portal/login", form)["Location"] == "/portal/api-clients"
    assert "sessionid" in browser.cookies


@pytest.mark.django_db(transaction=True)
def test_an_address_with_an_account_looks_the_same() -> None:
    """UM49: registration hides whether an e-mail exists."""
    world.person("known", email="known@example.org")
    fresh = Client().post("/portal/register", {**REGISTER, "username": "fresh"})
    taken = Client().post("/portal/register", {**REGISTER, "username": "taken", "email": "KNOWN@example.org"})
    strip = re.compile(rb'name="csrfmiddlewaretoken" value="\w+"')
    assert strip.sub(b"", fresh.content) == strip.sub(b"", taken.content)
    again = [Client().post("/portal/register", {**REGISTER, "username": name}) for name in ("fresh", "taken")]
    assert [answer.status_code for answer in again] == [400, 400]
    (told,) = Mail.objects.filter(kind="usermgmt.taken-address")
    assert (told.to, "known" in told.body) == ("KNOWN@example.org", True)
    assert len(links("register")) == 1
    answers = [
        Client().post("/portal/username/forgot", {"email": address}).content
        for address in ("known@example.org", "unknown@example.org")
    ]
    assert strip.sub(b"", answers[0]) == strip.sub(b"", answers[1])
    assert [mail.to for mail in Mail.objects.filter(kind="usermgmt.usernames")] == ["known@example.org"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "Amal"),
        ("username", "1amal"),
        ("username", "am"),
        ("username", "admin"),
        ("username", "a.b.c"),
        ("email", "nope"),
        ("email", "a@x.org\nBcc: b@x.org"),
        ("password", "amal-h"),
        ("password", "12345678"),
        ("first_name", ""),
        ("last_name", "x" * 257),
    ],
)
def test_refused_registrations(field: str, value: str) -> None:
    response = Client().post("/portal/register", {**REGISTER, field: value})
    assert response.status_code == 400
    assert f'href="#id_{field}"' in response.content.decode()
    assert not User.objects.exists()


def test_forms_that_mail_are_throttled() -> None:
    for _ in range(20):
        Client().post("/portal/username/forgot", {"email": "x@x.org"})
    response = Client().post("/portal/username/forgot", {"email": "x@x.org"})
    assert "Too many tries" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_profile() -> None:
    """UM48: names at once, the user name if free, the address once its link is followed."""
    user = world.person("amal", "Amal", "Haddad", "old@example.org")
    world.person("taken", email="taken@example.org")
    browser = login(user)
    FoundCount.objects.create(user=user, day="2026-11-20", times=3)
    assert "found in the directory" in browser.get("/portal/profile").content.decode()
    form = {"names-first_name": "أمل", "names-last_name": "H", "names-hide_from_directory": "on", "part": "names"}
    assert browser.post("/portal/profile", form).status_code == 302
    user.refresh_from_db()
    assert (user.first_name, user.first_n, user.hide_from_directory) == ("أمل", "أمل", True)
    for name, status in (("taken", 400), ("root", 400), ("amal2", 302)):
        response = browser.post("/portal/profile", {"part": "username", "username-username": name})
        assert response.status_code == status
    assert User.objects.get(pk=user.pk).username_n == "amal2"
    for address in ("taken@example.org", "new@example.org"):
        assert browser.post("/portal/profile", {"part": "email", "email-email": address}).status_code == 302
    assert User.objects.get(pk=user.pk).email == "old@example.org"
    (link,) = links("change")
    assert browser.post(link)["Location"] == "/portal/profile"
    user.refresh_from_db()
    assert user.email == "new@example.org"
    assert list(EmailAddress.objects.filter(user=user).values_list("address", "is_verified")) == [
        ("new@example.org", True)
    ]
    assert Mail.objects.get(kind="usermgmt.address-changed").to == "old@example.org"
    assert AddressCheck.objects.filter(used_at=None).count() == 0
    assert browser.post("/portal/profile", {"part": "nonsense"}).status_code == 400


def test_services() -> None:
    """UM50: My Services (Go to), Pending Service Requests, Available Services (Request Access)."""
    user, staff = world.person(), world.reviewer()
    coge = world.service("coge", access_url="https://coge.example.org")
    world.service("atmo")
    browser = login(user)
    page = browser.get("/portal/services").content.decode()
    assert page.count(">Request Access<") == 2
    page = browser.post("/portal/services", {"service": "COGE"}, follow=True).content.decode()
    assert "Pending Service Requests" in page
    assert page.count(">Request Access<") == 1
    from usermgmt.models import ServiceRequest
    from usermgmt.services import provision

    provision.grant(ServiceRequest.objects.get(service=coge), actor=staff)
    page = browser.get("/portal/services").content.decode()
    assert 'href="https://coge.example.org"' in page
    assert ">Go to<" in page
    assert browser.post("/portal/services", {"service": "none"}).status_code == 404
    assert "already" in browser.post("/portal/services", {"service": "coge"}, follow=True).content.decode()
    assert Service.objects.count() == 2


def test_reveal_button_on_the_dashboard() -> None:
    client = world.pending()
    clients.approve(client, actor=world.reviewer())
    browser = login(client.owner)
    assert ">Reveal<" in browser.get("/portal/api-clients").content.decode()
    page = browser.post(f"/portal/api-clients/{client.pk}/reveal").content.decode()
    assert len(re.findall(r"cvs_\w{42}", page)) == 1
    page = browser.post(f"/portal/api-clients/{client.pk}/reveal", follow=True).content.decode()
    assert "shown before" in page


def test_revoke_page() -> None:
    program = world.program()
    browser = login(program.client.owner)
    page = browser.post(f"/portal/api-clients/{program.client.pk}/revoke", follow=True).content.decode()
    assert "was revoked" in page
    assert program.get("/api/v1/users/username/mgatto").status_code == 401
    page = browser.post(f"/portal/api-clients/{program.client.pk}/revoke", follow=True).content.decode()
    assert "already" in page
    assert browser.post(f"/portal/api-clients/{program.client.pk}/regenerate", {"seen": program.credential.pk})[
        "Location"
    ].endswith(str(program.client.pk))


def test_security_headers() -> None:
    """UM49: CSP without inline script, framed by nobody."""
    response = Client().get("/portal/")
    assert "script-src" not in response["Content-Security-Policy"]
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    pages = [Client().get(path).content.decode() for path in ("/portal/", "/portal/register", "/portal/login")]
    assert not any(re.search(r"<script>|style=|onclick=", page) for page in pages)
