"""Both faces, the link and the rest over HTTP (contract §2)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import re
import time
import types
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import auth, blobs, jobs
from core.blobs import signing
from core.models import Job, User
from downloads.jobs import status as stand
from downloads.models import Build, Claim, Download, Notification, Quota
from downloads.services import operate
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

ACER = '{"genus":"acer"}'
SEED_KEYS = ["complete", "status_url", "expires", "download_url", "query_hash", "query", "task_status", "error"]
V2_KEYS = {"complete", "created", "expires", "hash", "query", "status_url", "task_status", "progress"}
DONE_KEYS = {"download_url", "rows", "bytes", "sha256", "data_version"}
UNKNOWN_KEYS = {"complete", "task_status", "status_url", "error"}
NO_SUCH = {"error": "There is no download with this id."}


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, running_house: house.House) -> None:
    """Three maples and two oaks, and no file of an earlier test."""
    blobs.delete(*making.keys())
    making.bring_in(making.archive(tmp_path, making.specimens(3) + making.specimens(2, genus="Quercus", start=3)))


def url(query: str = ACER, **more: str) -> str:
    return "/?" + urllib.parse.urlencode({"query": query, **more})


def ident(body: dict[str, Any]) -> str:
    return str(body["status_url"]).rsplit("/", 1)[1]


def finish() -> None:
    jobs.run_queued()


def test_every_spelling(client: Client) -> None:
    """D1: every spelling of 2.2 gives the same uuid."""
    form, plain = "application/x-www-form-urlencoded", "text/plain"
    body, inner = '{"query":{"genus":"acer"}}', json.dumps({"query": ACER, "email": None})
    answers = [
        client.get(url()),
        client.get('/?query={"genus":"acer"}'),
        client.get("/?query=%7B+%22genus%22+:+%22acer%22+%7D"),
        client.post("/", body, content_type="application/json"),
        client.post("/", inner, content_type="application/json"),
        client.post("/", ACER, content_type="application/json"),
        client.post("/?email=", ACER, content_type="application/json; charset=utf-8"),
        client.post("/", {"query": ACER, "email": ""}),
        client.post("/", urllib.parse.urlencode({"query": ACER}), content_type=form),
        client.post("/", body, content_type=form),
        client.post("/", " " + ACER, content_type=plain),
        client.generic("POST", "/", body, content_type=""),
        client.post("/?query=%7B%22genus%22%3A%22quercus%22%7D", body, content_type="application/json"),
        client.post(url()),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len({ident(answer.json()) for answer in answers}) == 1
    assert Download.objects.count() == 1


def test_landing_page(client: Client) -> None:
    """D2: `/` without `query` is the landing page for any `Accept`; `/?query=` is 400 JSON."""
    for accept in ("text/html", "application/json", "*/*", ""):
        page = client.get("/", headers={"Accept": accept})
        assert page.status_code == 200
        assert page["Content-Type"].startswith("text/html")
    assert client.head("/?email=a@example.org")["Content-Type"].startswith("text/html")
    refused = client.get("/?query=", headers={"Accept": "text/html"})
    assert (refused.status_code, refused["Content-Type"]) == (400, "application/json")
    assert refused.json() == {"error": "Please supply a query.", "parameter": "query"}


def test_seed_bodies(client: Client) -> None:
    """D3: exactly the documented keys in every state; the echo keeps key order, case and number form."""
    text = '{"minelevation":{"type":"range","lt":1.0,"gte":-5},"genus":"Acer"}'
    asked = client.get(url(text))
    assert list(asked.json()) == [name for name in SEED_KEYS if name not in ("download_url", "error")]
    compact = json.dumps(asked.json(), ensure_ascii=False, separators=(",", ":"))
    assert (asked.content.decode(), asked["Content-Type"]) == (compact, "application/json")
    assert json.dumps(asked.json()["query"], separators=(",", ":")) == text
    assert (asked.json()["complete"], asked.json()["task_status"]) == (False, "PENDING")
    assert asked["Cache-Control"] == "no-store"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", asked["Download-Token"])
    path = f"/status/{ident(asked.json())}"
    pending = client.get(path)
    assert pending.json() == asked.json()
    assert 2 <= int(pending["Retry-After"]) <= 30
    finish()
    done = client.get(path)
    assert list(done.json()) == [name for name in SEED_KEYS if name != "error"]
    assert (done.json()["complete"], done.json()["task_status"]) == (True, "SUCCESS")
    assert done.json()["download_url"].endswith(f"/downloads/{ident(asked.json())}.zip")
    assert "Retry-After" not in done
    assert "SUCCESS" in client.get(url(text)).json()["task_status"]
    assert f'"query":{text}' in done.content.decode()
    Download.objects.update(state=Download.State.FAILED, error="The file could not be stored.")
    failed = client.get(path).json()
    assert list(failed) == [name for name in SEED_KEYS if name != "download_url"]
    assert (failed["complete"], failed["task_status"], failed["error"]) == (
        True,
        "FAILURE",
        "The file could not be stored.",
    )
    Download.objects.update(request="{")
    unreadable = client.get(path)
    assert unreadable.status_code == 200
    assert set(unreadable.json()) == UNKNOWN_KEYS
    assert (unreadable.json()["complete"], unreadable.json()["task_status"]) == (False, "UNKNOWN")
    assert unreadable["Retry-After"]


def test_documented_hashes(client: Client) -> None:
    """D5: the two hashes of the document, over HTTP."""
    assert client.get(url()).json()["query_hash"] == "c91957c034f2a8c42796584c27ba3416acf81d94"
    puma = client.get("/?query=%7B%22scientificname%22%3A%22puma+concolor%22%7D").json()
    assert puma["query_hash"] == "5921ce268fe0d911196a4564eea8ce9ffc2e2420"
    assert puma["query"] == {"scientificname": "puma concolor"}


def test_expires(client: Client, settings: Settings) -> None:
    """D4: naive, six digits, about 23 hours; a request moves it, a status read does not."""
    first = client.get(url()).json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", first["expires"])
    moment = datetime.datetime.fromisoformat(first["expires"]).replace(tzinfo=datetime.UTC)
    assert abs(moment - timezone.now() - datetime.timedelta(hours=23)) < datetime.timedelta(minutes=2)
    read = client.get(f"/status/{ident(first)}").json()
    assert read["expires"] == first["expires"]
    assert client.get(url()).json()["expires"] > first["expires"]
    settings.DOWNLOADS_LOCAL_TZ = "America/New_York"
    east = datetime.datetime.fromisoformat(client.get(f"/status/{ident(first)}").json()["expires"])
    assert datetime.timedelta(hours=3) < moment.replace(tzinfo=None) - east < datetime.timedelta(hours=6)


def test_reuse_ends_with_the_download(client: Client) -> None:
    """D4: a repeated request renews `expires`, but never past the download's own 30 days."""
    first = client.get(url()).json()
    end = timezone.now() + datetime.timedelta(hours=5)
    Download.objects.update(expires_at=end)
    again = client.get(url()).json()
    assert ident(again) == ident(first)
    assert again["expires"] == client.get(f"/status/{ident(first)}").json()["expires"]
    assert datetime.datetime.fromisoformat(again["expires"]).replace(tzinfo=datetime.UTC) == end


def test_colliding_queries(client: Client) -> None:
    """D6: the colliding pair gives two jobs with different rows."""
    one = client.get(url('{"genus":["acer"]}')).json()
    two = client.get(url('{"genus":"c0a9d747b1b7340daacdd3f411624fd2694cad12"}')).json()
    assert one["query_hash"] == two["query_hash"]
    assert ident(one) != ident(two)
    finish()
    rows = [client.get(f"/v2/download/{ident(body)}").json()["rows"]["occurrence.csv"] for body in (one, two)]
    assert rows == [3, 0]


def shape(**value: Any) -> dict[str, Any]:
    return {"geopoint": {"type": "geo_shape", "value": value}}


def polygon(*corners: tuple[float, float]) -> dict[str, Any]:
    value = [{"lat": lat, "lon": lon} for lat, lon in corners]
    return {"geopoint": {"type": "geo_polygon", "value": value}}


SAME_NUMBERS = [
    (polygon((0, 0), (0, 9), (9, 9), (9, 0)), polygon((0, 0), (9, 9), (0, 9), (9, 0))),
    (
        shape(type="circle", coordinates=[10, 20], radius="5km"),
        shape(type="circle", coordinates=[20, 10], radius="5km"),
    ),
    (
        shape(type="envelope", coordinates=[[-10, 30], [40, 20]]),
        shape(type="envelope", coordinates=[[40, 20], [-10, 30]]),
    ),
    (
        shape(type="Polygon", coordinates=[[[0, 10], [20, 10], [20, 30], [0, 10]]]),
        shape(type="Polygon", coordinates=[[[10, 0], [10, 20], [30, 20], [10, 0]]]),
    ),
]


@pytest.mark.parametrize(("one", "two"), SAME_NUMBERS, ids=["bow-tie", "circle", "envelope", "polygon"])
def test_places_of_the_same_numbers(client: Client, one: dict[str, Any], two: dict[str, Any]) -> None:
    """D6: places that differ only in the order of their numbers are two jobs and two builds; a list is still a set."""
    found = [v2(client, rq=query, mq=None).json() for query in (one, two, one)]
    assert ident(found[0]) != ident(found[1])
    assert ident(found[0]) == ident(found[2])
    assert len(set(Download.objects.values_list("build_id", flat=True))) == 2
    lists = [v2(client, rq={"genus": names}).json() for names in (["acer", "quercus"], ["quercus", "acer"])]
    assert ident(lists[0]) == ident(lists[1])


PATHS = {
    "/?query={}": "GET, HEAD, OPTIONS, POST",
    "/status/{uuid}": "GET, HEAD, OPTIONS",
    "/v2/download": "GET, HEAD, OPTIONS, POST",
    "/v2/download/{uuid}": "DELETE, GET, HEAD, OPTIONS",
    "/v2/download/{uuid}/citation": "GET, HEAD, OPTIONS",
    "/v2/downloads": "GET, HEAD, OPTIONS",
    "/downloads/{uuid}.zip": "GET, HEAD, OPTIONS",
}
ASKED_HEADERS = {"Authorization", "Content-Type", "If-None-Match", "If-Range", "Range"}
TOLD_HEADERS = {
    *("Accept-Ranges", "Allow", "Content-Disposition", "Content-Length", "Content-Range", "Download-Token", "ETag"),
    *("Last-Modified", "Repr-Digest", "Retry-After", "WWW-Authenticate"),
}


@pytest.mark.parametrize(("path", "allow"), PATHS.items())
def test_manners(client: Client, path: str, allow: str) -> None:
    """D10: 405 with Allow, OPTIONS 200, CORS on everything, a slash changes nothing."""
    path = path.replace("{uuid}", str(uuid.uuid4()))
    wrong = client.put(path)
    assert wrong.status_code == 405
    assert wrong.json() == {"error": "Method PUT is not allowed here."}
    assert sorted(wrong["Allow"].split(", ")) == allow.split(", ")
    options = client.options(path)
    assert (options.status_code, options.content) == (200, b"")
    assert options["Allow"] == wrong["Allow"]
    given = client.get(path)
    for answer in (wrong, options, given):
        assert answer["Access-Control-Allow-Origin"] == "*"
        assert answer["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE, OPTIONS"
        assert answer["Access-Control-Max-Age"] == "21600"
        assert "Access-Control-Allow-Credentials" not in answer
        assert set(answer["Access-Control-Allow-Headers"].split(", ")) >= ASKED_HEADERS
        assert set(answer["Access-Control-Expose-Headers"].split(", ")) >= TOLD_HEADERS
    if "?" not in path:
        slashed = client.get(path + "/")
        assert (slashed.status_code, slashed.content) == (given.status_code, given.content)


def test_slashes_and_case(client: Client) -> None:
    """D10: with and without a slash, uuids in any case."""
    key = ident(client.get(url()).json())
    body = client.get(f"/status/{key}").json()
    for path in (f"/status/{key}/", f"/status/{key.upper()}"):
        assert client.get(path).json() == body
    for other in (key.replace("-", ""), f"{{{key}}}", f"urn:uuid:{key}", f" {key}"):
        assert client.get(f"/status/{other}").json() == NO_SUCH, other
    assert client.get(f"/v2/download/{key.upper()}/").json()["status_url"].endswith(key)
    assert client.get("/v2/download/?rq=" + ACER).status_code == 200


def test_head_creates_nothing(client: Client) -> None:
    """D10: HEAD on a request path validates and creates nothing."""
    for path in (url(), "/v2/download?rq=" + ACER):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert client.head(url('{"genuss":1}')).status_code == 400
    assert client.head("/v2/download").status_code == 400
    assert not Download.objects.exists()


@pytest.mark.parametrize("key", ["nothing", "1234", "{0}".replace("0", "x"), str(uuid.UUID(int=5)), "%00", "../x"])
def test_bad_ids(client: Client, key: str) -> None:
    """D11: bad and unknown uuids are 404 in JSON."""
    for path in (f"/status/{key}", f"/v2/download/{key}"):
        answer = client.get(path)
        assert answer.status_code == 404
        if "/" not in key:
            assert answer.json() == NO_SUCH


def test_expired(client: Client) -> None:
    """D11, D26: expired uuids are 410 with hint and query, on every path; the blob is gone."""
    body = client.get(url()).json()
    finish()
    Download.objects.update(expires_at=timezone.now() - datetime.timedelta(minutes=16))
    jobs.submit("downloads.expire", {})
    finish()
    assert making.keys() == []
    today = timezone.now().date()
    for path in (f"/status/{ident(body)}", f"/v2/download/{ident(body)}", f"/downloads/{ident(body)}.zip"):
        gone = client.get(path)
        assert gone.status_code == 410
        assert gone.json()["error"] == f"This download expired on {today} and its file was deleted."
        assert gone.json()["hint"] == "Send the same query again to build a new one."
        assert gone.json()["query"] == {"genus": "acer"}
    assert ident(client.get(url()).json()) != ident(body)
    for days, status in ((364, 410), (366, 404)):
        Download.objects.filter(pk=ident(body)).update(expired_at=timezone.now() - datetime.timedelta(days=days))
        assert client.get(f"/status/{ident(body)}").status_code == status


def test_no_link_once_the_time_is_over(client: Client) -> None:
    """D26: from its end on a download is 410, before any sweep; a link handed out until then works its 15 minutes."""
    user = User.objects.create_user("ada")
    headers = {"Authorization": f"Token {auth.issue_token(user, audience='downloads')[1]}"}
    body = client.get(url(), headers=headers).json()
    paths = [f"/status/{ident(body)}", f"/v2/download/{ident(body)}", f"/downloads/{ident(body)}.zip"]
    paths += [f"/v2/download/{ident(body)}/citation", f"/downloads/{ident(body)}"]
    Download.objects.update(expires_at=timezone.now())
    assert client.get(paths[0]).json()["task_status"] == "PENDING"  # what is being built is told of
    finish()

    def sweep() -> None:
        jobs.submit("downloads.expire", {})
        finish()

    def answers() -> set[int]:
        return {client.get(path).status_code for path in paths}

    Download.objects.update(expires_at=timezone.now() + datetime.timedelta(seconds=60))
    handed_out = client.get(paths[2])["Location"]
    assert client.get("/v2/downloads", headers=headers).json()["itemCount"] == 1
    Download.objects.update(expires_at=timezone.now() - datetime.timedelta(minutes=14))
    assert answers() == {410}
    assert client.get("/v2/downloads", headers=headers).json()["itemCount"] == 0
    sweep()
    assert answers() == {410}
    with urllib.request.urlopen(handed_out) as file:
        assert file.read(2) == b"PK"
    Download.objects.update(is_pinned=True)
    assert client.get(paths[0]).status_code == 200
    operate.pin(Download.objects.get(), is_pinned=False)
    assert answers() == {410}
    sweep()
    assert len(making.keys()) == 1  # it could be had until just now
    Download.objects.update(expires_at=timezone.now() - datetime.timedelta(minutes=15))
    sweep()
    assert making.keys() == []
    assert Download.objects.get().state == Download.State.EXPIRED


def v2(client: Client, **values: Any) -> Any:
    return client.post("/v2/download", json.dumps(values), content_type="application/json")


def test_v2_bodies(client: Client) -> None:
    """D12: the v2 body in every state."""
    asked = v2(client, rq={"genus": "acer"})
    body = asked.json()
    assert set(body) == V2_KEYS
    assert list(body["query"]) == [
        "core_source",
        "core_type",
        "form",
        "mediarecord_fields",
        "mq",
        "record_fields",
        "rq",
    ]
    assert body["query"]["rq"] == {"genus": "acer"}
    assert body["hash"] == "8bc4f9dfcd0f26a84bd031fb62c9241332dfefb9"
    created, expires = (datetime.datetime.fromisoformat(body[name]) for name in ("created", "expires"))
    assert expires - created == datetime.timedelta(days=30)
    assert body["created"].endswith("+00:00")
    assert set(body["progress"]) == {
        "stage",
        "position",
        "rows_done",
        "rows_total",
        "bytes",
        "percent",
        "eta_seconds",
    }
    path = f"/v2/download/{ident(body)}"
    assert client.get(path).json() == body
    finish()
    done = client.get(path).json()
    assert set(done) == V2_KEYS | DONE_KEYS
    assert (done["complete"], done["task_status"]) == (True, "SUCCESS")
    assert done["rows"]["occurrence.csv"] == 3
    assert (done["progress"]["stage"], done["progress"]["percent"]) == ("done", 100.0)
    data = making.content(Download.objects.get())
    assert (done["bytes"], done["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert done["data_version"] == 1
    assert done["download_url"].endswith(f"/downloads/{ident(body)}.zip")
    Download.objects.update(state=Download.State.FAILED, error="It broke.")
    answer = client.get(path)
    failed = answer.json()
    assert answer.status_code == 200
    assert set(failed) == V2_KEYS | {"error"}
    assert (failed["complete"], failed["task_status"], failed["error"]) == (True, "FAILURE", "It broke.")
    assert failed["progress"]["stage"] == "failed"
    Download.objects.update(request="nonsense")
    unreadable = client.get(path)
    assert unreadable.status_code == 200
    assert set(unreadable.json()) == UNKNOWN_KEYS
    assert (unreadable.json()["complete"], unreadable.json()["task_status"]) == (False, "UNKNOWN")
    assert unreadable["Retry-After"]


def test_progress(client: Client) -> None:
    """D12: numbers are null until they are known; then percent, a forecast, and a polling hint of 2 to 30 seconds."""
    path = f"/v2/download/{ident(v2(client, rq={'genus': 'acer'}).json())}"
    waiting = client.get(path)
    unknown = dict.fromkeys(("rows_done", "rows_total", "bytes", "percent", "eta_seconds"))
    assert waiting.json()["progress"] == {"stage": "queued", "position": 0, **unknown}
    assert waiting["Retry-After"] == "2"
    live = {"stage": "building", "rows_done": 120_000, "rows_total": 400_000, "bytes": 90_112_000}
    Job.objects.update(state=Job.State.RUNNING, progress=live)
    for seconds, least in ((6, 14), (600, 1400)):
        Build.objects.update(state=Build.State.RUNNING, started_at=timezone.now() - datetime.timedelta(seconds=seconds))
        answer = client.get(path)
        told = answer.json()["progress"]
        assert live.items() <= told.items()
        assert told["percent"] == 30.0
        assert least <= told["eta_seconds"] <= least + 30
        assert answer["Retry-After"] == str(min(told["eta_seconds"], 30))
    assert client.get(path.replace("v2/download", "status"))["Retry-After"]


def test_v2_without_queries(client: Client) -> None:
    """D12: the sentence letter for letter."""
    expected = b'{"error":"Please supply at least one query paramter (rq,mq)"}'
    nulls = json.dumps({"rq": None, "mq": None})
    for answer in (
        client.get("/v2/download"),
        client.post("/v2/download", "{}", content_type="application/json"),
        client.post("/v2/download", nulls, content_type="application/json"),
        client.get("/v2/download?rq=&mq=null&form=csv"),
    ):
        assert (answer.status_code, answer.content) == (400, expected)


def test_v2_spellings(client: Client) -> None:
    """D13: nested JSON, text holding JSON, field lists in each spelling, the alias `query`."""
    fields = ["genus", "data.dwc:locality"]
    listed = json.dumps(fields)
    answers = [
        v2(client, rq={"genus": "acer"}, record_fields=fields),
        v2(client, rq=ACER, record_fields=listed),
        v2(client, query=ACER, record_fields="genus,data.dwc:locality"),
        client.get("/v2/download", {"rq": ACER, "record_fields": listed}),
        client.get("/v2/download", {"query": ACER, "record_fields": "genus, data.dwc:locality"}),
        client.post("/v2/download", {"rq": ACER, "record_fields": listed, "mq": "null"}),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert len({ident(answer.json()) for answer in answers}) == 1
    bare = client.post("/v2/download", ACER, content_type="application/json").json()
    assert bare["query"]["rq"] == {"genus": "acer"}


@pytest.mark.parametrize("value", ["", "0", "no", "off", "false", "FALSE", "null", False, 0, None])
def test_force_in_every_false_spelling(client: Client, value: Any) -> None:
    """D13: `force=false` does not force."""
    first = v2(client, rq={"genus": "acer"}).json()
    assert ident(v2(client, rq={"genus": "acer"}, force=value).json()) == ident(first)
    assert ident(v2(client, rq={"genus": "acer"}, force="1").json()) != ident(first)


def test_warnings(client: Client) -> None:
    body = client.get("/v2/download", {"rq": ACER, "colour": "red"}).json()
    assert body["warnings"] == ["The parameter colour is not known and was ignored."]
    assert "warnings" not in client.get(url(colour="red")).json()


def test_faces_read_each_other(client: Client) -> None:
    """D14: each face reads the other's jobs."""
    seed = client.get(url()).json()
    assert client.get(f"/v2/download/{ident(seed)}").json()["query"]["rq"] == {"genus": "acer"}
    media = v2(client, mq={"format": "image/jpeg"}).json()
    assert client.get(f"/status/{ident(media)}").json()["query"] == {}
    other = v2(client, rq={"genus": "quercus"}).json()
    assert client.get(f"/status/{ident(other)}").json()["query"] == {"genus": "quercus"}


def test_status_is_cacheable_by_etag(client: Client) -> None:
    """D10: strong ETag, 304, no-cache."""
    path = f"/status/{ident(client.get(url()).json())}"
    first = client.get(path)
    assert first["Cache-Control"] == "no-cache"
    assert first["ETag"].startswith('"')
    again = client.get(path, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (again["ETag"], again["Cache-Control"]) == (first["ETag"], "no-cache")
    for held, status in (("*", 304), (f'"x", {first["ETag"]}', 304), (f"W/{first['ETag']}", 304), ('"x"', 200)):
        assert client.get(path, headers={"If-None-Match": held}).status_code == status, held
    finish()
    assert client.get(path, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_citation(client: Client) -> None:
    """D36: text, BibTeX and RIS; 409 until complete."""
    body = v2(client, rq={"genus": "acer"}).json()
    path = f"/v2/download/{ident(body)}/citation"
    early = client.get(path)
    assert early.status_code == 409
    assert early.json() == {"error": "This download is not ready yet.", "status_url": body["status_url"]}
    assert early["Retry-After"]
    finish()
    text = client.get(path + "/?format=txt").content.decode()
    assert '\nQuery: {"genus": "acer"},\n3 records, accessed on ' in text
    assert client.get(path).content.decode() == text
    assert client.get(path)["Content-Type"] == "text/plain; charset=utf-8"
    assert client.get(path + "?format=bibtex").content.startswith(b"@misc{")
    assert client.get(path + "?format=ris").content.startswith(b"TY  - DATA")
    assert client.get(path + "?format=docx").json()["allowed"] == ["bibtex", "ris", "txt"]


def test_dry_run(client: Client) -> None:
    """D46: the counts of a dry run are the archive's rows; nothing is made."""
    found = v2(client, rq={"genus": "acer"}, dry_run="1").json()
    assert set(found) == {
        *("dry_run", "hash", "query", "rows", "bytes_estimate", "seconds_estimate", "data_version", "exact"),
    }
    assert (found["dry_run"], found["exact"]) == (True, True)
    assert not Download.objects.exists()
    body = v2(client, rq={"genus": "acer"}).json()
    finish()
    rows = client.get(f"/v2/download/{ident(body)}").json()["rows"]
    assert found["rows"] == {"records": rows["occurrence.csv"], "mediarecords": rows["multimedia.csv"]}


def test_withdrawal(client: Client) -> None:
    """D31: the token of the request cancels, another is 403, a finished download is 409."""
    asked = v2(client, rq={"genus": "acer"})
    path = f"/v2/download/{ident(asked.json())}"
    wrong = client.delete(path, headers={"Authorization": "Bearer " + "x" * 43})
    assert wrong.status_code == 403
    assert wrong.json() == {"error": "This token does not belong to this download."}
    assert client.delete(path).status_code == 403
    bearer = {"Authorization": f"Bearer {asked['Download-Token']}"}
    done = client.delete(path, headers=bearer)
    assert done.status_code == 200
    assert done.json()["error"] == "This download was cancelled."
    late = v2(client, rq={"genus": "quercus"})
    finish()
    path = f"/v2/download/{ident(late.json())}"
    finished = client.delete(path, headers={"Authorization": f"Bearer {late['Download-Token']}"})
    assert (finished.status_code, finished.json()) == (409, {"error": "This download has already finished."})


def test_own_downloads(client: Client) -> None:
    """D47: the list of a key's owner, newest first; 401 without a key."""
    refused = client.get("/v2/downloads")
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == "Token"
    assert refused.json() == {"error": "An API key is needed to list downloads."}
    _, secret = auth.issue_token(User.objects.create_user("ada"), audience="downloads")
    key = {"Authorization": f"Token {secret}"}
    for genus in ("acer", "quercus", "puma"):
        client.get("/v2/download", {"rq": json.dumps({"genus": genus})}, headers=key)
    client.get("/v2/download", {"rq": '{"genus":"other"}'})
    found = client.get("/v2/downloads?limit=2&offset=1", headers=key).json()
    assert found["itemCount"] == 3
    assert [item["query"]["rq"]["genus"] for item in found["items"]] == ["quercus", "acer"]
    assert client.get("/v2/downloads?limit=101", headers=key).status_code == 400
    assert client.get("/v2/downloads", headers={"Authorization": "Token nonsense"}).status_code == 401


def test_link(client: Client) -> None:
    """D25: 409 until ready, then 302 to bytes that honour Range; HEAD 200 with length, ETag and digest."""
    body = client.get(url()).json()
    path = f"/downloads/{ident(body)}.zip"
    early = client.get(path)
    assert early.status_code == client.head(path).status_code == 409
    assert early.json() == {"error": "This download is not ready yet.", "status_url": body["status_url"]}
    assert early["Retry-After"]
    finish()
    found = client.get(path)
    assert found.status_code == 302
    assert "X-Amz-Expires=900&" in found["Location"]
    assert found["Cache-Control"] == "private, no-store"
    head = client.head(path)
    assert head.status_code == 200
    assert head["Content-Type"] == "application/zip"
    assert head["Accept-Ranges"] == "bytes"
    assert head["Last-Modified"].endswith("GMT")
    with urllib.request.urlopen(found["Location"]) as answer:
        data = answer.read()
        assert answer.headers["Content-Type"] == "application/zip"
        assert f"{ident(body)}.zip" in answer.headers["Content-Disposition"]
        assert answer.headers["ETag"] == head["ETag"]
    assert head["Content-Length"] == str(len(data))
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert head["Repr-Digest"] == f"sha-256=:{digest}:"
    ranged = urllib.request.Request(found["Location"], headers={"Range": "bytes=10-19", "If-Range": head["ETag"]})
    with urllib.request.urlopen(ranged) as answer:
        assert (answer.status, answer.read()) == (206, data[10:20])
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    assert client.get(f"/downloads/{ident(body)}.csv").status_code == 404
    assert client.get(f"/downloads/{uuid.uuid4()}.zip").json() == NO_SUCH


def test_the_link_outlives_what_it_signs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """D25: sixteen minutes later what the link led to is refused by the store, and the link itself is still good."""
    path = f"/downloads/{ident(client.get(url()).json())}.zip"
    finish()
    tag = client.head(path)["ETag"]
    earlier = types.SimpleNamespace(time=lambda: time.time() - 16 * 60, gmtime=time.gmtime, strftime=time.strftime)
    monkeypatch.setattr(signing, "time", earlier)
    past = client.get(path)["Location"]
    monkeypatch.undo()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(past)
    assert refused.value.code == 403
    refused.value.close()
    with urllib.request.urlopen(client.get(path)["Location"]) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, tag)


def test_the_tag_of_the_link_while_the_store_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """D25: the ETag is the store's also while the store does not answer, so that a client resumes by it later."""
    path = f"/downloads/{ident(client.get(url()).json())}.zip"
    finish()
    tag = client.head(path)["ETag"]
    with urllib.request.urlopen(client.get(path)["Location"]) as answer:
        assert answer.headers["ETag"] == tag

    def away(key: str) -> None:
        raise blobs.StoreUnavailable("The file store does not answer.", key=key)

    monkeypatch.setattr(blobs, "stat", away)
    alone = client.head(path)
    assert (alone.status_code, alone["ETag"]) == (200, tag)
    assert client.get(path).status_code == 302
    Build.objects.update(etag="")  # made before tags were kept
    alone = client.head(path)
    assert (alone.status_code, alone.has_header("ETag")) == (200, False)


def test_rows_are_told_in_the_order_of_the_files(client: Client) -> None:
    """D12, D33: the core is in front, the others in their order, in the archive and where rows are told per member."""
    order = ["occurrence", "occurrence_raw", "multimedia", "multimedia_raw"]
    for options in (
        {},
        {"core_source": "raw"},
        {"core_type": "mediarecords"},
        {"core_type": "mediarecords", "core_source": "raw"},
        {"core_type": "uniquenames"},
        {"core_type": "uniquelocality", "form": "dwca-tsv"},
    ):
        body = v2(client, rq={"genus": "acer"}, **options).json()
        finish()
        done = client.get(f"/v2/download/{ident(body)}").json()
        inside = making.members(Download.objects.get(pk=ident(body)))
        names = [name for name in inside if name.endswith((".csv", ".tsv"))]
        assert [*done["rows"]] == names, options
        assert [name[:-4] for name in names[1:]] == [stem for stem in order if stem != names[0][:-4]]


def test_options_of_null(client: Client) -> None:
    """D13, D23: a text that is JSON's null is no value, in the URL as in a body."""
    names = ("email", "source", "webhook", "since", "form", "record_fields", "force", "dry_run")
    sent = {"rq": ACER} | dict.fromkeys(names, "null")
    answers = [client.get("/v2/download?" + urllib.parse.urlencode(sent)), v2(client, rq=ACER), v2(client, **sent)]
    assert [answer.status_code for answer in answers] == [200] * 3, answers[0].content
    assert len({ident(answer.json()) for answer in answers}) == 1
    assert not Notification.objects.exists()
    assert {claim.source for claim in Claim.objects.all()} == {""}


def test_an_unreadable_download_is_not_handed_out(client: Client) -> None:
    """D30, D3: who asks again for what cannot be read any more gets another, with all the keys; the old one stays."""
    for ask in (lambda: client.get(url()), lambda: v2(client, rq={"genus": "quercus"})):
        first = ask().json()
        finish()
        Download.objects.filter(pk=ident(first)).update(request="torn")
        assert client.get(f"/status/{ident(first)}").json()["task_status"] == "UNKNOWN"
        again = ask()
        assert (again.status_code, again.json()["task_status"]) == (200, "SUCCESS")
        assert {*again.json()} >= {*first}
        assert ident(again.json()) != ident(first)
        assert client.get(f"/status/{ident(first)}").json()["task_status"] == "UNKNOWN"


def test_link_of_a_failed_download(client: Client) -> None:
    """D25: a failed download's link says why."""
    body = client.get(url()).json()
    Download.objects.update(state=Download.State.FAILED, error="It broke.")
    failed = client.get(f"/downloads/{ident(body)}.zip")
    assert failed.status_code == 409
    assert failed.json() == {"error": "This download failed: It broke.", "status_url": body["status_url"]}


def streamed(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_streamed_delivery(client: Client, settings: Settings) -> None:
    """D25: DELIVERY=stream serves the bytes and their ranges here."""
    settings.DOWNLOADS_DELIVERY = "stream"
    path = f"/downloads/{ident(client.get(url()).json())}.zip"
    finish()
    whole = client.get(path)
    data = streamed(whole)
    assert whole.status_code == 200
    assert int(whole["Content-Length"]) == len(data)
    size, tag = len(data), whole["ETag"]
    for header, expected in {
        "bytes=5-9": data[5:10],
        "bytes=5-": data[5:],
        "bytes=-7": data[-7:],
        f"bytes=0-{size * 2}": data,
    }.items():
        part = client.get(path, headers={"Range": header})
        assert (part.status_code, streamed(part)) == (206, expected)
    for header, condition, status in (("5-9", tag, 206), ("5-9", '"other"', 200), ("0-1,5-6", tag, 200)):
        answer = client.get(path, headers={"Range": f"bytes={header}", "If-Range": condition})
        assert answer.status_code == status
        answer.close()
    beyond = client.get(path, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond["Content-Range"]) == (416, f"bytes */{size}")


def test_missing_blob(client: Client) -> None:
    """D26: a blob that went missing is 410, and the next request builds anew."""
    body = client.get(url()).json()
    finish()
    blobs.delete(*making.keys())
    assert client.get(f"/downloads/{ident(body)}.zip").status_code == 410
    again = client.get(url()).json()
    assert again["task_status"] == "PENDING"


def statements(context: CaptureQueriesContext) -> list[str]:
    """What was asked of the database, transaction control aside."""
    control = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return [query["sql"] for query in context.captured_queries if not query["sql"].startswith(control)]


def test_statements_of_each_path(client: Client) -> None:
    """D47: SQL statements of a request, new and known, of a status read and of the link."""
    v2_url = "/v2/download?rq=" + urllib.parse.quote('{"genus":"quercus"}')
    for path in (url(), v2_url):
        with CaptureQueriesContext(connection) as context:
            body = client.get(path).json()
        assert len(statements(context)) <= 10, statements(context)
    polled = client.get(f"/v2/download/{ident(body)}").json()["progress"]["position"]
    again = client.get(v2_url).json()["progress"]["position"]
    assert (body["progress"]["position"], polled, again) == (1, 1, 1)
    for path, most in ((url(), 4), (v2_url, 4), (f"/status/{ident(body)}", 2), (f"/v2/download/{ident(body)}", 2)):
        with CaptureQueriesContext(connection) as context:
            client.get(path)
        assert len(statements(context)) <= most, statements(context)
    finish()
    with CaptureQueriesContext(connection) as context:
        client.get(f"/downloads/{ident(body)}.zip")
    assert len(statements(context)) <= 2, statements(context)


def unused(user: User) -> None:
    """Have the next use of the account's tokens noted."""
    user.api_tokens.update(last_used_at=None)
    auth.USES.forget()


@pytest.mark.parametrize("has_quota", [False, True])
def test_statements_with_a_key(client: Client, has_quota: bool) -> None:
    """D47: the limits on SQL statements hold with an API key too, the note of its use and its quota among them."""
    user = User.objects.create_user("ada")
    if has_quota:
        Quota.objects.create(user=user, running=0, queued=5)
    _, secret = auth.issue_token(user, audience="downloads")
    headers = {"Authorization": f"Token {secret}"}

    def count(path: str) -> int:
        unused(user)
        with CaptureQueriesContext(connection) as context:
            assert client.get(path, headers=headers).status_code == 200
        assert user.api_tokens.filter(last_used_at=None).count() == 0
        return len(statements(context))

    other = "/v2/download?rq=" + urllib.parse.quote('{"genus":"Acer"}')
    new, known, shared = count(url()), count(url()), count(other)
    forced = count(f"{other}&force=1")
    Download.objects.update(reuse_until=timezone.now())
    Build.objects.update(created_at=timezone.now() - datetime.timedelta(days=2))
    stale = count(other)
    found = {"new": new, "shared": shared, "forced": forced, "stale": stale, "known": known}
    assert max(new, shared, forced, stale) <= 10, found
    assert known <= 4, found


@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize("lane", ["short", "long"])
def test_statements_with_an_email(client: Client, settings: Settings, lane: str, has_key: bool) -> None:
    """D47: the limits hold in both lanes, to be told by mail and webhook, with key and quota, and waiting or not."""
    settings.DOWNLOADS_SHORT_ROWS = 0 if lane == "long" else 100_000
    headers: dict[str, str] = {}
    if has_key:
        user = User.objects.create_user("ada")
        Quota.objects.create(user=user, running=1, queued=5)
        headers["Authorization"] = f"Token {auth.issue_token(user, audience='downloads')[1]}"

    def ask(path: str, query: str, **more: str) -> tuple[int, dict[str, Any]]:
        if has_key:
            unused(user)
        with CaptureQueriesContext(connection) as context:
            sent = urllib.parse.urlencode({"query": query, "email": "a@example.org"} | more)
            answer = client.get(f"{path}?{sent}", headers=headers)
        assert answer.status_code == 200, answer.content
        return len(statements(context)), answer.json()

    counts: dict[str, int] = {}
    counts["started"], body = ask("/", ACER)
    assert Build.objects.filter(lane=lane, job__isnull=False).count() == 1
    assert ask("/v2/download", '{"genus":"quercus"}')[1]["task_status"] == "PENDING"
    hook = {"webhook": "https://hooks.example.org/x"}
    counts["waiting"], _ = ask("/v2/download", '{"genus":"quercus"}', **hook, form="csv")
    assert Build.objects.filter(lane=lane, job__isnull=True).exists() == (lane == "long" or has_key)
    assert max(counts.values()) <= 10, counts
    known, again = ask("/", ACER)
    assert ident(again) == ident(body)
    assert known <= 4, known
    for build in Build.objects.filter(job__isnull=False):
        assert build.job_id is not None
        jobs.run(build.job_id)
    hook["email"] = "b@example.org"
    late, again = ask("/", ACER, **hook)
    assert again["task_status"] == "SUCCESS"
    assert late <= 4, late
    shared, again = ask("/v2/download", '{"genus":["acer"]}', **hook)
    assert again["task_status"] == "SUCCESS"
    assert shared <= 10, shared
    before = Build.objects.count()
    dry, _ = ask("/v2/download", ACER, dry_run="1")
    assert dry <= 10, dry
    assert Build.objects.count() == before


def test_statements_of_the_list(client: Client) -> None:
    """D47: SQL statements of the list, the look at the key and the note of its use among them."""
    user = User.objects.create_user("ada")
    _, secret = auth.issue_token(user, audience="downloads")
    headers = {"Authorization": f"Token {secret}"}
    for query in (ACER, "{}"):
        client.get(url(query), headers=headers)
    unused(user)
    with CaptureQueriesContext(connection) as context:
        found = client.get("/v2/downloads?limit=1", headers=headers).json()
    assert (found["itemCount"], len(found["items"])) == (2, 1)
    assert len(statements(context)) <= 3, statements(context)
    beyond = client.get("/v2/downloads?offset=5", headers=headers).json()
    assert beyond == {"itemCount": 2, "items": []}


def test_expired_ones_are_not_listed(client: Client) -> None:
    """D26: an expired download, whose link is dead, is in nobody's list; its stage is expired."""
    user = User.objects.create_user("ada")
    _, secret = auth.issue_token(user, audience="downloads")
    headers = {"Authorization": f"Token {secret}"}
    first, second = (ident(client.get(url(query), headers=headers).json()) for query in (ACER, "{}"))
    finish()
    Download.objects.filter(pk=first).update(state=Download.State.EXPIRED, expired_at=timezone.now())
    found = client.get("/v2/downloads", headers=headers).json()
    assert found["itemCount"] == 1
    assert [ident(item) for item in found["items"]] == [second]
    expired = Download.objects.select_related("build__job").get(pk=first)
    assert stand.progress(expired).stage == "expired"


def test_quota_of_a_subscriber(client: Client, settings: Settings) -> None:
    """D32: callers of one IPv6 /64 share a quota, of mails too; another /64 has its own."""
    settings.DOWNLOADS_RUNNING_PER_CALLER, settings.DOWNLOADS_QUEUED_PER_CALLER = 0, 2
    settings.DOWNLOADS_MAILS_PER_CALLER = 1

    def ask(address: str, genus: str, **more: str) -> int:
        sent = url(json.dumps({"genus": genus}), **more)
        return int(client.get(sent, REMOTE_ADDR=address).status_code)

    mailed = [ask(f"2001:db8:7:1::{n}", "acer", email=f"a{n}@example.org") for n in (1, 2)]
    assert mailed == [200, 429]
    assert [ask(f"2001:db8:7:1:{n}::1", f"g{n}") for n in range(3)] == [200, 429, 429]
    assert ask("2001:db8:7:2::1", "quercus") == 200
    assert ask("192.0.2.1", "quercus") == 200
    assert ask("192.0.2.2", "abies") == 200


def test_forms_over_http(client: Client) -> None:
    """D38: each form and core type is asked, built and delivered."""
    forms: list[dict[str, Any]] = [
        {"form": "csv", "record_fields": ["genus", "data.dwc:locality"]},
        {"form": "tsv"},
        {"form": "dwca-tsv", "core_type": "uniquenames"},
        {"form": "parquet"},
        {"form": "geojson"},
    ]
    for options in forms:
        body = v2(client, rq={"genus": "acer"}, **options).json()
        finish()
        done = client.get(f"/v2/download/{ident(body)}").json()
        assert done["task_status"] == "SUCCESS", (options, done)
        link = urllib.parse.urlsplit(done["download_url"]).path
        whole = client.head(link)
        assert whole.status_code == 200
        if not options["form"].startswith("dwca-"):  # the one file goes by the name it is saved under
            (name,) = done["rows"]
            assert f'filename="{name}"' in whole["Content-Disposition"]
        assert client.get(link).status_code == 302
