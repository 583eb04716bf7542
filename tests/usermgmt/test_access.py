"""Who is let in, in which order, and what the others are told (contract 2.2, 2.7 and 8)."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.test import Client, override_settings
from django.utils import timezone

from core.models import User
from tests.usermgmt import world
from usermgmt.models import AccessToken, ClientCredential, ServiceRequest
from usermgmt.selectors import directory
from usermgmt.services import clients, credentials

pytestmark = pytest.mark.django_db

SEARCH = "/api/v1/users/username/mgatto"
ADD = "/api/v1/service/coge/add/mgatto"


@pytest.fixture
def program() -> world.Program:
    return world.program(world.person("owner"))


def get(path: str = SEARCH, **headers: Any) -> Any:
    return Client().get(path, **headers)


def auth(response: Any) -> str:
    assert response.status_code == 401
    text: str = response.json()["error"]["Auth"]
    return text


BAD_KEYS = [
    {},
    {"HTTP_AUTHORIZATION": ""},
    {"HTTP_AUTHORIZATION": "Digest abc"},
    {"HTTP_AUTHORIZATION": "Basic !!!"},
    {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b"nocolon").decode()},
    {"HTTP_AUTHORIZATION": world.basic("", "x")},
    {"HTTP_AUTHORIZATION": world.basic("unknown", "x")},
    {"HTTP_AUTHORIZATION": world.basic("nul\0", "x")},
]


@pytest.mark.parametrize("headers", BAD_KEYS)
def test_bad_keys(headers: dict[str, str]) -> None:
    """UM6: no `Authorization`, other scheme, bad base64, no colon, empty or unknown key."""
    assert auth(get(**headers)) == "Invalid API Key"


def test_replaced_and_expired_pairs(program: world.Program) -> None:
    """UM6: replaced or expired pair is an invalid key."""
    ClientCredential.objects.filter(pk=program.credential.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert auth(program.get(SEARCH)) == "Invalid API Key"
    ClientCredential.objects.filter(pk=program.credential.pk).update(expires_at=None, revoked_at=timezone.now())
    assert auth(program.get(SEARCH)) == "Invalid API Key"


def test_bad_secrets(program: world.Program) -> None:
    """UM6: wrong or empty secret, secret not yet revealed."""
    for secret in ("", "wrong", program.secret[:-1], program.secret + "x"):
        assert auth(get(HTTP_AUTHORIZATION=world.basic(program.key, secret))) == "Invalid API Secret"
    fresh = world.pending()
    clients.approve(fresh, actor=world.reviewer())
    assert auth(get(HTTP_AUTHORIZATION=world.basic(fresh.credentials.get().key, ""))) == "Invalid API Secret"


@pytest.mark.parametrize("state", ["pending", "denied", "suspended", "revoked"])
def test_states_that_may_not_call(program: world.Program, state: str) -> None:
    """UM6: client pending, denied, suspended, revoked."""
    type(program.client).objects.filter(pk=program.client.pk).update(state=state)
    assert auth(program.get(SEARCH)) == "API Client not yet Approved for Access"


def test_expired_client(program: world.Program) -> None:
    """UM6: expired client."""
    type(program.client).objects.filter(pk=program.client.pk).update(expires_at=timezone.now())
    assert auth(program.get(SEARCH)) == "API Client not yet Approved for Access"


def test_address_not_registered_or_not_determinable(program: world.Program) -> None:
    """UM6: address not registered or not determinable."""
    for address in ("192.0.2.7", "", "unknown"):
        assert auth(program.get(SEARCH, REMOTE_ADDR=address)) == "Unrecognized API Client"
    assert program.get(SEARCH, REMOTE_ADDR="::ffff:127.0.0.1").status_code == 404


def test_bad_tokens(program: world.Program) -> None:
    """UM6: bad, expired, revoked token."""
    token = world.token(program).json()["access_token"]
    assert auth(get(HTTP_AUTHORIZATION="Bearer nonsense")) == "Invalid Access Token"
    AccessToken.objects.update(expires_at=timezone.now())
    expired = get(HTTP_AUTHORIZATION=f"Bearer {token}")
    revoked = world.token(program).json()["access_token"]
    world.post_form("/oauth2/revoke", {"token": revoked}, HTTP_AUTHORIZATION=program.basic)
    for response in (expired, get(HTTP_AUTHORIZATION=f"Bearer {revoked}"), get(HTTP_AUTHORIZATION="Bearer nonsense")):
        assert auth(response) == "Invalid Access Token"
        assert response["WWW-Authenticate"].endswith('Bearer realm="User API", error="invalid_token"')
    assert "error=" not in get()["WWW-Authenticate"]


def test_missing_scope(program: world.Program) -> None:
    """UM6: scope missing."""
    clients.narrow(program.client, actor=world.reviewer(), scopes=["services:add"])
    response = program.get(SEARCH)
    assert response.status_code == 403
    assert response.json() == {"error": {"Auth": "API Client not permitted to use this resource"}}
    token = world.token(program).json()["access_token"]
    response = get(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert (response.status_code, response["WWW-Authenticate"]) == (
        403,
        'Bearer realm="User API", error="insufficient_scope"',
    )


def test_missing_scope_of_adding(program: world.Program) -> None:
    """UM6: scope missing; a client that may only search adds no service, nor does a token that may only search."""
    world.service("coge")
    world.person("mgatto")
    token = world.token(program, scope="users:search").json()["access_token"]
    refused = [Client().post(ADD, HTTP_AUTHORIZATION=f"Bearer {token}")]
    clients.narrow(program.client, actor=world.reviewer(), scopes=["users:search"])
    refused.append(program.call("post", ADD))
    assert [response.status_code for response in refused] == [403, 403]
    for response in refused:
        assert response.json() == {"error": {"Auth": "API Client not permitted to use this resource"}}
    assert refused[0]["WWW-Authenticate"] == 'Bearer realm="User API", error="insufficient_scope"'
    assert not ServiceRequest.objects.exists()


@pytest.mark.parametrize("method", ["get", "head", "delete", "patch", "options", "trace"])
def test_methods_of_adding(method: str) -> None:
    """UM6: GET, HEAD, DELETE … on `/service/…/add/…` are 405 with text and `Allow`, even without credentials."""
    response = getattr(Client(), method)(ADD)
    assert (response.status_code, response["Allow"]) == (405, "POST, PUT")
    message = b'{"error":{"HTTP":"Method not supported; only POST and PUT requests are accepted"}}'
    assert response.content == (b"" if method == "head" else message)


def test_a_token_of_less_scope(program: world.Program) -> None:
    token = world.token(program, scope="services:add").json()["access_token"]
    assert get(HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 403


@pytest.mark.parametrize("value", ["abc", "5", "=5", "5-", "-5", "0-5,9-12", "0-5 x", "٠-٥", ""])
def test_malformed_ranges(program: world.Program, value: str) -> None:
    """UM6: `Range: records=abc`, `=5`, `=5-`, `=-5`, `=0-5,9-12`."""
    response = program.get(SEARCH, HTTP_RANGE=f"records={value}")
    assert response.status_code == 400
    assert response.content == (b'{"error":{"HTTP":"Malformed range header. Should be \'Range: records=0-50\'"}}')


@pytest.mark.parametrize(("value", "start", "end"), [("0-0", "0", "0"), ("9-3", "9", "3"), ("009-03", "9", "3")])
def test_range_values(program: world.Program, value: str, start: str, end: str) -> None:
    """UM6: `records=0-0`, `records=9-3` (E = 0 or E < S)."""
    response = program.get(SEARCH, HTTP_RANGE=f"records={value}")
    assert response.status_code == 400
    assert response.json() == {"error": {"HTTP": f"Invalid range values: start={start} and end={end}"}}


@pytest.mark.parametrize("kind", ["id", "USERNAME", "%C3%A9"])
def test_search_types(program: world.Program, kind: str) -> None:
    """UM6: type `id`, `USERNAME`, …"""
    response = program.get(f"/api/v1/users/{kind}/mgatto")
    assert response.status_code == 400
    message = "Search type is not recognized: must be one of: username, name, or email"
    assert response.json() == {"error": {"Exception": message}}


@pytest.mark.parametrize("path", ["/api/v1/users/id", "/api/v1/service/coge/remove/x", "/api/v1/service", "/oauth2/x"])
def test_other_paths(path: str) -> None:
    """UM6: other paths are 404 `{"error":{"HTTP":"Not Found"}}`, no credentials needed."""
    for form in (path, path + "/"):
        response = get(form)
        assert (response.status_code, response.content) == (404, b'{"error":{"HTTP":"Not Found"}}')


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OperationalError("canceling statement due to statement timeout"), 503, "Service Unavailable"),
        (OperationalError("connection refused"), 503, "Service Unavailable"),
        (RuntimeError("/secret/path.py"), 500, "Internal Server Error"),
    ],
)
def test_outages_and_bugs(
    program: world.Program, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, message: str
) -> None:
    """UM6: statement timeout, database away, any bug; nothing of it leaves the server."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(directory, "search", fail)
    response = program.get(SEARCH)
    assert response.status_code == status
    assert response.json() == {"error": {"Exception": {"code": 0, "message": message}}}
    assert response.get("Retry-After") == ("5" if status == 503 else None)


def test_order_of_checks(program: world.Program) -> None:
    """UM7: Unapproved client: wrong secret → "Invalid API Secret", right secret → "not yet Approved" from any address;
    2-character term with bad key → 401."""
    clients.suspend(program.client, actor=world.reviewer())
    for address in ("127.0.0.1", "192.0.2.7"):
        wrong = get(HTTP_AUTHORIZATION=world.basic(program.key, "no"), REMOTE_ADDR=address)
        assert auth(wrong) == "Invalid API Secret"
        assert auth(program.get(SEARCH, REMOTE_ADDR=address)) == "API Client not yet Approved for Access"
    assert auth(get("/api/v1/users/username/ab", HTTP_RANGE="records=x")) == "Invalid API Key"


def test_length_before_range_before_type(program: world.Program) -> None:
    """UM7: term length, then `Range` syntax, then values, then the type."""
    assert "Validation" in program.get("/api/v1/users/id/ab", HTTP_RANGE="records=x").json()["error"]
    assert "HTTP" in program.get("/api/v1/users/id/abc", HTTP_RANGE="records=x").json()["error"]
    assert "Exception" in program.get("/api/v1/users/id/abc").json()["error"]


def test_challenges_and_cookies(program: world.Program) -> None:
    """UM8: Each 401 carries both challenges; no API answer sets a cookie."""
    for response in (get(), get(ADD), Client().post(ADD), get(HTTP_AUTHORIZATION="Bearer x"), program.get(SEARCH)):
        if response.status_code == 401:
            assert 'Basic realm="User API", charset="UTF-8"' in response["WWW-Authenticate"]
            assert 'Bearer realm="User API"' in response["WWW-Authenticate"]
        assert not response.cookies


@pytest.mark.parametrize("field", ["is_active", "is_validated"])
def test_the_owner_counts(program: world.Program, field: str) -> None:
    """UM9: Deactivating or unvalidating the owner blocks the client at once."""
    token = world.token(program).json()["access_token"]
    assert program.get(SEARCH).status_code == 404
    User.objects.filter(pk=program.client.owner_id).update(**{field: False})
    for header in (program.basic, f"Bearer {token}"):
        assert auth(get(HTTP_AUTHORIZATION=header)) == "API Client not yet Approved for Access"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", SEARCH),
        ("post", ADD),
        ("post", "/oauth2/token"),
        ("post", "/oauth2/revoke"),
        ("post", "/oauth2/introspect"),
        ("delete", SEARCH),
    ],
)
def test_plain_http(method: str, path: str) -> None:
    """UM11: Plain http with the switch on is 403 JSON on all five paths."""
    with override_settings(USERMGMT_REQUIRE_HTTPS=True):
        for form in (path, path + "/"):
            response = getattr(Client(), method)(form)
            assert (response.status_code, response.content) == (403, b'{"error":{"HTTP":"SSL required"}}')
        assert getattr(Client(), method)(path, secure=True).status_code != 403


def test_no_redirect_to_https(program: world.Program) -> None:
    """UM10: where pages redirect to https, API paths answer 403 themselves; a trusted proxy's word for https counts."""
    secured = {"SECURE_SSL_REDIRECT": True, "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}
    with override_settings(USERMGMT_REQUIRE_HTTPS=True, **secured):
        assert Client().get("/portal/")["Location"] == "https://testserver/portal/"
        for method, path in (("get", SEARCH), ("post", ADD), ("post", "/oauth2/token"), ("post", "/oauth2/revoke")):
            for form in (path, path + "/"):
                assert getattr(Client(), method)(form).status_code == 403
        assert program.get(SEARCH, HTTP_X_FORWARDED_PROTO="https").status_code == 404
        assert program.get(SEARCH, HTTP_X_FORWARDED_PROTO="http").status_code == 403
    with override_settings(USERMGMT_REQUIRE_HTTPS=True):
        assert program.get(SEARCH, HTTP_X_FORWARDED_PROTO="https").status_code == 403


def test_a_pair_sent_in_clear_is_reported(program: world.Program, mailoutbox: Any) -> None:
    """UM11: a live pair sent over http triggers a mail telling its owner to regenerate, once a day."""
    from core.models import Mail

    with override_settings(USERMGMT_REQUIRE_HTTPS=True):
        for _ in range(2):
            assert program.get(SEARCH).status_code == 403
        get(HTTP_AUTHORIZATION=world.basic(program.key, "wrong"))
    mails = Mail.objects.filter(kind="usermgmt.clear-text")
    assert [mail.to for mail in mails] == [program.client.owner.email]
    assert program.secret not in mails[0].body


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"])
def test_a_pair_sent_in_clear_in_a_form_is_reported(program: world.Program, path: str) -> None:
    """UM11: the OAuth paths take the pair from the form, so there it is looked for as well."""
    from core.models import Mail

    with override_settings(USERMGMT_REQUIRE_HTTPS=True):
        assert world.post_form(path, {"client_id": program.key, "client_secret": "wrong"}).status_code == 403
        assert Client().post(path, b"\xff", content_type="text/plain").status_code == 403
        assert not Mail.objects.filter(kind="usermgmt.clear-text").exists()
        assert world.post_form(path, {"client_id": program.key, "client_secret": program.secret}).status_code == 403
    assert Mail.objects.get(kind="usermgmt.clear-text").to == program.client.owner.email


def test_stored_digests_open_nothing(program: world.Program) -> None:
    """UM28: a stored digest used as a secret or token is refused."""
    stored = ClientCredential.objects.get(pk=program.credential.pk).secret_hmac
    assert auth(get(HTTP_AUTHORIZATION=world.basic(program.key, str(stored)))) == "Invalid API Secret"
    world.token(program)
    digest = AccessToken.objects.get().sha256
    assert auth(get(HTTP_AUTHORIZATION=f"Bearer {digest}")) == "Invalid Access Token"


def test_a_retired_pepper(program: world.Program) -> None:
    """UM28: a secret lives as long as its pepper is listed."""
    old = ("development", "development-only-usermgmt_secret_peppers-not-for-production-use")
    from django.conf import settings

    peppers = list(settings.USERMGMT_SECRET_PEPPERS)
    with override_settings(USERMGMT_SECRET_PEPPERS=[("new", "n" * 40), *peppers]):
        assert program.get(SEARCH).status_code == 404
        shown = credentials.regenerate(program.client, seen=program.credential.pk, actor=program.client.owner)
        assert shown is not None
        assert shown.credential.pepper_id == "new"
    with override_settings(USERMGMT_SECRET_PEPPERS=[old]):
        assert auth(get(HTTP_AUTHORIZATION=world.basic(shown.credential.key, shown.secret))) == "Invalid API Secret"


def test_deprecation_headers(program: world.Program) -> None:
    """UM33: Deprecation, Sunset, Link appear on Basic answers only, when configured."""
    token = world.token(program).json()["access_token"]
    assert "Deprecation" not in program.get(SEARCH)
    with override_settings(
        USERMGMT_BASIC_DEPRECATION="1767225600",
        USERMGMT_BASIC_SUNSET="Sat, 01 Jan 2028 00:00:00 GMT",
        USERMGMT_BASIC_LINK="https://example.org/oauth2",
    ):
        answer = program.get(SEARCH)
        assert answer["Deprecation"] == "@1767225600"
        assert answer["Sunset"] == "Sat, 01 Jan 2028 00:00:00 GMT"
        assert answer["Link"] == '<https://example.org/oauth2>; rel="deprecation"'
        assert "Deprecation" not in get(HTTP_AUTHORIZATION=f"Bearer {token}")
        assert "Deprecation" not in get()
        clients.narrow(program.client, actor=world.reviewer(), scopes=["services:add"])
        missing, refused = program.get(SEARCH), get(HTTP_AUTHORIZATION=f"Bearer {token}")
        assert (missing.status_code, missing["Deprecation"]) == (403, "@1767225600")
        assert (refused.status_code, "Deprecation" in refused) == (403, False)


def test_the_end_of_basic(program: world.Program) -> None:
    """UM33: with Basic switched off its callers are told to use a token; tokens go on."""
    token = world.token(program).json()["access_token"]
    with override_settings(USERMGMT_BASIC_ENABLED=False):
        message = "Basic authentication is no longer accepted; use an OAuth2 access token"
        assert auth(program.get(SEARCH)) == message
        assert get(HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 404
        assert world.token(program).status_code == 200


def test_forwarded_addresses(program: world.Program) -> None:
    """UM34: `X-Forwarded-For` counts only from a trusted proxy; its right-most untrusted address decides; garbage is
    refused."""
    import ipaddress

    forged = {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}
    assert auth(program.get(SEARCH, REMOTE_ADDR="192.0.2.7", **forged)) == "Unrecognized API Client"
    with override_settings(TRUSTED_PROXIES=[ipaddress.ip_network("192.0.2.0/24")]):

        def status(chain: str) -> int:
            code: int = program.get(SEARCH, REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR=chain).status_code
            return code

        assert status("127.0.0.1") == 404
        assert status("198.51.100.1, 127.0.0.1, 192.0.2.9") == 404
        assert status("[::ffff:127.0.0.1]:4711") == 404
        assert status("127.0.0.1, 198.51.100.1") == 401
        for garbage in ("unknown", "", "127.0.0.1, unknown", "not-an-address"):
            assert status(garbage) == 401


def test_networks_of_both_families() -> None:
    """UM35: `10.0.0.1, 2001:db8::/48` registers two networks and both match."""
    program = world.program(networks="10.0.0.1, 2001:db8::/48")
    assert [network.cidr for network in program.client.networks.all()] == ["10.0.0.1/32", "2001:db8::/48"]
    for address, status in (("10.0.0.1", 404), ("2001:db8:0:1::5", 404), ("10.0.0.2", 401), ("2001:db9::1", 401)):
        assert program.get(SEARCH, REMOTE_ADDR=address).status_code == status


def test_throttles(program: world.Program) -> None:
    """UM36: Throttle and failure limiter answer 429; failures from elsewhere do not lock a client out."""
    with override_settings(USERMGMT_CLIENT_LIMIT=2):
        assert [program.get(SEARCH).status_code for _ in range(3)] == [404, 404, 429]
        response = program.get(SEARCH)
        assert response.content == b'{"error":{"HTTP":"Too Many Requests"}}'
        assert 1 <= int(response["Retry-After"]) <= 61
    with override_settings(USERMGMT_KEY_FAILURE_LIMIT=2):
        wrong = {"HTTP_AUTHORIZATION": world.basic(program.key, "guess"), "REMOTE_ADDR": "198.51.100.9"}
        assert [get(**wrong).status_code for _ in range(3)] == [401, 401, 429]
        assert program.get(SEARCH).status_code == 404
    with override_settings(USERMGMT_FAILURE_LIMIT=3):
        tries = [
            get(HTTP_AUTHORIZATION=world.basic(f"key{n}", "x"), REMOTE_ADDR="198.51.100.8").status_code
            for n in range(4)
        ]
        assert tries == [401, 401, 401, 429]


def test_the_throttle_comes_before_the_scope(program: world.Program) -> None:
    """UM36: a client that calls too often learns that first, whatever it may use."""
    clients.narrow(program.client, actor=world.reviewer(), scopes=["services:add"])
    with override_settings(USERMGMT_CLIENT_LIMIT=1):
        assert [program.get(SEARCH).status_code for _ in range(2)] == [403, 429]


def test_an_ipv6_network_is_one_source(program: world.Program) -> None:
    """UM36: whoever has one address of a /64 has them all, so failures there add up; the next /64 is another source."""
    with override_settings(USERMGMT_FAILURE_LIMIT=3, USERMGMT_KEY_FAILURE_LIMIT=100):
        tries = [get(REMOTE_ADDR=f"2001:db8:0:1::{n}").status_code for n in range(1, 5)]
        assert tries == [401, 401, 401, 429]
        assert get(REMOTE_ADDR="2001:db8:0:2::1").status_code == 401


def test_too_many_failures_hide_what_credentials_are_worth(program: world.Program) -> None:
    """UM36: past the failure limit right and wrong secrets, known and unknown keys, tokens and OAuth all answer 429."""
    with override_settings(USERMGMT_KEY_FAILURE_LIMIT=1, USERMGMT_FAILURE_LIMIT=2):
        wrong = {"HTTP_AUTHORIZATION": world.basic(program.key, "guess")}
        assert [get(**wrong).status_code for _ in range(2)] == [401, 429]
        assert program.get(SEARCH).status_code == 429
        assert get(HTTP_AUTHORIZATION="Bearer nonsense").status_code == 401
        for headers in (
            {},
            {"HTTP_AUTHORIZATION": world.basic("unknown", "x")},
            {"HTTP_AUTHORIZATION": "Bearer nonsense"},
            {"HTTP_AUTHORIZATION": program.basic},
        ):
            assert get(**headers).status_code == 429
        assert world.token(program).status_code == 429
        assert world.token(program, grant_type="password").status_code == 429


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_a_search_asks_valkey_twice(program: world.Program, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """UM26: the limits in one question, the call noted in one, whatever the scheme."""
    token = world.token(program).json()["access_token"]
    shown = program.basic if scheme == "Basic" else f"Bearer {token}"
    sent: list[Any] = []
    real = redis.Redis.execute_command

    def noted(self: redis.Redis, command: Any, *args: Any, **options: Any) -> Any:
        sent.append(command)
        return real(self, command, *args, **options)  # type: ignore[no-untyped-call]  # as redis-py has it

    monkeypatch.setattr(redis.Redis, "execute_command", noted)
    assert get(HTTP_AUTHORIZATION=shown).status_code == 404
    assert sent == ["EVALSHA", "RPUSH"]


def test_portal_cookies_open_no_api(program: world.Program) -> None:
    """UM8: portal cookies never authenticate the API; API credentials never open the portal."""
    browser = Client()
    browser.force_login(program.client.owner)
    assert browser.get(SEARCH).status_code == 401
    assert Client().get("/portal/api-clients", HTTP_AUTHORIZATION=program.basic).status_code == 302
