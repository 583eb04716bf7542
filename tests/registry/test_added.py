"""Our additions to the API, and the folder for harvesters (contract 2.8, 2.9, 5)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import auth
from core.models import ApiToken, User
from registry.demo import source as demo_source
from registry.formats import report, samples, waf
from registry.jobs import request
from registry.models import Harvest, HarvestRun, Organization, Record, RunIssue
from tests import house
from tests.registry.conftest import run
from tests.registry.test_api import pair

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]


def text_of(response: Any) -> str:
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return body.decode()


# --- added API ----------------------------------------------------------------------------------------------------


def test_harvest_list(client: Client, add_harvest: Add, owner: User) -> None:
    """X2: the filtered list pages, filters, and answers 304 to who has it."""
    for number in range(3):
        add_harvest("nginx", name=f"Buoy {number}", url=f"http://h{number}.example.org/", publish=number != 1)
    path = "/registry/api/harvests"
    page = client.get(path, {"limit": "1", "offset": "1"})
    body = page.json()
    assert (body["total"], body["limit"], body["offset"]) == (2, 1, 1)
    assert [row["name"] for row in body["data"]] == ["Buoy 2"]
    assert page["Cache-Control"] == "private, no-cache"
    assert page["Access-Control-Allow-Origin"] == "*"
    assert client.get(path, {"limit": "1", "offset": "1"}, HTTP_IF_NONE_MATCH=page["ETag"]).status_code == 304
    assert client.get(path, **pair(client)).json()["total"] == 3
    assert client.get(path, {"q": "buoy 2"}).json()["total"] == 1
    assert client.get(path, {"organization": "PacIOOS", "status": "never", "type": "WAF"}).json()["total"] == 2
    assert client.get(path, {"status": "ok"}).json()["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=x", "offset=-1", "offset=999999999999999999", "publish=maybe", "type=FTP",
        "status=good", "q=%00",
    ],
)  # fmt: skip
def test_bad_filters(query: str, client: Client) -> None:
    """X2: a bad paging or filter value is a 400 that names it."""
    answer = client.get(f"/registry/api/harvests?{query}")
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"{query.partition('=')[0]}: ")


def test_records(client: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X40: records tell what they are, what is wrong with them, and where they are served."""
    source.put("invalid.xml", samples.iso19139(8).replace(b"gmd:dateStamp", b"gmd:dateOfStamp"))
    harvest = add_harvest()
    run(harvest)
    path = f"/registry/api/harvests/{harvest.uid}/records"
    assert client.get(path).json()["total"] == 7
    bad = client.get(path, {"valid": "false"}).json()["data"]
    keys = "id harvest url file_id title description metadata_date standard kind services links bbox valid stale issues"
    assert [list(item) for item in bad] == [[*keys.split(), "hash", "waf_url", "update_time", "titles", "repaired"]]
    assert (bad[0]["waf_url"], bad[0]["issues"][0]["stage"]) == (None, "schema")
    good = client.get(path, {"valid": "true", "q": samples.identifier(0)}).json()["data"][0]
    assert client.get(re.sub("^.*/waf/", "/waf/", good["waf_url"])).status_code == 200
    assert client.get(f"/registry/api/records/{good['id']}").json()["data"] == good
    assert client.get("/registry/api/records/999999999").status_code == 404
    assert client.get("/registry/api/records/999999999999999999").status_code == 404


def test_unpublished_is_private(client: Client, add_harvest: Add, owner: User) -> None:
    """X42: data of unpublished harvests is for owners only; to others it is the 404."""
    harvest = add_harvest(publish=False)
    made = run(harvest)
    record = Record.objects.first()
    assert record is not None
    headers = pair(client)
    for path in (
        f"harvests/{harvest.uid}/records",
        f"harvests/{harvest.uid}/runs",
        f"records/{record.pk}",
        f"runs/{made.pk}",
        f"runs/{made.pk}/report.csv",
        f"runs/{made.pk}/changes",
    ):
        hidden = client.get(f"/registry/api/{path}")
        assert (hidden.status_code, hidden.content) == (404, b'{"status":"fail","message":"Item not found"}')
        assert client.get(f"/registry/api/{path}", **headers).status_code == 200


def test_reports(client: Client, add_harvest: Add) -> None:
    """X40: reports hold all issues with URL, stage and line, streamed, formulas guarded."""
    harvest = add_harvest()
    made = run(harvest)
    RunIssue.objects.bulk_create(
        RunIssue(run=made, url=f"http://x/{n}", stage="rules", severity="error", code="c", line=n, message='=1+1\n"q"')
        for n in range(2500)
    )
    answer = client.get(f"/registry/api/runs/{made.pk}/report.csv")
    assert answer.streaming
    rows = list(csv.DictReader(io.StringIO(text_of(answer), newline="")))
    assert list(rows[0]) == ["stage", "severity", "code", "url", "identifier", "line", "column", "message"]
    assert (len(rows), rows[7]["line"], rows[7]["message"]) == (2500, "7", '\'=1+1\n"q"')
    answer = client.get(f"/registry/api/runs/{made.pk}/report.json")
    import json

    data = json.loads(text_of(answer))["data"]
    assert (len(data), data[7]["message"]) == (2500, '=1+1\n"q"')
    changes = json.loads(text_of(client.get(f"/registry/api/runs/{made.pk}/changes?kind=added")))["data"]
    assert len(changes) == 6
    assert client.get(f"/registry/api/runs/{made.pk}/changes?kind=odd").status_code == 400


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1", "'=1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("x=1", "x=1"),
        (7, "7"),
        (None, ""),
        ("", ""),
    ],
)
def test_guarded_cells(text: Any, cell: str) -> None:
    """X40: whatever a spreadsheet would take for a formula gets an apostrophe in front, and nothing else does."""
    assert report.guarded(text) == cell


def test_runs_and_cancel(client: Client, add_harvest: Add, add_person: Callable[..., User]) -> None:
    """X28: an owner cancels an active run; a finished one is a 409; strangers are refused as by PATCH."""
    add_person("maria")
    add_person("stranger", member=False)
    harvest = add_harvest()
    made, _ = request.run_of(harvest, trigger="api")
    path = f"/registry/api/runs/{made.pk}"
    assert client.get(path).json()["data"]["state"] == "queued"
    assert client.post(f"{path}/cancel").status_code == 401
    assert client.post(f"{path}/cancel", **pair(client, "stranger")).status_code == 403
    headers = pair(client)
    answer = client.post(f"{path}/cancel", **headers)
    assert (answer.status_code, answer.content) == (200, b'{"status":"success","data":{"state":"cancelling"}}')
    again = client.post(f"{path}/cancel", **headers)
    assert (again.status_code, again.content) == (409, b'{"status":"error","message":"Run is not active"}')
    assert client.get(path).json()["data"]["state"] == "cancelled"
    assert client.get(f"/registry/api/harvests/{harvest.uid}/runs").json()["total"] == 1
    assert client.post("/registry/api/runs/999999/cancel", **headers).status_code == 404


# --- the folder ---------------------------------------------------------------------------------------------------


def test_file_bytes(client: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X41: WAF files equal the fetched bytes, with the headers of contract 2.9."""
    run(add_harvest())
    record = Record.objects.get(file_id=samples.identifier(0))
    path = f"/waf/PacIOOS/{record.waf_name}"
    answer = client.get(path)
    assert answer.content == source.files["station_000.xml"].body
    assert answer["Content-Type"] == "application/xml"
    assert answer["Content-Length"] == str(len(answer.content))
    assert answer["ETag"] == f'"{record.content_sha256}"'
    assert answer["Cache-Control"] == "public, no-cache"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    head = client.head(path)
    assert (head.content, head["Content-Length"], head["ETag"]) == (b"", answer["Content-Length"], answer["ETag"])
    assert client.post(path).status_code == 405
    for missing in (f"{path}/", "/waf/PacIOOS/none.xml", "/waf/None/", "/waf/a%00b/", "/waf/PacIOOS/%00.xml"):
        gone = client.get(missing)
        assert (gone.status_code, gone["Content-Type"]) == (404, "text/html")


def test_listing(client: Client, add_harvest: Add) -> None:
    """X41: listings are as section 5 has them, equal with and without slash, sorted, and byte-identical."""
    run(add_harvest())
    answer = client.get("/waf/PacIOOS/")
    text = text_of(answer)
    assert text == text_of(client.get("/waf/PacIOOS"))
    records = list(Record.objects.order_by("waf_name"))
    lines = text.splitlines()
    assert lines[0] == "<!DOCTYPE html>"
    assert lines[1].endswith('<title>Index of /waf/PacIOOS/</title><base href="/waf/PacIOOS/"></head>')
    assert lines[2] == '<body><h1>Index of /waf/PacIOOS/</h1><hr><pre><a href="../">../</a>'
    assert lines[-1] == "</pre><hr></body></html>"
    for line, record in zip(lines[3:-1], records, strict=True):
        name, moment = record.waf_name, f"{record.changed_at:%d-%b-%Y %H:%M:%S}"
        assert line == f'<a href="/waf/PacIOOS/{name}">{name}</a>            {moment}    {record.size}'
    root = client.get("/waf/").content.decode()
    assert '<base href="/waf/">' in root
    assert '<a href="PacIOOS/">PacIOOS/</a>' in root
    assert root == client.get("/waf").content.decode()


def test_own_listing_can_be_harvested(client: Client, add_harvest: Add) -> None:
    """X41: our listing reads back with our own parser, dates and sizes included."""
    from registry.formats import listing

    run(add_harvest())
    parser = listing.ListingParser("http://h/waf/PacIOOS")
    links = [
        link for link in [*parser.feed(text_of(client.get("/waf/PacIOOS/")).encode()), *parser.close()] if link.date
    ]
    found = {(link.url.rpartition("/")[2], link.size) for link in links}
    assert found == set(Record.objects.values_list("waf_name", "size"))


def test_validators(client: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X41: validators give 304, `If-None-Match` wins, and they survive an unchanged run."""
    harvest = add_harvest("python")
    run(harvest)
    record = Record.objects.get(file_id=samples.identifier(0))
    paths = ["/waf/", "/waf/PacIOOS/", f"/waf/PacIOOS/{record.waf_name}"]
    before = {path: client.get(path) for path in paths}
    run(harvest)
    for path, answer in before.items():
        assert client.get(path)["ETag"] == answer["ETag"]
        assert client.get(path, HTTP_IF_NONE_MATCH=answer["ETag"]).status_code == 304
        since = answer["Last-Modified"]
        assert client.get(path, HTTP_IF_MODIFIED_SINCE=since).status_code == 304
        older = format_datetime(parsedate_to_datetime(since) - timedelta(seconds=2), usegmt=True)
        assert client.get(path, HTTP_IF_MODIFIED_SINCE=older).status_code == 200
        assert client.get(path, HTTP_IF_NONE_MATCH='"x"', HTTP_IF_MODIFIED_SINCE=since).status_code == 200
        for held in ("*", f'"x", {answer["ETag"]}', f"W/{answer['ETag']}"):
            same = client.get(path, HTTP_IF_NONE_MATCH=held, HTTP_IF_MODIFIED_SINCE=older)
            assert (same.status_code, same.content) == (304, b""), held
            assert (same["ETag"], same["Last-Modified"]) == (answer["ETag"], since)
        assert client.get(path, HTTP_IF_MODIFIED_SINCE="nonsense").status_code == 200
    source.put("station_001.xml", samples.iso19139(1, revision=5))
    run(harvest)
    changed = {path for path, answer in before.items() if client.get(path)["ETag"] != answer["ETag"]}
    assert changed == {"/waf/", "/waf/PacIOOS/"}


def test_what_is_served(client: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X42: equal file names of two sources are both served; unpublished and invalid ones are not, unless asked."""
    source.files = {"same.xml": source.files["station_000.xml"]}
    first, second = add_harvest("nginx"), add_harvest("iis")
    source.put("bad.xml", samples.iso19139(3).replace(b"gmd:dateStamp", b"gmd:dateOfStamp"))
    source.put("broken.xml", b"<a>")
    run(first)
    run(second)
    names = re.findall(r">([^<]+\.xml)<", text_of(client.get("/waf/PacIOOS/")))
    assert len(names) == len(set(names)) == 2
    assert all(name.startswith("same-") for name in names)
    Harvest.objects.filter(pk=first.pk).update(serve_invalid=True)
    assert len(re.findall(r">([^<]+\.xml)<", text_of(client.get("/waf/PacIOOS/")))) == 3
    Harvest.objects.update(publish=False)
    assert client.get("/waf/").content.count(b"<a ") == 1
    assert client.get(f"/waf/PacIOOS/{names[0]}").status_code == 404


def test_store_down(servers: house.House, client: Client, add_harvest: Add) -> None:
    """X29: with the store away a WAF file is 503 with Retry-After, not 404; listings go on."""
    run(add_harvest())
    record = Record.objects.first()
    assert record is not None
    servers.store.stop()
    answer = client.get(f"/waf/PacIOOS/{record.waf_name}")
    assert (answer.status_code, answer["Retry-After"]) == (503, "60")
    head = client.head(f"/waf/PacIOOS/{record.waf_name}")
    assert (head.status_code, head["Retry-After"], head.content) == (503, "60", b"")
    assert client.get("/waf/PacIOOS/").status_code == 200
    assert client.get("/api/v1/Harvests").status_code == 200


def test_folder_queries(client: Client, add_harvest: Add, owner: User) -> None:
    """X53: the list takes at most 2 queries (3 with a token), auth 1, the trigger 6, whatever the number of rows."""
    harvest = add_harvest()
    for number in range(20):
        add_harvest("nginx", url=f"http://h{number}.example.org/")
    headers = pair(client)

    def unused() -> None:
        """Have the next use of the token noted: that costs no statement."""
        ApiToken.objects.update(last_used_at=timezone.now() - timedelta(hours=1))
        auth.USES.forget()

    for extra, most in (({}, 2), (headers, 3)):
        unused()
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/api/v1/Harvests", **extra).status_code == 200
        assert len(queries) <= most
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.head("/api/v2/logout", **headers)
        assert len(queries) == 1
        unused()
    for joined in (0, 1):
        unused()
        with CaptureQueriesContext(connection) as queries:
            assert client.post(f"/api/v2/harvest/{harvest.uid}/harvest", **headers).status_code == 200
        framing = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
        counted = [q["sql"][:100] for q in queries.captured_queries if not q["sql"].startswith(framing)]
        assert len(counted) <= 6, counted
        assert HarvestRun.objects.get().coalesced == joined


@pytest.mark.parametrize(
    ("name", "slug"),
    [("PacIOOS", "PacIOOS"), ("Māmala Bay / UH", "M-mala-Bay-UH"), ("index", "org-7"), ("海", "org-7"), ("..a", "a")],
)
def test_slugs(name: str, slug: str) -> None:
    """X41: an organisation's folder name keeps case, and is never one CKAN takes for a page."""
    assert waf.slug_of(name, number=7) == slug


def test_file_names() -> None:
    """X42: file names are readable, safe and stable, and differ between sources."""
    name = waf.file_name(harvest_uid="n3N6xBLyZIs9LGwEF", identity="http://h/iso/ROMS_hiig.XML?x=1")
    assert re.fullmatch(r"ROMS_hiig-[0-9a-f]{10}\.xml", name)
    other = waf.file_name(harvest_uid="m3N6xBLyZIs9LGwEF", identity="http://h/iso/ROMS_hiig.XML?x=1")
    assert name != other
    assert waf.file_name(harvest_uid="x", identity="http://h/%2e%2e/..%2f_a b.xml").startswith("a_b-")
    assert len(waf.file_name(harvest_uid="x", identity="urn:" + "é" * 500)) <= 95


def test_organization_sample_listing(client: Client) -> None:
    """X41: an organisation without records has an empty folder of its own, and is not in the root listing."""
    Organization.objects.create(name="Empty", slug="Empty")
    assert client.get("/waf/Empty/").status_code == 200
    assert b"Empty" not in client.get("/waf/").content
