"""core.egress against real local servers: where it may go, how much it takes, when it gives up."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.server
import ipaddress
import random
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from core import egress, errors
from core.egress import addresses, client
from tests import network

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Site:
    """A local web server; ``answers`` maps a path to what is done with the request, ``seen`` are the requests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.over = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.seen.append((self.command, self.path, dict(self.headers.items()), body))
                with contextlib.suppress(OSError):
                    site.answers[self.path.partition("?")[0]](self)

            do_POST = do_PUT = do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    settings.ALLOW_PRIVATE_NETWORKS = True
    served = Site()
    yield served
    served.close()


def says(body: bytes = b"", status: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def resolving(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[list[str]]]) -> list[str]:
    """Answer look-ups from ``names`` (for each name the answers in turn, the last for ever); returns those asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        answers = names.get(host) or [[host]]
        chosen = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (text, port, 0, 0))
            if ":" in text
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in chosen
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def no_name(*_: Any, **__: Any) -> Any:
    """A resolver that knows nothing."""
    raise socket.gaierror(-2, "Name or service not known")


# --- URLs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "javascript:alert(1)",
        "//example.org/",
        "example.org",
        "",
        "http://",
        "http:///path",
        "http://user@example.org/",
        "http://user:pass@example.org/",
        "http://@example.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:x/",
        "http://exa mple.org/",
        "http://example.org/\r\nX: y",
        "http://example.org/a\tb",
        "http://example.org\\@evil.example/",
        "http://-bad-.example/",
        "http://a..b/",
        "http://" + "a" * 64 + ".example/",
        "http://[::1/",
        "http://[zz]/",
        "http://example.org%00.evil/",
        "http://exa_mple.org/ /",
    ],
)
def test_urls_that_are_not_fetched(url: str) -> None:
    with pytest.raises(egress.Blocked) as caught:
        egress.check_url(url)
    assert isinstance(caught.value, errors.Invalid)


@pytest.mark.parametrize(
    ("url", "host", "port", "netloc", "path"),
    [
        ("http://Example.org", "example.org", 80, "example.org", "/"),
        ("https://example.org:443/a?b#c", "example.org", 443, "example.org", "/a?b"),
        (
            "https://example.org:8443/é/%C3%A9?q=ü&x=%20",
            "example.org",
            8443,
            "example.org:8443",
            "/%C3%A9/%C3%A9?q=%C3%BC&x=%20",
        ),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        ("http://[2001:DB8::1]:81/", "2001:db8::1", 81, "[2001:db8::1]:81", "/"),
        ("http://a_b.example./", "a_b.example.", 80, "a_b.example.", "/"),
    ],
)
def test_urls_are_taken_apart(url: str, host: str, port: int, netloc: str, path: str) -> None:
    target = egress.check_url(url)
    assert (target.host, target.port, target.netloc, target.path) == (host, port, netloc, path)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_blocked(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.org/{text}", f"http://example.org?{text}"):
        try:
            target = egress.check_url(url)
        except egress.Blocked:
            continue
        assert target.path.isascii()
        assert target.netloc.isascii()
        assert not set(target.path + target.netloc) & set("\r\n\t \0")


# --- addresses ------------------------------------------------------------------------------------------------

NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192",
    "192.88.99.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "::", "fe80::1", "ff02::1", "fec0::1", "fd00:ec2::254", "2001:db8::1",
    "100::1", "2001::1", "64:ff9b:1::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "::ffff:0.0.0.0", "fe80::1%eth0", "::a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b::a00:1", "::7f00:1",
]  # fmt: skip
PRIVATE = ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.31.255.255", "192.168.1.1", "::1", "fc00::1", "fd12::1"]
PRIVATE += ["::ffff:127.0.0.1", "::ffff:10.0.0.1"]
PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow", [True, False])
def test_addresses_never_reached(address: str, allow: bool, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = allow
    with pytest.raises(egress.Blocked):
        egress.check_address(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_the_setting(address: str, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = False
    with pytest.raises(egress.Blocked):
        egress.check_address(address)
    settings.ALLOW_PRIVATE_NETWORKS = True
    egress.check_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = False
    egress.check_address(address)


@given(st.ip_addresses(v=4), st.booleans())
def test_an_ipv6_wrapper_never_opens_what_ipv4_closes(address: Any, allow: bool) -> None:
    from django.test import override_settings

    def is_allowed(candidate: Any) -> bool:
        try:
            egress.check_address(candidate)
        except egress.Blocked:
            return False
        return True

    with override_settings(ALLOW_PRIVATE_NETWORKS=allow):
        plain = is_allowed(address)
        number = int(address)
        assert is_allowed(ipaddress.IPv6Address((0xFFFF << 32) + number)) == plain
        for wrapped in ((0x64FF9B << 96) + number, (0x2002 << 112) + (number << 80)):
            assert plain or not is_allowed(ipaddress.IPv6Address(wrapped))


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "0", "[::1]", "[::ffff:7f00:1]", "localhost"]
)
def test_literals_in_every_form_are_checked_as_what_they_mean(
    host: str, site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = False
    monkeypatch.setattr(socket, "getaddrinfo", network._getaddrinfo)  # the system's own reading of such forms
    with pytest.raises(egress.Blocked):
        egress.get(f"http://{host}:{site.port}/", seconds=10)
    assert site.seen == []


# --- going there ----------------------------------------------------------------------------------------------


def test_a_plain_request(site: Site) -> None:
    site.answers["/a"] = says(b"body", X_Test="yes")
    response = egress.get(f"{site.url}/a?q=é", headers={"Accept": "text/xml"})
    assert (response.status, response.body, response.headers["X-Test"]) == (200, b"body", "yes")
    assert response.is_success
    (method, path, headers, _body) = site.seen[0]
    assert (method, path) == ("GET", "/a?q=%C3%A9")
    assert headers["Host"] == f"127.0.0.1:{site.port}"
    assert headers["Accept"] == "text/xml"


def test_a_post_and_a_head(site: Site) -> None:
    site.answers["/p"] = says(b"taken", 201)
    assert egress.post(f"{site.url}/p", b"{}", headers={"Content-Type": "application/json"}).body == b"taken"
    method, _, headers, body = site.seen[-1]
    assert (method, body, headers["Content-Length"], headers["Content-Type"]) == (
        "POST",
        b"{}",
        "2",
        "application/json",
    )
    site.answers["/h"] = says(b"x" * 10_000, Content_Encoding="gzip")
    head = egress.request("HEAD", f"{site.url}/h", limit=10)
    assert (head.status, head.body) == (200, b"")


def test_environment_proxies_mean_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    site.answers["/"] = says(b"direct")
    assert egress.get(site.url).body == b"direct"


def test_the_connection_goes_to_the_checked_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is looked up once, and a second answer would change nothing."""
    asked = resolving(monkeypatch, {"rebind.example": [["127.0.0.1"], ["169.254.169.254"]]})
    site.answers["/"] = says(b"first answer")
    assert egress.get(f"http://rebind.example:{site.port}/").body == b"first answer"
    assert asked == ["rebind.example"]
    assert site.seen[0][2]["Host"] == f"rebind.example:{site.port}"
    with pytest.raises(egress.Blocked):
        egress.get(f"http://rebind.example:{site.port}/")


def test_one_bad_address_among_good_ones_is_enough(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"mixed.example": [["127.0.0.1", "169.254.169.254"]]})
    with pytest.raises(egress.Blocked):
        egress.get(f"http://mixed.example:{site.port}/")
    assert site.seen == []


def test_the_next_address_is_tried_when_one_refuses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"two.example": [["127.0.0.2", "127.0.0.1"]]})
    site.answers["/"] = says(b"second")
    assert egress.get(f"http://two.example:{site.port}/").body == b"second"


def test_hosts_that_do_not_answer(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(egress.Failed) as caught:
            egress.get(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        assert isinstance(caught.value, errors.Unavailable)

    with mock.patch.object(socket, "getaddrinfo", no_name), pytest.raises(egress.Failed, match="no address"):
        egress.get("http://nowhere.example/")


def test_a_resolver_that_hangs_is_left_behind(site: Site) -> None:
    with (
        mock.patch.object(socket, "getaddrinfo", side_effect=lambda *_, **__: site.over.wait(60) and []),
        pytest.raises(egress.Failed, match="not resolved in time"),
    ):
        egress.get("http://hanging.example/", seconds=0.2)


# --- redirects ------------------------------------------------------------------------------------------------


def test_redirects_are_followed_and_counted(site: Site) -> None:
    site.answers["/1"] = says(status=302, Location="/2?a=ü b")
    site.answers["/2"] = says(status=307, Location=f"{site.url}/3")
    site.answers["/3"] = says(b"end")
    response = egress.get(f"{site.url}/1", redirects=2)
    assert (response.body, response.url) == (b"end", f"{site.url}/3")
    assert site.seen[1][1] == "/2?a=%C3%BC%20b"
    site.answers["/1"] = says(status=302, Location="/2?a=ü b".encode().decode("latin-1"))
    assert egress.get(f"{site.url}/1", redirects=2).body == b"end"
    assert site.seen[-2][1] == "/2?a=%C3%BC%20b"
    with pytest.raises(egress.Failed, match="redirects"):
        egress.get(f"{site.url}/1", redirects=1)
    stopped = egress.get(f"{site.url}/1", redirects=0)
    assert stopped.status == 302
    site.answers["/loop"] = says(status=301, Location="/loop")
    with pytest.raises(egress.Failed, match="redirects"):
        egress.get(f"{site.url}/loop")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://user:pass@127.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://0.0.0.0:{port}/",
    ],
)
def test_redirects_to_denied_places_are_blocked(site: Site, location: str) -> None:
    site.answers["/"] = says(status=302, Location=location.format(port=site.port))
    with pytest.raises(egress.Blocked):
        egress.get(site.url)
    assert len(site.seen) == 1


def test_each_hop_is_resolved_and_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"good.example": [["127.0.0.1"]], "evil.example": [["169.254.169.254"]]})
    site.answers["/"] = says(status=302, Location=f"http://evil.example:{site.port}/x")
    with pytest.raises(egress.Blocked):
        egress.get(f"http://good.example:{site.port}/")


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_methods_across_redirects(site: Site, status: int, method: str) -> None:
    site.answers["/from"] = says(status=status, Location="/to")
    site.answers["/to"] = says(b"ok")
    egress.post(f"{site.url}/from", b"data", headers={"Content-Type": "text/plain"})
    seen_method, _, headers, body = site.seen[-1]
    assert seen_method == method
    assert body == (b"data" if method == "POST" else b"")
    assert ("Content-Type" in headers) == (method == "POST")


def test_credentials_stay_with_their_origin(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"other.example": [["127.0.0.1"]]})
    secrets = {"Authorization": "Bearer x", "cookie": "a=b", "X-Keep": "1"}
    site.answers["/same"] = says(status=302, Location="/end")
    site.answers["/away"] = says(status=302, Location=f"http://other.example:{site.port}/end")
    site.answers["/end"] = says(b"ok")
    egress.get(f"{site.url}/same", headers=secrets)
    assert site.seen[-1][2]["Authorization"] == "Bearer x"
    egress.get(f"{site.url}/away", headers=secrets)
    headers = site.seen[-1][2]
    assert headers["X-Keep"] == "1"
    assert not {"authorization", "cookie"} & {name.lower() for name in headers}


# --- how much -------------------------------------------------------------------------------------------------


def test_bodies_up_to_the_limit(site: Site) -> None:
    site.answers["/"] = says(b"x" * 1000)
    assert len(egress.get(site.url, limit=1000).body) == 1000
    with pytest.raises(egress.TooLarge) as caught:
        egress.get(site.url, limit=999)
    assert isinstance(caught.value, errors.TooLarge)
    assert caught.value.details["limit"] == 999


@given(data=st.binary(max_size=3000), times=st.integers(1, 50), level=st.integers(0, 9))
def test_gzip_is_undone(data: bytes, times: int, level: int) -> None:
    plain = data * times
    packed = gzip.compress(plain, level)
    pieces = [packed[start : start + 7] for start in range(0, len(packed), 7)]
    assert b"".join(client._decoded(iter(pieces), " GZIP ")) == plain
    assert b"".join(client._decoded(iter([packed + b"trailing"]), "gzip")) == plain
    with pytest.raises(egress.Failed, match="cut off"):
        b"".join(client._decoded(iter([packed[:-1]]), "gzip"))


def test_a_gzip_bomb_meets_the_limit_early(site: Site) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(200)) + deflater.flush()
    site.answers["/"] = says(packed, Content_Encoding="gzip")
    seen = 0
    with pytest.raises(egress.TooLarge), egress.stream("GET", site.url, limit=3_000_000) as answer:  # noqa: PT012
        for block in answer.blocks():
            seen += len(block)
    assert len(packed) < 300_000
    assert seen <= 3_000_000


def test_an_endless_stream_of_nothing_meets_the_limit(site: Site) -> None:
    """Empty deflate blocks decompress to nothing for ever; what was sent counts too."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(gzip.compress(b"")[:10])
        while True:
            handler.wfile.write(b"\x00\x00\x00\xff\xff" * 10_000)

    site.answers["/"] = answer
    with pytest.raises(egress.TooLarge):
        egress.get(site.url, limit=1_000_000)


def test_an_endless_body_meets_the_limit(site: Site) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    site.answers["/"] = answer
    with pytest.raises(egress.TooLarge):
        egress.get(site.url, limit=5_000_000)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_encodings_not_asked_for_are_refused(site: Site, encoding: str) -> None:
    site.answers["/"] = says(b"x", Content_Encoding=encoding)
    with pytest.raises(egress.Failed, match="encoding"):
        egress.get(site.url)


def test_answers_that_are_wrong_are_failures(site: Site) -> None:
    def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"only this")
        handler.close_connection = True

    def noise(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        handler.close_connection = True

    def headers(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n")
        handler.close_connection = True

    site.answers |= {
        "/cut": cut,
        "/noise": noise,
        "/headers": headers,
        "/gzip": says(b"not gzip", Content_Encoding="gzip"),
    }
    for path in ("/cut", "/noise", "/headers", "/gzip"):
        with pytest.raises(egress.Failed) as caught:
            egress.get(site.url + path)
        assert "SSH" not in caught.value.message


def test_a_stream_can_be_left_early(site: Site) -> None:
    site.answers["/"] = says(random.Random(1).randbytes(5_000_000))
    with egress.stream("GET", site.url) as answer:
        assert next(answer.blocks())
    assert answer.status == 200


# --- how long -------------------------------------------------------------------------------------------------


def dribble(site: Site, first: bytes, then: bytes) -> Answer:
    """Never silent long enough for a timeout per read, never done."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(first)
        while not site.over.wait(0.02):
            handler.wfile.write(then)

    return answer


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_slow_loris_is_left_when_the_time_is_up(site: Site, first: bytes, then: bytes) -> None:
    site.answers["/"] = dribble(site, first, then)
    with pytest.raises(egress.Failed) as caught:
        egress.get(site.url, seconds=0.5, redirects=10**6)
    assert caught.value.code == "remote_timeout"


def test_a_silent_host_is_left_when_the_time_is_up(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = True
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            with pytest.raises(egress.Failed) as caught:
                egress.get(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.3)
            assert caught.value.code == "remote_timeout"


# --- TLS ------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for ``name``: the file that trusts it, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / f"{name}.pem", folder / f"{name}.key"
    trusted.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return trusted, context


def test_tls_checks_the_name_asked_for_at_the_pinned_address(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = True
    trusted, context = certificate(tmp_path, "secure.example")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    resolving(monkeypatch, {"secure.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    secure = Site(context)
    try:
        secure.answers["/"] = says(b"secret")
        with pytest.raises(egress.Failed) as caught:
            egress.get(f"https://secure.example:{secure.port}/")
        assert caught.value.code == "remote_tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert egress.get(f"https://secure.example:{secure.port}/").body == b"secret"
        assert names[-1] == "secure.example"
        assert secure.seen[-1][2]["Host"] == f"secure.example:{secure.port}"
        with pytest.raises(egress.Failed) as caught:
            egress.get(f"https://other.example:{secure.port}/")
        assert caught.value.code == "remote_tls"
    finally:
        secure.close()
        client._tls.cache_clear()


# --- aiohttp --------------------------------------------------------------------------------------------------


def crawl(url: str, **options: Any) -> tuple[int, bytes]:
    async def go() -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession(connector=egress.connector(**options)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.read()

    return asyncio.run(go())


def test_the_crawlers_connector_reaches_checked_addresses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, {"rebind.example": [["127.0.0.1"], ["169.254.169.254"]]})
    site.answers["/"] = says(b"crawled")
    assert crawl(f"http://rebind.example:{site.port}/", limit=4, limit_per_host=2) == (200, b"crawled")
    assert asked.count("rebind.example") == 1
    with pytest.raises(egress.Blocked):
        crawl(f"http://rebind.example:{site.port}/")
    assert crawl(f"{site.url}/")[0] == 200
    assert len(site.seen) == 2


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "private.example", "10.0.0.1"]
)
def test_the_crawlers_connector_blocks_literals_and_names(
    host: str, site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = False
    resolving(monkeypatch, {"private.example": [["192.168.0.1"]], "localhost": [["127.0.0.1"]]})
    with pytest.raises(egress.Blocked):
        crawl(f"http://{host}:{site.port}/")
    assert site.seen == []


def test_the_crawlers_connector_never_reaches_metadata(site: Site) -> None:
    for url in ("http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://[::ffff:a9fe:a9fe]/"):
        with pytest.raises(egress.Blocked):
            crawl(url)


def test_names_without_an_address_fail_in_the_crawler() -> None:
    with mock.patch.object(socket, "getaddrinfo", no_name), pytest.raises(egress.Failed):
        crawl("http://nowhere.example/")


def test_look_ups_are_checked_before_anything_connects(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = False
    resolving(monkeypatch, {"a.example": [["1.1.1.1"]], "b.example": [["1.1.1.1", "10.0.0.1"]]})
    ((*_, sockaddr),) = addresses.resolve("a.example", 80, seconds=5)
    assert sockaddr == ("1.1.1.1", 80)
    with pytest.raises(egress.Blocked):
        addresses.resolve("b.example", 80, seconds=5)
