"""OAuth 2 (contract 2.6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from authlib.integrations.requests_client import OAuth2Session
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core.models import User
from tests import house
from tests.usermgmt import world
from usermgmt.formats import secrets
from usermgmt.models import AccessToken, ApiClient
from usermgmt.services import clients, credentials

pytestmark = pytest.mark.django_db
SEARCH = "/api/v1/users/username/mgatto"
TOKEN = "/oauth2/token"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def program() -> world.Program:
    return world.program(world.person("owner"))


def use(token: str) -> int:
    status: int = Client().get(SEARCH, HTTP_AUTHORIZATION=f"Bearer {token}").status_code
    return status


def test_a_token(program: world.Program) -> None:
    """UM31: Token endpoint: success body, `no-store`."""
    response = world.token(program)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response["Pragma"] == "no-cache"
    body = response.json()
    assert list(body) == ["access_token", "token_type", "expires_in", "scope"]
    assert body["access_token"].startswith("cvt_")
    assert len(body["access_token"]) == 47
    assert {**body, "access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "users:search services:add",
    }
    assert use(body["access_token"]) == 404
    stored = AccessToken.objects.get()
    assert stored.sha256 == secrets.token_digest(body["access_token"])
    assert timedelta(minutes=59) < stored.expires_at - timezone.now() <= timedelta(hours=1)


def test_credentials_in_the_body_or_encoded_in_the_header(program: world.Program) -> None:
    """UM31: the pair by form body, or form-encoded in a Basic header."""
    fields = {**GRANT, "client_id": program.key, "client_secret": program.secret, "scope": "users:search"}
    assert world.post_form(TOKEN, fields).json()["scope"] == "users:search"
    encoded = world.basic(quote_plus(program.key), program.secret.replace("_", "%5F"))
    assert world.post_form(TOKEN, GRANT, HTTP_AUTHORIZATION=encoded).status_code == 200


def refusal(response: Any) -> tuple[int, str]:
    assert set(response.json()) == {"error", "error_description"}
    assert response["Cache-Control"] == "no-store"
    return response.status_code, response.json()["error"]


def test_each_refusal(program: world.Program) -> None:
    """UM31: each error of 2.6."""
    both: dict[str, Any] = {"HTTP_AUTHORIZATION": program.basic}
    in_body = {"client_id": program.key, "client_secret": program.secret}
    form = "application/x-www-form-urlencoded"
    twice = f"grant_type=client_credentials&grant_type=client_credentials&client_id={program.key}"
    invalid = (400, "invalid_request")
    assert refusal(world.post_form(TOKEN, {"scope": "users:search"}, **both)) == invalid
    assert refusal(Client().post(TOKEN, twice, content_type=form, **both)) == invalid
    assert refusal(world.post_form(TOKEN, {**GRANT, **in_body}, **both)) == invalid
    assert refusal(world.post_form(f"{TOKEN}?client_secret={program.secret}", GRANT, **both)) == invalid
    assert refusal(Client().post(TOKEN, "{}", content_type="application/json", **both)) == invalid
    assert refusal(Client().post(TOKEN, b"grant_type=\xff", content_type=form, **both)) == invalid
    assert refusal(world.post_form(TOKEN, {**GRANT, "client_id": "another"}, **both)) == invalid
    assert world.post_form(TOKEN, {**GRANT, "client_id": program.key}, **both).status_code == 200
    for grant in ("password", "refresh_token", "authorization_code"):
        assert refusal(world.post_form(TOKEN, {"grant_type": grant}, **both)) == (400, "unsupported_grant_type")
    assert refusal(world.token(program, scope="users:search admin")) == (400, "invalid_scope")
    for pair in ((program.key, "wrong"), ("unknown", program.secret), ("", "")):
        response = world.post_form(TOKEN, GRANT, HTTP_AUTHORIZATION=world.basic(*pair))
        assert refusal(response) == (401, "invalid_client")
        assert response["WWW-Authenticate"].startswith("Basic ")
    assert refusal(world.post_form(TOKEN, GRANT)) == (401, "invalid_client")
    clients.suspend(program.client, actor=world.reviewer())
    assert refusal(world.token(program)) == (400, "unauthorized_client")
    assert refusal(world.post_form(TOKEN, GRANT, HTTP_AUTHORIZATION=world.basic(program.key, "x"))) == (
        401,
        "invalid_client",
    )


def test_the_address_counts(program: world.Program) -> None:
    """UM31: a wrong address neither gets nor uses a token."""
    away: dict[str, Any] = {"REMOTE_ADDR": "192.0.2.7"}
    response = world.post_form(TOKEN, GRANT, HTTP_AUTHORIZATION=program.basic, **away)
    assert refusal(response) == (401, "invalid_client")
    token = world.token(program).json()["access_token"]
    response = Client().get(SEARCH, HTTP_AUTHORIZATION=f"Bearer {token}", **away)
    assert response.json() == {"error": {"Auth": "Unrecognized API Client"}}
    # Approval is looked at first, as everywhere.
    clients.suspend(program.client, actor=world.reviewer())
    response = world.post_form(f"{TOKEN}/", GRANT, HTTP_AUTHORIZATION=program.basic, **away)
    assert refusal(response) == (400, "unauthorized_client")


@pytest.mark.parametrize("path", [TOKEN, "/oauth2/revoke", "/oauth2/introspect"])
def test_other_methods(path: str) -> None:
    """UM31: other methods are 405."""
    for method in ("get", "put", "delete", "options", "head"):
        response = getattr(Client(), method)(path)
        assert (response.status_code, response["Allow"]) == (405, "POST")
        if method != "head":
            message = "Method not supported; only POST requests are accepted"
            assert response.json() == {"error": {"HTTP": message}}


def test_suspension_and_revocation(program: world.Program) -> None:
    """UM32: Suspension stops tokens at once; revoke and introspect are blind to foreign tokens."""
    other = world.program()
    mine, foreign = (world.token(each).json()["access_token"] for each in (program, other))

    def ask(path: str, token: str) -> Any:
        return world.post_form(path, {"token": token}, HTTP_AUTHORIZATION=program.basic)

    told = ask("/oauth2/introspect", mine).json()
    assert list(told) == ["active", "client_id", "scope", "token_type", "iat", "exp"]
    assert (told["active"], told["client_id"], told["exp"] - told["iat"]) == (True, program.key, 3600)
    assert abs(told["iat"] - timezone.now().timestamp()) < 60
    assert told["scope"] == "users:search services:add"
    assert ask("/oauth2/introspect/", mine).json() == told
    assert ask("/oauth2/introspect", foreign).content == b'{"active":false}'
    assert ask("/oauth2/introspect", "cvt_unknown").content == b'{"active":false}'
    for token in (foreign, "cvt_unknown"):
        response = ask("/oauth2/revoke", token)
        assert (response.status_code, response.content) == (200, b"")
    assert use(foreign) == 404
    ask("/oauth2/revoke/", mine)
    assert use(mine) == 401
    assert ask("/oauth2/introspect", mine).content == b'{"active":false}'
    late = world.token(program).json()["access_token"]
    AccessToken.objects.filter(sha256=secrets.token_digest(late)).update(expires_at=timezone.now())
    assert ask("/oauth2/introspect", late).content == b'{"active":false}'
    clients.suspend(other.client, actor=world.reviewer())
    assert use(foreign) == 401
    clients.reinstate(ApiClient.objects.get(pk=other.client.pk), actor=world.reviewer())
    assert use(foreign) == 401


def test_hints_are_ignored(program: world.Program) -> None:
    """UM32: revoke is 200 and introspect tells of the caller's token whatever kind the caller takes it for."""
    token = world.token(program).json()["access_token"]
    for hint in ("access_token", "refresh_token", "other"):
        fields = {"token": token, "token_type_hint": hint}
        told = world.post_form("/oauth2/introspect", fields, HTTP_AUTHORIZATION=program.basic)
        assert (told.status_code, told.json()["active"]) == (200, True)
    fields = {"token": token, "token_type_hint": "refresh_token"}
    revoked = world.post_form("/oauth2/revoke", fields, HTTP_AUTHORIZATION=program.basic)
    assert (revoked.status_code, revoked.content) == (200, b"")
    assert use(token) == 401


def test_scopes_as_they_count(program: world.Program) -> None:
    """UM31: a scope asked for twice is granted once; introspection tells what staff left of a token's scopes."""
    body = world.token(program, scope="services:add users:search services:add").json()
    assert body["scope"] == "services:add users:search"
    clients.narrow(program.client, actor=world.reviewer(), scopes=["users:search"])
    fields = {"token": body["access_token"]}
    told = world.post_form("/oauth2/introspect", fields, HTTP_AUTHORIZATION=program.basic).json()
    assert (told["active"], told["scope"]) == (True, "users:search")


def test_new_keys_kill_tokens(program: world.Program) -> None:
    """UM29: old pair and tokens fail at once."""
    token = world.token(program).json()["access_token"]
    credentials.regenerate(program.client, seen=program.credential.pk, actor=program.client.owner)
    assert use(token) == 401
    assert program.get(SEARCH).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_a_client_library_searches(web: house.Web) -> None:
    """UM31: an OAuth2 client library gets a token and searches, over HTTP."""
    world.seed_people()
    program = world.program(world.person("owner"))
    session = OAuth2Session(program.key, program.secret, scope="users:search")
    session.fetch_token(f"{web.base_url}/oauth2/token", grant_type="client_credentials")
    answer = session.get(f"{web.base_url}/api/v1/users/username/mgatt")
    assert [user["username"] for user in answer.json()["users"]] == ["mgatto10", "mgatto30"]
    assert answer.headers["Expires"] == answer.headers["Date"]
    assert User.objects.count() == 4


def test_metadata(client: Client, settings: Settings) -> None:
    told = client.get("/.well-known/oauth-authorization-server").json()
    assert told["token_endpoint"] == "http://testserver/oauth2/token"
    assert told["grant_types_supported"] == ["client_credentials"]
    settings.PUBLIC_BASE_URL = "https://user.example.org"
    told = client.get("/.well-known/oauth-authorization-server").json()
    assert (told["issuer"], told["token_endpoint"]) == (
        "https://user.example.org",
        "https://user.example.org/oauth2/token",
    )
