"""Storing many small blobs at once, from an event loop the caller runs anyway."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import urllib.parse
from typing import Final, cast

import structlog

from core.blobs import client, signing

log = structlog.get_logger(__name__)

_CONNECT_SECONDS: Final = 2.0
_EXPIRES: Final = 300
_STORED: Final = frozenset({200, 201, 204})
_HEAD_MOST: Final = 64 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?= |\r)")
# An answer after which the connection can be used again: HTTP/1.1, no body, and no word of closing.
_EMPTY: Final = re.compile(rb"\r\ncontent-length:[ \t]*0[ \t]*(?=\r)", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection:[^\r]*\bclose\b", re.IGNORECASE)


class Uploads:
    """PUTs over kept-alive connections, at most ``limit`` at a time; made and used on one running event loop.

    A PUT through boto3 costs about 1.6 ms of CPU, because its client knows all of S3. A small blob needs a signed link,
    one write and the status of the answer, so that is all there is here: HTTP/1.1 (RFC 9112) as far as an S3 server
    speaks it when it is handed a blob. An answer with a body is an error and ends its connection.
    """

    def __init__(self, *, limit: int = 16) -> None:
        self._signer = signing.inner_signer()
        self._gate = asyncio.Semaphore(limit)
        self._idle: list[_Connection] = []
        parts = urllib.parse.urlsplit(self._signer.base)
        self._secure = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]

    async def put(self, key: str, data: bytes) -> None:
        """Store a blob, replacing what was there. Raises ``StoreUnavailable`` after a single try."""
        link = self._signer.url(key, _EXPIRES, method="PUT").removeprefix(self._signer.base)
        head = f"PUT {link} HTTP/1.1\r\nHost: {self._signer.host}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        async with self._gate:
            try:
                status = await self._exchanged(head, data)
            except OSError as error:  # with it TimeoutError and ssl.SSLError
                log.warning("blob store does not answer", key=key, error=repr(error)[:500])
                raise client.StoreUnavailable("The file store does not answer.") from error
        if status not in _STORED:
            log.warning("blob store refused", key=key, operation="PutObject", code=str(status))
            raise client.StoreUnavailable("The file store refused the request.", store_code=str(status))

    async def close(self) -> None:
        """Close the connections nobody uses; those in use close when their task ends or is cancelled."""
        while self._idle:
            self._idle.pop().abort()
        await asyncio.sleep(0)  # in which they are told

    async def _exchanged(self, head: bytes, data: bytes) -> int:
        """The status of the answer. The store may have closed a connection it kept; then the next one is tried."""
        while self._idle:
            kept = self._idle.pop()
            with contextlib.suppress(_StaleError):
                return await self._over(kept, head, data)
        return await self._over(await self._connected(), head, data)

    async def _over(self, connection: _Connection, head: bytes, data: bytes) -> int:
        try:
            status = await connection.exchange(head, data)
        finally:
            if connection.is_usable:
                self._idle.append(connection)
            else:
                connection.abort()
        return status

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, made = await loop.create_connection(_Connection, self._host, self._port, ssl=self._secure)
        return made


class _StaleError(ConnectionError):
    """A kept connection was closed before it answered."""


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self) -> None:
        self.is_usable = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._held = b""
        self._is_fresh = True

    async def exchange(self, head: bytes, data: bytes) -> int:
        """Send a request and wait for its status; ``is_usable`` then says whether another may follow."""
        loop = asyncio.get_running_loop()
        self.is_usable = False
        if self._transport is None or self._transport.is_closing():
            raise _StaleError("the connection is closed")
        self._answer = loop.create_future()
        patience = loop.call_later(client.WRITING.read_seconds, self._fail, TimeoutError("the store is silent"))
        try:
            self._transport.write(head + data)
            return await self._answer
        finally:
            patience.cancel()
            self._answer = None
            self._is_fresh = False

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # other loops' are none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # nobody asked
            self.is_usable = False
            self.abort()
            return
        self._held += data
        while (end := self._held.find(_HEAD_END)) >= 0:
            answer, self._held = self._held[: end + 2], self._held[end + 4 :]
            if self._has_ended(answer):
                return
        if len(self._held) > _HEAD_MOST:
            self._fail(ConnectionError("the store's answer has no end"))

    def _has_ended(self, answer: bytes) -> bool:
        """Note what the head of an answer says; False for one that announces another (100 Continue)."""
        found = _STATUS.match(answer)
        if found is None:
            self._fail(ConnectionError("the store does not speak HTTP"))
            return True
        status = int(found[1])
        if status < 200:
            return False
        is_empty = status == 204 or _EMPTY.search(answer) is not None
        self.is_usable = (
            is_empty and not self._held and answer.startswith(b"HTTP/1.1") and _CLOSES.search(answer) is None
        )
        if self._answer is not None:
            self._answer.set_result(status)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        self._fail(exc or ConnectionError("the store closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._answer is None or self._answer.done():
            return
        is_stale = not self._is_fresh and not self._held and isinstance(error, ConnectionError)
        self._answer.set_exception(_StaleError(str(error)) if is_stale else error)
