"""Sources that answer what HTTP hardly allows, or never end: each harms its own documents at most (contract 4, 8)."""

from __future__ import annotations

import gzip
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar

import pytest
from django.test import Client
from pytest_django import Settings

from core import jobs
from registry.demo import source as demo_source
from registry.formats import samples
from registry.jobs import request
from registry.models import Harvest, Organization, Record
from tests import together
from tests.house import wait_for
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]
OVERFLOW = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"


class Raw:
    """Bytes to answer by path, head and all; the connection ends with them."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        # what is answered instead to whoever asks on a condition
        self.unchanged = b""
        self.asked: list[tuple[str, bool]] = []

    def put(self, path: str, body: bytes, *headers: str, status: str = "200 OK", length: bool = True) -> None:
        told = [*headers, f"Content-Length: {len(body)}"] if length else headers
        self.answers[path] = "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *told, "", ""]).encode() + body

    def list(self, *names: str, end: str = "</pre></body></html>", **options: Any) -> None:
        """A listing page at `/`."""
        self.put("/", page(*names, end=end), **options)


def page(*names: str, end: str = "</pre></body></html>", beside: str = "") -> bytes:
    lines = "".join(f'<a href="{name}">{name}</a>{beside}\n' for name in names)
    return f"<html><body><pre>{lines}{end}".encode()


class _Handler(socketserver.StreamRequestHandler):
    raw: ClassVar[Raw]

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        head = b"".join(iter(self.rfile.readline, b"\r\n"))
        is_conditional = b"\r\nIf-" in head
        self.raw.asked.append((path, is_conditional))
        answer = self.raw.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        self.wfile.write(self.raw.unchanged if is_conditional and self.raw.unchanged else answer)


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture
def liar(raw: Raw, organization: Organization) -> Iterator[Harvest]:
    """A harvest of the raw server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"raw": raw})) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        yield Harvest.objects.create(name="Liar", url=url, organization=organization, publish=True)
        server.shutdown()
        thread.join()


def test_listing_without_length_that_was_cut(raw: Raw, liar: Harvest) -> None:
    """X24: a page whose length nobody tells and that does not end itself is no listing; nothing is removed for it."""
    for name in ("a.xml", "b.xml"):
        raw.put(f"/{name}", samples.iso19139(len(raw.answers)))
    raw.list("a.xml", "b.xml", length=False)
    assert run(liar).good == 2
    raw.list("a.xml", end="", length=False)
    cut = run(liar)
    assert (cut.state, cut.failure_code) == ("fail", "listing_failed")
    assert "ended early" in cut.failure_message
    assert Record.objects.count() == 2
    raw.list("a.xml", end="</pre></body></HTML \n>" + " " * 5000, length=False)
    assert (run(liar).state, Record.objects.count()) == ("ok", 1)


def bare(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", lambda body: b"".join(gzip.compress(body[at : at + 300]) for at in range(0, len(body), 300))),
        ("gzip", lambda body: gzip.compress(body) + b"\0" * 70_000),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, 1) + b"more"),
        ("deflate", bare),
        ("deflate", gzip.compress),
        ("UTF-8", bytes),
        ("none", bytes),
    ],
)
def test_compressed_answers(encoding: str, pack: Callable[[bytes], bytes], raw: Raw, liar: Harvest) -> None:
    """X23, X24: gzip of several members and deflate without a header are read to their end, listings and documents."""
    bodies = {f"document_{number:02}.xml": samples.iso19139(number) for number in range(20)}
    for name, body in bodies.items():
        raw.put(f"/{name}", pack(body), f"Content-Encoding: {encoding}")
    raw.put("/", pack(page(*bodies)), f"Content-Encoding: {encoding}")
    made = run(liar)
    assert (made.state, made.good, made.bad) == ("ok", 20, 0)
    assert made.bytes == sum(map(len, bodies.values()))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_codings_nobody_asked_for(encoding: str, raw: Raw, liar: Harvest) -> None:
    """X24: a listing in a coding we did not ask for and do not read fails the run, and a document in it is bad."""
    raw.put("/a.xml", samples.iso19139(1), f"Content-Encoding: {encoding}")
    raw.list("a.xml")
    made = run(liar)
    assert (made.bad, made.issues.get().code) == (1, "encoding")
    raw.put("/", page("a.xml"), f"Content-Encoding: {encoding}")
    assert run(liar).failure_code == "listing_failed"


@pytest.mark.parametrize(
    "pack", [lambda body: gzip.compress(body)[:-9], lambda body: gzip.compress(body)[:40] + b"x" * 40]
)
def test_compressed_answers_that_are_broken(pack: Callable[[bytes], bytes], raw: Raw, liar: Harvest) -> None:
    """X24: a compressed listing that is cut or damaged fails the run."""
    raw.put("/", pack(page(*(f"{number}.xml" for number in range(100)))), "Content-Encoding: gzip")
    assert run(liar).failure_code == "listing_failed"


@pytest.mark.parametrize(
    "header", ['ETag: "1"', "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"], ids=["entity tag", "date"]
)
def test_unchanged_answers_that_repeat_nothing(header: str, raw: Raw, liar: Harvest) -> None:
    """X34: a 304 need not repeat the validators (RFC 9110, 15.4.5); the next run asks on the same condition again."""
    raw.list("a.xml")
    raw.put("/a.xml", samples.iso19139(1), header)
    raw.unchanged = b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        assert (run(liar).good, liar.last_bad_count) == (1, 0)
    assert [is_conditional for path, is_conditional in raw.asked if path == "/a.xml"] == [False, True, True]


def test_unchanged_answers_prove_that_a_file_had_rested(raw: Raw, liar: Harvest) -> None:
    """X34, X35: after a 304 without the date that Apache leaves out, a file that had rested still had."""
    Harvest.objects.update(full_check_days=0)
    lately = datetime.now(UTC).strftime("%d-%b-%Y %H:%M")
    raw.put("/", page("a.xml", beside=f"  {lately}  3000"))
    raw.put(
        "/a.xml", samples.iso19139(1), "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT", f"Date: {rfc(0)}", 'ETag: "1"'
    )
    raw.unchanged = f'HTTP/1.1 304 Not Modified\r\nDate: {rfc(0)}\r\nETag: "1"\r\nConnection: close\r\n\r\n'.encode()
    assert run(liar).good == 1
    assert run(liar).unchanged == 1
    Harvest.objects.update(full_check_days=7)
    made = run(liar)
    assert (made.unchanged, made.requests) == (1, 1)


def rfc(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_answers_without_a_body(raw: Raw, liar: Harvest) -> None:
    """X36: a 200 without a body is no document: what was there before stays, stale; one that never was more is bad."""
    raw.list("a.xml", "b.xml")
    raw.put("/a.xml", samples.iso19139(1))
    raw.put("/b.xml", b"")
    assert (run(liar).good, liar.last_bad_count) == (1, 1)
    assert Record.objects.get(identity__endswith="b.xml").issues[0]["code"] == "empty"
    raw.put("/a.xml", b"")
    for _ in range(2):
        made = run(liar)
        assert (made.state, made.good, made.bad, made.stale, made.changed) == ("ok", 0, 2, 1, 0)
    kept = Record.objects.get(identity__endswith="a.xml")
    assert kept.fetch_issue is not None
    assert (kept.valid, kept.stale_since is not None, kept.fetch_issue["code"]) == (True, True, "empty")
    raw.put("/a.xml", samples.iso19139(1))
    assert run(liar).good == 1


def test_catalogues_that_moved(add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: an address for GetRecords may be relative, and a redirect is asked the same question."""
    told = demo_source._capabilities
    monkeypatch.setattr(
        demo_source,
        "_capabilities",
        lambda url, schema: told(url, schema).replace(
            f'Post xlink:href="{url}"'.encode(), b'Post xlink:href=" /moved "'
        ),
    )
    source.redirects["/moved"] = "/csw"
    made = run(add_harvest("csw"))
    assert (made.failure_message, made.good) == ("", 6)


@pytest.mark.parametrize("date", [OVERFLOW, "Mon, 01 Jan 2026 00:00:00 +99999999999999999999"])
def test_dates_beyond_any_calendar(date: str, raw: Raw, liar: Harvest, client: Client) -> None:
    """X9, X45: dates with numbers no calendar has room for are none, in a source's answers and a reader's question."""
    raw.put("/a.xml", samples.iso19139(1), f"Last-Modified: {date}", f"Date: {date}")
    raw.put("/busy.xml", b"", f"Retry-After: {date}", status="503 Busy")
    raw.list("a.xml", "busy.xml")
    made = run(liar)
    assert (made.state, made.good, made.bad) == ("ok", 1, 1)
    record = Record.objects.get(identity__endswith="a.xml")
    assert not record.settled
    for path in (f"/waf/PacIOOS/{record.waf_name}", "/waf/PacIOOS/", "/waf/"):
        assert client.get(path, HTTP_IF_MODIFIED_SINCE=date).status_code == 200


def test_sizes_beyond_any_file(raw: Raw, liar: Harvest) -> None:
    """X34: a printed size of more digits than a file can have is none."""
    raw.put("/a.xml", samples.iso19139(1))
    raw.put("/", page("a.xml", beside="  01-Jan-2026 10:00  " + "9" * 400))
    made = run(liar)
    assert (made.state, made.good) == ("ok", 1)
    assert Record.objects.get().listed_size is None


@pytest.mark.parametrize("base", ["http://[/", "http://h:port/", "mailto:a@example.org", "javascript:x", "", "//"])
def test_bases_that_are_none(base: str, raw: Raw, liar: Harvest) -> None:
    """X31: a `<base>` that is no address of the web counts as none."""
    raw.put("/a.xml", samples.iso19139(1))
    raw.put("/", page("a.xml").replace(b"<body>", f'<base href="{base}"><body>'.encode()))
    made = run(liar)
    assert (made.state, made.good, made.bad) == ("ok", 1, 0)


def test_numbers_that_are_none(add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: a next position that only looks like a digit is none."""
    monkeypatch.setattr(demo_source, "_next_record", lambda *_args, **_more: ' nextRecord="²"')
    source.csw_page = 3
    assert run(add_harvest("csw")).good == 6


@pytest.mark.parametrize("depth", [0, 2])
def test_folders_without_end(depth: int, raw: Raw, liar: Harvest, settings: Settings) -> None:
    """X24, X44: a source that makes up ever more folders fails when it has named more than it may have documents."""
    settings.REGISTRY_MAX_DOCUMENTS = 50
    Harvest.objects.update(max_depth=depth)
    raw.put("/", page(*(f"{number}/" for number in range(51))))
    for number in range(51):
        raw.put(f"/{number}/", page())
    made = run(liar)
    assert (made.state, made.failure_code) == ("fail", "too_many_documents")
    assert "50 folders" in made.failure_message


def test_a_source_with_one_slow_connection(add_harvest: Add, source: demo_source.Source, settings: Settings) -> None:
    """X23: a request's time begins with its connection, not with its place in the line for one."""
    settings.REGISTRY_REQUEST_SECONDS = 2
    source.delay = 0.2
    for number in range(30):
        source.put(f"slow_{number}.xml", samples.iso19139(number))
    harvest = add_harvest(max_connections=1)
    made = run(harvest)
    assert (made.good, made.bad, made.requests) == (36, 0, 38)


@pytest.mark.parametrize("style", ["nginx", "csw", "sitemap.xml"])
def test_cancelling_while_a_source_is_silent(style: str, add_harvest: Add, source: demo_source.Source) -> None:
    """X28: a run that waits for its source's first answer is cancelled without waiting for it."""
    harvest = add_harvest(style, **({"harvest_type": "SITEMAP"} if "." in style else {}))
    source.faults[harvest.url.removeprefix(harvest.url.rpartition(f"/{style}")[0])] = "hang"
    made, _ = request.run_of(harvest, trigger="cli")

    def cancel() -> None:
        wait_for(lambda: bool(source.requests), what="the first request")
        assert jobs.cancel(made.job_id)

    canceller = together.in_background(cancel)
    jobs.run_queued()
    canceller.join()
    made.refresh_from_db()
    assert (made.state, source.hold.is_set(), len(source.requests)) == ("cancelled", False, 1)
    harvest.refresh_from_db()
    assert (harvest.last_finished, harvest.last_status) == (None, "")
