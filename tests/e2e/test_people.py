"""Changes of an account that concern more than one API: its address, its user name."""

from __future__ import annotations

import re

import pytest
from django.core import mail as django_mail
from django.test import Client

from core import admin, jobs
from core.models import User
from exports.services import repos, tokens
from tests.usermgmt import world

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_old_address_stays_until_the_new_one_is_proven() -> None:
    """UM17: an address written at `PUT /user/` is found, shown and mailed to by nobody before its link is followed."""
    person = world.person("amal", "Amal", "Haddad", "old@example.org")
    program, token = world.program(), tokens.issue(person)[1]

    def shown(path: str) -> list[str]:
        answer = program.get(f"/api/v1/users/{path}").json()
        return [found["email"] for found in answer["users"]]

    asked = Client().put(
        "/user/", {"email": "new@example.org"}, content_type="application/json", HTTP_AUTHORIZATION=f"Token {token}"
    )
    assert (asked.status_code, asked.json()["email"]) == (200, "old@example.org")
    assert shown("username/amal") == shown("name/Haddad") == shown("email/old@example") == ["old@example.org"]
    assert shown("email/new@example") == []
    Client().post("/accounts/password/forgot", {"email": "new@example.org"})
    jobs.run_queued()
    (message,) = (sent for sent in django_mail.outbox if sent.to == ["new@example.org"])
    (link,) = re.findall(r"/portal/verify/[\w-]{43}", str(message.body))
    assert Client().post(link).status_code == 302
    assert User.objects.get(pk=person.pk).email == "new@example.org"
    assert shown("username/amal") == shown("email/new@example") == ["new@example.org"]
    assert shown("email/old@example") == []


def test_a_user_name_in_addresses_stays() -> None:
    """UM48: who has repositories under a user name keeps it; they would be nobody's under the new one."""
    person = world.person("amal", "Amal", "Haddad")
    browser = Client()
    browser.force_login(person)
    repo = repos.create(person, kind="source", data={"id": "P", "name": "P"}, user=person)
    wanted = {"part": "username", "username-username": "amal2"}
    refused = browser.post("/portal/profile", wanted)
    assert refused.status_code == 400
    assert "The user name stands in the addresses of repositories" in refused.content.decode()
    by_staff = admin.ChangedPerson({"username": "amal2"}, instance=person)
    assert by_staff.errors["username"] == [
        "The user name stands in the addresses of repositories, so it cannot be changed."
    ]
    assert Client().get("/users/amal/sources/P/").status_code == 200
    assert [one["url"] for one in Client().get("/users/amal/sources/").json()] == [repo.uri]
    repo.delete()
    assert browser.post("/portal/profile", wanted).status_code == 302
    assert User.objects.get(pk=person.pk).username == "amal2"
