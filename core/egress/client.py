"""The synchronous client: http.client on a socket that was connected to a checked address and knows when to give up."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import os
import socket
import ssl
import time
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final

from core import streams
from core.egress import addresses

USER_AGENT: Final = "Quincunx/1 (+guarded)"
_BLOCK: Final = 64 * 1024
_CONNECT_SECONDS: Final = 5.0
_REDIRECTS: Final = {301, 302, 303, 307, 308}
_KEEP_METHOD: Final = {307, 308}
# Headers that belong to the host they were meant for, and go no further than its origin.
_PRIVATE_HEADERS: Final = {"authorization", "cookie", "proxy-authorization"}
_BODY_HEADERS: Final = {"content-type", "content-length", "content-encoding"}
# OpenSSL and urllib raise ValueError for names they cannot use; everything else here is the network's doing.
_NETWORK_ERRORS: Final = (OSError, http.client.HTTPException, ssl.SSLError, zlib.error)


@dataclass(frozen=True)
class Response:
    """An answer with its whole body, decompressed. ``url`` is where it came from after redirects."""

    status: int
    headers: Message
    url: str
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Stream:
    """An answer whose body is read as it comes; only inside the ``with`` of ``stream``."""

    def __init__(self, answer: http.client.HTTPResponse, url: str, limit: int) -> None:
        self.status = answer.status
        self.headers: Message = answer.headers
        self.url = url
        self._answer = answer
        self._limit = limit

    def blocks(self) -> Iterator[bytes]:
        """The decompressed body; ``TooLarge`` as soon as it, or what was sent for it, exceeds the limit."""
        if (self._answer.length or 0) > self._limit:
            raise _too_large(self._limit)
        try:
            with _failing():
                yield from self._bounded()
        finally:
            self._answer.close()

    def _bounded(self) -> Iterator[bytes]:
        seen = 0
        for block in _decoded(self._sent(), self.headers.get("Content-Encoding", "")):
            seen += len(block)
            if seen > self._limit:
                raise _too_large(self._limit)
            yield block

    def _sent(self) -> Iterator[bytes]:
        sent = 0
        while block := self._answer.read1(_BLOCK):
            sent += len(block)
            if sent > self._limit:
                raise _too_large(self._limit)
            yield block
        if self._answer.length:
            raise http.client.IncompleteRead(b"", self._answer.length)


def get(url: str, **options: Any) -> Response:
    """``request("GET", …)``."""
    return request("GET", url, **options)


def post(url: str, body: bytes, **options: Any) -> Response:
    """``request("POST", …)``."""
    return request("POST", url, body=body, **options)


def request(method: str, url: str, **options: Any) -> Response:
    """Send a request and read the whole answer; ``options`` are those of ``stream``."""
    with stream(method, url, **options) as answer:
        return Response(answer.status, answer.headers, answer.url, b"".join(answer.blocks()))


@contextlib.contextmanager
def stream(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    redirects: int = 5,
    limit: int = 10 * 1024 * 1024,
    seconds: float = 20.0,
) -> Iterator[Stream]:
    """Send a request, following at most ``redirects`` hops (0: a redirect is an answer like any other).

    ``limit`` bounds the body in bytes, both as sent and decompressed; ``seconds`` the whole exchange, from the first
    name look-up to the last byte. Any status is an answer. Raises ``Blocked``, ``TooLarge`` or ``Failed``.
    """
    deadline = _Deadline(seconds)
    hop = _Hop(method, url, dict(headers or {}), body)
    for _ in range(redirects + 1):
        with _connected(hop.target, deadline) as connection:
            answer = hop.send(connection)
            onward = answer.headers.get("Location") if redirects and answer.status in _REDIRECTS else None
            if onward is None:
                yield Stream(answer, hop.url, limit)
                return
            hop = hop.follow(answer.status, onward)
    raise addresses.Failed(f"More than {redirects} redirects.")


class _Hop:
    """One request of a chain."""

    def __init__(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> None:
        self.method, self.url, self.headers, self.body = method, url, headers, body
        self.target = addresses.check_url(url)

    def send(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        headers = {
            "Host": self.target.netloc,
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "Connection": "close",
            **self.headers,
        }
        if self.body is not None:
            headers.setdefault("Content-Length", str(len(self.body)))
        with _failing():
            connection.putrequest(self.method, self.target.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(self.body)
            return connection.getresponse()

    def follow(self, status: int, location: str) -> _Hop:
        url = urllib.parse.urljoin(self.url, _location(location))
        method, body, headers = self.method, self.body, self.headers
        if status not in _KEEP_METHOD and method != "HEAD":
            method, body = "GET", None
            headers = _without(headers, _BODY_HEADERS)
        if addresses.check_url(url).origin != self.target.origin:
            headers = _without(headers, _PRIVATE_HEADERS)
        return _Hop(method, url, headers, body)


def _location(text: str) -> str:
    """http.client reads headers as Latin-1; hosts write UTF-8 and blanks into this one all the same."""
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    return text.strip().replace(" ", "%20")


def _without(headers: dict[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in names}


# --- connecting -----------------------------------------------------------------------------------------------


class _Deadline:
    """When the whole exchange must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange took too long")
        return left


class _BoundedSocket(io.RawIOBase):
    """A socket as http.client uses one, each wait on it bounded by the deadline of the whole exchange.

    A timeout per read is not enough: a host that sends a byte now and then would never meet it. Closing does nothing,
    since http.client closes its socket while the answer is still being read; ``_connected`` closes it.
    """

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._socket, self._deadline = sock, deadline

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(self, _BLOCK)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def close(self) -> None:
        """See above."""


@contextlib.contextmanager
def _connected(target: addresses.Target, deadline: _Deadline) -> Iterator[http.client.HTTPConnection]:
    with _failing():
        found = addresses.resolve(target.host, target.port, seconds=deadline.left())
        sock = _open(found, deadline)
        if target.scheme == "https":
            sock = _secure(sock, target, deadline)
    with contextlib.closing(sock):
        connection = http.client.HTTPConnection(target.host, target.port)
        # A socket that is there already keeps http.client from looking the name up again.
        connection.sock = _BoundedSocket(sock, deadline)
        yield connection


def _open(found: list[Any], deadline: _Deadline) -> socket.socket:
    """Connect to the first of the checked addresses that takes it."""
    failure: OSError | None = None
    for family, kind, protocol, _, sockaddr in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(_CONNECT_SECONDS, deadline.left()))
            sock.connect(sockaddr)
        except OSError as error:
            sock.close()
            failure = error
            continue
        return sock
    raise failure or OSError("no address")


def _secure(sock: socket.socket, target: addresses.Target, deadline: _Deadline) -> socket.socket:
    try:
        sock.settimeout(deadline.left())
        return _tls(os.environ.get("SSL_CERT_FILE", "")).wrap_socket(
            sock, server_hostname=target.host.removesuffix(".")
        )
    except BaseException:
        sock.close()
        raise


@functools.lru_cache(maxsize=2)
def _tls(_certificates: str) -> ssl.SSLContext:
    """The default context; OpenSSL itself reads SSL_CERT_FILE."""
    return ssl.create_default_context()


# --- reading --------------------------------------------------------------------------------------------------


def _decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Undo Content-Encoding piece by piece, so that a bomb meets the limit before it fills the memory."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        yield from blocks
        return
    if encoding not in {"gzip", "x-gzip"}:
        raise addresses.Failed("The remote host answered in an encoding we did not ask for.")
    inflater, is_empty = zlib.decompressobj(31), True
    for block in blocks:
        data, is_empty = block, False
        while data and not inflater.eof:  # what follows the end of the gzip stream is nobody's
            if plain := inflater.decompress(data, streams.BLOCK):
                yield plain
            data = inflater.unconsumed_tail
    if is_empty:  # a HEAD, 204 or 304 answer names the encoding but has no body
        return
    yield inflater.flush()
    if not inflater.eof:
        raise addresses.Failed("The answer of the remote host was cut off.")


def _too_large(limit: int) -> addresses.TooLarge:
    return addresses.TooLarge(f"The answer is longer than {limit} bytes.", limit=limit)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Say what the network does to us as one fact, without a word of the remote host's."""
    try:
        yield
    except TimeoutError as error:
        raise addresses.Failed("The remote host did not answer in time.", code="remote_timeout") from error
    except ssl.SSLError as error:
        raise addresses.Failed("The remote host has no valid certificate.", code="remote_tls") from error
    except _NETWORK_ERRORS as error:
        raise addresses.Failed("The remote host did not answer properly.") from error
