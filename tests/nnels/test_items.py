"""`repo_items/<ids>`: rows, look-ups, signed links, entitlement, log, caching."""

from __future__ import annotations

import datetime
import hashlib
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any
from unittest import mock

import boto3
import botocore.auth
import botocore.config
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import blobs
from core.blobs import signing
from core.embedded.seaweedfs import SeaweedFS
from core.models import User
from nnels import checks, models
from nnels.jobs import catalogue
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn
from tests.nnels.test_surface import check_problem

pytestmark = pytest.mark.django_db

KEYS = [
    "id", "label", "self", "creators", "languages", "isbn", "uuid", "published_date", "file_resources", "subjects",
    "description", "publisher", "formats", "narrators", "narration", "duration", "series", "edition", "audience",
    "rights", "accessibility", "files", "changed",
]  # fmt: skip


def ask(client: Client, token: str, path: str, **headers: str) -> Any:
    return client.get(f"/api/v1.0/repo_items/{path}", headers={"access-token": token, **headers})


def row(client: Client, token: str, path: str = "6804") -> dict[str, Any]:
    response = ask(client, token, path)
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()["data"][0]
    return found


def fetch(url: str, **headers: str) -> tuple[int, bytes, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read(), refused.headers


# --- rows -----------------------------------------------------------------------------------------------------------


def test_row(client: Client, token: str) -> None:
    """N27: keys, order and types."""
    house.moby(
        files={"txt": b"t", "epub": b"e", "daisy202": b"d"},
        narrators=["Reader, A."],
        narration="human",
        duration=3723,
        publisher="Harper",
        publisher_place="New York",
        accessibility={"accessMode": ["textual"], "accessibilitySummary": "Fine."},
        description="A whale.",
    )
    response = ask(client, token, "6804")
    assert response["Link"] == '<http://testserver/api/repo_items/6804>; rel="canonical"'
    body = response.json()
    href = "http://testserver/api/v1.0/repo_items/6804"
    assert body["self"] == {"title": "Self", "href": href}
    found = body["data"][0]
    assert list(found) == KEYS
    assert found["id"] == 6804
    expected = {
        "label": "Moby-Dick", "self": href, "creators": ["Melville, Herman"], "languages": ["eng"],
        "isbn": ["9780142437247"], "uuid": str(house.MOBY_UUID), "published_date": "1851", "subjects": ["Whaling"],
        "description": "A whale.", "publisher": {"name": "Harper", "place": "New York"},
        "formats": ["daisy202", "epub", "txt"], "narrators": ["Reader, A."], "narration": "human",
        "duration": "PT1H2M3S", "series": None, "edition": None, "audience": None, "rights": "restricted",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert list(found["accessibility"]) == [
        "accessMode", "accessModeSufficient", "accessibilityFeature", "accessibilityHazard", "accessibilitySummary",
        "conformsTo",
    ]  # fmt: skip
    assert [file["format"] for file in found["files"]] == ["daisy202", "epub", "txt"]
    assert [file["url"] for file in found["files"]] == found["file_resources"]
    assert list(found["files"][0]) == ["format", "media_type", "name", "bytes", "sha256", "url", "expires_at"]
    assert found["changed"].endswith("Z")


def test_end_of_a_link(client: Client, token: str, settings: Settings) -> None:
    """N27: `expires_at` is when the store stops answering the link, as long from now as the setting says."""
    house.moby()
    for seconds in (3600, 60):
        settings.NNELS_URL_LIFETIME = seconds
        (file,) = row(client, token)["files"]
        said = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(file["url"]).query))
        signed_at = datetime.datetime.strptime(said["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
        assert said["X-Amz-Expires"] == str(seconds)
        ends = signed_at + datetime.timedelta(seconds=seconds)
        assert datetime.datetime.fromisoformat(file["expires_at"]) == ends
        assert (file["media_type"], said["response-content-type"]) == ("application/epub+zip",) * 2


@pytest.mark.parametrize(("seconds", "is_fine"), [(59, False), (60, True), (604_800, True), (604_801, False)])
def test_lifetime_of_links_is_checked(settings: Settings, seconds: int, is_fine: bool) -> None:
    """N33: a lifetime outside of what SigV4 allows stops the start."""
    settings.NNELS_URL_LIFETIME = seconds
    assert [message.id for message in checks.url_lifetime()] == ([] if is_fine else ["nnels.E001"])


def test_id_is_a_number(client: Client, token: str) -> None:
    """N27: `id` is a number also in lists and after loading by another field."""
    house.moby(files={})
    for path in ("6804", "6804,", f"{house.MOBY_UUID}?loadByFieldName=uuid", "?range=1"):
        assert row(client, token, path)["id"] == 6804


@pytest.mark.parametrize("bad", ["03", "3abc", "-1", "3/extra", "9" * 20, "999999", "0", "%EF%BC%93", "uuid", "%00",
                                 "%FF", "%ED%A0%80", "٣"])  # fmt: skip
def test_bad_ids(client: Client, token: str, bad: str) -> None:
    """N28: bad ids are 422 and said as typed."""
    house.make_item("x", nid=3)
    body = check_problem(ask(client, token, bad), 422)
    assert body["title"].startswith("The entity ID ")
    assert body["title"].endswith(" does not exist.")
    if bad.isascii() and "%" not in bad:
        assert body["title"] == f"The entity ID {bad} does not exist."


def test_unpublished(client: Client, token: str, staff: User, log_in: LogIn, settings: Settings) -> None:
    """N28: unpublished is 404, by setting 403, for staff 200; deleted is 422."""
    item = house.make_item("Hidden", nid=7, published=False)
    check_problem(ask(client, token, "7"), 404, "Page not found.")
    settings.NNELS_SHOW_ACCESS_DENIED = True
    check_problem(ask(client, token, "7"), 403, "You do not have access to entity ID 7.")
    assert row(client, log_in("keeper")["access_token"], "7")["label"] == "Hidden"
    catalogue.remove([item])
    check_problem(ask(client, token, "7"), 422, "The entity ID 7 does not exist.")


def test_look_ups(client: Client, token: str) -> None:
    """N29: UUID both ways and in capitals, ISBN-10, label; the lowest nid wins; `self` and Link show the nid."""
    house.moby(files={}, label="Moby-Dick, or, The Whale")
    house.make_item("moby-dick, OR, the whale", nid=9000)
    uuid = str(house.MOBY_UUID)
    asked = [
        (uuid, "uuid"),
        (f"uuid={uuid}", "uuid"),
        (f"UUID={uuid}".upper(), "uuid"),
        (uuid.upper(), "uuid"),
        ("9780142437247", "isbn"),
        ("978-0-14-243724-7", "isbn"),
        ("0142437247", "isbn"),
        ("Möby-Dick, or, the whale", "label"),
        ("6804", "id"),
    ]
    for value, field in asked:
        response = ask(client, token, f"{urllib.parse.quote(value, safe='=')}?loadByFieldName={field}")
        assert response.status_code == 200, (value, response.content)
        assert response.json()["data"][0]["id"] == 6804
        assert response.json()["self"]["href"].endswith("/api/v1.0/repo_items/6804")
        assert "/api/repo_items/6804>" in response["Link"]


@pytest.mark.parametrize(("field", "value"), [("isbn", "9780142437247"), ("label", "moby-dick")])
def test_the_lowest_nid(client: Client, token: str, staff: User, log_in: LogIn, field: str, value: str) -> None:
    """N29: of several titles the lowest nid wins, be it published or not."""
    for nid in (7, 8, 9):
        house.make_item("Moby-Dick", nid=nid, isbn=["9780142437247"], published=nid > 7)
    check_problem(ask(client, token, f"{value}?loadByFieldName={field}"), 404, "Page not found.")
    keeper = log_in("keeper")["access_token"]
    assert ask(client, keeper, f"{value}?loadByFieldName={field}").json()["data"][0]["id"] == 7
    models.Item.objects.filter(pk=7).delete()
    assert ask(client, token, f"{value}?loadByFieldName={field}").json()["data"][0]["id"] == 8


def test_bad_look_ups(client: Client, token: str) -> None:
    """N29: unknown field 400; no match or malformed 422."""
    title = 'Cannot load an entity using the field "nosuch"'
    check_problem(ask(client, token, "1?loadByFieldName=nosuch"), 400, title)
    for value, field in (("x", "uuid"), ("x", "isbn"), ("nothing", "label"), ("%00", "label"), ("abc", "id")):
        body = check_problem(ask(client, token, f"{value}?loadByFieldName={field}"), 422)
        assert body["title"].endswith(f" by {field} cannot be loaded.")


def test_comma_lists(client: Client, token: str, staff: User, log_in: LogIn) -> None:
    """N30: request order, duplicates and blanks dropped, unknown fails all, hidden left out, 50 at most."""
    for nid in (1, 2, 3):
        house.make_item(f"title {nid}", nid=nid, published=nid != 2)
    body = ask(client, token, "3,1,,3,").json()
    assert [found["id"] for found in body["data"]] == [3, 1]
    assert list(body) == ["data", "count", "self"]
    assert body["count"] == 2
    assert [found["id"] for found in ask(client, token, "1,2,3").json()["data"]] == [1, 3]
    keeper = log_in("keeper")["access_token"]
    assert [found["id"] for found in ask(client, keeper, "1,2,3").json()["data"]] == [1, 2, 3]
    check_problem(ask(client, token, "1,999"), 422, "The entity ID 999 does not exist.")
    check_problem(ask(client, token, "1,x"), 422, "The entity ID x does not exist.")
    many = ",".join(str(number) for number in range(1, 52))
    check_problem(ask(client, token, many), 400, "At most 50 entities can be requested at once.")
    fifty = many.rpartition(",")[0]
    check_problem(ask(client, token, f"{fifty},1,,2"), 422, "The entity ID 4 does not exist.")
    assert ask(client, token, ",").json()["data"] == []


# --- links ----------------------------------------------------------------------------------------------------------


def test_links_are_made_anew(client: Client, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """N31: GETs a second apart give different links that both work; `no-store`, never 304."""
    house.moby()
    first = ask(client, token, "6804")
    now = time.time
    monkeypatch.setattr("django.utils.timezone.now", lambda: _later(now()))
    second = ask(client, token, "6804", **{"if-none-match": "*"})
    assert second.status_code == 200
    urls = [answer.json()["data"][0]["file_resources"][0] for answer in (first, second)]
    assert urls[0] != urls[1]
    for answer in (first, second):
        assert answer["Cache-Control"] == "private, no-store"
        assert "ETag" not in answer
    assert all(fetch(url)[0] == 200 for url in urls)


def _later(seconds: float) -> Any:
    return datetime.datetime.fromtimestamp(seconds + 1.5, tz=datetime.UTC)


def test_store_refuses_changes(client: Client, token: str, settings: Settings) -> None:
    """N32: an altered key, lifetime, disposition or an expired link is refused by the store; Range works."""
    item = house.moby()
    (url,) = row(client, token)["file_resources"]
    assert fetch(url)[0] == 200
    altered = [
        url.replace(str(item.uuid), str(item.uuid)[::-1]),
        url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200"),
        url.replace("attachment", "inline"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
    ]
    for one in altered:
        assert one != url
        assert fetch(one)[0] == 403
    status, data, headers = fetch(url, Range="bytes=0-0")
    assert (status, len(data)) == (206, 1)
    assert headers["Content-Range"].startswith("bytes 0-0/")
    key = models.File.objects.get().blob_key
    expired = blobs.signer().url(key, 60, now=time.time() - 120)
    assert fetch(expired)[0] == 403


def test_signature_equals_boto3(settings: Settings, store: SeaweedFS) -> None:
    """N33: equal to boto3's: spaces, non-ASCII, both addressings, temporary token, both sides of midnight."""
    midnight = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    for addressing in ("path", "virtual"):
        for session_token in ("", "FwoGZXIvYXdzEBYaD/temporary+token=="):
            signer = signing.Signer(
                "https://s3.example.org", "books", "ca-central-1", "AKIAEXAMPLE", "secret", session_token, addressing
            )
            s3 = boto3.client(
                "s3",
                endpoint_url="https://s3.example.org",
                aws_access_key_id="AKIAEXAMPLE",
                aws_secret_access_key="secret",
                aws_session_token=session_token or None,
                region_name="ca-central-1",
                config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": addressing}),
            )
            for moment in (midnight - datetime.timedelta(seconds=1), midnight):
                name = 'Un été à "Québec"_9780142437247.epub'
                ours = signer.url("nnels/a b/é.epub", 3600, filename=name, content_type="application/epub+zip",
                                  now=moment.timestamp())  # fmt: skip
                params = {
                    "Bucket": "books",
                    "Key": "nnels/a b/é.epub",
                    "ResponseContentDisposition": signing.disposition(name),
                    "ResponseContentType": "application/epub+zip",
                }
                with mock.patch.object(
                    botocore.auth, "get_current_datetime", lambda moment=moment: moment.replace(tzinfo=None)
                ):
                    theirs = s3.generate_presigned_url("get_object", Params=params, ExpiresIn=3600)
                assert ours == theirs


def test_downloads(client: Client, token: str) -> None:
    """N36: size, SHA-256 and a name with accents arrive."""
    house.make_item('L\'été à Québec: ça "va"\r\n', nid=8, isbn=["9780142437247"], files={"txt": "été".encode()})
    (file,) = row(client, token, "8")["files"]
    status, data, headers = fetch(file["url"])
    assert (status, len(data), hashlib.sha256(data).hexdigest()) == (200, file["bytes"], file["sha256"])
    assert file["name"] == "L_été_à_Québec_ça_va_9780142437247.txt"
    disposition = headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="')
    assert disposition.endswith(f"filename*=UTF-8''{urllib.parse.quote(file['name'])}")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


def test_order_of_links(client: Client, token: str) -> None:
    """N36: links follow the order of formats, then parts; a missing file is hidden."""
    codes = ["html", "txt", "brf", "mp3:2", "mp3:1", "pdf", "rtf", "docx", "epub", "daisy3", "daisy202"]
    house.make_item("All", nid=9, files={code: code.encode() for code in codes})
    models.File.objects.filter(format="rtf").update(missing=True)
    found = row(client, token, "9")
    assert [file["format"] for file in found["files"]] == [
        "daisy202", "daisy3", "epub", "docx", "pdf", "mp3", "mp3", "brf", "txt", "html",
    ]  # fmt: skip
    assert [file["name"] for file in found["files"] if file["format"] == "mp3"] == ["All_mp3.zip", "All_mp3_2.zip"]


# --- entitlement and log --------------------------------------------------------------------------------------------


def test_entitlement(client: Client, staff: User, reader: User, log_in: LogIn) -> None:
    """N34: unverified gets no link to restricted titles and links to open ones; withdrawal acts at once."""
    house.moby()
    house.make_item("Open", nid=5, rights="open", files={"txt": b"x"})
    house.make_user("unverified")
    guest = log_in("unverified")["access_token"]
    restricted = row(client, guest)
    assert restricted["file_resources"] == []
    assert [(file["url"], file["expires_at"]) for file in restricted["files"]] == [(None, None)]
    assert restricted["files"][0]["sha256"]
    assert len(row(client, guest, "5")["file_resources"]) == 1
    assert len(row(client, log_in("keeper")["access_token"])["file_resources"]) == 1
    token = log_in()["access_token"]
    assert len(row(client, token)["file_resources"]) == 1
    today = timezone.localdate()
    models.Reader.objects.update(verified_until=today)
    assert len(row(client, token)["file_resources"]) == 1
    models.Reader.objects.update(verified_until=today - datetime.timedelta(days=1))
    assert row(client, token)["file_resources"] == []
    models.Reader.objects.update(verified_until=None, print_disability_verified=False)
    assert row(client, token)["file_resources"] == []


def test_issues_are_logged(client: Client, token: str, reader: User) -> None:
    """N35: one row per item and answer, none for HEAD, none without links; only a part of the address is kept."""
    house.moby(files={"epub": b"e", "txt": b"t"})
    house.make_item("Bare", nid=5)
    answer = client.get(
        "/api/repo_items/6804,5", headers={"access-token": token, "x-request-id": "my-request-1"},
        REMOTE_ADDR="203.0.113.77",
    )  # fmt: skip
    (issue,) = models.UrlIssue.objects.all()
    assert (issue.user_id, issue.item_id, issue.purpose) == (reader.pk, 6804, "api")
    assert sorted(issue.files) == sorted(models.File.objects.values_list("pk", flat=True))
    assert (issue.request_id, issue.ip_prefix) == ("my-request-1", "203.0.113.0/24")
    expires = answer.json()["data"][0]["files"][0]["expires_at"]
    assert catalogue.instant(issue.expires_at) == expires
    client.head("/api/repo_items/6804", headers={"access-token": token})
    ask(client, token, "6804?fields=label")
    assert models.UrlIssue.objects.count() == 1
    client.get("/api/repo_items", headers={"access-token": token}, REMOTE_ADDR="2001:db8:1:2:3::4")
    assert models.UrlIssue.objects.latest("id").ip_prefix == "2001:db8:1::/48"


def test_no_log_no_links(client: Client, token: str) -> None:
    """N35: when the issue cannot be logged the answer is 503 without a link."""
    house.moby()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE nnels_urlissue ADD CONSTRAINT refuse CHECK (purpose <> 'api') NOT VALID")
    response = ask(client, token, "6804")
    check_problem(response, 503)
    assert "Retry-After" in response
    assert b"X-Amz" not in response.content


# --- caching --------------------------------------------------------------------------------------------------------


def test_metadata_may_be_kept(client: Client, token: str) -> None:
    """N37: with `fields` free of links: weak ETag, Last-Modified, 304, and a new tag after an edit."""
    item = house.moby()
    path = "6804?fields=label,id,nosuch"
    first = ask(client, token, path)
    assert first.json()["data"] == [{"id": 6804, "label": "Moby-Dick"}]
    assert first["Cache-Control"] == "private, no-cache"
    assert first["ETag"].startswith('W/"')
    assert "Last-Modified" in first
    same = ask(client, token, path, **{"if-none-match": first["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert ask(client, token, "6804?fields=id", **{"if-none-match": first["ETag"]}).status_code == 200
    hal = ask(client, token, path, **{"if-none-match": first["ETag"], "accept": "application/hal+json"})
    assert hal.status_code == 200
    catalogue.update(item, {"label": "Moby-Dick, or, The Whale"})
    catalogue.settle(item, was_published=True)
    again = ask(client, token, path, **{"if-none-match": first["ETag"]})
    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


@pytest.mark.parametrize("path", ["6804,1?fields=label,id", "?fields=label,id&range=2", "?fields=id&facets=languages"])
def test_lists_of_metadata_may_be_kept(client: Client, token: str, path: str) -> None:
    """N37: comma lists and listings without links have a tag too; it follows edits, new titles and departures."""
    house.moby()
    other = house.make_item("Typee", nid=1)
    first = ask(client, token, path)
    assert first["Cache-Control"] == "private, no-cache"
    assert first["ETag"].startswith('W/"')
    assert "Last-Modified" in first
    same = ask(client, token, path, **{"if-none-match": first["ETag"]})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", first["ETag"])
    assert same["Cache-Control"] == "private, no-cache"
    if not path.startswith("6804"):
        house.make_item("Omoo", nid=7000, languages=["fra"])
        grown = ask(client, token, path, **{"if-none-match": first["ETag"]})
        assert (grown.status_code, grown.json()["count"]) == (200, 3)
        first = grown
    catalogue.update(other, {"published": False})
    catalogue.settle(other, was_published=True)
    assert ask(client, token, path, **{"if-none-match": first["ETag"]}).status_code == 200


def test_fields_with_links(client: Client, token: str) -> None:
    """N37: fields that hold links are never kept."""
    house.moby()
    response = ask(client, token, "6804?fields=file_resources,id", **{"if-none-match": "*"})
    assert list(response.json()["data"][0]) == ["id", "file_resources"]
    assert response["Cache-Control"] == "private, no-store"
    assert "ETag" not in response
    assert response["Vary"] == "Accept, Authorization, access-token, Origin, X-API-Version"


def statements(client: Client, path: str, token: str, **headers: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        client.get(path, headers={"access-token": token, **headers})
    return len(captured)


def test_statements(client: Client, token: str) -> None:
    """N53: statements per request stay within section 9's counts whatever the number of rows."""
    house.moby(files={code: code.encode() for code in ("epub", "txt", "brf", "pdf")})
    for number in range(30):
        house.make_item(f"title {number}", files={"txt": b"%d" % number})
    client.get("/api/repo_items", headers={"access-token": token})
    assert statements(client, "/api/repo_items/6804", token) <= 4
    assert statements(client, "/api/repo_items?range=50", token) <= 5
    assert statements(client, "/api/repo_items?range=2", token) <= 5
    assert statements(client, "/api/basic_search/title", token) <= 4
    assert statements(client, "/api/basic_search/moby", token) <= 4
    tag = client.get("/api/repo_items/6804?fields=id", headers={"access-token": token})["ETag"]
    assert statements(client, "/api/repo_items/6804?fields=id", token, **{"if-none-match": tag}) <= 2
