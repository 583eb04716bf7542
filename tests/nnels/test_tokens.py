"""Token pairs, credentials, flood control."""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.db import connection
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from core import throttle
from core.models import User
from nnels import models
from nnels.selectors import accounts
from nnels.services import callers, tokens
from tests import house as servers_of
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn
from tests.nnels.test_surface import check_problem

pytestmark = pytest.mark.django_db

BAD = "Bad credentials. Anonymous user resolved for a resource that requires authentication."
GOOD = {"authorization": house.basic("test-account", "notReal")}
INVALID_REFRESH = "Invalid refresh token."


def works(client: Client, token: str) -> bool:
    return bool(client.get("/api/users/me", headers={"access-token": token}).json()["data"][0]["id"])


def expire() -> None:
    models.TokenPair.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


# --- login ----------------------------------------------------------------------------------------------------------


def test_login(client: Client, reader: User) -> None:
    """N9: four flat keys in order, 43 url-safe characters, never stored."""
    response = client.get("/api/login-token", headers=GOOD)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json; charset=utf-8"
    assert (response["Cache-Control"], response["Pragma"]) == ("no-store", "no-cache")
    assert response["Referrer-Policy"] == "no-referrer"
    body = response.json()
    assert list(body) == ["access_token", "type", "expires_in", "refresh_token"]
    assert body["type"] == "Bearer"
    assert 86_390 <= body["expires_in"] <= 86_400
    for token in (body["access_token"], body["refresh_token"]):
        assert len(token) == 43
        assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert body["access_token"] != body["refresh_token"]
    flat = client.get("/api/login-token", headers={**GOOD, "accept": "text/html"})
    assert flat["Content-Type"] == "application/json; charset=utf-8"
    single = client.get("/api/login-token", headers={**GOOD, "accept": "application/drupal.single+json"})
    assert single["Content-Type"] == "application/drupal.single+json; charset=utf-8"


def test_lifetimes(client: Client, reader: User, log_in: LogIn, settings: Settings) -> None:
    """N9: an access token lasts a day, a refresh token 180 days, both by setting; `expires_in` never falls below 0."""
    log_in()
    pair = models.TokenPair.objects.get()
    assert pair.expires_at - pair.issued_at == timedelta(days=1)
    assert pair.refresh_expires_at is not None
    assert pair.refresh_expires_at - pair.issued_at == timedelta(days=180)
    pair.delete()
    settings.NNELS_ACCESS_LIFETIME, settings.NNELS_REFRESH_LIFETIME = 60, 3600
    assert 58 <= log_in()["expires_in"] <= 60
    pair = models.TokenPair.objects.get()
    assert pair.refresh_expires_at is not None
    assert pair.refresh_expires_at - pair.issued_at == timedelta(hours=1)
    found = tokens.resolve(log_in()["access_token"])
    assert found is not None
    late = dataclasses.replace(found[1], expires_at=timezone.now() - timedelta(seconds=5))
    assert tokens.peek("x", late).expires_in == 0


def test_login_again(client: Client, reader: User, log_in: LogIn) -> None:
    """N10: until expiry the same pair with less time, counting down to 0."""
    first = log_in()
    models.TokenPair.objects.update(expires_at=F("expires_at") - timedelta(seconds=100))
    second = log_in()
    assert second["access_token"] == first["access_token"]
    assert second["refresh_token"] == first["refresh_token"]
    assert first["expires_in"] - 102 <= second["expires_in"] <= first["expires_in"] - 98


def fetch(url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


@pytest.mark.django_db(transaction=True)
def test_many_first_logins(web: servers_of.Web) -> None:
    """N10: 20 parallel first calls make one pair."""
    house.make_user("test-account")
    headers = {"Authorization": house.basic("test-account", "notReal")}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fetch(f"{web.base_url}/api/login-token", headers), range(20)))
    granted = [json.loads(body) for status, body in answers if status == 200]
    # Two slow checks at a time: who waits too long for one is told to come back.
    assert {status for status, _ in answers} <= {200, 503}
    assert granted
    assert len({body["access_token"] for body in granted}) == 1
    assert models.TokenPair.objects.count() == 1


def test_login_after_expiry(client: Client, reader: User, log_in: LogIn) -> None:
    """N11: after expiry a new pair; the old refresh token is refused."""
    old = log_in()
    expire()
    new = log_in()
    assert new["access_token"] != old["access_token"]
    check_problem(client.get(f"/api/refresh-token/{old['refresh_token']}"), 400, INVALID_REFRESH)
    assert works(client, new["access_token"])
    assert not works(client, old["access_token"])


def test_login_by_token(client: Client, token: str) -> None:
    """N15: an access token gets itself and no refresh token."""
    body = client.get("/api/login-token", headers={"access-token": token}).json()
    assert list(body) == ["access_token", "type", "expires_in"]
    assert body["access_token"] == token


# --- refresh --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["get", "json", "form"])
def test_refresh(client: Client, log_in: LogIn, reader: User, way: str) -> None:
    """N12: GET and POST alike: the old access token dies, a second use is 400, the new pair survives."""
    old = log_in()

    def refresh(token: str) -> Any:
        if way == "get":
            return client.get(f"/api/refresh-token/{token}")
        if way == "json":
            body = json.dumps({"refresh_token": token})
            return client.post("/api/refresh-token", body, content_type="application/json")
        return client.post("/api/refresh-token/", f"refresh_token={token}",
                           content_type="application/x-www-form-urlencoded")  # fmt: skip

    response = refresh(old["refresh_token"])
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    new = response.json()
    assert list(new) == ["access_token", "type", "expires_in", "refresh_token"]
    assert works(client, new["access_token"])
    assert not works(client, old["access_token"])
    check_problem(refresh(old["refresh_token"]), 400, INVALID_REFRESH)
    assert models.TokenPair.objects.get(revoked_why="refreshed").reused_at is not None
    assert works(client, new["access_token"])
    assert refresh(new["refresh_token"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_many_refreshes(web: servers_of.Web, client: Client, log_in: LogIn) -> None:
    """N13: of 20 parallel refreshes exactly one is 200, nineteen are 400, one pair lives."""
    house.make_user("test-account")
    token = log_in()["refresh_token"]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fetch(f"{web.base_url}/api/refresh-token/{token}", {}), range(20)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 19
    assert models.TokenPair.objects.filter(revoked_at=None).count() == 1


def test_dead_refresh_tokens(client: Client, log_in: LogIn, reader: User) -> None:
    """N12: unknown, expired and blocked refresh tokens are all 400."""
    token = log_in()["refresh_token"]
    check_problem(client.get("/api/refresh-token/" + "x" * 43), 400, INVALID_REFRESH)
    check_problem(client.get("/api/refresh-token/%00%FF"), 400, INVALID_REFRESH)
    User.objects.filter(pk=reader.pk).update(is_active=False)
    check_problem(client.get(f"/api/refresh-token/{token}"), 400, INVALID_REFRESH)
    User.objects.filter(pk=reader.pk).update(is_active=True)
    models.TokenPair.objects.update(refresh_expires_at=timezone.now() - timedelta(seconds=1))
    check_problem(client.get(f"/api/refresh-token/{token}"), 400, INVALID_REFRESH)
    models.TokenPair.objects.update(refresh_expires_at=None)
    assert client.get(f"/api/refresh-token/{token}").status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ('{"refresh_token": 5}', "application/json", 400),
        ('{"refresh_token": ""}', "application/json", 400),
        ("", "application/x-www-form-urlencoded", 400),
        ('{"refresh_token": "%s"}' % ("x" * 5000), "application/json", 413),
        ("refresh_token=" + "x" * 5000, "application/x-www-form-urlencoded", 413),
        ("<refresh/>", "application/xml", 415),
    ],
)
def test_bad_refresh_bodies(client: Client, body: str, content_type: str, status: int) -> None:
    """N38: the bad inputs of 2.12 to POST refresh-token."""
    check_problem(client.post("/api/refresh-token", body, content_type=content_type), status)


def test_unlimited_refresh(reader: User, log_in: LogIn, settings: Settings) -> None:
    """N12: lifetime 0 means unlimited."""
    settings.NNELS_REFRESH_LIFETIME = 0
    log_in()
    assert models.TokenPair.objects.get().refresh_expires_at is None


# --- what is stored -------------------------------------------------------------------------------------------------


def test_rows_hold_no_token(reader: User, log_in: LogIn, settings: Settings) -> None:
    """N14: no row holds a token, and none follows from a row under another key."""
    settings.NNELS_TOKEN_KEYS = ["the key"]
    body = log_in()
    with connection.cursor() as cursor:
        cursor.execute("SELECT p::text, encode(nonce, 'base64') FROM nnels_tokenpair p")
        stored = " ".join(map(str, cursor.fetchone()))
    for token in (body["access_token"], body["refresh_token"]):
        raw = base64.urlsafe_b64decode(token + "=")
        assert token not in stored
        assert raw.hex() not in stored
    pair = models.TokenPair.objects.get()
    derived = tokens.derive(pair.id, bytes(pair.nonce), use="access", key="the key")
    assert derived == body["access_token"]
    assert tokens.derive(pair.id, bytes(pair.nonce), use="access", key="another") != body["access_token"]


def test_keys_roll(client: Client, reader: User, log_in: LogIn, settings: Settings) -> None:
    """N14: an older key still names its pair; a pair whose key is gone works by digest until the next login."""
    settings.NNELS_TOKEN_KEYS = ["old"]
    first = log_in()
    settings.NNELS_TOKEN_KEYS = ["new", "old"]
    assert log_in()["access_token"] == first["access_token"]
    settings.NNELS_TOKEN_KEYS = ["new"]
    assert works(client, first["access_token"])
    second = log_in()
    assert second["access_token"] != first["access_token"]
    assert not works(client, first["access_token"])


# --- presenting credentials -----------------------------------------------------------------------------------------


def test_ways_to_present(client: Client, token: str, settings: Settings) -> None:
    """N16: header and Bearer work; the query token only by setting, and no link repeats it."""
    house.make_item("A")
    house.make_item("B")
    for headers in (
        {"access-token": token},
        {"authorization": f"Bearer {token}"},
        {"authorization": f"bearer {token}"},
    ):
        assert client.get("/api/repo_items", headers=headers).status_code == 200
    assert client.get(f"/api/repo_items?access_token={token}").status_code == 401
    settings.NNELS_QUERY_TOKEN = True
    for name in ("access_token", "access-token"):
        response = client.get(f"/api/repo_items?{name}={token}&range=1&x=1")
        assert response.status_code == 200
        assert token not in response.content.decode()
        assert response.json()["next"]["href"].endswith("?x=1&page=2&range=1")
    # Restful: the query token replaces the header's.
    assert client.get("/api/repo_items?access_token=bad", headers={"access-token": token}).status_code == 401


def test_order_of_credentials(client: Client, token: str) -> None:
    """N17: a bad token with good Basic succeeds; a good token wins over another account's Basic."""
    house.make_user("other")
    other = {"authorization": house.basic("other", "notReal")}
    label = client.get("/api/users/me", headers={"access-token": "bad", **other}).json()["data"][0]["label"]
    assert label == "other"
    label = client.get("/api/users/me", headers={"access-token": token, **other}).json()["data"][0]["label"]
    assert label == "test-account"


def test_any_valid_token_suffices(client: Client, token: str, log_in: LogIn) -> None:
    """N17: a bad `access-token` header does not hide a good Bearer token; of two good ones the header's counts."""
    house.make_user("other")
    bearer = {"authorization": f"Bearer {log_in('other')['access_token']}"}
    response = client.get("/api/repo_items", headers={"access-token": "stale", **bearer})
    assert response.status_code == 200
    label = client.get("/api/users/me", headers={"access-token": token, **bearer}).json()["data"][0]["label"]
    assert label == "test-account"
    refused = client.get("/api/repo_items", headers={"access-token": "stale", "authorization": "Bearer stale"})
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused["WWW-Authenticate"]


def test_refresh_is_no_access_token(client: Client, reader: User, log_in: LogIn) -> None:
    """N17: a refresh token is no access token, an access token no refresh token, a browser's session neither."""
    body = log_in()
    for headers in ({"access-token": body["refresh_token"]}, {"authorization": f"Bearer {body['refresh_token']}"}):
        assert client.get("/api/repo_items", headers=headers).status_code == 401
    assert client.get(f"/api/refresh-token/{body['access_token']}").status_code == 400
    client.force_login(reader)
    assert client.get("/api/repo_items").status_code == 401


def test_one_refusal(client: Client, reader: User) -> None:
    """N18: unknown, wrong, blocked and malformed Basic answer byte for byte alike, with both challenges."""
    house.make_user("blocked", is_active=False)
    nul = base64.b64encode(b"test-account:not\0Real").decode()
    no_colon = base64.b64encode(b"test-account").decode()
    tried = [
        house.basic("nobody", "notReal"),
        house.basic("test-account", "wrong"),
        house.basic("blocked", "notReal"),
        "Basic !!!",
        f"Basic {no_colon}",
        f"Basic {nul}",
        "Basic",
        "Digest x",
    ]
    answers = [client.get("/api/login-token", headers={"authorization": value}) for value in tried]
    answers.append(client.get("/api/login-token"))
    for answer in answers:
        check_problem(answer, 401, BAD)
        assert answer["WWW-Authenticate"] == 'Basic realm="nnels", charset="UTF-8", Bearer realm="nnels"'
    assert len({answer.content for answer in answers}) == 1
    refused = client.get("/api/repo_items", headers={"access-token": "garbled"})
    assert refused["WWW-Authenticate"].endswith('Bearer realm="nnels", error="invalid_token"')
    assert refused.content == answers[0].content


@pytest.mark.parametrize("token", ["", "x", "x" * 100_000, "é\u20ac", "\x00", "a b c"])
def test_garbled_tokens(client: Client, token: str) -> None:
    """N38: no, garbled, huge and non-ASCII tokens are 401 on items, search and accounts."""
    for path in ("/api/repo_items", "/api/repo_items/1", "/api/basic_search/x", "/api/users/1"):
        check_problem(client.get(path, HTTP_ACCESS_TOKEN=token), 401, BAD)


def test_latin_1_password(client: Client) -> None:
    """N18: Basic is UTF-8, else Latin-1; the first colon divides."""
    house.make_user("colette", password="été:pass")
    for encoding in ("utf-8", "latin-1"):
        encoded = base64.b64encode("colette:été:pass".encode(encoding)).decode()
        assert client.get("/api/login-token", headers={"authorization": f"Basic {encoded}"}).status_code == 200


# --- flood control --------------------------------------------------------------------------------------------------


def test_flood_by_name(client: Client, reader: User) -> None:
    """N19: the sixth attempt is 429 with the right password too; other addresses are free; a 429 is not counted."""
    wrong = {"authorization": house.basic("test-account", "wrong")}
    for _ in range(5):
        assert client.get("/api/login-token", headers=wrong).status_code == 401
    for headers in (wrong, GOOD, GOOD):
        refused = client.get("/api/login-token", headers=headers)
        check_problem(refused, 429, "Rejected by user flood control.")
        assert 0 < int(refused["Retry-After"]) <= 6 * 3600
    assert client.get("/api/login-token", headers=GOOD, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_flood_in_parallel(client: Client, reader: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """N19: guesses that began together count together: who is overtaken by five failures is refused, right or wrong."""
    real: Callable[..., bool] = hashers.check_password
    others = {"authorization": house.basic("test-account", "wrong")}
    inner: list[int] = []

    def overtaken(password: str, encoded: str, *args: Any, **kwargs: Any) -> bool:
        monkeypatch.setattr(hashers, "check_password", real)
        inner.extend(client.get("/api/login-token", headers=others).status_code for _ in range(5))
        return real(password, encoded, *args, **kwargs)

    for password in ("notReal", "wrong"):
        throttle.reset("nnels.basic.name", "test-account|127.0.0.1")
        monkeypatch.setattr(hashers, "check_password", overtaken)
        late = client.get("/api/login-token", headers={"authorization": house.basic("test-account", password)})
        check_problem(late, 429, "Rejected by user flood control.")
        assert 0 < int(late["Retry-After"]) <= 6 * 3600
    assert inner == [401] * 10


@pytest.mark.django_db(transaction=True)
def test_flood_of_parallel_guesses(web: servers_of.Web) -> None:
    """N19: of 20 simultaneous wrong guesses for a name from one address at most five are told that they are wrong."""
    house.make_user("test-account")
    headers = {"Authorization": house.basic("test-account", "wrong")}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: fetch(f"{web.base_url}/api/login-token", headers)[0], range(20)))
    # Two slow checks at a time: who waits too long for one is told to come back.
    assert set(answers) <= {401, 429, 503}
    assert 0 < answers.count(401) <= 5


def test_success_resets(client: Client, reader: User) -> None:
    """N19: a success clears the counter of that name and address."""
    wrong = {"authorization": house.basic("test-account", "wrong")}
    for _ in range(2):
        for _ in range(4):
            assert client.get("/api/login-token", headers=wrong).status_code == 401
        assert client.get("/api/login-token", headers=GOOD).status_code == 200


def test_flood_by_address(client: Client, reader: User) -> None:
    """N19: the 51st attempt of an address is 429, IPv6 counted by /64; forged forwarding headers change nothing."""
    for number in range(50):
        headers = {"authorization": house.basic(f"name{number}", "x"), "x-forwarded-for": f"198.51.100.{number}"}
        response = client.get("/api/login-token", headers=headers, REMOTE_ADDR=f"2001:db8::{number:x}")
        assert response.status_code == 401
    refused = client.get("/api/login-token", headers=GOOD, REMOTE_ADDR="2001:db8::ffff")
    check_problem(refused, 429, "Rejected by ip flood control.")
    assert 0 < int(refused["Retry-After"]) <= 3600 + 15
    assert client.get("/api/login-token", headers=GOOD, REMOTE_ADDR="2001:db8:0:1::1").status_code == 200


def test_flood_counts_malformed(client: Client, reader: User) -> None:
    """N19: malformed Basic is counted against the address."""
    for number in range(50):
        value = "Basic !!!" if number % 2 else "Basic " + base64.b64encode(f"n{number}:\0".encode()).decode()
        response = client.get("/api/login-token", headers={"authorization": value})
        assert response.status_code in (401, 429)
    assert client.get("/api/login-token", headers={"authorization": "Basic !!!"}).status_code == 429


# --- the cache of passwords -----------------------------------------------------------------------------------------


@pytest.fixture
def slow_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every slow hash that is computed."""
    seen: list[str] = []
    real: Callable[..., bool] = hashers.check_password

    def counting(password: str, encoded: str, *args: Any, **kwargs: Any) -> bool:
        seen.append(encoded)
        return real(password, encoded, *args, **kwargs)

    monkeypatch.setattr(hashers, "check_password", counting)
    return seen


def test_second_basic_is_cheap(
    client: Client, reader: User, slow_checks: list[str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """N20: a second Basic request runs no slow hash and one statement; failures are never remembered."""
    for _ in range(3):
        assert client.get("/api/users/me", headers=GOOD).json()["data"][0]["id"] == reader.pk
    assert len(slow_checks) == 1
    with django_assert_num_queries(1):
        client.get("/api/users/me", headers=GOOD)
    wrong = {"authorization": house.basic("test-account", "wrong")}
    for _ in range(2):
        client.get("/api/users/me", headers=wrong)
    assert len(slow_checks) == 3


def test_new_password_acts_at_once(client: Client, reader: User) -> None:
    """N20: a changed password acts at once, and so does a block."""
    assert client.get("/api/login-token", headers=GOOD).status_code == 200
    reader.set_password("another")
    reader.save()
    assert client.get("/api/login-token", headers=GOOD).status_code == 401
    fresh = {"authorization": house.basic("test-account", "another")}
    assert client.get("/api/login-token", headers=fresh).status_code == 200
    User.objects.filter(pk=reader.pk).update(is_active=False)
    assert client.get("/api/login-token", headers=fresh).status_code == 401


def test_cache_ends(client: Client, reader: User, slow_checks: list[str], settings: Settings) -> None:
    """N20: 0 seconds means no cache; the cache forgets beyond its size."""
    settings.NNELS_BASIC_CACHE_SECONDS = 0
    for _ in range(2):
        client.get("/api/users/me", headers=GOOD)
    assert len(slow_checks) == 2
    settings.NNELS_BASIC_CACHE_SECONDS = 300
    small = callers.Remembered(2)
    for number in range(3):
        small.keep(number, "p", "s")
    assert [small.knows(number, "p", "s") for number in range(3)] == [False, True, True]
    assert not small.knows(2, "p", "other")


def test_few_slow_hashes(client: Client, reader: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """N20: while two slow checks run, a third waits briefly and is then told to come back."""
    monkeypatch.setattr(callers, "SLOW_WAIT_SECONDS", 0.01)
    with callers._slow, callers._slow:
        refused = client.get("/api/login-token", headers=GOOD)
    check_problem(refused, 503)
    assert refused["Retry-After"] == "2"
    assert client.get("/api/login-token", headers=GOOD).status_code == 200


# --- the end of tokens ----------------------------------------------------------------------------------------------


def test_password_change_ends_tokens(client: Client, reader: User, log_in: LogIn) -> None:
    """N21: a changed password stops both tokens on the next request."""
    pair = log_in()
    reader.set_password("another")
    reader.save()
    assert not works(client, pair["access_token"])
    assert client.get(f"/api/refresh-token/{pair['refresh_token']}").status_code == 400


def test_block_ends_tokens(client: Client, reader: User, log_in: LogIn) -> None:
    """N21: a blocked account's tokens fail on the next request."""
    pair = log_in()
    User.objects.filter(pk=reader.pk).update(is_active=False)
    assert not works(client, pair["access_token"])
    assert client.get("/api/repo_items", headers={"access-token": pair["access_token"]}).status_code == 401


def test_last_use_is_written_seldom(
    client: Client, token: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """N21: the last use is noted at most every five minutes."""
    client.get("/api/users/me", headers={"access-token": token})
    noted = models.TokenPair.objects.get().last_used_at
    assert noted is not None
    with django_assert_num_queries(1):
        client.get("/api/users/me", headers={"access-token": token})
    assert models.TokenPair.objects.get().last_used_at == noted


@pytest.mark.parametrize("ago", [None, 4, 6])
def test_last_use_is_written_by_the_statement_that_reads(
    client: Client, token: str, django_assert_num_queries: DjangoAssertNumQueries, ago: int | None
) -> None:
    """N21, N53: noting the last use, when it is due, takes no further statement."""
    last = None if ago is None else timezone.now() - timedelta(minutes=ago)
    models.TokenPair.objects.update(last_used_at=last)
    accounts.USES.forget()
    with django_assert_num_queries(1):
        assert client.get("/api/users/me", headers={"access-token": token}).status_code == 200
    assert (models.TokenPair.objects.get().last_used_at == last) is (ago == 4)
