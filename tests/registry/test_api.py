"""The original service's API, byte for byte (contract 2.1 to 2.7)."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core import jobs
from core.models import ApiToken, User
from registry import dialect
from registry.models import Harvest, HarvestRun, Organization
from tests.registry.conftest import PASSWORD

pytestmark = pytest.mark.django_db

NO_ENDPOINT = b'{"status":"error","message":"API endpoint does not exist"}'
LOGGED_OUT = b'{"status":"error","message":"You must be logged in to do this."}'
UNAUTHORIZED = b'{"status":"error","message":"Unauthorized"}'
DIGEST = hashlib.sha256(PASSWORD.encode()).hexdigest()
SAMPLE = (
    b'{"_id":"n3N6xBLyZIs9LGwEF","harvest_type":"WAF","name":"PacIOOS WAF",'
    b'"url":"http://www.pacioos.hawaii.edu/metadata/iso/","publish":true,"harvest_interval":1,'
    b'"organization":"PacIOOS","last_harvest_dt":"2017-04-27T00:05:01.717Z",'
    b'"ckan_harvest_url":"http://dev-catalog.ioos.us/harvest/pacioos-waf","last_record_count":802,'
    b'"last_good_count":801,"last_bad_count":1,"last_harvest_status":"ok"}'
)
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@pytest.fixture
def sample(organization: Organization) -> Harvest:
    """The harvest of the published document."""
    return Harvest.objects.create(
        uid="n3N6xBLyZIs9LGwEF",
        name="PacIOOS WAF",
        url="http://www.pacioos.hawaii.edu/metadata/iso/",
        organization=organization,
        publish=True,
        harvest_contact="waf@example.org",
        ckan_harvest_url="http://dev-catalog.ioos.us/harvest/pacioos-waf",
        last_finished=datetime(2017, 4, 27, 0, 5, 1, 717000, tzinfo=UTC),
        last_status="ok",
        last_record_count=802,
        last_good_count=801,
        last_bad_count=1,
    )


def login(client: Client, body: str | bytes, kind: str = FORM, **headers: Any) -> Any:
    return client.post("/api/v2/login", body, content_type=kind, **headers)


def pair(client: Client, name: str = "maria", *, password: str = PASSWORD) -> dict[str, Any]:
    """The two headers of a fresh login."""
    answer = login(client, f"username={name}&password={password}").json()
    return {"HTTP_X_AUTH_TOKEN": answer["data"]["authToken"], "HTTP_X_USER_ID": answer["data"]["userId"]}


# --- common rules -------------------------------------------------------------------------------------------------

PATHS = {
    "/api/v1/Harvests": "GET, OPTIONS",
    "/api/v1/Harvests/n3N6xBLyZIs9LGwEF": "GET, PATCH, OPTIONS",
    "/api/v2/login": "POST, OPTIONS",
    "/api/v1/login": "POST, OPTIONS",
    "/api/v2/logout": "GET, POST, OPTIONS",
    "/api/v1/logout": "GET, POST, OPTIONS",
    "/api/v2/harvest/abc123/harvest": "GET, POST, OPTIONS",
    "/api/v2/harvests/abc123/harvest": "GET, POST, OPTIONS",
}


@pytest.mark.parametrize("path", PATHS)
def test_slash_is_optional(path: str, client: Client, sample: Harvest) -> None:
    """X1: API paths answer alike with and without slash, never redirecting; query strings are ignored."""
    plain, slashed, asked = client.get(path), client.get(f"{path}/"), client.get(f"{path}?x=1")
    assert plain.status_code not in (301, 302, 307, 308)
    assert plain.content == slashed.content == asked.content
    assert plain.status_code == slashed.status_code == asked.status_code


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/harvests",
        "/api/v1/Harvests/a/b",
        "/api/v1/nothing",
        "/api/v2/Harvests/n3N6xBLyZIs9LGwEF/harvest",
        "/api/v2/harvests/n3N6xBLyZIs9LGwEF",
        "/api/v2/",
        "/api/v2",
        "/api/v2/harvest/a/b/harvest",
    ],
)
def test_unknown_paths(path: str, client: Client) -> None:
    """X1: `/api/v1/harvests` and other unclaimed paths are the JSON 404."""
    answer = client.get(path)
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (404, NO_ENDPOINT, "application/json")


@pytest.mark.parametrize("path", [*PATHS, "/api/v2/nothing"])
def test_common_headers(path: str, client: Client, sample: Harvest) -> None:
    """X2: every API answer carries the CORS pair and no-store, errors too."""
    for answer in (client.get(path), client.put(path), client.post(path), client.options(path)):
        assert answer["Cache-Control"] == "no-store"
        assert answer["Pragma"] == "no-cache"
        assert answer["Access-Control-Allow-Origin"] == "*"
        wanted = "Origin, X-Requested-With, Content-Type, Accept, X-User-Id, X-Auth-Token"
        assert answer["Access-Control-Allow-Headers"] == wanted
        assert "Access-Control-Allow-Methods" not in answer
        assert "WWW-Authenticate" not in answer


@pytest.mark.parametrize("path", PATHS)
def test_options(path: str, client: Client) -> None:
    """X2: OPTIONS is 200 and empty, without auth."""
    answer = client.options(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(("path", "allow"), PATHS.items())
def test_wrong_method(path: str, allow: str, client: Client) -> None:
    """X3: wrong methods give 405 with the exact Allow and body, before auth."""
    known = set(allow.split(", "))
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
        answer = client.generic(method, path)
        assert (answer.status_code, answer["Allow"], answer.content) == (405, allow, NO_ENDPOINT), method


def test_head(client: Client, sample: Harvest, owner: User) -> None:
    """X4: HEAD equals GET without body, and changes nothing on trigger and logout."""
    headers = pair(client)
    for path in ("/api/v1/Harvests", f"/api/v1/Harvests/{sample.uid}", "/api/v1/Harvests/none"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head["Content-Type"], head["Content-Length"], head.content) == (
            get.status_code,
            get["Content-Type"],
            get["Content-Length"],
            b"",
        )
    assert client.head(f"/api/v2/harvest/{sample.uid}/harvest").status_code == 401
    assert client.head(f"/api/v2/harvest/{sample.uid}/harvest", **headers).status_code == 200
    assert not HarvestRun.objects.exists()
    assert client.head("/api/v2/logout", **headers).status_code == 200
    assert client.get("/api/v2/logout", **headers).status_code == 200
    assert client.head("/api/v2/login").status_code == 405


# --- the list -----------------------------------------------------------------------------------------------------


def test_gzip(client: Client, sample: Harvest, owner: User) -> None:
    """X2: answers come in gzip on request, streamed ones too, and HEAD tells the same length."""
    plain = client.get("/api/v1/Harvests")
    assert "Content-Encoding" not in plain
    small = client.get("/api/v1/Harvests", HTTP_ACCEPT_ENCODING="gzip;q=1.0, deflate")
    assert (small["Content-Encoding"], gzip.decompress(small.content)) == ("gzip", plain.content)
    assert "Accept-Encoding" in small["Vary"]
    assert client.head("/api/v1/Harvests", HTTP_ACCEPT_ENCODING="gzip")["Content-Length"] == small["Content-Length"]
    refused = client.get("/api/v1/Harvests", HTTP_ACCEPT_ENCODING="gzip;q=0, identity")
    assert refused.content == plain.content
    path = "/registry/api/harvests"
    listed = client.get(path, HTTP_ACCEPT_ENCODING="gzip")
    assert listed["Content-Encoding"] == "gzip"
    again = client.get(path, HTTP_ACCEPT_ENCODING="gzip", HTTP_IF_NONE_MATCH=listed["ETag"])
    assert again.status_code == 304
    job = jobs.submit("registry.harvest", {})[0]
    run = HarvestRun.objects.create(harvest=sample, job=job, trigger="cli")
    report = client.get(f"/registry/api/runs/{run.pk}/report.csv", HTTP_ACCEPT_ENCODING="gzip")
    assert gzip.decompress(b"".join(report)).startswith(b"stage,severity,code,url")


def test_login_is_never_squeezed(client: Client, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """X2: a login is not compressed however long its answer may grow; other answers are handed to the compression."""
    asked: list[str] = []

    def note(request: Any, response: Any) -> Any:
        asked.append(request.path)
        return response

    monkeypatch.setattr(dialect, "squeezed", note)
    for path in ("/api/v2/login", "/api/v1/login"):
        answer = client.post(path, f"username=maria&password={PASSWORD}", content_type=FORM)
        assert answer.status_code == 200
    client.get("/api/v1/Harvests")
    assert asked == ["/api/v1/Harvests"]


def test_sample_row(client: Client, sample: Harvest) -> None:
    """X5: the list gives the document's sample row, keys in order, as valid JSON."""
    answer = client.get("/api/v1/Harvests")
    assert answer.content == b'{"status":"success","data":[' + SAMPLE + b"]}"
    assert answer["Content-Type"] == "application/json"
    assert client.get(f"/api/v1/Harvests/{sample.uid}").content == b'{"status":"success","data":' + SAMPLE + b"}"


def test_order(client: Client, organization: Organization) -> None:
    """X6: unpublished harvests are listed, in creation order; none gives an empty array."""
    assert client.get("/api/v1/Harvests").content == b'{"status":"success","data":[]}'
    for number in (3, 1, 2):
        Harvest.objects.create(
            name=f"Zürich {number}", url=f"http://h.example.org/{number}/", organization=organization
        )
    answer = client.get("/api/v1/Harvests")
    rows = answer.json()["data"]
    assert [row["name"] for row in rows] == ["Zürich 3", "Zürich 1", "Zürich 2"]
    assert [row["publish"] for row in rows] == [False, False, False]
    assert "Zürich".encode() in answer.content


def test_states(client: Client, add_harvest: Callable[..., Harvest]) -> None:
    """X7: a never-run harvest omits last_*; `pending` and `harvesting` show, with a null status while running."""
    from registry.jobs import request

    harvest = add_harvest()
    path = f"/api/v1/Harvests/{harvest.uid}"
    assert not [key for key in client.get(path).json()["data"] if key.startswith("last_")]
    made, _ = request.run_of(harvest, trigger="api")
    assert client.get(path).json()["data"]["last_harvest_dt"] == "pending"
    HarvestRun.objects.filter(pk=made.pk).update(state="running")
    row = client.get(path).json()["data"]
    assert (row["last_harvest_dt"], row["last_harvest_status"]) == ("harvesting", None)
    assert "last_record_count" not in row


def test_contact(client: Client, sample: Harvest, owner: User) -> None:
    """X8: harvest_contact is hidden from anonymous callers and bad pairs, shown with a valid one, as last key."""
    headers = pair(client)
    for path in ("/api/v1/Harvests", f"/api/v1/Harvests/{sample.uid}"):
        assert b"waf@example.org" not in client.get(path).content
        assert client.get(path, **{**headers, "HTTP_X_USER_ID": "someone"}).status_code == 200
        assert b"waf@example.org" not in client.get(path, **{**headers, "HTTP_X_USER_ID": "someone"}).content
        shown = client.get(path, **headers).json()["data"]
        row = shown[0] if isinstance(shown, list) else shown
        assert list(row.items())[-1] == ("harvest_contact", "waf@example.org")


ODD_IDS = ["x", "abc123", "n" * 18, "n" * 4000, "n3N6xBLyZIs9LGwE%C3%A9", "%00", "a%00b", "%FF", "n3N6xBLyZIs9LGwE-"]


@pytest.mark.parametrize("uid", ODD_IDS)
def test_odd_ids(uid: str, client: Client, sample: Harvest, owner: User) -> None:
    """X9: odd ids give the 404 of their endpoint, never 500."""
    headers = pair(client)
    got = client.get(f"/api/v1/Harvests/{uid}")
    assert (got.status_code, got.content) == (404, b'{"status":"fail","message":"Item not found"}')
    patched = client.patch(f"/api/v1/Harvests/{uid}", b"{}", content_type=JSON, **headers)
    assert (patched.status_code, patched.content) == (404, got.content)
    triggered = client.get(f"/api/v2/harvest/{uid}/harvest", **headers)
    assert (triggered.status_code, triggered.content) == (404, b'{"status":"Not Found"}')


# --- PATCH --------------------------------------------------------------------------------------------------------


def test_patch_rights(client: Client, sample: Harvest, add_person: Callable[..., User]) -> None:
    """X10: PATCH: anonymous 401, stranger 403, unapproved or unverified member 403, owner and admin 200."""
    path = f"/api/v1/Harvests/{sample.uid}"
    answer = client.patch(path, b'{"name":"X"}', content_type=JSON)
    assert (answer.status_code, answer.content) == (401, LOGGED_OUT)
    add_person("stranger", member=False)
    add_person("waiting", approved=False)
    add_person("unproven", is_validated=False)
    add_person("maria")
    add_person("boss", member=False, admin=True)
    denied = b'{"status":"error","message":"You do not have permission to do this."}'
    for name in ("stranger", "waiting", "unproven"):
        answer = client.patch(path, b'{"name":"X"}', content_type=JSON, **pair(client, name))
        assert (answer.status_code, answer.content) == (403, denied)
    answer = client.patch(path, b'{"name":"Hers","_id":"no","nothing":1}', content_type=JSON, **pair(client))
    assert (answer.status_code, answer.json()["data"]["name"]) == (200, "Hers")
    assert answer.json()["data"]["_id"] == sample.uid
    form = client.patch(path, "name=Theirs&publish=0", content_type=FORM, **pair(client, "boss"))
    assert (form.json()["data"]["name"], form.json()["data"]["publish"]) == ("Theirs", False)


def test_moving_needs_both(client: Client, sample: Harvest, add_person: Callable[..., User]) -> None:
    """X10: moving a harvest needs membership of the organisation it leaves and of the one it joins."""
    path = f"/api/v1/Harvests/{sample.uid}"
    other = Organization.objects.create(name="NANOOS", slug="NANOOS")
    add_person("leaver")
    joiner = add_person("joiner", member=False)
    joiner.registry_account.organizations.add(other)
    both = add_person("both")
    both.registry_account.organizations.add(other)
    body = b'{"organization":"NANOOS"}'
    refused = client.patch(path, body, content_type=JSON, **pair(client, "leaver"))
    assert (refused.status_code, refused.json()["message"][:14]) == (400, "organization: ")
    assert client.patch(path, body, content_type=JSON, **pair(client, "joiner")).status_code == 403
    sample.refresh_from_db()
    assert sample.organization.name == "PacIOOS"
    moved = client.patch(path, body, content_type=JSON, **pair(client, "both"))
    assert (moved.status_code, moved.json()["data"]["organization"]) == (200, "NANOOS")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", 7),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("url", "ftp://example.org/"),
        ("url", "http://user:pw@example.org/"),
        ("url", "http://other.example.org/"),
        ("organization", "Nobody"),
        ("harvest_type", "FTP"),
        ("harvest_interval", 366),
        ("harvest_interval", -1),
        ("harvest_interval", "often"),
        ("harvest_interval", True),
        ("publish", "maybe"),
        ("publish", []),
        ("harvest_contact", "nobody"),
        ("ckan_harvest_url", "javascript:alert(1)"),
    ],
)
def test_patch_bad_value(key: str, value: Any, client: Client, sample: Harvest, owner: User) -> None:
    """X10: a bad value is a 400 naming its key and changes nothing, not even the good values beside it."""
    Harvest.objects.create(name="Other", url="http://other.example.org/", organization=sample.organization)
    values = {"ckan_harvest_url": "http://good.example.org/", "name": "Good", key: value}
    answer = client.patch(f"/api/v1/Harvests/{sample.uid}", json.dumps(values), content_type=JSON, **pair(client))
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith(f"{key}: ")
    sample.refresh_from_db()
    assert (sample.name, sample.ckan_harvest_url) == ("PacIOOS WAF", "http://dev-catalog.ioos.us/harvest/pacioos-waf")


# --- login --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f"email=maria@example.org&password={PASSWORD}", FORM),
        (f"user=maria@example.org&password={PASSWORD}", FORM),
        (f"user=maria&password={PASSWORD}", FORM),
        (f"username=maria&password={PASSWORD}", FORM),
        (f"username=maria&email=other@example.org&password={PASSWORD}", FORM),
        (f"email=maria@example.org&password={DIGEST}&hashed=true", FORM),
        (f"email=maria@example.org&password={DIGEST.upper()}&hashed=true", FORM),
        (json.dumps({"email": "maria@example.org", "password": PASSWORD}), JSON),
        (json.dumps({"user": "", "email": "maria@example.org", "password": DIGEST, "hashed": True}), JSON),
        (json.dumps({"email": "maria@example.org", "password": DIGEST.upper(), "hashed": 1}), JSON),
    ],
)
def test_login(body: str, kind: str, client: Client, owner: User) -> None:
    """X11: login takes form and JSON, all identifiers, plain text and digest in either case."""
    answer = login(client, body, kind)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert answer.content == b'{"status":"success","data":{"authToken":"%s","userId":"%s"}}' % (
        data["authToken"].encode(),
        owner.uid.encode(),
    )


@pytest.mark.parametrize(
    ("body", "kind", "is_digest"),
    [
        ("hashed=false", FORM, True),
        ("hashed=0", FORM, True),
        ("hashed=", FORM, False),
        ("", FORM, False),
        (False, JSON, False),
        (0, JSON, False),
        (None, JSON, False),
        ("", JSON, False),
        ("false", JSON, True),
        (1, JSON, True),
        ([], JSON, True),
    ],
)
def test_hashed(body: Any, kind: str, is_digest: bool, client: Client, owner: User) -> None:
    """X12: form `hashed=false`/`0` means digest, JSON `false`/`0` plain, JSON `"false"` digest."""
    for password, works in ((PASSWORD, not is_digest), (DIGEST, is_digest)):
        text = f"username=maria&password={password}&{body}"
        if kind == JSON:
            text = json.dumps({"username": "maria", "password": password, "hashed": body})
        assert login(client, text, kind).status_code == (200 if works else 401)


BAD_LOGINS: list[tuple[str | bytes, str]] = [
    ("username=maria&password=wrong", FORM),
    ("username=nobody&password=wrong", FORM),
    (f"username=MARIA&password={PASSWORD}", FORM),
    (f"email=Maria@example.org&password={PASSWORD}", FORM),
    ("username=maria", FORM),
    ("", FORM),
    ("{}", JSON),
    ("", JSON),
    (f"username=maria&password={PASSWORD}", "text/plain"),
    (f'{{"username":"maria","password":"{PASSWORD}"}}', "text/plain"),
    (f'[{{"username":"maria","password":"{PASSWORD}"}}]', JSON),
    (f"password={PASSWORD}", FORM),
    (f"email=&password={PASSWORD}", FORM),
    ('{"username":"maria","password":12345678}', JSON),
    ('{"username":{"$gt":""},"password":"x"}', JSON),
    (f'{{"username":["maria"],"password":"{PASSWORD}"}}', JSON),
    (f"username=maria&password={PASSWORD}&hashed=true", FORM),
    (f"username=maria&password={DIGEST[:-1]}&hashed=true", FORM),
    (f"username=maria&password={DIGEST}0&hashed=true", FORM),
    (f"username=maria&password={'g' * 64}&hashed=true", FORM),
    (f"username=maria%00&password={PASSWORD}", FORM),
    ('{"username":"maria","password":"a\\u0000b"}', JSON),
    ('{"username":"\\ud800","password":"x"}', JSON),
    ("username=off&password=" + PASSWORD, FORM),
]


@pytest.mark.parametrize(("body", "kind"), BAD_LOGINS)
def test_bad_login(body: str, kind: str, client: Client, add_person: Callable[..., User]) -> None:
    """X13: every row of the bad-login table gives its exact status and body: here the 401 rows."""
    add_person("maria")
    add_person("off", is_active=False)
    answer = login(client, body, kind)
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (401, UNAUTHORIZED, JSON)


def test_bad_login_multipart(client: Client, owner: User) -> None:
    """X13: multipart bodies and query parameters count as nothing."""
    answer = client.post("/api/v2/login", {"username": "maria", "password": PASSWORD})
    assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)
    answer = client.post(f"/api/v2/login?username=maria&password={PASSWORD}", b"", content_type=FORM)
    assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)


@pytest.mark.parametrize(
    ("body", "kind"),
    [("{", JSON), ('"text"', JSON), ("7", JSON), ("null", JSON), (b"\xff\xfe", JSON), (b"username=%FF", FORM)],
)
def test_bad_request(body: Any, kind: str, client: Client, sample: Harvest, owner: User) -> None:
    """X13: malformed JSON, a JSON scalar and undecodable bodies are 400, also for PATCH."""
    answer = login(client, body, kind)
    assert (answer.status_code, answer.content) == (400, b'{"status":"error","message":"Bad Request"}')
    patched = client.patch(f"/api/v1/Harvests/{sample.uid}", body, content_type=kind, **pair(client))
    assert (patched.status_code, patched.content) == (400, answer.content)


def test_large_body(client: Client) -> None:
    """X13: a body over 1 MiB is 413."""
    answer = login(client, "username=maria&password=" + "x" * 1_048_576)
    assert answer.status_code == 413
    assert answer.content == b'{"status":"error","message":"Request entity too large"}'


def test_tokens(client: Client, owner: User) -> None:
    """X14: tokens are 43 url-safe characters; two logins give two valid ones."""
    first, second = pair(client), pair(client)
    for headers in (first, second):
        token = headers["HTTP_X_AUTH_TOKEN"]
        assert len(token) == 43
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
        assert client.head("/api/v2/logout", **headers).status_code == 200
    assert first != second


def test_throttle(client: Client, owner: User) -> None:
    """X15: the 11th try after 10 failures is 429 with Retry-After, even with the right password; another IP gets in."""
    for _ in range(10):
        assert login(client, "username=maria&password=wrong").status_code == 401
    answer = login(client, f"username=maria&password={PASSWORD}")
    assert answer.status_code == 429
    assert answer.content == b'{"status":"error","message":"Too many login attempts"}'
    assert 0 < int(answer["Retry-After"]) <= 900
    assert login(client, f"username=maria&password={PASSWORD}", REMOTE_ADDR="192.0.2.7").status_code == 200


def test_throttle_of_an_address(client: Client, owner: User) -> None:
    """X15: 100 failures from one address close it for all names; a success clears only its own pair."""
    for number in range(100):
        assert login(client, f"username=n{number}&password=wrong").status_code == 401
    assert login(client, f"username=maria&password={PASSWORD}").status_code == 429


def test_success_clears_the_pair(client: Client, owner: User) -> None:
    """X15: a success forgets the failures of its pair."""
    for _ in range(2):
        for _ in range(9):
            login(client, "username=maria&password=wrong")
        assert login(client, f"username=maria&password={PASSWORD}").status_code == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_logout(version: str, method: str, client: Client, owner: User) -> None:
    """X16: logout works by GET and POST, v1 and v2, kills one token, then 401."""
    mine, other = pair(client), pair(client)
    answer = getattr(client, method)(f"/api/{version}/logout", **mine)
    assert answer.content == b'{"status":"success","data":{"message":"You\'ve been logged out!"}}'
    again = getattr(client, method)(f"/api/{version}/logout", **mine)
    assert (again.status_code, again.content) == (401, LOGGED_OUT)
    assert client.head("/api/v2/logout", **other).status_code == 200


def test_standard_401(client: Client, owner: User, add_person: Callable[..., User]) -> None:
    """X17: a missing header, a foreign id, an expired or revoked token give the standard 401."""
    foreign = add_person("jo")
    good = pair(client)
    token = good["HTTP_X_AUTH_TOKEN"]
    for headers in (
        {},
        {"HTTP_X_AUTH_TOKEN": token},
        {"HTTP_X_USER_ID": owner.uid},
        {"HTTP_X_AUTH_TOKEN": token, "HTTP_X_USER_ID": foreign.uid},
        {"HTTP_X_AUTH_TOKEN": "x" * 43, "HTTP_X_USER_ID": owner.uid},
        {"HTTP_X_AUTH_TOKEN": "é\0", "HTTP_X_USER_ID": owner.uid},
        {"HTTP_AUTHORIZATION": f"Bearer {token}"},
    ):
        answer = client.get("/api/v2/logout", **headers)
        assert (answer.status_code, answer.content) == (401, LOGGED_OUT)
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v2/logout", **good).status_code == 401


def test_cookies_do_not_authenticate(client: Client, sample: Harvest, owner: User) -> None:
    """X17: a web session is no API login."""
    client.force_login(owner)
    assert client.get("/api/v2/logout").status_code == 401


def test_password_change_revokes(client: Client, owner: User) -> None:
    """X18: a password change revokes all tokens; a silent re-hash does not."""
    headers = pair(client)
    owner.password = "pbkdf2_sha256$1$salt$notneeded"
    User.objects.filter(pk=owner.pk).update(password=_weak(PASSWORD))
    assert login(client, f"username=maria&password={DIGEST}&hashed=true").status_code == 401
    assert login(client, f"username=maria&password={PASSWORD}").status_code == 200
    assert client.head("/api/v2/logout", **headers).status_code == 200
    assert login(client, f"username=maria&password={DIGEST}&hashed=true").status_code == 200
    owner.refresh_from_db()
    owner.set_password("another-one-43")
    owner.save()
    assert client.head("/api/v2/logout", **headers).status_code == 401


def _weak(password: str) -> str:
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    return PBKDF2PasswordHasher().encode(password, "salt", iterations=1)


def test_no_secrets_stored(client: Client, owner: User) -> None:
    """X19: the database holds no token in clear and no bare password digest."""
    token = pair(client)["HTTP_X_AUTH_TOKEN"]
    stored = ApiToken.objects.values_list("sha256", "prefix", "label").get()
    assert token not in stored
    assert stored[0] == hashlib.sha256(token.encode()).hexdigest()
    owner.refresh_from_db()
    assert owner.password.startswith("bcrypt_sha256$")
    assert DIGEST not in owner.password


# --- trigger ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v2/harvest/{}/harvest", "/api/v2/harvests/{}/harvest"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_trigger(path: str, method: str, client: Client, sample: Harvest, owner: User) -> None:
    """X20: both trigger paths, GET and POST, give 200 and the run; a second request joins it."""
    headers = pair(client)
    Harvest.objects.update(publish=False)
    first = getattr(client, method)(path.format(sample.uid), **headers)
    assert (first.status_code, first.content) == (200, b'{"status":"harvesting"}')
    run = HarvestRun.objects.get()
    assert (first["X-Harvest-Run"], run.trigger, run.requester) == (str(run.pk), "api", owner)
    second = getattr(client, method)(path.format(sample.uid), **headers)
    assert (second.content, second["X-Harvest-Run"]) == (first.content, str(run.pk))
    run.refresh_from_db()
    assert run.coalesced == 1


def test_trigger_errors(client: Client, sample: Harvest, add_person: Callable[..., User]) -> None:
    """X21: trigger errors come in the order 401, 404, 401 with exact bodies and types."""
    add_person("stranger", member=False)
    add_person("waiting", approved=False)
    answer = client.post("/api/v2/harvest/abc123/harvest")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (401, LOGGED_OUT, JSON)
    for name in ("stranger", "waiting"):
        headers = pair(client, name)
        answer = client.post("/api/v2/harvest/abc123/harvest", **headers)
        wanted = (404, b'{"status":"Not Found"}', "application/json;charset=utf-8")
        assert (answer.status_code, answer.content, answer["Content-Type"]) == wanted
        answer = client.post(f"/api/v2/harvest/{sample.uid}/harvest", **headers)
        wanted = (401, b'{"status":"Unauthorized"}', "application/json;charset=utf-8")
        assert (answer.status_code, answer.content, answer["Content-Type"]) == wanted
    Harvest.objects.update(deleting=True)
    answer = client.post(f"/api/v2/harvest/{sample.uid}/harvest", **pair(client, "stranger"))
    assert (answer.status_code, answer.content) == (404, b'{"status":"Not Found"}')
