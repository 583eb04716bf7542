"""The portal's pages, without a browser (contract 7)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends import db as sessions
from django.core import mail as django_mail
from django.test import Client
from django.utils import timezone

from core import jobs
from core.models import EmailAddress, Mail, User
from tests.usermgmt import world
from usermgmt.models import AddressCheck, FoundCount, Service
from usermgmt.services import accounts, clients

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
    return [
        link for message in django_mail.outbox for link in re.findall(r"/portal/verify/[\w-]{43}", str(message.body))
    ]


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


def test_the_lists_of_clients() -> None:
    """UM50: each list of the tab *API Clients* tells what the contract names, row by row."""
    owner = world.person("amal")
    denied = world.pending(owner, name="Denied one")
    clients.deny(denied, actor=world.reviewer(), reason="Say more.")
    waiting = world.pending(owner, name="Waiting one")
    program = world.program(owner, name="Working one")
    ends = timezone.now() + timedelta(days=10)
    clients.narrow(program.client, actor=world.reviewer(), scopes=["users:search"], expires_at=ends)
    page = login(owner).get("/portal/api-clients").content.decode()
    for jump in ("#pending", "#mine", "#apis"):
        assert f'href="{jump}"' in page
        assert f'id="{jump[1:]}"' in page
    pending, mine, apis = (re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL) for table in page.split("<table")[1:])
    heads = [re.findall(r'<th scope="col">(.*?)</th>', rows[0]) for rows in (pending, mine, apis)]
    assert heads == [
        ["Client", "API", "Maintainer", "Status", "Reason", "Date"],
        ["Client", "API", "Your Key", "Your Secret", "Created", "Last used", "Expires", "Keys"],
        ["API", "Maintainer", "Description", "More"],
    ]
    day = f"{timezone.now():%Y-%m-%d}"
    assert [re.sub(r"<.*?>|\s+", " ", row).split() for row in pending[1:]] == [
        ["Denied", "one", "User", "API", "Support", "Denied", "Say", "more.", day],
        ["Waiting", "one", "User", "API", "Support", "Pending", "–", day],
    ]
    shown = f"cvs_{program.secret[4:8]}…{program.secret[-4:]}"
    told = ["Working", "one", "User", "API", program.key, shown, day, "never", f"{ends:%Y-%m-%d}", f"{ends:%H:%M}"]
    assert re.sub(r"<.*?>|\s+", " ", mine[1]).split()[: len(told)] == told
    assert waiting.credentials.count() == 0


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
        ("first_name", "Amal\nE-mail: dean@example.edu"),
        ("institution", "A\u2028B"),
    ],
)
def test_refused_registrations(field: str, value: str) -> None:
    response = Client().post("/portal/register", {**REGISTER, field: value})
    assert response.status_code == 400
    assert f'href="#id_{field}"' in response.content.decode()
    assert not User.objects.exists()


def test_errors_are_bound_to_their_fields() -> None:
    """UM48: a field in error says so, and is described by its help and its message."""
    page = Client().post("/portal/register", {**REGISTER, "username": "Amal"}).content.decode()
    (field,) = re.findall(r'<input[^>]*name="username"[^>]*>', page)
    assert 'aria-invalid="true"' in field
    (described,) = re.findall(r'aria-describedby="([^"]+)"', field)
    assert described.split() == ["id_username_helptext", "id_username_error"]
    for name in described.split():
        assert page.count(f'id="{name}"') == 1
    for name in REGISTER:
        assert page.count(f'<label for="id_{name}"') == 1
    (email,) = re.findall(r'<input[^>]*name="email"[^>]*>', page)
    assert "aria-invalid" not in email


@pytest.mark.django_db(transaction=True)
def test_a_confirmation_ends_after_a_day() -> None:
    """UM48: the mailed link is valid for 24 hours."""
    browser = Client()
    browser.post("/portal/register", REGISTER)
    (link,) = links("register")
    check = AddressCheck.objects.get()
    assert abs(check.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)
    AddressCheck.objects.update(expires_at=timezone.now())
    assert (browser.get(link).status_code, browser.post(link).status_code) == (404, 404)
    assert not User.objects.get(username="amal-h").is_active


def test_sessions() -> None:
    """UM49: cookies are HttpOnly and SameSite=Lax, renewed at login; a change of password ends other logins."""
    user = world.person("amal", password="quite unguessable 1")
    form = {"username": "amal", "password": "quite unguessable 1"}
    browsers = [Client(), Client()]
    for browser in browsers:
        planted = sessions.SessionStore()
        planted.create()
        assert planted.session_key is not None
        browser.cookies["sessionid"] = planted.session_key
        cookie = browser.post("/portal/login", form).cookies["sessionid"]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
        assert cookie.value != planted.session_key
        assert not planted.exists(planted.session_key)
        assert browser.get("/portal/profile").status_code == 200
    changed = {
        "old_password": "quite unguessable 1",
        "new_password1": "another long phrase",
        "new_password2": "another long phrase",
    }
    assert browsers[0].post("/portal/password", changed)["Location"] == "/portal/profile"
    assert browsers[0].get("/portal/profile").status_code == 200
    assert browsers[1].get("/portal/profile")["Location"].startswith("/portal/login")
    assert User.objects.get(pk=user.pk).check_password("another long phrase")


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
    again = browser.post("/portal/profile", {"part": "username", "username-username": "amal2"}, follow=True)
    assert "That is your user name already." in again.content.decode()
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


@pytest.mark.django_db(transaction=True)
def test_own_addresses() -> None:
    """UM48: a proven address of one's own is the primary one at once; one that is not proven yet takes its link."""
    user = world.person("amal", email="old@example.org", more=["second@example.org"])
    EmailAddress(user=user, address="third@example.org", is_verified=False).save()
    browser = login(user)
    same = browser.post("/portal/profile", {"part": "email", "email-email": "old@example.org"}, follow=True)
    assert "That is your e-mail address already." in same.content.decode()
    said = browser.post("/portal/profile", {"part": "email", "email-email": "Second@example.org"}, follow=True)
    assert "Your e-mail address was changed." in said.content.decode()
    assert not Mail.objects.filter(kind="usermgmt.taken-address").exists()
    assert Mail.objects.get(kind="usermgmt.address-changed").to == "old@example.org"
    mine = EmailAddress.objects.filter(user=user).order_by("id").values_list("address", "is_primary", "is_verified")
    assert User.objects.get(pk=user.pk).email == "Second@example.org"
    assert list(mine) == [
        ("old@example.org", False, True),
        ("Second@example.org", True, True),
        ("third@example.org", False, False),
    ]
    browser.post("/portal/profile", {"part": "email", "email-email": "third@example.org"})
    assert (
        "Waiting for you to follow the link sent to third@example.org"
        in browser.get("/portal/profile").content.decode()
    )
    (link,) = links("change")
    assert browser.post(link).status_code == 302
    assert list(mine.all()) == [("old@example.org", False, True), ("third@example.org", True, True)]


@pytest.mark.django_db(transaction=True)
def test_a_second_thought() -> None:
    """UM43: of an address one has thought better of no mail goes out, and staff are not told of one that failed."""
    browser = login(world.person("amal"))
    for address in ("first@example.org", "second@example.org"):
        browser.post("/portal/profile", {"part": "email", "email-email": address})
    jobs.run_queued()
    assert [message.to for message in django_mail.outbox] == [["second@example.org"]]
    assert not Mail.objects.exclude(state="sent").exists()
    AddressCheck.objects.update(expires_at=timezone.now())
    assert "Waiting for you" not in browser.get("/portal/profile").content.decode()


@pytest.mark.django_db(transaction=True)
def test_two_prove_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """UM48: of two who follow their links to one address at the same moment one has it, the other's link is void."""
    people = [world.person("amal"), world.person("basma")]
    for person in people:
        accounts.ask_to_change_address(person, "shared@example.org")
    first, second = links("change")
    assert Client().post(first).status_code == 302
    # The other looked before the first was done.
    monkeypatch.setattr(accounts, "_holder", lambda address: None)
    assert Client().post(second).status_code == 404
    assert [User.objects.get(pk=person.pk).email for person in people] == [
        "shared@example.org",
        "basma@people.example.org",
    ]


@pytest.mark.django_db(transaction=True)
def test_mails_to_strangers_say_nothing_of_the_sender() -> None:
    """UM43: what a newcomer typed as a name is not mailed to an address that may be somebody else's."""
    Client().post("/portal/register", {**REGISTER, "first_name": "You won https://evil.example"})
    jobs.run_queued()
    (message,) = django_mail.outbox
    assert "evil" not in message.body
    assert "Dear amal-h," in message.body


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


def test_a_denied_service_says_so() -> None:
    """UM50: who was denied a service reads when and why where they may ask again, until they did."""
    from usermgmt.models import ServiceRequest
    from usermgmt.services import provision

    user, staff = world.person(), world.reviewer()
    world.service("coge")
    browser = login(user)
    for reason in ("First no.", "Second <no>."):
        browser.post("/portal/services", {"service": "coge"})
        assert "was denied" not in browser.get("/portal/services").content.decode()
        provision.deny(ServiceRequest.objects.latest("id"), actor=staff, reason=reason)
    page = browser.get("/portal/services").content.decode()
    assert "Second &lt;no&gt;." in page
    assert "First no." not in page
    assert page.count(">Request Access<") == 1


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
