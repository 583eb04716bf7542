"""The account pages: log in and out, change and reset a password, one's own data and tokens."""

from __future__ import annotations

import html
import re

import pytest
from django.core import mail as django_mail
from django.test import Client
from pytest_django import Settings

from core import auth, jobs, throttle
from core.accounts import reset
from core.models import Mail, User

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def amal() -> User:
    throttle.reset("page-login", "amal|127.0.0.1")
    return User.objects.create_user("amal", "amal@example.org", PASSWORD, first_name="أمل", is_validated=True)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", ["amal", "Amal@Example.org"])
def test_login_by_name_or_address_leads_on(client: Client, amal: User, slash: str, name: str) -> None:
    form = {"username": name, "password": PASSWORD, "next": "/accounts/"}
    answer = client.post(f"/accounts/login{slash}", form)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/")
    assert "أمل" in client.get("/accounts").content.decode()


def test_a_user_name_goes_before_an_address(client: Client, amal: User) -> None:
    """Who has somebody's user name as an address, proven or not, does not lock them out."""
    User.objects.create_user("bob@example.org", None, PASSWORD)
    User.objects.create_user("mallory", "bob@example.org", "something else 1")
    assert client.post("/accounts/login", {"username": "Bob@example.org", "password": PASSWORD}).status_code == 302


@pytest.mark.parametrize(
    ("page", "login"),
    [
        ("/registry/sources?q=b%26c", "/registry/login"),
        ("/portal/register", "/portal/login"),
        ("/downloads/", "/accounts/login"),
    ],
)
def test_the_way_to_log_in_leads_back(client: Client, amal: User, page: str, login: str) -> None:
    """Who logs in from a page comes back to it, in the frame of its app."""
    found = re.search(r'href="([^"]+)">Log in</a>', client.get(page).content.decode())
    assert found is not None
    path, _, query = found[1].partition("?")
    assert path == login
    asked = client.get(path, QUERY_STRING=query)
    field = re.search(r'name="next" value="([^"]*)"', asked.content.decode())
    assert field is not None
    answer = client.post(login, {"username": "amal", "password": PASSWORD, "next": html.unescape(field[1])})
    assert (answer.status_code, answer["Location"]) == (302, page)


@pytest.mark.parametrize(("login", "home"), [("registry", "/registry/sources"), ("portal", "/portal/api-clients")])
def test_a_login_without_a_page_to_go_back_to_stays_with_the_app(
    client: Client, amal: User, login: str, home: str
) -> None:
    answer = client.post(f"/{login}/login", {"username": "amal", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, home)


def test_a_newcomer_is_told_why_there_is_no_way_in_yet(client: Client, amal: User) -> None:
    amal.is_active = False
    amal.save()
    text = client.post("/accounts/login", {"username": "amal", "password": PASSWORD}).content.decode()
    assert "the address of a new account is not confirmed yet" in text


def test_a_fault_of_a_form_is_found_by_eye_ear_and_keyboard(client: Client) -> None:
    """The summary takes the focus and leads to the field, the field names its message."""
    text = client.post("/accounts/password/forgot", {"email": "nobody"}).content.decode()
    assert re.search(r'<div class="summary" role="alert" tabindex="-1" id="form-errors" autofocus>', text)
    assert '<a href="#id_email">E-mail address</a>: Enter a valid email address.' in text
    (field,) = re.findall(r'<input[^>]*name="email"[^>]*>', text)
    assert 'value="nobody"' in field
    (described,) = re.findall(r'aria-describedby="([^"]+)"', field)
    assert text.count(f'id="{described}"') == 1


def test_next_stays_on_the_host(client: Client, amal: User) -> None:
    form = {"username": "amal", "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post("/accounts/login", form)["Location"] == "/accounts/"


def test_guessing_is_slowed_down(client: Client, amal: User) -> None:
    for _ in range(10):
        client.post("/accounts/login", {"username": "amal", "password": "wrong"})
    refused = client.post("/accounts/login", {"username": "amal", "password": PASSWORD})
    assert "Too many attempts" in refused.content.decode()
    throttle.reset("page-login", "amal|127.0.0.1")
    assert client.post("/accounts/login", {"username": "amal", "password": PASSWORD}).status_code == 302


def test_logout_needs_a_post(client: Client, amal: User) -> None:
    client.force_login(amal)
    assert client.get("/accounts/logout").status_code == 405
    assert client.post("/accounts/logout").status_code == 302
    assert client.get("/accounts").status_code == 302


def mailed_link() -> str:
    """The path in the mail that goes out; its row never has it, so that nobody can read it from there."""
    jobs.run_queued()
    (message,) = django_mail.outbox
    link = re.search(r"https?://testserver(/accounts/password/reset/\S+)", str(message.body))
    assert link is not None
    row = Mail.objects.get(kind="password-reset")
    assert (row.state, "/reset/" in row.body) == ("sent", False)
    return link[1]


@pytest.mark.django_db(transaction=True)
def test_a_forgotten_password_is_reset_by_a_mailed_link_once(client: Client, amal: User) -> None:
    client.post("/accounts/password/forgot", {"email": "amal@example.org"})
    link = mailed_link()
    form_page = client.get(link, follow=True)
    form_path = form_page.redirect_chain[-1][0]
    new = {"new_password1": "a quite new phrase", "new_password2": "a quite new phrase"}
    assert client.post(form_path, new).status_code == 302
    assert User.objects.get(pk=amal.pk).check_password("a quite new phrase")
    assert "used already" in Client().get(link, follow=True).content.decode()


@pytest.mark.django_db(transaction=True)
def test_who_was_imported_without_a_password_gets_one(client: Client, amal: User) -> None:
    """UM47: people imported without a password use *Forgot password*."""
    amal.set_unusable_password()
    amal.save()
    client.post("/accounts/password/forgot", {"email": "amal@example.org"})
    form_path = client.get(mailed_link(), follow=True).redirect_chain[-1][0]
    new = {"new_password1": "a quite new phrase", "new_password2": "a quite new phrase"}
    assert client.post(form_path, new).status_code == 302
    assert User.objects.get(pk=amal.pk).check_password("a quite new phrase")


@pytest.mark.parametrize(
    ("new", "again", "told"),
    [
        ("12345678", "12345678", {"new_password1": "too common"}),
        ("a quite new phrase", "a quite old phrase", {"new_password2": "didn’t match"}),
    ],
)
def test_the_fault_of_a_new_password_is_told_where_it_is(
    client: Client, amal: User, new: str, again: str, told: dict[str, str]
) -> None:
    client.force_login(amal)
    answer = client.post("/accounts/password", {"old_password": PASSWORD, "new_password1": new, "new_password2": again})
    found = re.findall(r'class="error" id="id_(\w+)_error">([^<]+)', answer.content.decode())
    assert {name: True for name, text in found if told.get(name, "nothing") in text} == dict.fromkeys(told, True)
    assert len(found) == len(told)


def test_links_lead_to_the_public_address(client: Client, amal: User, settings: Settings) -> None:
    settings.PUBLIC_BASE_URL = "https://quincunx.example.org"
    client.post("/accounts/password/forgot", {"email": "amal@example.org"})
    text = reset.render(Mail.objects.get(kind="password-reset"))
    assert "https://quincunx.example.org/accounts/password/reset/" in text


@pytest.mark.parametrize("path", ["/accounts/password/forgot", "/portal/password/forgot"])
def test_asking_for_links_is_slowed_down(client: Client, amal: User, path: str) -> None:
    for _ in range(20):
        assert client.post(path, {"email": "amal@example.org"}).status_code == 302
    refused = client.post(path, {"email": "amal@example.org"})
    assert "Too many tries" in refused.content.decode()
    assert Mail.objects.count() == 20


def test_an_unknown_address_gets_the_same_answer_and_no_mail(client: Client, amal: User) -> None:
    known = client.post("/accounts/password/forgot", {"email": "amal@example.org"})
    unknown = client.post("/accounts/password/forgot", {"email": "nobody@example.org"})
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert Mail.objects.count() == 1


def test_changing_the_password_revokes_tokens(client: Client, amal: User) -> None:
    _, secret = auth.issue_token(amal, audience="exports")
    client.force_login(amal)
    form = {"old_password": PASSWORD, "new_password1": "another long phrase", "new_password2": "another long phrase"}
    assert client.post("/accounts/password", form).status_code == 302
    assert auth.resolve_token("exports", secret) is None


def test_people_revoke_their_own_tokens_only(client: Client, amal: User) -> None:
    token, secret = auth.issue_token(amal, audience="exports", label="laptop")
    client.force_login(User.objects.create_user("ben"))
    assert client.post(f"/accounts/tokens/{token.pk}/revoke").status_code == 404
    client.force_login(amal)
    assert "laptop" in client.get("/accounts/").content.decode()
    assert secret not in client.get("/accounts/").content.decode()
    client.post(f"/accounts/tokens/{token.pk}/revoke")
    assert auth.resolve_token("exports", secret) is None


def test_people_edit_their_own_data(client: Client, amal: User) -> None:
    client.force_login(amal)
    client.post("/accounts/", {"first_name": "Amal", "last_name": "Zoë", "institution": "", "position": "Curator"})
    amal.refresh_from_db()
    assert (amal.last_name, amal.institution, amal.position, amal.last_n) == ("Zoë", None, "Curator", "zoe")
