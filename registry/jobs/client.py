"""The engine's HTTP client: many requests at once over few kept-alive connections, in a thread of its own.

Addresses are checked and pinned by `core.egress` on every hop; here are the caps, retries, pauses and redirects of
contract 4.1 and 4.4. The job's thread stays free for the database.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.robotparser import RobotFileParser

import aiohttp
import uvloop
import yarl
from django.conf import settings

from core import egress
from registry.formats import headers, listing

T = TypeVar("T")

REDIRECTS: Final = 5
RETRIES: Final = 3
RETRY_STATUS: Final = frozenset({429, 502, 503, 504})
REDIRECT_STATUS: Final = frozenset({301, 302, 303, 307, 308})
LONGEST_PAUSE: Final = 300.0
BLOCK: Final = 65_536
INFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
# All content codings of RFC 9110 (8.4.1) and of the register that a server may use without being asked.
CODINGS: Final = INFLATED | {"compress", "x-compress", "br", "zstd", "dcb", "dcz"}
GZIP_HEAD: Final = b"\x1f\x8b"
GZIP_MARK: Final = GZIP_HEAD[0]
# How often it is looked whether the work is still wanted while an answer is waited for.
LOOK_SECONDS: Final = 0.5
ROBOT: Final = "Quincunx-Registry"
ROBOTS: Final = "/robots.txt"
ROBOTS_BYTES: Final = 512_000


class FetchError(Exception):
    """A request that did not give what it should; `code` is for the report, `message` for people.

    Remote bodies are never repeated (contract 8).
    """

    def __init__(self, code: str, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class BlockedError(FetchError):
    """The address must not be asked (contract 8, SSRF)."""


class _RetryableError(FetchError):
    """Worth trying again, after `after` seconds if the server said so."""

    def __init__(self, code: str, message: str, *, status: int = 0, after: float | None = None) -> None:
        super().__init__(code, message, status=status)
        self.after = after


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one run; a source may lower the connections."""

    connections: int
    per_host: int
    connect_seconds: float
    read_seconds: float
    request_seconds: float
    backoff_seconds: float

    @classmethod
    def of(cls, max_connections: int | None) -> Limits:
        most = settings.REGISTRY_CONNECTIONS_PER_HOST
        per_host = min(max_connections or most, most)
        return cls(
            connections=max(per_host, settings.REGISTRY_CONNECTIONS),
            per_host=per_host,
            connect_seconds=settings.REGISTRY_CONNECT_SECONDS,
            read_seconds=settings.REGISTRY_READ_SECONDS,
            request_seconds=settings.REGISTRY_REQUEST_SECONDS,
            backoff_seconds=settings.REGISTRY_BACKOFF_SECONDS,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: final URL, status, headers by name in any case, body after decompression (bytes)."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header's value if it is printable ASCII that we could send back; else empty."""
        value = self.headers.get(name, "")
        return value if value.isascii() and value.isprintable() and len(value) < 1000 else ""


def user_agent() -> str:
    """Who we are and where to complain."""
    contact = settings.CONTACT_URL or settings.PUBLIC_BASE_URL or f"mailto:{settings.CONTACT_EMAIL}"
    return f"{ROBOT}/1.0 (+{contact})"


class Network:
    """An event loop in a thread with one session; `with Network(limits) as network: network.call(coroutine)`."""

    def __init__(
        self,
        limits: Limits,
        *,
        headers: Mapping[str, str] | None = None,
        origin: str = "",
        robots: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits
        self.requests = 0
        self._check = check
        # Who waits for a connection waits here: aiohttp counts a wait in its own line as part of the request's time.
        self._connections = asyncio.Semaphore(limits.connections)
        self._connections_to: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(limits.per_host)
        )
        self._headers = dict(headers or {})
        self._origin = origin
        # what robots.txt of an origin says, if that counts; asked once for each
        self._robots: dict[str, asyncio.Task[RobotFileParser]] | None = {} if robots else None
        self._paused_until: dict[str, float] = {}
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="harvest-network", daemon=True)
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="harvest-validate")
        self._session: aiohttp.ClientSession | None = None
        self._store: aiohttp.ClientSession | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self.threads.shutdown(cancel_futures=True)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it here, for as long as the work is wanted."""
        pending = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not pending.done():
                concurrent.futures.wait([pending], timeout=LOOK_SECONDS)
                self._check()
            return pending.result()
        finally:
            pending.cancel()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine on the loop without waiting; it must handle its own errors."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=egress.connector(limit=self.limits.connections, limit_per_host=self.limits.per_host),
            timeout=aiohttp.ClientTimeout(
                total=self.limits.request_seconds,
                sock_connect=self.limits.connect_seconds,
                sock_read=self.limits.read_seconds,
            ),
            headers={"User-Agent": user_agent(), "Accept-Encoding": "gzip, deflate"},
            auto_decompress=False,  # our own decompression stops at the cap
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        # our own store may well have a private address, so it is not asked through the guard
        self._store = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.limits.connections),
            timeout=aiohttp.ClientTimeout(total=30, sock_connect=2),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            trust_env=False,
        )

    async def _close(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in (self._session, self._store):
            if session is not None:
                await session.close()
        await self._loop.shutdown_asyncgens()

    async def fetch(
        self, url: str, *, cap: int, headers: Mapping[str, str] | None = None, post: bytes | None = None
    ) -> Answer:
        """One document, with retries and redirects; any final status is an answer, its body read only for 200."""

        async def once() -> Answer:
            async with self.opened(url, headers=headers, post=post) as (final, response):
                body = b""
                if response.status == 200:
                    body = b"".join([block async for block in self.blocks(response, cap=cap)])
                return Answer(final, response.status, response.headers, body)

        return await self.retrying(url, once)

    async def retrying(self, url: str, once: Callable[[], Awaitable[T]]) -> T:
        """Do `once` until it succeeds or fails for good: three retries, pauses as the host asks (4.4)."""
        for attempt in range(RETRIES + 1):
            try:
                return await once()
            except _RetryableError as error:
                await self._before_retry(attempt, error, url)
        raise AssertionError("unreachable: the last attempt raises")

    async def _before_retry(self, attempt: int, error: _RetryableError, url: str) -> None:
        if attempt == RETRIES:
            raise FetchError(error.code, error.message, status=error.status) from error
        if error.after is not None:
            self._pause(url, error.after)
        else:
            await asyncio.sleep(self.limits.backoff_seconds * 2**attempt)

    @asynccontextmanager
    async def opened(
        self, url: str, *, headers: Mapping[str, str] | None = None, post: bytes | None = None
    ) -> AsyncIterator[tuple[str, aiohttp.ClientResponse]]:
        """The response after redirects, with its final URL; its body is still to be read. One attempt."""
        session = self._session
        if session is None:
            raise RuntimeError("the network is not open")
        current = url
        try:
            for _hop in range(REDIRECTS + 1):
                egress.check_url(current)
                await self._refuse_forbidden(current)
                async with self._connections_to[listing.exact_origin(current)], self._connections:
                    await self._unpaused(current)
                    self.requests += 1
                    async with session.request(
                        "GET" if post is None else "POST",
                        yarl.URL(current, encoded=True),
                        headers={**self._own_headers(current), **(headers or {})},
                        data=post,
                        allow_redirects=False,
                    ) as response:
                        if response.status not in REDIRECT_STATUS:
                            _refuse_retryable(response)
                            yield current, response
                            return
                        current = _redirected(current, response)
                        # a query may be sent again (RFC 9110, 15.4.2); catalogues name addresses that moved to https
                        post = None if response.status == 303 else post
            raise FetchError("redirects", "There are too many redirects.")
        except egress.Blocked as error:
            raise BlockedError("blocked_address", "The address is not allowed.") from error
        except egress.Failed as error:
            raise _RetryableError("connection", "The server cannot be reached.") from error
        except TimeoutError as error:
            raise _RetryableError("timeout", "The server did not answer in time.") from error
        except aiohttp.ClientPayloadError as error:
            raise _RetryableError("truncated", "The answer ended early.") from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise FetchError("bad_url", "The address is not valid.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _RetryableError("connection", "The connection failed.") from error

    async def blocks(self, response: aiohttp.ClientResponse, *, cap: int) -> AsyncIterator[bytes]:
        """The decompressed body in blocks; more than `cap` bytes is an error, however small it was on the wire."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        total = 0
        if encoding not in CODINGS and "," not in encoding:  # also what is none, as browsers do: some say `UTF-8`
            async for block in response.content.iter_any():
                total += len(block)
                _refuse_large(total, cap)
                yield block
            return
        if encoding not in INFLATED:
            raise FetchError("encoding", "The content encoding is not supported.")
        inflate = _Inflate(encoding)
        try:
            async for block in response.content.iter_any():
                for out in inflate.feed(block):
                    total += len(out)
                    _refuse_large(total, cap)
                    yield out
        except zlib.error as error:
            raise FetchError("encoding", "The compressed answer is broken.") from error
        if not inflate.is_complete:
            raise _RetryableError("truncated", "The answer ended early.")

    async def put(self, url: str, data: bytes) -> int:
        """PUT bytes to our own store by a signed link; the status."""
        session = self._store
        if session is None:
            raise RuntimeError("the network is not open")
        # an answer's body, if there is one, is not wanted: its connection ends with it
        async with session.put(yarl.URL(url, encoded=True), data=data, allow_redirects=False) as response:
            return response.status

    def _own_headers(self, url: str) -> Mapping[str, str]:
        """Credentials of the source, for its own origin only."""
        if not self._headers or listing.exact_origin(url) != listing.exact_origin(self._origin):
            return {}
        return self._headers

    async def _refuse_forbidden(self, url: str) -> None:
        """Raise FetchError for what the host's robots.txt forbids us, where that counts (RFC 9309)."""
        if self._robots is None or asyncio.current_task() in self._robots.values():  # the rules themselves are free
            return
        origin = listing.exact_origin(url)
        if origin not in self._robots:
            self._robots[origin] = asyncio.ensure_future(self._rules_of(urljoin(url, ROBOTS)))
        if not (await asyncio.shield(self._robots[origin])).can_fetch(ROBOT, url):
            raise FetchError("robots", "The host's robots.txt forbids this address.")

    async def _rules_of(self, url: str) -> RobotFileParser:
        """A file that is not there allows everything; one that cannot be had forbids everything (RFC 9309, 2.3.1)."""
        rules = RobotFileParser()
        try:
            answer = await self.fetch(url, cap=ROBOTS_BYTES)
        except FetchError:
            rules.disallow_all = True  # type: ignore[attr-defined]
            return rules
        rules.parse(answer.body.decode("utf-8", "replace").splitlines() if answer.status == 200 else [])
        rules.disallow_all = answer.status >= 500  # type: ignore[attr-defined]
        return rules

    def _pause(self, url: str, seconds: float) -> None:
        host = urlsplit(url).netloc
        until = time.monotonic() + min(seconds, LONGEST_PAUSE)
        self._paused_until[host] = max(self._paused_until.get(host, 0.0), until)

    async def _unpaused(self, url: str) -> None:
        """Wait while the host has asked us to."""
        while (left := self._paused_until.get(urlsplit(url).netloc, 0.0) - time.monotonic()) > 0:
            await asyncio.sleep(left)


class _Inflate:
    """Decompression a block at a time: gzip of any number of members, deflate with and without its zlib header.

    The latter is not what RFC 9110 (8.4.1.2) says, but what some servers send. What follows the end is ignored.
    """

    def __init__(self, encoding: str) -> None:
        self._may_be_bare = encoding == "deflate"
        self._stream: zlib._Decompress | None = None

    @property
    def is_complete(self) -> bool:
        return self._stream is not None and self._stream.eof

    def feed(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._stream is None:
                self._stream = zlib.decompressobj(self._window(block[0]))
            elif self._stream.eof:
                if block[0] != GZIP_MARK:
                    return
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            yield self._stream.decompress(block, BLOCK)
            block = self._stream.unconsumed_tail or self._stream.unused_data

    def _window(self, first: int) -> int:
        is_bare = self._may_be_bare and first & 0x0F != zlib.DEFLATED and first != GZIP_MARK
        return -zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32


def gunzipped(body: bytes, *, cap: int) -> bytes:
    """What is in a gzip file, at most `cap` bytes; anything else as it is. Raises FetchError for a damaged file."""
    if not body.startswith(GZIP_HEAD):
        return body
    inflate, parts, total = _Inflate("gzip"), [], 0
    try:
        for part in inflate.feed(body):
            total += len(part)
            _refuse_large(total, cap)
            parts.append(part)
    except zlib.error as error:
        raise FetchError("encoding", "The compressed file is broken.") from error
    if not inflate.is_complete:
        raise FetchError("encoding", "The compressed file ends early.")
    return b"".join(parts)


def _refuse_large(total: int, cap: int) -> None:
    if total > cap:
        raise FetchError("too_large", f"The answer is larger than {cap} bytes.")


def _redirected(current: str, response: aiohttp.ClientResponse) -> str:
    target = urljoin(current, response.headers.get("Location", ""))
    if not target.lower().startswith(("http://", "https://")):
        raise BlockedError("blocked_address", "The redirect leads to an address that is not allowed.")
    return listing.normalise_url(target)


def _refuse_retryable(response: aiohttp.ClientResponse) -> None:
    if response.status in RETRY_STATUS:
        after = retry_after(response.headers.get("Retry-After", ""), now=datetime.now(UTC))
        raise _RetryableError("status", f"The server answered {response.status}.", status=response.status, after=after)


def retry_after(value: str, *, now: datetime) -> float | None:
    """Seconds a `Retry-After` header asks for, as seconds or as a date, at most five minutes; else `None`."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:6]), LONGEST_PAUSE)
    moment = headers.date(value)
    if moment is None:
        return None
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_PAUSE)
