"""Paths, versions, verbs, formats, problems, discovery, OPTIONS, CORS."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import Resolver404, resolve
from pytest_django import DjangoAssertNumQueries, Settings

from core.models import User
from nnels.services import reading
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json; charset=utf-8"


def check_problem(response: Any, status: int, title: str | None = None) -> dict[str, Any]:
    """The answer is a whole problem document."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == PROBLEM
    assert response["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert list(body)[:4] == ["type", "title", "status", "detail"]
    assert body["status"] == status
    assert body["type"].startswith("http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html")
    if title is not None:
        assert body["title"] == title
    return body


SECTION = "http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html"


def test_each_problem(client: Client, token: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """N2: type and detail of the problem of every status; what failed inside is not told."""
    house.moby(files={})
    me = {"access-token": token}
    secret = "SELECT password FROM core_user"

    def breaking(error: Exception) -> Any:
        def one(*_args: Any, **_kwargs: Any) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(reading, "one", one)
            return client.get("/api/repo_items/6804", headers=me)

    def refresh(body: str, kind: str) -> Any:
        return client.post("/api/refresh-token", body, content_type=kind)

    answers = [
        (client.get("/api/repo_items?range=0", headers=me), 400, "#sec10.4.1", "Bad Request"),
        (client.get("/api/repo_items"), 401, "#sec10.4.2", "Unauthorized"),
        (client.get("/api/users", headers=me), 403, "#sec10.4.4", "Forbidden"),
        (client.get("/api/nope"), 404, "#sec10.4.5", "Not Found"),
        (client.get("/api", headers={"accept": "text/html"}), 406, "#sec10.4.7", "Not Acceptable"),
        (refresh("x" * 5000, "application/json"), 413, "#sec10.4.14", "Request Entity Too Large"),
        (refresh("<x/>", "text/xml"), 415, "#sec10.4.16", "Unsupported Media Type"),
        (client.get("/api/repo_items/9", headers=me), 422, "", "Unprocessable Entity; Validation errors."),
        (breaking(RuntimeError(secret)), 500, "#sec10.5.1", "Internal Server Error"),
        (breaking(OperationalError(secret)), 503, "#sec10.5.4", "Service Unavailable"),
    ]
    settings.NNELS_RATE_LIMIT = "1/day"
    client.get("/api/users/me", headers=me)
    answers.append((client.get("/api/users/me", headers=me), 429, "", "Too Many Requests"))
    for answer, status, fragment, detail in answers:
        body = check_problem(answer, status)
        assert (body["type"], body["detail"]) == (SECTION + fragment, detail)
        assert body["title"]
        assert secret not in answer.content.decode()
        assert ("WWW-Authenticate" in answer) == (status == 401)
        assert ("Retry-After" in answer) == (status in (429, 503))


# --- paths and versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spellings", "version"),
    [
        (["/api/repo_items", "/api/v1/repo_items", "/api/v1.0/repo_items", "/api/repo-items", "/repo-items",
          "/api/v1.0/repo-items", "/api/v1/repo-items"], "v1.0"),
        (["/api/repo_items/6804", "/api/v1/repo_items/6804", "/api/v1.0/repo_items/6804", "/api/repo-items/6804",
          "/repo-items/6804", "/api/v1.0/repo-items/6804"], "v1.0"),
        (["/api/users/me", "/api/v1/users/me"], "v1.1"),
        (["/api/v1.0/users/me"], "v1.0"),
        (["/api/basic_search/moby", "/api/v1/basic_search/moby", "/api/v1.1/basic_search/moby"], "v1.1"),
    ],
)  # fmt: skip
def test_spellings(client: Client, token: str, spellings: list[str], version: str) -> None:
    """N1: both slash forms and all spellings answer identically, none by redirect, with the version used."""
    house.moby(files={})
    answers = []
    for path in spellings:
        for form in (path, f"{path}/"):
            response = client.get(form, headers={"access-token": token})
            assert response.status_code == 200, (form, response.content)
            assert response["X-API-Version"] == version
            answers.append(response.content)
    assert len(set(answers)) == 1


def test_alias_of_tokens(client: Client, reader: User, log_in: LogIn) -> None:
    """N1: the token resources have their aliases under v1.0."""
    first = log_in()
    for path in ("/api/v1.0/login-token", "/api/login-token/", "/api/v1.0/login-token/", "/api/v1/login-token"):
        body = client.get(path, headers={"authorization": house.basic("test-account", "notReal")}).json()
        assert body["access_token"] == first["access_token"]
    renewed = client.get(f"/api/v1.0/refresh-token/{first['refresh_token']}/")
    assert renewed.status_code == 200
    assert renewed["X-API-Version"] == "v1.0"


@pytest.mark.parametrize("header", ["v1.1", "1.1", "v1", "1"])
def test_version_by_header(client: Client, header: str) -> None:
    """N1: without a version in the path the header names it."""
    response = client.get("/api/users/me", headers={"x-api-version": header})
    assert response["X-API-Version"] == "v1.1"
    assert client.get("/api/v1.0/users/me", headers={"x-api-version": header})["X-API-Version"] == "v1.0"


@pytest.mark.parametrize(
    "path",
    ["/api/v1.7/repo_items", "/api/v1.1/repo_items", "/api/v0.5/repo_items", "/api/v1.0/basic_search/x", "/api/nope",
     "/api/v1.0", "/api/v1.0/", "/api/v1.1/login-token", "/api/users/me/x", "/api/repo_items_x", "/api/%0A"],
)  # fmt: skip
def test_unknown_paths(client: Client, path: str) -> None:
    """N2: an unserved version and an unknown path are the same 404."""
    check_problem(client.get(path), 404, "Invalid URL path.")
    assert client.post(path).status_code == 404


def test_version_header_refused(client: Client) -> None:
    """N2: an unserved version in the header is 404, a malformed one 403."""
    check_problem(client.get("/api/users/me", headers={"x-api-version": "9.9"}), 404, "Invalid URL path.")
    for malformed in ("one", "1.0.0", "", "v", "1.x"):
        check_problem(client.get("/api/users/me", headers={"x-api-version": malformed}), 403, "Access denied.")


@pytest.mark.parametrize(
    "path",
    ["/api/v1/Harvests", "/api/v1/login", "/api/v2/anything", "/api/v1/service/x/add/y", "/api/v1/users/username/jo",
     "/api/v1/users/name/jo", "/api/v1/users/117/x", "/api/v1/users/username"],
)  # fmt: skip
def test_others_paths(path: str) -> None:
    """N3: paths of the registry and user management are not shadowed by this app's resources."""
    try:
        match = resolve(path)
    except Resolver404:
        return
    assert not match.func.__module__.startswith("nnels."), path


# --- formats --------------------------------------------------------------------------------------------------------


def get(client: Client, token: str, path: str, accept: str | None) -> Any:
    headers = {"access-token": token} | ({"accept": accept} if accept is not None else {})
    return client.get(path, headers=headers)


def test_simple_json(client: Client, token: str) -> None:
    """N4: no Accept, */* anywhere and application/json are simple JSON, UTF-8 unescaped."""
    house.make_item("Un été", nid=5)
    for accept in (None, "", "*/*", "text/html, application/vnd.api+json, */*;q=0.1", "application/json"):
        response = get(client, token, "/api/repo_items/5", accept)
        assert response["Content-Type"] == "application/json; charset=utf-8"
        assert list(response.json()) == ["data", "self"]
        assert "Un été".encode() in response.content


def test_json_api(client: Client, token: str) -> None:
    """N4: JSON:API."""
    house.moby(files={})
    one = get(client, token, "/api/repo_items/6804", "application/vnd.api+json")
    assert one["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    body = one.json()
    assert list(body) == ["data", "links"]
    assert list(body["data"]) == ["type", "id", "attributes", "links"]
    assert (body["data"]["type"], body["data"]["id"]) == ("repo_items", "6804")
    assert "id" not in body["data"]["attributes"]
    assert "self" not in body["data"]["attributes"]
    many = get(client, token, "/api/repo_items?range=1", "application/vnd.api+json").json()
    assert many["meta"] == {"count": 1}
    assert list(many["links"]) == ["self", "first", "last"]


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/api/repo_items/6804?fields=label", ["6804"]),
        ("/api/repo_items?fields=label", ["6804"]),
        ("/api/repo_items?fields=file_resources", ["6804"]),
        ("/api/basic_search/moby?fields=label", ["6804"]),
        ("/api/users/me?fields=label", []),
        ("/api?filter[resource]=users&fields=label", ["users:1.1"]),
        ("/api/basic_search/moby?suggest=5", ["http://testserver/api/v1.0/repo_items/6804"]),
    ],
)
def test_json_api_ids(client: Client, token: str, reader: User, path: str, ids: list[str]) -> None:
    """N4: each JSON:API resource has its own id, whatever `fields` keeps of its attributes."""
    house.moby(files={})
    data = get(client, token, path, "application/vnd.api+json").json()["data"]
    resources = data if isinstance(data, list) else [data]
    assert [one["id"] for one in resources] == (ids or [str(reader.pk)])
    if "fields=label" in path:
        assert all(set(one["attributes"]) <= {"label", "name"} for one in resources)
    assert client.get("/api/users/me?fields=id").json()["data"] == [{"id": 0}]


def test_hal(client: Client, token: str) -> None:
    """N4: HAL."""
    house.moby(files={})
    one = get(client, token, "/api/repo_items/6804", "application/hal+json")
    assert one["Content-Type"] == "application/hal+json; charset=utf-8"
    assert one.json()["id"] == 6804
    assert one.json()["_links"]["self"]["href"].endswith("/api/v1.0/repo_items/6804")
    many = get(client, token, "/api/repo_items", "application/hal+json").json()
    assert list(many) == ["count", "_embedded", "_links"]
    assert many["_embedded"]["hal:repo_items"][0]["id"] == 6804
    assert many["_links"]["curies"][0]["name"] == "hal"


def test_single(client: Client, token: str) -> None:
    """N4: single is the first row, bare."""
    house.moby(files={})
    house.make_item("Typee")
    for path in ("/api/repo_items/6804", "/api/repo_items?sort=-id&filter[label]=moby-dick"):
        response = get(client, token, path, "application/drupal.single+json")
        assert response["Content-Type"] == "application/drupal.single+json; charset=utf-8"
        assert response.json()["id"] == 6804


def test_quality_counts(client: Client, token: str) -> None:
    """N4: q decides, q=0 excludes."""
    house.moby(files={})
    accept = "application/hal+json;q=0.4, application/vnd.api+json;q=0.9, application/json;q=0"
    assert get(client, token, "/api/repo_items/6804", accept)["Content-Type"].startswith("application/vnd.api+json")


def test_not_acceptable(client: Client, token: str) -> None:
    """N4: text/html alone is 406, also for OPTIONS-less resources; OPTIONS and problems ignore Accept."""
    for path in ("/api/repo_items/6804", "/api/repo_items", "/api", "/api/users/me", "/api/basic_search/x"):
        title = "None of the available formats matches the Accept header."
        check_problem(get(client, token, path, "text/html"), 406, title)
        assert client.options(path, headers={"accept": "text/html"}).status_code == 200
    check_problem(client.get("/api/nope", headers={"accept": "text/html"}), 404)


def test_default_format(client: Client, token: str, settings: Settings) -> None:
    """N4: the setting flips the default; application/json stays simple."""
    settings.NNELS_DEFAULT_FORMAT = "json_api"
    house.moby(files={})
    for accept in (None, "*/*"):
        response = get(client, token, "/api/repo_items/6804", accept)
        assert response["Content-Type"] == "application/vnd.api+json; charset=utf-8"
    assert get(client, token, "/api/repo_items/6804", "application/json")["Content-Type"].startswith("application/json")


# --- verbs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api", "/api/users/me", "/api/users/117", "/api/repo_items", "/api/repo_items/6804",
                                  "/api/basic_search/moby", "/repo-items/6804", "/api/repo_items/999999"])  # fmt: skip
def test_head(client: Client, token: str, path: str) -> None:
    """N7: HEAD has GET's status and headers and no body."""
    house.moby(files={})
    headers = {"access-token": token}
    got, head = client.get(path, headers=headers), client.head(path, headers=headers)
    assert head.status_code == got.status_code
    assert head.content == b""
    different = {"X-Request-ID"}
    assert {k: v for k, v in head.items() if k not in different} == {k: v for k, v in got.items() if k not in different}


def test_head_of_tokens(client: Client, reader: User, log_in: LogIn) -> None:
    """N7: HEAD on token resources is 400 and has no effect."""
    pair = log_in()
    basic = {"authorization": house.basic("test-account", "notReal")}
    response = client.head("/api/login-token", headers=basic)
    assert (response.status_code, response["Allow"]) == (400, "GET, OPTIONS")
    assert client.head(f"/api/refresh-token/{pair['refresh_token']}").status_code == 400
    assert client.get(f"/api/refresh-token/{pair['refresh_token']}").status_code == 200


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
def test_other_verbs(client: Client, verb: str) -> None:
    """N8: other verbs are 400 with Allow."""
    for path in ("/api", "/api/users/me", "/api/repo_items/3", "/api/repo_items", "/api/basic_search/x"):
        response = getattr(client, verb)(path)
        check_problem(response, 400, f"The http method {verb.upper()} is not allowed for this path.")
        assert response["Allow"] == "GET, HEAD, OPTIONS"
    for method in ("get", "head", "put", "delete"):
        refused = getattr(client, method)("/api/refresh-token")
        assert (refused.status_code, refused["Allow"]) == (400, "POST, OPTIONS")
    for path in ("/api/login-token", "/api/refresh-token/abc"):
        refused = getattr(client, verb)(path)
        assert (refused.status_code, refused["Allow"]) == (400, "GET, OPTIONS")


def test_override(client: Client, token: str) -> None:
    """N8: a POST may be overridden to GET, HEAD or OPTIONS and to nothing else."""
    house.moby(files={})
    path, headers = "/api/repo_items/6804", {"access-token": token}
    got = client.post(path, headers={**headers, "x-http-method-override": "GET"})
    assert got.json()["data"][0]["id"] == 6804
    head = client.post(path, headers={**headers, "x-http-method-override": "HEAD"})
    assert (head.status_code, head.content) == (200, b"")
    options = client.post(path, headers={"x-http-method-override": "options"})
    assert "form_element" in options.json()["data"][0]["label"]
    refused = client.post(path, headers={"x-http-method-override": "BOGUS"})
    check_problem(refused, 400, "Invalid overridden method: BOGUS.")
    assert client.post(path, headers={"x-http-method-override": "DELETE"}).status_code == 400


# --- discovery ------------------------------------------------------------------------------------------------------


def test_discovery(client: Client, token: str) -> None:
    """N22: five rows for everybody, `?all=1` six, by name; sort and filter work, page and range are ignored."""
    for headers in ({}, {"access-token": token}, {"authorization": "Basic !!!"}):
        body = client.get("/api", headers=headers).json()
        assert list(body) == ["data", "count", "self"]
        names = [row["name"] for row in body["data"]]
        assert names == ["access_token:1.0", "basic_search:1.1", "refresh_token:1.0", "repo_items:1.0", "users:1.1"]
        assert body["count"] == 5
        keys = ["label", "description", "name", "resource", "majorVersion", "minorVersion", "self"]
        assert all(list(row) == keys for row in body["data"])
        assert [row["self"] for row in body["data"]] == [
            f"http://testserver/api/{path}"
            for path in ("login-token", "v1.1/basic_search", "refresh-token", "v1.0/repo_items", "v1.1/users")
        ]
    every = client.get("/api/?all=1&page=9&range=1").json()
    assert [row["name"] for row in every["data"]][-2:] == ["users:1.0", "users:1.1"]
    assert every["count"] == 6
    assert client.get("/api?sort=-name").json()["data"][0]["name"] == "users:1.1"
    assert client.get("/api?filter[resource]=users").json()["count"] == 1
    check_problem(client.get("/api?filter[nosuch]=1"), 400, "The filter nosuch is not allowed for this path.")


def test_discovery_is_cacheable(client: Client) -> None:
    """N22: the list may be kept and is confirmed by its tag."""
    response = client.get("/api")
    assert response["Cache-Control"] == "public, max-age=300"
    assert client.get("/api", headers={"if-none-match": response["ETag"]}).status_code == 304


# --- OPTIONS and CORS -----------------------------------------------------------------------------------------------

SEED_TOKENS = """{"access_token":{"data":{"type":"text","required":false},"info":{"label":"Token","description":
"Authentication token \\"token\\" property."}},"type":[],"expires_in":{"data":{"type":"integer","required":false},
"info":{"label":"Expire","description":"Authentication token \\"expire\\" property."}},"refresh_token":{"info":{"label":
"Refresh token","description":"Token used to get a new access token once it is expired."}}}"""

SEED_USERS = """{"id":{"info":{"label":"ID","description":"Base ID for the entity."},
"data":{"type":"integer","required":true,"read_only":true,"cardinality":1}},
"label":{"info":{"label":"Label","description":"The label of the resource."},
"data":{"type":"string","read_only":false,"cardinality":1,"required":false,"size":255}},"self":[],
"mail":{"data":{"type":"text","required":true},"info":{"label":"Email",
"description":"The email address of the user account."}}}"""

SEED_ITEMS = """{"label":{"info":{"label":"Label","description":"The label of the resource."},"data":{"type":"string",
"required":false,"read_only":false,"cardinality":1,"size":255},"form_element":{"type":"textfield","default_value":"",
"placeholder":"","size":255,"allowed_values":null,"title":"label","description":"The label of the resource."}},
"creators":{"info":{"label":"Creator","description":""},"form_element":{"allowed_values":[],"default_value":null,"type":
"text_textfield","title":"creators"}},"languages":{"info":{"label":"Language","description":""},"form_element":
{"default_value":[{"value":"eng"}],"type":"options_buttons","title":"languages"}},"isbn":{"info":{"label":"ISBN",
"description":""},"form_element":{"allowed_values":[],"default_value":null,"type":"text_textfield","title":"isbn"}},
"uuid":{"data":{"type":"text","required":false},"info":{"label":"UUID","description":"The universally unique ID."}},
"published_date":{"info":{"label":"Date","description":""},"form_element":{"allowed_values":[],"default_value":null,
"type":"field_collection_embed","title":"published_date"}},"file_resources":{"data":{"type":"integer","required":false},
"info":{"label":"Node ID","description":"The unique ID of the node."}}}"""


@pytest.mark.parametrize(
    ("path", "seed", "href"),
    [
        ("/api/login-token", SEED_TOKENS, "/api/login-token"),
        ("/api/refresh-token/abc", SEED_TOKENS, "/api/refresh-token"),
        ("/api/users/me", SEED_USERS, "/api/v1.0/users/me"),
        ("/api/users/117", SEED_USERS, "/api/v1.0/users/117"),
        ("/api/v1.1/users", SEED_USERS, "/api/v1.1/users"),
        ("/api/v1.0/repo_items/6804", SEED_ITEMS, "/api/v1.0/repo_items/6804"),
        ("/api/repo_items", SEED_ITEMS, "/api/v1.0/repo_items"),
    ],
)
def test_options(
    client: Client, path: str, seed: str, href: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """N23: OPTIONS is deep-equal to the published structure in key order, without credential or query."""
    with django_assert_num_queries(0):
        response = client.options(path)
    assert response.status_code == 200
    expected = {"data": [json.loads(seed)], "self": {"title": "Self", "href": f"http://testserver{href}"}}
    assert json.dumps(response.json()) == json.dumps(expected)
    assert response["Link"] == f'<http://testserver{href}?all=1>; rel="describedby"'


def test_options_of_me(
    client: Client, token: str, reader: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """N23: with a token `users/me` names the account."""
    client.get("/api/users/me", headers={"access-token": token})
    with django_assert_num_queries(1):
        body = client.options("/api/users/me", headers={"access-token": token}).json()
    assert body["self"]["href"] == f"http://testserver/api/v1.0/users/{reader.pk}"


def test_options_all(client: Client) -> None:
    """N23: `?all=1` appends what was added, languages with their labels; search and discovery describe themselves."""
    fields = client.options("/api/repo_items?all=1").json()["data"][0]
    published = list(json.loads(SEED_ITEMS))
    assert list(fields)[: len(published)] == published
    assert fields["languages"]["data"]["values"]["fra"] == "French"
    assert all("info" in value and "data" in value for name, value in fields.items() if name not in published)
    assert {"id", "self", "files", "accessibility", "changed"} <= set(fields)
    assert "roles" in client.options("/api/users?all=1").json()["data"][0]
    assert "relevance" in client.options("/api/basic_search").json()["data"][0]
    assert "majorVersion" in client.options("/api").json()["data"][0]


def test_preflight(client: Client) -> None:
    """N24: a browser's preflight passes, and every answer may be read across origins."""
    response = client.options(
        "/api/repo_items/6804",
        headers={
            "origin": "https://app.example.org",
            "access-control-request-method": "GET",
            "access-control-request-headers": "access-token",
        },
    )
    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert response["Access-Control-Allow-Headers"] == "access-token, authorization, content-type, x-api-version"
    assert response["Access-Control-Max-Age"] == "600"
    for path in ("/api", "/api/users/me", "/api/repo_items/6804", "/api/nope"):
        answer = client.get(path, headers={"origin": "https://app.example.org"})
        assert answer["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer
        for name in ("Link", "ETag", "Retry-After", "WWW-Authenticate", "X-API-Version"):
            assert name in answer["Access-Control-Expose-Headers"]


def test_origins_by_setting(client: Client, settings: Settings) -> None:
    """N24: a list of origins is echoed, others get no permission."""
    settings.NNELS_CORS_ORIGINS = ["https://app.example.org"]
    known = client.get("/api", headers={"origin": "https://app.example.org"})
    assert known["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "Access-Control-Allow-Origin" not in client.get("/api", headers={"origin": "https://evil.example.org"})
    assert "Origin" in known["Vary"]


def test_echoed_text_is_cut(client: Client, token: str) -> None:
    """N2: echoed text is at most 200 characters without control characters."""
    response = client.get("/api/repo_items/" + "x" * 500 + "%0A%1B", headers={"access-token": token})
    body = check_problem(response, 422)
    assert len(body["title"]) == 200
    assert not re.search(r"[\x00-\x1f]", body["title"])


def test_rate_limit(client: Client, settings: Settings, token: str) -> None:
    """N8: `NNELS_RATE_LIMIT` counts down 2, 1, 0 and then refuses."""
    settings.NNELS_RATE_LIMIT = "3/day"
    left = []
    for _ in range(3):
        response = client.get("/api/users/me", headers={"access-token": token})
        assert response["X-Rate-Limit-Limit"] == "3"
        assert 0 < int(response["X-Rate-Limit-Reset"]) <= 86_400 + 400
        left.append(response["X-Rate-Limit-Remaining"])
    assert left == ["2", "1", "0"]
    refused = client.get("/api/users/me", headers={"access-token": token})
    check_problem(refused, 429, "Rate limit reached")
    assert int(refused["Retry-After"]) > 0
    assert refused["X-Rate-Limit-Remaining"] == "0"


def test_rate_limit_of_strangers(client: Client, settings: Settings, db: None) -> None:
    """N8: requests without a valid credential are counted by address; another address is free."""
    settings.NNELS_RATE_LIMIT = "2/day"
    left = []
    for headers in ({}, {"access-token": "bad"}):
        refused = client.get("/api/repo_items", headers=headers, REMOTE_ADDR="192.0.2.7")
        check_problem(refused, 401)
        left.append(refused["X-Rate-Limit-Remaining"])
    assert left == ["1", "0"]
    check_problem(client.get("/api/repo_items", REMOTE_ADDR="192.0.2.7"), 429, "Rate limit reached")
    check_problem(client.get("/api/repo_items", REMOTE_ADDR="192.0.2.8"), 401)
