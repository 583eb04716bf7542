"""Who may do what (contract §2.2), tokens and logging in."""

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from core.models import ApiToken, EmailAddress, Mail, User
from exports.models import Organization, Repo
from exports.services import owners, repos, tokens
from tests.exports.conftest import Api, World


def test_own(world: World) -> None:
    """X11: /user/… works for the token's user; without token 401."""
    made = world.api.post("/user/sources/", {"id": "Mine", "name": "Mine"})
    assert made.status_code == 201
    assert made["Location"].endswith("/users/editor/sources/Mine/")
    assert world.api.get("/user/sources/Mine/").json()["owner"] == "editor"
    assert world.api.get("/user/").json()["email"] == "editor@example.org"
    for path in ("/user/", "/user/sources/", "/user/sources/Mine/", "/user/sources/Mine/v1/export/",
                 "/user/nothing/", "/user/sources/Mine/v1/nothing/x/"):  # fmt: skip
        assert world.anonymous.get(path).status_code == 401, path
    for path in ("/user/nothing/", "/user/sources/Mine/v1/nothing/x/"):
        assert (world.api.get(path).status_code, world.api.put(path, {}).status_code) == (404, 404)
        assert world.api.get(path).json() == {"detail": "Not found."}


def test_anonymous(world: World, settings: Settings) -> None:
    """X12: anonymous reads public (401 with EXPORTS_REQUIRE_AUTH); POST, DELETE without token 401."""
    world.cut("v1")
    path = f"{world.path}v1/export/"
    assert world.anonymous.get(path).status_code == 204
    for method in ("POST", "DELETE"):
        refused = world.anonymous(method, path)
        assert refused.status_code == 401
        assert refused.json() == {"detail": "Authentication credentials were not provided."}
        assert refused["WWW-Authenticate"] == "Token"
    settings.EXPORTS_REQUIRE_AUTH = True
    assert world.anonymous.get(path).status_code == 401
    assert world.stranger.get(path).status_code == 204
    bad = world.anonymous.get(world.path, Authorization="Token " + "0" * 40)
    assert (bad.status_code, bad.json()) == (401, {"detail": "Invalid token."})


def test_private(world: World) -> None:
    """X13: private repo: 401 anonymous, 403 outsider, everywhere."""
    urls = world.fill()
    world.cut("v1")
    assert world.api.put(world.path, {"public_access": "None"}).status_code == 200
    for path in (
        world.path, f"{world.path}versions/", f"{world.path}v1/", f"{world.path}v1/export/",
        f"{world.path}v1/export/status/", f"{world.path}v1/processing/", f"{world.path}concepts/", urls[0],
        f"{urls[0]}names/", f"{world.path}v1/concepts/", f"{world.path}v1/mappings/", f"{urls[0]}versions/",
        f"{world.path}HEAD/export/",
    ):  # fmt: skip
        assert world.anonymous.get(path).status_code == 401, path
        assert world.stranger.get(path).status_code == 403, path
        assert world.api.get(path).status_code in (200, 204, 405), path
    for lists in ("/sources/", "/concepts/", "/mappings/", "/orgs/MyOrg/sources/"):
        assert world.stranger.get(lists).json() == []
        assert len(world.api.get(lists).json()) > 0
    assert world.stranger.post(f"{world.path}v1/export/").status_code == 403


def test_private_collection(world: World) -> None:
    """X13: references, expansions and members of a private collection are no more shown than the rest of it."""
    urls = world.fill()
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, urls[0])
    world.cut("c1", repo=collection)
    assert world.api.put(collection.uri, {"public_access": "None"}).status_code == 200
    for below in (
        "", "references/", "expansions/", "expansions/autoexpand-HEAD/", "expansions/autoexpand-HEAD/concepts/",
        "concepts/", "concepts/A/", "mappings/", "versions/", "c1/", "c1/expansions/", "c1/concepts/A/", "latest/",
        "c1/export/", "c1/export/events/", "c1/export/files/", "c1/export/fhir.tgz/", "c1/export/csv.zip/",
    ):  # fmt: skip
        path = f"{collection.uri}{below}"
        assert world.anonymous.get(path).status_code == (401 if below != "latest/" else 404), path
        assert world.stranger.get(path).status_code == (403 if below != "latest/" else 404), path
    for method, below, data in (
        ("PUT", "references/", {"data": {"expressions": urls}}), ("DELETE", "references/", {"references": "*"}),
        ("POST", "versions/", {"id": "c2"}), ("POST", "c1/export/", None), ("PUT", "", {"name": "x"}),
    ):  # fmt: skip
        assert world.anonymous(method, f"{collection.uri}{below}", data).status_code == 401
        assert world.stranger(method, f"{collection.uri}{below}", data).status_code == 403


def test_cookies_count_for_nothing(world: World) -> None:
    """X13: whoever is logged in to the pages is nobody to the API."""
    world.api.put(world.path, {"public_access": "None"})
    browser = Api()
    browser.client.force_login(world.editor)
    assert browser.get(world.path).status_code == 401
    assert browser.get("/user/").status_code == 401
    assert browser.post("/orgs/", {"id": "New", "name": "New"}).status_code == 401


def test_same_number(world: World) -> None:
    """X14: a member of org number n cannot read the private repo of user number n."""
    org = Organization.objects.create(
        pk=world.outsider.pk + 1000, mnemonic="Twin", name="Twin", created_at=world.org.created_at,
        updated_at=world.org.updated_at, created_by="x", updated_by="x",
    )  # fmt: skip
    twin = User.objects.create(pk=org.pk, username="twin")
    owners.add_member(org, world.outsider)
    repo = repos.create(twin, kind="source", data={"id": "P", "name": "P", "public_access": "None"}, user=twin)
    assert Repo.objects.get(pk=repo.pk).user_id == org.pk
    assert world.stranger.get(repo.uri).status_code == 403
    # nor does the user of that number get at the organization's
    theirs = repos.create(org, kind="source", data={"id": "P", "name": "P", "public_access": "None"}, user=twin)
    assert Repo.objects.get(pk=theirs.pk).organization_id == twin.pk
    assert Api(tokens.issue(twin)[1]).get(theirs.uri).status_code == 403
    assert Api(tokens.issue(twin)[1]).get(repo.uri).status_code == 200
    assert world.stranger.get(theirs.uri).status_code == 200


def test_outsider(world: World) -> None:
    """X15: DELETE and force by an outsider: 403."""
    world.cut("v1")
    path = f"{world.path}v1/export/"
    assert world.stranger.delete(path).status_code == 403
    assert world.stranger.post(f"{path}?force=true").status_code == 403
    assert world.stranger.post(f"{world.path}concepts/", {"id": "Z"}).status_code == 403
    assert world.stranger.put(world.path, {"name": "x"}).status_code == 403
    assert world.stranger.post(f"{world.path}versions/", {"id": "v2"}).status_code == 403
    assert world.stranger.post(path).status_code == 202


def test_login(world: World) -> None:
    """X51: login returns a working token, stored only hashed; wrong password 400; throttled 429."""
    right = {"username": "editor", "password": "a-long-secret-9"}
    answer = world.anonymous.post("/users/login/", right)
    token = answer.json()["token"]
    assert len(token) == 40
    assert Api(token).get("/user/").json()["username"] == "editor"
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM core_apitoken t")
        assert not any(token in row for (row,) in cursor.fetchall())
    assert answer["Cache-Control"] == "no-store"
    wrong = world.anonymous.post("/users/login/", {**right, "password": "no"})
    words = {"non_field_errors": ["Unable to log in with provided credentials."]}
    assert (wrong.status_code, wrong.json()) == (400, words)
    assert world.anonymous.post("/users/login/", {}).status_code == 400
    # two tries so far; the one without a name was none
    seen = [world.anonymous.post("/users/login/", {**right, "password": "no"}) for _ in range(9)]
    assert [one.status_code for one in seen] == [400] * 8 + [429]
    assert seen[-1].json()["detail"].startswith("Request was throttled. Expected available in ")
    assert 1 <= int(seen[-1]["Retry-After"]) <= 61
    # the name from elsewhere, and another name from here
    elsewhere = world.anonymous.client.post(
        "/users/login/", right, content_type="application/json", REMOTE_ADDR="192.0.2.7"
    )
    assert elsewhere.status_code == 429
    assert world.anonymous.post("/users/login/", {"username": "boss", "password": "no"}).status_code == 429
    assert ApiToken.objects.filter(user=world.editor, audience="exports").count() == 2


def test_ten_tokens(world: World) -> None:
    """X51: the ten newest tokens stay."""
    for _ in range(12):
        tokens.issue(world.editor, keep=tokens.KEPT)
    assert ApiToken.objects.filter(user=world.editor, audience="exports", revoked_at=None).count() == 10
    assert world.api.get("/user/").status_code == 401


def test_cors(world: World) -> None:
    """X60: CORS on API, redirect, 4xx, download; a preflight needs no credentials."""
    world.cut("v1")
    world.build(f"{world.path}v1/")
    redirect = world.anonymous.get(f"{world.path}v1/export/")
    for answer in (
        redirect, world.anonymous.get(world.path), world.anonymous.get("/orgs/None/"),
        world.anonymous.get("/exports/dl/00/x"), world.anonymous.get(f"/{redirect['Location'].split('/', 3)[3]}"),
    ):  # fmt: skip
        assert answer["Access-Control-Allow-Origin"] == "*"
        exposed = answer["Access-Control-Expose-Headers"].split(", ")
        assert {"X-Export-Status", "Date", "Vary", "X-Content-Type-Options"} <= {*exposed}
        assert "Access-Control-Allow-Credentials" not in answer
    world.api.put(world.path, {"public_access": "None"})
    flight = world.anonymous("OPTIONS", f"{world.path}v1/export/", **{"Access-Control-Request-Method": "POST"})
    assert flight.status_code == 200
    assert flight["Access-Control-Allow-Methods"] == "GET, POST, DELETE, HEAD, OPTIONS"
    wanted = "Authorization, Content-Type, Prefer, Range, If-Range, Compress"
    assert flight["Access-Control-Allow-Headers"] == wanted
    refused = world.anonymous.get(world.path)
    assert (refused.status_code, refused["Access-Control-Allow-Origin"]) == (401, "*")


def test_exposed_headers(world: World) -> None:
    """X60: a browser's program may read every header this API sends."""
    world.fill()
    world.cut("v1")
    world.build(f"{world.path}v1/")
    path = f"{world.path}v1/export/"
    world.api.put(f"{world.path}v1/", {"description": "later"})
    world.api.post(f"{path}?force=true")
    answers = [
        world.api.get(path), world.api.post(path), world.api.get(path, Prefer="ocl-dialect=oclapi2"),
        world.api.get(f"{path}?stream=true"), world.api.get(f"{world.path}concepts/?limit=1&offset=1"),
        world.api.get(f"{world.path}?includeConcepts=true&limit=1&updatedSince=2016-01-01"),
        world.anonymous.get("/user/"), world.api.put(path, {}),
    ]  # fmt: skip
    exposed = {name.strip().lower() for name in answers[0]["Access-Control-Expose-Headers"].split(",")}
    # what a browser shows of any answer, and what is none of a program's business
    known = {"content-type", "content-length", "cache-control", "vary", "date", "content-encoding", "x-request-id",
             "x-content-type-options", "x-frame-options", "referrer-policy", "cross-origin-opener-policy"}  # fmt: skip
    sent = {name.lower() for answer in answers for name in answer.headers}
    assert {name for name in sent - exposed - known if not name.startswith("access-control-")} == set()


def test_an_address_is_proven_first(world: World) -> None:
    """X14: another address is the account's once its link is followed; nobody learns whose an address is."""
    User.objects.filter(pk=world.editor.pk).update(is_validated=True)
    EmailAddress.objects.filter(user=world.editor).update(is_verified=True)
    EmailAddress.objects.create(user=world.editor, address="second@example.org", is_verified=True)
    for address in ("somebody@else.example", "OUTSIDER@example.org"):
        changed = world.api.put("/user/", {"email": address, "company": address})
        assert (changed.status_code, changed.json()["email"]) == (200, "editor@example.org")
        assert changed.json()["company"] == address
        assert Mail.objects.latest("pk").to.lower() == address.lower()
    mine = EmailAddress.objects.filter(user=world.editor).values_list("address", "is_verified")
    assert list(mine) == [("editor@example.org", True), ("second@example.org", True)]
    # proven before, in other letters, none
    for asked, shown in (("second@example.org",) * 2, ("Second@example.org",) * 2, (None, "")):
        changed = world.api.put("/user/", {"email": asked})
        assert (changed.status_code, changed.json()["email"]) == (200, shown)
    mails = Mail.objects.count()
    answers = [world.stranger.put("/user/", {"email": f"{number}@example.org"}) for number in range(21)]
    assert [one.status_code for one in answers] == [200] * 20 + [429]
    assert int(answers[-1]["Retry-After"]) > 0
    assert world.stranger.put("/user/", {"email": "outsider@example.org"}).status_code == 200
    # of those nobody waits for any more the mails are withdrawn
    assert Mail.objects.count() == mails + 1


def test_caching_of_json(world: World) -> None:
    """X60: JSON may be kept by its reader only, and is asked for again."""
    for path in (world.path, "/orgs/", "/user/", f"{world.path}concepts/", "/orgs/None/"):
        answer = world.api.get(path)
        assert answer["Cache-Control"] == "private, no-cache"
        assert {name.strip() for name in answer["Vary"].split(",")} >= {"Authorization", "Accept-Encoding"}


def test_organizations(world: World) -> None:
    """X14: organizations, members and people: who may write them."""
    made = world.stranger.post("/orgs/", {"id": "Other", "name": "Other org", "extras": {"a": 1}})
    assert made.status_code == 201
    assert len(made.json()) == 22
    assert world.stranger.post("/orgs/", {"id": "Other", "name": "x"}).status_code == 409
    assert world.api.put("/orgs/Other/", {"name": "x"}).status_code == 403
    assert world.stranger.put("/orgs/Other/", {"name": "Better"}).json()["name"] == "Better"
    assert world.stranger.put("/orgs/Other/members/editor/").status_code == 204
    assert [one["username"] for one in world.anonymous.get("/orgs/Other/members/").json()] == ["editor", "outsider"]
    assert world.api.post("/orgs/Other/sources/", {"id": "S", "name": "S"}).status_code == 201
    assert world.stranger.delete("/orgs/Other/").status_code == 409
    assert world.stranger.delete("/orgs/Other/sources/S/").status_code == 204
    assert world.stranger.delete("/orgs/Other/members/editor/").status_code == 204
    assert world.stranger.delete("/orgs/Other/").status_code == 204
    assert world.api.post("/users/", {"username": "new"}).status_code == 403
    new = world.boss.post("/users/", {"username": "new", "name": "New Person", "email": "n@example.org"})
    assert (new.status_code, new.json()["name"]) == (201, "New Person")
    assert world.stranger.get("/users/new/").json()["email"] is None
    assert world.api.put("/users/editor/", {"company": "Co"}).json()["company"] == "Co"
    assert world.api.get("/users/editor/orgs/").json()[0]["id"] == "MyOrg"
    assert world.api.post("/sources/", {"id": "x"}).status_code == 405


@pytest.mark.parametrize("path", ["/orgs/x/y/z", "/users/a/b", "/sources/S/v1/export/", "/exports/nothing", "/user/x"])
def test_catch_all(client: Client, path: str, db: None) -> None:
    """X4: unknown paths answer 404 in this API's words."""
    answer = client.get(path)
    assert answer.status_code in (404, 401)
    assert "detail" in answer.json()
