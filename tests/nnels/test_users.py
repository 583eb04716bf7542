"""`users`."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from core.models import User
from nnels import models
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn
from tests.nnels.test_surface import check_problem
from tests.nnels.test_tokens import BAD, expire

pytestmark = pytest.mark.django_db


def test_me(client: Client, reader: User, token: str) -> None:
    """N25: the caller's own row; `self` says v1.0 unless the path said v1.1."""
    library = models.Library.objects.create(name="Town Library")
    models.Reader.objects.update(home_library=library)
    body = client.get("/api/users/me", headers={"access-token": token}).json()
    href = f"http://testserver/api/v1.0/users/{reader.pk}"
    assert body == {
        "data": [
            {
                "id": reader.pk,
                "label": "test-account",
                "self": href,
                "mail": "test-account@example.org",
                "roles": ["authenticated"],
                "print_disability_verified": True,
                "home_library": "Town Library",
            }
        ],
        "self": {"title": "Self", "href": href},
    }
    assert list(body["data"][0])[:4] == ["id", "label", "self", "mail"]
    newer = client.get("/api/v1.1/users/me", headers={"access-token": token}).json()
    assert newer["self"]["href"] == f"http://testserver/api/v1.1/users/{reader.pk}"
    for asked, used in (("v1.1", "v1.1"), ("1.0", "v1.0"), ("1", "v1.1")):
        by_header = client.get("/api/users/me", headers={"access-token": token, "x-api-version": asked})
        assert by_header["X-API-Version"] == used
        assert by_header.json()["self"]["href"] == href, "only the path makes hrefs say v1.1"


def test_me_without_credential(client: Client, token: str) -> None:
    """N25: expired, garbled or no token: 200 with id 0, and challenges only when something was presented."""
    row = {"id": 0, "label": "Anonymous", "self": "http://testserver/api/v1.0/users/0", "mail": ""}
    nothing = client.get("/api/users/me")
    assert (nothing.status_code, nothing.json()["data"]) == (200, [row])
    assert "WWW-Authenticate" not in nothing
    expire()
    for headers in ({"access-token": token}, {"access-token": "x"}, {"authorization": "Basic !!!"}):
        answer = client.get("/api/users/me", headers=headers)
        assert (answer.status_code, answer.json()["data"]) == (200, [row])
        assert "Basic realm" in answer["WWW-Authenticate"]


def test_table(client: Client, reader: User, staff: User, token: str, log_in: LogIn) -> None:
    """N26: the table of 2.7, cell by cell."""
    keeper = log_in("keeper")["access_token"]
    own, other = reader.pk, staff.pk
    both = f"{own},{other}"

    def ask(path: str, who: str | None) -> Any:
        return client.get(f"/api/users{path}", headers={"access-token": who} if who else {})

    for path in (f"/{own}", "", f"/{own},{own}", "/test-account?loadByFieldName=label"):
        check_problem(ask(path, None), 401, BAD)
        check_problem(ask(path, "bad"), 401, BAD)
    assert ask(f"/{own}", token).json()["data"][0]["id"] == own
    for unseen in (other, 999):
        check_problem(ask(f"/{unseen}", token), 403, f"You do not have access to entity ID {unseen}.")
    assert ask(f"/{own}", keeper).json()["data"][0]["label"] == "test-account"
    check_problem(ask("/999", keeper), 422, "The entity ID 999 does not exist.")
    check_problem(ask("", token), 403, "You do not have access to listing of users.")
    listing = ask("", keeper).json()
    assert [row["id"] for row in listing["data"]] == sorted([own, other])
    assert listing["count"] == 2
    # comma lists
    assert [row["id"] for row in ask(f"/{own},{own},", token).json()["data"]] == [own]
    check_problem(ask(f"/{both}", token), 403)
    assert [row["id"] for row in ask(f"/{other},{own}", keeper).json()["data"]] == [other, own]
    # other fields
    for field, value in (("label", "Test-Account"), ("mail", "TEST-account@example.org"), ("id", str(own))):
        assert ask(f"/{value}?loadByFieldName={field}", token).json()["data"][0]["id"] == own
        assert ask(f"/{value}?loadByFieldName={field}", keeper).json()["data"][0]["id"] == own
    for value in ("keeper", "nobody"):
        check_problem(ask(f"/{value}?loadByFieldName=label", token), 403)
    assert ask("/keeper?loadByFieldName=label", keeper).json()["data"][0]["id"] == other
    check_problem(ask("/nobody?loadByFieldName=label", keeper), 422)
    check_problem(ask("/x?loadByFieldName=pass", keeper), 400, 'Cannot load an entity using the field "pass"')
    # nobody has the id 0, nor one with twenty digits
    for nobody in ("0", "9" * 20):
        check_problem(ask(f"/{nobody}", None), 401, BAD)
        check_problem(ask(f"/{nobody}", token), 403, f"You do not have access to entity ID {nobody}.")
        check_problem(ask(f"/{own},{nobody}", token), 403, f"You do not have access to entity ID {nobody}.")
        check_problem(ask(f"/{nobody}?loadByFieldName=id", token), 403)
        check_problem(ask(f"/{nobody}", keeper), 422, f"The entity ID {nobody} does not exist.")
        check_problem(ask(f"/{own},{unseen}", keeper), 422, f"The entity ID {unseen} does not exist.")
    # ids that are none
    for who in (token, keeper):
        check_problem(ask("/abc", who), 422, "The entity ID abc does not exist.")


def test_listing(client: Client, staff: User, log_in: LogIn) -> None:
    """N26: the listing pages, sorts and filters on id, label and mail."""
    for name in ("anna", "bert", "carl"):
        house.make_user(name)
    headers = {"access-token": log_in("keeper")["access_token"]}

    def labels(query: str) -> list[str]:
        return [row["label"] for row in client.get(f"/api/users?{query}", headers=headers).json()["data"]]

    assert labels("sort=-label") == ["keeper", "carl", "bert", "anna"]
    assert labels("range=2&page=2") == ["bert", "carl"]
    assert labels("filter[label][value]=AR&filter[label][operator]=CONTAINS") == ["carl"]
    assert labels("filter[mail]=anna@example.org") == ["anna"]
    check_problem(client.get("/api/users?sort=password", headers=headers), 400)
    check_problem(client.get("/api/users?filter[is_staff]=1", headers=headers), 400)
    body = client.get("/api/users?range=1&page=2", headers=headers).json()
    assert list(body) == ["data", "count", "self", "first", "previous", "next", "last", "links"]
