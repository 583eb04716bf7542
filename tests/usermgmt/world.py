"""Makes the people and clients that tests need, through the same services as the portal."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass
from typing import Any

from django.test import Client as HttpClient

from core.models import EmailAddress, User
from usermgmt.jobs import pairs
from usermgmt.models import Api, ApiClient, ClientCredential, Maintainer, Service
from usermgmt.services import bulk, clients

_numbers = itertools.count(1)


def person(username: str = "", first: str = "", last: str = "", email: str | None = None, **fields: Any) -> User:
    """A validated account with a verified primary address."""
    username = username or f"person{next(_numbers)}"
    address = f"{username}@people.example.org" if email is None else email
    more = fields.pop("more", [])
    password = fields.pop("password", None)
    user = User.objects.create_user(
        username, address, password, first_name=first, last_name=last, **{"is_validated": True, **fields}
    )
    EmailAddress.objects.filter(user=user).update(is_verified=True)
    for extra in more:
        EmailAddress(user=user, address=extra, is_verified=True).save()
    return user


def seed_people() -> list[User]:
    """The two people of the documented answer, with its ids where those are free."""
    is_free = not User.objects.filter(pk__in=[1, 2]).exists()
    first, second = ({"pk": 1}, {"pk": 2}) if is_free else ({}, {})
    people = [
        person("mgatto10", "احمد", "صفيان", "mgatto10@email.arizona.edu", position="Kaatib", **first),
        person(
            "mgatto30",
            "Michael",
            "Gatto",
            "mgatto10@iplantcollaborative.org",
            institution="Iplant",
            position="Programmer, Senior",
            **second,
        ),
    ]
    bulk.move_sequence()
    return people


def api() -> Api:
    maintainer, _ = Maintainer.objects.get_or_create(name="Support", email="support@example.org")
    found, _ = Api.objects.get_or_create(slug="user-api", defaults={"name": "User API", "maintainer": maintainer})
    return found


def service(slug: str = "coge", **fields: Any) -> Service:
    return Service.objects.create(slug=slug, name=slug.title(), **fields)


def form(**changes: str) -> clients.Form:
    values = {
        "name": f"Program {next(_numbers)}",
        "description": "Finds collaborators.",
        "url": "https://example.org/about",
        "networks": "127.0.0.1",
        "data_use": "To suggest people.",
    }
    return clients.Form(**{**values, **changes})


def pending(owner: User | None = None, **changes: str) -> ApiClient:
    return clients.register(owner=owner or person(), api=api(), form=form(**changes))


def reviewer() -> User:
    return User.objects.filter(username="reviewer").first() or person("reviewer", is_staff=True)


@dataclass(frozen=True)
class Program:
    """An approved client and its pair in clear."""

    client: ApiClient
    credential: ClientCredential
    key: str
    secret: str

    @property
    def basic(self) -> str:
        return basic(self.key, self.secret)

    def get(self, path: str, **more: Any) -> Any:
        return self.call("get", path, **more)

    def call(self, method: str, path: str, **more: Any) -> Any:
        more.setdefault("HTTP_AUTHORIZATION", self.basic)
        return getattr(HttpClient(), method)(path, **more)

    def fresh(self) -> ApiClient:
        return ApiClient.objects.get(pk=self.client.pk)


def program(owner: User | None = None, **changes: str) -> Program:
    """An approved client whose secret was revealed."""
    client = pending(owner, **changes)
    clients.approve(client, actor=reviewer())
    credential = client.credentials.get()
    return Program(client, credential, credential.key, pairs.arm(credential))


def check_headers(answer: Any) -> None:
    """UM12: what the headers of every answer say (contract 2.4)."""
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-cache, max-age=0"
    assert answer["Expires"].endswith("GMT")
    assert answer["Vary"] == "Accept-Encoding, User-Agent"
    assert int(answer["Content-Length"]) == len(answer.content)
    assert not answer.cookies


def basic(key: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()


def token(owner: Program, **form_fields: str) -> Any:
    """The answer of the token endpoint."""
    fields = {"grant_type": "client_credentials", **form_fields}
    return post_form("/oauth2/token", fields, HTTP_AUTHORIZATION=owner.basic)


def post_form(path: str, fields: dict[str, str], **more: Any) -> Any:
    from urllib.parse import urlencode

    return HttpClient().post(path, urlencode(fields), content_type="application/x-www-form-urlencoded", **more)
