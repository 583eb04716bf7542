"""Limits and waits: the last value that passes and the first that does not (contract 2.4, 2.5, 4.1 to 4.4, 8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import bcrypt
import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core import jobs
from core.models import ApiToken, Job, Mail, User
from registry import selectors
from registry.demo import source as demo_source
from registry.formats import listing, samples, validation, waf
from registry.jobs import client as network
from registry.jobs import crawl, fetch, finish, remove, request, undo
from registry.jobs import harvest as harvest_job
from registry.models import Harvest, HarvestRun, Organization, Record, RunIssue
from registry.services import sessions
from tests.registry.conftest import PASSWORD, run
from tests.registry.test_api import DIGEST, FORM, JSON, LOGGED_OUT, UNAUTHORIZED, login, pair

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]
Person = Callable[..., User]


# --- the API ------------------------------------------------------------------------------------------------------


def test_faults_of_ours(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """X2: a bug is a 500 and a database away a 503 with Retry-After, in the API's words and without details."""
    expected = {
        RuntimeError("secret"): (500, b'{"status":"error","message":"Internal server error"}', None),
        OperationalError("secret"): (503, b'{"status":"error","message":"Service unavailable"}', "30"),
    }
    for fault, (status, body, wait) in expected.items():

        def broken(*_args: Any, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr(selectors, "harvest_rows", broken)
        answer = client.get("/api/v1/Harvests")
        assert (answer.status_code, answer.content, answer.get("Retry-After")) == (status, body, wait)
        assert (answer["Cache-Control"], answer["Access-Control-Allow-Origin"]) == ("no-store", "*")
        assert answer["Content-Type"] == JSON


def test_database_away(client: Client) -> None:
    """X2: while the database is away the API is 503 in its words, the folder 503 and never a 404."""

    def away(*_args: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    pair_of: dict[str, Any] = {"HTTP_X_AUTH_TOKEN": "x" * 43, "HTTP_X_USER_ID": "fbdpsNf4oHiX79vMJ"}
    uid = "n3N6xBLyZIs9LGwEF"
    paths = ["/api/v1/Harvests", f"/api/v1/Harvests/{uid}", "/api/v2/logout", f"/api/v2/harvest/{uid}/harvest"]
    with connection.execute_wrapper(away):
        answers = [client.get(path, **pair_of) for path in [*paths, "/registry/api/harvests"]]
        answers.append(login(client, "username=maria&password=x"))
        folders = [client.get(path) for path in ("/waf/", "/waf/PacIOOS", "/waf/PacIOOS/a-0123456789.xml")]
    for answer in answers:
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert answer.content == b'{"status":"error","message":"Service unavailable"}'
    assert [(answer.status_code, answer["Retry-After"]) for answer in folders] == [(503, "60")] * 3


def test_order_of_the_checks_of_a_change(client: Client, harvest: Harvest, add_person: Person) -> None:
    """X10: first the token, then whether the source is there, then the right to it, and last what was sent."""
    add_person("stranger", member=False)
    path, nowhere = f"/api/v1/Harvests/{harvest.uid}", "/api/v1/Harvests/abc123"
    for body in (b"{", b'{"name":""}'):
        anonymous = client.patch(nowhere, body, content_type=JSON)
        assert (anonymous.status_code, anonymous.content) == (401, LOGGED_OUT)
        headers = pair(client, "stranger")
        assert client.patch(nowhere, body, content_type=JSON, **headers).status_code == 404
        assert client.patch(path, body, content_type=JSON, **headers).status_code == 403


def test_every_value_can_be_changed(client: Client, harvest: Harvest, owner: User) -> None:
    """X10: all eight values are written, by JSON and by form, and shown in the answer."""
    wanted: dict[str, Any] = {
        "name": "Ōpūnohu",
        "url": "https://other.example.org/csw",
        "organization": "PacIOOS",
        "harvest_type": "CSW",
        "harvest_interval": 365,
        "publish": False,
        "harvest_contact": "ana@example.org",
        "ckan_harvest_url": "https://ckan.example.org/harvest/x",
    }
    path, headers = f"/api/v1/Harvests/{harvest.uid}", pair(client)
    answer = client.patch(path, json.dumps(wanted), content_type=JSON, **headers)
    assert answer.status_code == 200
    assert wanted.items() <= answer.json()["data"].items()
    assert wanted.items() <= client.get(path, **headers).json()["data"].items()
    for text, is_published in (("true", True), ("0", False), ("1", True), ("false", False)):
        form = client.patch(path, f"publish={text}&harvest_interval=0&harvest_contact=", content_type=FORM, **headers)
        row = form.json()["data"]
        assert (row["publish"], row["harvest_interval"], "harvest_contact" in row) == (is_published, 0, False)


def test_counters_while_a_run_is_on(client: Client, harvest: Harvest) -> None:
    """X7: while a run waits or works the counters of the last one stay; its status only while it waits."""
    run(harvest)
    made, _ = request.run_of(harvest, trigger="api")
    path = f"/api/v1/Harvests/{harvest.uid}"
    for state, date, status in (("queued", "pending", "ok"), ("running", "harvesting", None)):
        HarvestRun.objects.filter(pk=made.pk).update(state=state)
        row = client.get(path).json()["data"]
        assert (row["last_harvest_dt"], row["last_harvest_status"]) == (date, status)
        assert [row[f"last_{name}_count"] for name in ("record", "good", "bad")] == [6, 6, 0]


def test_head_of_the_trigger_checks(client: Client, harvest: Harvest, add_person: Person) -> None:
    """X4: HEAD on the trigger finds the same faults; an administrator may trigger what is not theirs."""
    add_person("stranger", member=False)
    add_person("boss", member=False, admin=True)
    path = f"/api/v2/harvests/{harvest.uid}/harvest"
    stranger, boss = pair(client, "stranger"), pair(client, "boss")
    assert client.head("/api/v2/harvests/abc123/harvest", **stranger).status_code == 404
    assert client.head(path, **stranger).status_code == client.get(path, **stranger).status_code == 401
    head = client.head(path, **boss)
    assert (head.status_code, "X-Harvest-Run" in head, HarvestRun.objects.count()) == (200, False, 0)
    assert client.get(path, **boss).status_code == 200
    assert HarvestRun.objects.count() == 1


def test_pages_of_the_added_list(client: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X2: a page has a hundred rows unless asked, a thousand at most; records are chosen by what they are."""
    harvest = add_harvest()
    source.put("newer.xml", samples.iso19115_3(8))
    run(harvest)
    listed = client.get("/registry/api/harvests").json()
    assert (listed["limit"], listed["offset"]) == (100, 0)
    assert client.get("/registry/api/harvests?limit=1000").json()["limit"] == 1000
    Record.objects.filter(file_id=samples.identifier(0)).update(stale_since=timezone.now())
    path = f"/registry/api/harvests/{harvest.uid}/records"
    totals = {
        "": 7,
        "standard=mdb": 1,
        "standard=gmd": 6,
        "stale=true": 1,
        "stale=0": 6,
        "valid=1": 7,
        "valid=false": 0,
    }
    assert {query: client.get(f"{path}?{query}").json()["total"] for query in totals} == totals
    for query in ("organization=Nobody", "type=CSW", "status=fail", "publish=false", "q=nothing"):
        assert client.get(f"/registry/api/harvests?{query}").json()["total"] == 0, query


# --- login --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes each bcrypt that is worked out."""
    calls: list[str] = []
    for name in ("hashpw", "checkpw"):
        monkeypatch.setattr(bcrypt, name, noting(calls, name, getattr(bcrypt, name)))
    return calls


def noting(calls: list[str], name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any) -> Any:
        calls.append(name)
        return work(*args)

    return noted


def test_a_throttled_login_costs_nothing(client: Client, owner: User, hashed: list[str]) -> None:
    """X15: who tried too often is refused before any password is worked on."""
    for _ in range(10):
        login(client, "username=maria&password=wrong")
    hashed.clear()
    assert login(client, f"username=maria&password={PASSWORD}").status_code == 429
    assert login(client, f"username=maria&password={DIGEST}&hashed=1").status_code == 429
    assert hashed == []


@pytest.mark.parametrize(
    "body",
    [
        "username=maria&password=wrong",
        f"username=maria&password={'0' * 64}&hashed=1",
        "username=nobody&password=wrong",
        "username=off&password=wrong",
        f"username=nobody&password={DIGEST}&hashed=1",
        "username=maria&password=short&hashed=1",
        "username=maria",
        "",
    ],
)
def test_every_refusal_costs_one_hash(body: str, client: Client, add_person: Person, hashed: list[str]) -> None:
    """X13: an unknown user and a malformed digest cost one bcrypt, as a wrong password does."""
    add_person("maria")
    add_person("off", is_active=False)
    hashed.clear()
    answer = login(client, body)
    assert (answer.status_code, answer.content) == (401, UNAUTHORIZED)
    assert len(hashed) == 1


def test_throttle_by_network(client: Client, owner: User) -> None:
    """X15: all addresses of an IPv6 /64 count as one, another /64 does not; a success keeps the address's count."""
    for number in range(10):
        login(client, "username=maria&password=wrong", REMOTE_ADDR=f"2001:db8:0:1::{number}")
    good = f"username=maria&password={PASSWORD}"
    assert login(client, good, REMOTE_ADDR="2001:db8:0:1:ffff::1").status_code == 429
    assert login(client, good, REMOTE_ADDR="2001:db8:0:2::1").status_code == 200
    for number in range(99):
        login(client, f"username=n{number}&password=wrong", REMOTE_ADDR="192.0.2.1")
    assert login(client, good, REMOTE_ADDR="192.0.2.1").status_code == 200
    assert login(client, "username=n&password=wrong", REMOTE_ADDR="192.0.2.1").status_code == 401
    assert login(client, good, REMOTE_ADDR="192.0.2.1").status_code == 429


def test_size_of_a_login(client: Client, owner: User) -> None:
    """X13: a body of 1 MiB is read, one byte more is 413."""
    body = f"username=maria&password={PASSWORD}&more="
    fits = body + "x" * (1_048_576 - len(body))
    assert login(client, fits).status_code == 200
    assert login(client, fits + "x").status_code == 413


def test_depth_of_a_body(client: Client, harvest: Harvest, owner: User) -> None:
    """X13: JSON of fifty levels is read, of more it is a bad request, for login and PATCH alike."""
    sent = {"username": "maria", "password": PASSWORD, "more": json.loads("[" * 49 + "0" + "]" * 49)}
    assert login(client, json.dumps(sent), JSON).status_code == 200
    path, headers = f"/api/v1/Harvests/{harvest.uid}", pair(client)
    assert client.patch(path, json.dumps(sent), content_type=JSON, **headers).status_code == 200
    sent["more"] = [[sent["more"]]]
    for answer in (
        login(client, json.dumps(sent), JSON),
        client.patch(path, json.dumps(sent), content_type=JSON, **headers),
    ):
        assert (answer.status_code, answer.content) == (400, b'{"status":"error","message":"Bad Request"}')


def test_life_of_tokens(client: Client, owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """X14: a token lives ninety days; of more than a thousand the oldest dies."""
    assert (settings.REGISTRY_TOKEN_DAYS, sessions.LIVE_TOKENS) == (90, 1000)
    monkeypatch.setattr(sessions, "LIVE_TOKENS", 2)
    pairs = [pair(client) for _ in range(3)]
    lives = {token.expires_at - token.created_at for token in ApiToken.objects.all() if token.expires_at}
    assert lives == {timedelta(days=90)}
    assert [client.head("/api/v2/logout", **each).status_code for each in pairs] == [401, 200, 200]


# --- requests of a run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        *((code, 4) for code in ("429", "502", "503", "504", "truncated")),
        ("500", 1),
        ("404", 1),
        ("403", 1),
        ("206", 1),
    ],
)
def test_tries(fault: str, asked: int, add_harvest: Add, source: demo_source.Source) -> None:
    """X23: what may pass is tried three times more, what will not is not; the document counts as bad."""
    source.faults["/nginx/station_000.xml"] = fault
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, harvest.last_good_count, harvest.last_bad_count) == ("ok", 5, 1)
    assert source.paths().count("/nginx/station_000.xml") == asked


def test_time_out(add_harvest: Add, source: demo_source.Source, settings: Settings) -> None:
    """X23: a document whose server falls silent is tried again, and then counts as bad."""
    settings.REGISTRY_READ_SECONDS = 0.1
    source.faults["/nginx/station_000.xml"] = "hang"
    harvest = add_harvest()
    made = run(harvest)
    source.hold.set()
    assert (made.state, harvest.last_record_count, harvest.last_bad_count) == ("ok", 6, 1)
    assert made.issues.get(severity="error").code == "timeout"
    assert source.paths().count("/nginx/station_000.xml") == 4


@pytest.mark.parametrize(("hops", "good"), [(5, 6), (6, 5)])
def test_redirects(hops: int, good: int, add_harvest: Add, source: demo_source.Source) -> None:
    """X23: five redirects are followed, six are one too many."""
    path = "/nginx/station_000.xml"
    for hop in range(hops - 1):
        source.redirects[path] = path = f"/nginx/hop{hop}"
    source.redirects[path] = "/nginx/station_001.xml"
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, harvest.last_good_count) == ("ok", good)
    assert {issue.code for issue in made.issues.filter(severity="error")} == ({"redirects"} if good == 5 else set())


def test_limits_of_a_run(settings: Settings) -> None:
    """X44: ten MiB a document and fifty a listing page; a source may lower its connections, not raise them."""
    assert (settings.REGISTRY_MAX_DOCUMENT_BYTES, settings.REGISTRY_MAX_LISTING_BYTES) == (10 * 2**20, 50 * 2**20)
    limits = network.Limits.of(None)
    assert (limits.connections, limits.per_host) == (16, 8)
    assert (limits.connect_seconds, limits.read_seconds, limits.request_seconds) == (10, 30, 60)
    assert [network.Limits.of(lower).per_host for lower in (1, 2, 8, 16)] == [1, 2, 8, 8]
    assert network.Limits.of(16).connections == 16


@pytest.mark.parametrize(
    ("name", "default", "fits", "beyond"),
    [
        ("harvest_interval", 1, [0, 365], [-1, 366]),
        ("max_depth", 2, [0, 10], [-1, 11]),
        ("shrink_limit", 50, [0, 100], [-1, 101]),
        ("max_connections", None, [1, 16], [0, 17]),
        ("full_check_days", 7, [0, 365], [366]),
        ("document_scope", "host", ["host", "prefix", "any"], ["all"]),
        ("harvest_type", "WAF", ["ERDDAP-WAF", "CSW", "THREDDS", "DOCUMENT", "SITEMAP"], ["FTP"]),
        ("publish", False, [True], []),
        ("allow_empty", False, [True], []),
        ("skip_broken_folders", False, [True], []),
        ("serve_invalid", False, [True], []),
    ],
)
def test_settings_of_a_source(name: str, default: Any, fits: list[Any], beyond: list[Any]) -> None:
    """X51: what a source is set to unless told, and between which values."""
    assert getattr(Harvest(), name) == default
    others = [each.name for each in Harvest._meta.fields if each.name != name]
    for value in fits:
        Harvest(**{name: value}).clean_fields(exclude=others)
    for value in beyond:
        with pytest.raises(ValidationError):
            Harvest(**{name: value}).clean_fields(exclude=others)


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 300 ", 300),
        ("301", 300),
        ("9" * 30, 300),
        (format_datetime(NOW + timedelta(seconds=40), usegmt=True), 40),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), 300),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0),
        ("", None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_header(value: str, seconds: float | None) -> None:
    """X45: Retry-After in seconds or as a date, five minutes at most; what is neither says nothing."""
    assert network.retry_after(value, now=NOW) == seconds


def answer_of(*, modified: timedelta | None, date: bool = True) -> tuple[str, str]:
    """`Last-Modified` and `Date` of an answer."""
    changed = "" if modified is None else format_datetime(NOW - modified, usegmt=True)
    return changed, format_datetime(NOW, usegmt=True) if date else ""


@pytest.mark.parametrize(
    ("answer", "listed", "is_settled"),
    [
        (answer_of(modified=timedelta(minutes=2)), None, False),
        (answer_of(modified=timedelta(minutes=2, seconds=1)), None, True),
        (answer_of(modified=timedelta(seconds=30)), timedelta(days=9), False),
        (answer_of(modified=None), timedelta(hours=26), False),
        (answer_of(modified=None), timedelta(hours=26, seconds=1), True),
        (answer_of(modified=timedelta(days=9), date=False), timedelta(hours=25), False),
        (answer_of(modified=timedelta(days=9), date=False), None, False),
    ],
)
def test_settled(answer: tuple[str, str], listed: timedelta | None, is_settled: bool) -> None:
    """X35: a file had rested if it was over two minutes old when it was sent, or its listed date 26 hours."""
    date = None if listed is None else NOW - listed
    assert fetch.is_settled(*answer, listed_date=date, now=NOW) is is_settled


# --- what is listed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ("any", [True, True, True, True, True]),
        ("host", [True, True, True, True, False]),
        ("prefix", [True, True, False, False, False]),
    ],
)
def test_scopes(scope: str, wanted: list[bool]) -> None:
    """X31: documents of the source's host, of its folder alone, or of any host, as the source says."""
    root = "http://h.example.org/iso/"
    urls = [
        "http://h.example.org/iso/deep/a.xml",
        "https://h.example.org/iso/a.xml",
        "http://h.example.org:8080/iso/a.xml",
        "http://h.example.org/other/a.xml",
        "http://elsewhere.example.org/iso/a.xml",
    ]
    source = crawl.Source(root, erddap=False, max_depth=2, scope=scope)
    assert [crawl.wanted(url, source, root) for url in urls] == wanted


def test_foreign_documents_are_not_asked_for(
    add_harvest: Add, source: demo_source.Source, served: demo_source.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X31: what a listing names on another host is neither asked for nor counted, unless any host is wanted."""
    elsewhere = f'<a href="http://localhost:{served.port}/nginx/station_001.xml">elsewhere</a>'
    page = demo_source._page
    monkeypatch.setattr(
        demo_source,
        "_page",
        lambda style, path, rows: page(style, path, [*rows, elsewhere] if path == "/nginx/" else rows),
    )
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, made.listed, harvest.last_good_count) == ("ok", 6, 6)
    Harvest.objects.update(document_scope="any")
    harvest.refresh_from_db()
    assert run(harvest).listed == 7


@pytest.mark.parametrize(
    ("url", "is_below"),
    [
        ("http://h/iso/a/", True),
        ("https://h/iso/a/", True),
        ("http://h/iso/", False),
        ("http://h/", False),
        ("http://h/other/", False),
        ("http://h/iso2/", False),
        ("http://g/iso/a/", False),
        ("http://h:81/iso/a/", False),
        ("http://h/iso/a", False),
        ("http://h/iso/a/?x=1", False),
    ],
)
def test_folders(url: str, is_below: bool) -> None:
    """X31: a folder is of the same origin, http and https alike, and below the source's path."""
    assert listing.is_folder_below(url, "http://h/iso/") is is_below


@pytest.mark.parametrize(
    ("printed", "moment"),
    [
        ("22-Nov-2026 04:13", (4, 13, 0)),
        ("22-Nov-2026 04:13:53", (4, 13, 53)),
        ("2026-11-22 04:13", (4, 13, 0)),
        ("2026-11-22T04:13:53Z", (4, 13, 53)),
        ("2026-Nov-22 04:13:53", (4, 13, 53)),
        ("11/22/2026  4:13 AM", (4, 13, 0)),
        ("11/22/2026  4:13 PM", (16, 13, 0)),
        ("11/22/2026 12:13 AM", (0, 13, 0)),
        ("11/22/2026 12:13 PM", (12, 13, 0)),
        ("22/11/2026 16:13", (16, 13, 0)),
        ("Sunday, November 22, 2026  4:13 PM", (16, 13, 0)),
        ("31-Feb-2026 04:13", None),
        ("22-Foo-2026 04:13", None),
        ("2026-11-22 25:13", None),
        ("15526", None),
    ],
)
def test_printed_dates(printed: str, moment: tuple[int, int, int] | None) -> None:
    """X30: the date each server prints is read as UTC; one the calendar does not have is none."""
    wanted = datetime(2026, 11, 22, *moment, tzinfo=UTC) if moment else None
    found, rest = listing.printed_date(f"{printed}   15526 ")
    assert found == wanted
    if wanted:
        assert listing.printed_size(rest) == 15526


@pytest.mark.parametrize(
    ("printed", "size"),
    [
        (" 15526", 15526),
        (" 0 ", 0),
        ("15526 B", 15526),
        ("15526 bytes", 15526),
        (" 15K", None),
        (" 1.2M", None),
        ("1.2 MiB", None),
        ("12.0", None),
        (" - ", None),
        ("15,526", None),
        ("10:22", None),
        ("", None),
    ],
)
def test_printed_sizes(printed: str, size: int | None) -> None:
    """X34: only an exact size in bytes can prove a document unchanged; a rounded one says nothing."""
    assert listing.printed_size(printed) == size


def erddap(page: str) -> list[str]:
    parser = listing.ListingParser("http://h/iso/", erddap=True)
    return [link.url.rpartition("/")[2] for link in [*parser.feed(page.encode()), *parser.close()]]


@pytest.mark.parametrize("version", ["1.46", "2.02", "2.23", "3"])
@pytest.mark.parametrize("frame", ["<table>{}</table>", "<pre>{}</pre>", "<TABLE class='compact'>{}</TABLE>"])
def test_erddap_pages(version: str, frame: str) -> None:
    """X30: on an ERDDAP page, of any version, in a table or `<pre>`, links whose text ends in `.xml` are documents."""
    rows = "".join(
        f'<tr><td><a href="{href}">{text}</a></td><td>01-Jan-2026 10:00</td></tr>'
        for href, text in (("a.xml", "a.xml"), ("b_iso19115.xml", "B.XML"), ("c.xml", "about"), ("../", "Parent.html"))
    )
    head = f'<html><body><a href="/erddap/readme.xml">help</a><h1>ERDDAP, Version {version}</h1>'
    assert erddap(f"{head}{frame.format(rows)}</body></html>") == ["a.xml", "b_iso19115.xml"]


@pytest.mark.parametrize("page", ["<html><body><p>Down for maintenance</p></body></html>", "plain words", ""])
def test_erddap_pages_that_are_none(page: str) -> None:
    """X30: an ERDDAP page with neither table nor `<pre>` is no listing and is refused."""
    with pytest.raises(listing.UnreadableListingError):
        erddap(page)


def test_an_erddap_source_that_lost_its_table(add_harvest: Add, source: demo_source.Source) -> None:
    """X30: a page without its table fails the run as `listing_failed`; nothing is purged."""
    source.files = {"a.xml": source.files["station_000.xml"]}
    harvest = add_harvest("erddap")
    run(harvest)
    source.faults["/erddap/"] = "html"
    assert run(harvest).failure_code == "listing_failed"
    assert Record.objects.count() == 1


@pytest.mark.parametrize("fault", ["429", "503", "truncated"])
def test_a_catalogue_that_recovers(fault: str, add_harvest: Add, source: demo_source.Source) -> None:
    """X33: a catalogue that stumbles once is asked again, and gives all its records."""
    source.csw_page = 2
    source.faults["/csw"], source.times["/csw"] = fault, 1
    harvest = add_harvest("csw")
    made = run(harvest)
    assert (made.state, harvest.last_record_count, harvest.last_good_count) == ("ok", 6, 6)


# --- what a run leaves --------------------------------------------------------------------------------------------


def test_another_address_waives_the_guard_once(add_harvest: Add, owner: User, client: Client) -> None:
    """X25: a source under a new address may hold another set, once."""
    harvest = add_harvest()
    run(harvest)
    url = harvest.url.replace("/nginx/", "/python/")
    body = json.dumps({"url": url})
    assert client.patch(f"/api/v1/Harvests/{harvest.uid}", body, content_type=JSON, **pair(client)).status_code == 200
    harvest.refresh_from_db()
    made = run(harvest)
    assert (made.state, made.removed, made.added) == ("ok", 6, 6)
    Harvest.objects.filter(pk=harvest.pk).update(url=url.replace("/python/", "/iis/"))
    harvest.refresh_from_db()
    assert run(harvest).failure_code == "shrink_guard"


def test_a_waiver_given_during_a_run(
    add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X25: a waiver given while a run goes on is not used up by it: it is for the next one."""
    harvest = add_harvest()
    run(harvest)
    guard = harvest_job._Harvesting._guard

    def waived_meanwhile(self: harvest_job._Harvesting) -> None:
        guard(self)
        Harvest.objects.update(waive_guard_once=True)

    monkeypatch.setattr(harvest_job._Harvesting, "_guard", waived_meanwhile)
    assert run(harvest).state == "ok"
    monkeypatch.undo()
    source.files = dict(list(source.files.items())[:1])
    assert (run(harvest).state, harvest.last_record_count, harvest.waive_guard_once) == ("ok", 1, False)


def test_three_deaths_of_the_worker(harvest: Harvest, source: demo_source.Source) -> None:
    """X27: a run whose worker died three times fails as `worker_lost`; nothing of it is left."""
    made, _ = request.run_of(harvest, trigger="cli")
    for attempt in (1, 2, 3):
        claimed = jobs.claim(made.job_id)
        assert claimed is not None
        assert claimed.attempt == attempt
        Job.objects.filter(pk=made.job_id).update(lease_until=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
        Job.objects.filter(pk=made.job_id).update(available_at=timezone.now())
    made.refresh_from_db()
    harvest.refresh_from_db()
    assert (made.state, made.failure_code, harvest.last_status) == ("fail", "worker_lost", "fail")
    assert jobs.claim(made.job_id) is None


def test_old_runs_are_forgotten(harvest: Harvest) -> None:
    """X40: the newest thirty runs of a source are kept with their reports, failed ones for 180 days."""
    now = timezone.now()

    def make(state: str, days: int) -> HarvestRun:
        job, _ = jobs.submit("registry.harvest", {})
        return HarvestRun.objects.create(
            harvest=harvest, job=job, trigger="cli", state=state, finished_at=now - timedelta(days=days)
        )

    old = [make("ok", 400), make("fail", 181), make("fail", 179), make("cancelled", 1)]
    kept = [make("ok", 300) for _ in range(30)]
    RunIssue.objects.create(run=old[0], url="u", stage="list", severity="error", code="c", message="m")
    assert remove.prune_runs() == 3
    assert set(HarvestRun.objects.all()) == {old[2], *kept}
    assert not RunIssue.objects.exists()
    assert remove.prune_runs() == 0


def test_dates_of_the_next_run(organization: Organization) -> None:
    """X46: the next run is due an interval later, up to a tenth earlier or later as the source's id decides."""
    found = set()
    for number in range(40):
        harvest = Harvest(name="n", url=f"http://h{number}/", organization=organization, harvest_interval=10)
        harvest.uid = f"{number:017d}"
        due = finish.next_due(harvest, end=NOW)
        assert due is not None
        assert due == finish.next_due(harvest, end=NOW)
        assert timedelta(days=9) <= due - NOW <= timedelta(days=11)
        found.add(due)
    assert len(found) == 40
    assert max(found) - min(found) > timedelta(days=1.5)
    harvest.harvest_interval = 0
    assert finish.next_due(harvest, end=NOW) is None
    assert finish.next_retry(harvest, end=NOW) is None


def test_a_mail_an_hour(add_harvest: Add, source: demo_source.Source) -> None:
    """X24: no two mails about failures reach an address within an hour, whichever sources failed and when."""
    first = add_harvest(harvest_contact="Contact@example.org")
    other = add_harvest("apache", harvest_contact="contact@example.org")
    source.faults = {"/nginx/": "500", "/apache/": "500"}

    def mails(*, minutes: int) -> int:
        """How many there are when the last one was written so long ago and both sources fail again."""
        moment = timezone.now() - timedelta(minutes=minutes)
        key = finish.failure_key("contact@example.org", moment)
        Mail.objects.update(created_at=moment, dedupe=key)
        run(first)
        run(other)
        return Mail.objects.filter(kind="registry.failed").count()

    assert [mails(minutes=minutes) for minutes in (0, 59, 30, 61)] == [1, 1, 1, 2]


def test_a_long_address_is_told_too(add_harvest: Add, source: demo_source.Source) -> None:
    """X24: a failing run ends and is mailed however long the contact's address is."""
    address = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 50}.example.org"
    harvest = add_harvest(harvest_contact=address)
    source.faults["/nginx/"] = "500"
    assert run(harvest).state == "fail"
    assert [mail.to for mail in Mail.objects.all()] == [address]


def test_first_two_hundred_issues(add_harvest: Add, source: demo_source.Source, client: Client) -> None:
    """X40: a record keeps the first two hundred of its issues, its counter and the report all of them."""
    inner = samples._box(9999, 0, 9999, 1).partition("<gmd:EX_Extent>")[2].partition("</gmd:EX_Extent>")[0]
    many = f"<gmd:EX_Extent>{inner * 120}</gmd:EX_Extent>\n"
    source.files = {"many.xml": source.files["station_000.xml"]}
    source.put("many.xml", samples.iso19139(0, box=many))
    harvest = add_harvest()
    made = run(harvest)
    record = Record.objects.get()
    assert (record.error_count, len(record.issues), validation.MAX_ISSUES) == (240, 200, 200)
    told = report_of(made)
    assert len(told) == 240
    for _ in range(2):
        again = run(harvest)
        assert (again.unchanged, report_of(again)) == (1, told)
    source.put("many.xml", samples.iso19139(1, box=many.replace(inner, inner.replace("9999", "8888"))))
    undone = run(harvest)
    assert report_of(undone) != told
    assert len(report_of(undone)) == 240
    undo.undo(undone)
    source.put("many.xml", samples.iso19139(0, box=many))
    assert report_of(run(harvest)) == told


def report_of(made: HarvestRun) -> list[tuple[Any, ...]]:
    rows = made.issues.order_by("id")
    return list(rows.values_list("url", "identifier", "stage", "severity", "code", "line", "column", "message"))


def test_what_changed_says_when(add_harvest: Add, source: demo_source.Source, client: Client) -> None:
    """X41: a changed file has a new ETag and date, one that did not change keeps both."""
    harvest = add_harvest("python")
    run(harvest)
    past = timezone.now() - timedelta(days=3)
    Record.objects.update(changed_at=past)

    def heads() -> dict[str, tuple[str, str]]:
        paths = {record.file_id: f"/waf/PacIOOS/{record.waf_name}" for record in Record.objects.all()}
        answers = {name: client.head(path) for name, path in paths.items()}
        return {name: (answer["ETag"], answer["Last-Modified"]) for name, answer in answers.items()}

    before = heads()
    source.put("station_001.xml", samples.iso19139(1, revision=5))
    run(harvest)
    after = heads()
    assert {name for name in after if after[name] != before[name]} == {samples.identifier(1)}
    assert after[samples.identifier(1)][0] != before[samples.identifier(1)][0]
    assert after[samples.identifier(1)][1] != before[samples.identifier(1)][1]


def test_a_stale_document_is_still_served(add_harvest: Add, source: demo_source.Source, client: Client) -> None:
    """X36: the last copy of a document that cannot be had stays in the folder, in its listing, and as it was."""
    harvest = add_harvest("python")
    run(harvest)
    record = Record.objects.get(file_id=samples.identifier(1))
    path = f"/waf/PacIOOS/{record.waf_name}"
    before = client.get(path)
    source.faults["/python/station_001.xml"] = "404"
    run(harvest)
    after = client.get(path)
    assert (after.status_code, after.content, after["ETag"]) == (200, before.content, before["ETag"])
    assert after["Last-Modified"] == before["Last-Modified"]
    assert record.waf_name.encode() in b"".join(client.get("/waf/PacIOOS/"))
    assert client.get(f"/registry/api/records/{record.pk}").json()["data"]["stale"] is True


def test_a_stale_document_is_asked_for_again(add_harvest: Add, source: demo_source.Source) -> None:
    """X36: what could not be had is asked for in every run, though its listing has not changed, until it comes."""
    harvest = add_harvest()
    run(harvest)
    Harvest.objects.update(last_full_check=timezone.now() - timedelta(days=8))
    harvest.refresh_from_db()
    path = "/nginx/station_001.xml"
    for bad, asked in ((1, 8), (1, 3), (0, 3)):
        source.faults = {path: "404"} if bad else {}
        source.requests.clear()
        assert run(harvest).state == "ok"
        assert (harvest.last_good_count, harvest.last_bad_count) == (6 - bad, bad)
        assert (path in source.paths(), len(source.paths())) == (True, asked)
        assert Record.objects.exclude(stale_since=None).count() == bad


def test_names_of_files() -> None:
    """X42: at most eighty characters of the name, then ten hex digits of the source's id and the identity."""
    identity = f"http://h/iso/_.{'a' * 90}.XML?x=1"
    mark = hashlib.sha256(f"n3N6xBLyZIs9LGwEF\n{identity}".encode()).hexdigest()[:10]
    assert waf.file_name(harvest_uid="n3N6xBLyZIs9LGwEF", identity=identity) == f"{'a' * 80}-{mark}.xml"
