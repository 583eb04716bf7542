"""core.blobs.Uploads: many small blobs over few connections, with the real SeaweedFS and with scripted answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from core import blobs
from core.blobs import client

PREFIX = "core-test/uploads/"
STORED = b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 0\r\n\r\n"


class Script:
    """A store that gives each connection the answers of a list, one for each request, until either side closes it."""

    def __init__(self, *connections: Sequence[bytes]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._connections = connections
        self.requests: list[tuple[int, bytes]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        for number, answers in enumerate(self._connections):
            taken, _ = self._listening.accept()
            with taken:
                self._converse(taken, number, answers)

    def _converse(self, taken: socket.socket, number: int, answers: Sequence[bytes]) -> None:
        taken.settimeout(20)
        for answer in answers:
            head, end, body = _until(taken, b"\r\n\r\n").partition(b"\r\n\r\n")
            if not end:
                return
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += taken.recv(65_536)
            self.requests.append((number, body))
            with contextlib.suppress(ConnectionError):  # the client need not hear all of it
                taken.sendall(answer)

    def close(self) -> None:
        """Wait until every connection of the script was made and used."""
        self._thread.join(20)
        self._listening.close()
        assert not self._thread.is_alive()


def _until(taken: socket.socket, end: bytes) -> bytes:
    """What the client sends, up to `end` or until it closes."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while end not in got and (block := taken.recv(65_536)):
            got += block
    return got


@contextlib.contextmanager
def scripted(settings: Any, *connections: Sequence[bytes]) -> Iterator[Script]:
    made = Script(*connections)
    settings.S3_ENDPOINT_URL = made.url
    try:
        yield made
    finally:
        made.close()


def using(work: Callable[[blobs.Uploads], Awaitable[Any]], *, limit: int = 16) -> Any:
    async def go() -> Any:
        uploads = blobs.Uploads(limit=limit)
        try:
            return await work(uploads)
        finally:
            await uploads.close()

    return asyncio.run(go())


def test_many_blobs_at_once_are_read_back(running_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.ensure_bucket()
    bodies = {f"{PREFIX}é {n}": random.Random(n).randbytes(n * 37_000) for n in range(40)}
    opened: list[object] = []
    real = asyncio.base_events.BaseEventLoop.create_connection

    async def counted(self: Any, *args: Any, **options: Any) -> Any:
        opened.append(args)
        return await real(self, *args, **options)

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "create_connection", counted)

    async def store(uploads: blobs.Uploads) -> None:
        await asyncio.gather(*(uploads.put(key, body) for key, body in bodies.items()))

    using(store, limit=4)
    assert {key: b"".join(blobs.reader(key)) for key in bodies} == bodies
    assert len(opened) <= 4
    blobs.delete(*bodies)


def test_a_restarted_store_goes_on_being_used(servers: Any) -> None:
    """The connections that were kept are dead, and nobody is told."""
    blobs.ensure_bucket()

    async def store(uploads: blobs.Uploads) -> None:
        await asyncio.gather(*(uploads.put(f"{PREFIX}{n}", b"before") for n in range(4)))
        servers.stack.store.restart()
        await uploads.put(f"{PREFIX}0", b"after")

    using(store)
    assert b"".join(blobs.reader(f"{PREFIX}0")) == b"after"
    blobs.delete(*(f"{PREFIX}{n}" for n in range(4)))


def test_a_store_that_refuses_the_signature_is_unavailable(running_house: Any, settings: Any) -> None:
    settings.S3_SECRET_ACCESS_KEY = "not the secret"
    with pytest.raises(blobs.StoreUnavailable) as caught:
        using(lambda uploads: uploads.put(f"{PREFIX}x", b"x"))
    assert caught.value.details["store_code"] == "403"


def test_a_dead_store_is_unavailable(settings: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        settings.S3_ENDPOINT_URL = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(blobs.StoreUnavailable):
            using(lambda uploads: uploads.put(f"{PREFIX}x", b"x"))


def test_a_store_that_hangs_is_given_up(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WRITING", client.Patience(0.3, 3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.S3_ENDPOINT_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(blobs.StoreUnavailable):
            using(lambda uploads: uploads.put(f"{PREFIX}x", b"x"))


async def twice(uploads: blobs.Uploads) -> None:
    await uploads.put(f"{PREFIX}x", b"one")
    await uploads.put(f"{PREFIX}x", b"two")


@pytest.mark.parametrize(
    "first",
    [
        STORED,
        STORED.replace(b"Content-Length: 0", b"content-length:0 "),
        b"HTTP/1.1 100 Continue\r\n\r\n" + STORED,
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_a_connection_is_kept_after_an_answer_without_a_body(settings: Any, first: bytes) -> None:
    with scripted(settings, [first, STORED]) as store:
        using(twice)
    assert store.requests == [(0, b"one"), (0, b"two")]


@pytest.mark.parametrize(
    "first",
    [
        STORED.replace(b"Content-Length: 0", b"Content-Length: 2") + b"ok",
        STORED.replace(b"Content-Length: 0\r\n", b"") + b"until it closes",
        STORED.replace(b"ETag: x", b"Connection: Close"),
        STORED.replace(b"HTTP/1.1", b"HTTP/1.0"),
        STORED + b"HTTP/1.1 200 and nobody asked\r\n\r\n",
    ],
)
def test_another_connection_is_made_where_one_cannot_be_kept(settings: Any, first: bytes) -> None:
    with scripted(settings, [first, STORED], [STORED]) as store:
        using(twice)
    assert store.requests == [(0, b"one"), (1, b"two")]


def test_another_connection_is_made_where_one_was_closed(settings: Any) -> None:
    with scripted(settings, [STORED], [STORED]) as store:
        using(twice)
    assert store.requests == [(0, b"one"), (1, b"two")]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 100_000,
    ],
)
def test_no_answer_and_no_success_are_unavailable(settings: Any, answer: bytes) -> None:
    with scripted(settings, [answer]) as store, pytest.raises(blobs.StoreUnavailable):
        using(lambda uploads: uploads.put(f"{PREFIX}x", b"x"))
    assert len(store.requests) == 1


def test_a_cancelled_upload_gives_its_connection_to_nobody(settings: Any) -> None:
    """Its answer would be taken for that of the next upload."""

    async def store(uploads: blobs.Uploads) -> None:
        await uploads.put(f"{PREFIX}x", b"one")
        second = asyncio.create_task(uploads.put(f"{PREFIX}x", b"two"))
        while len(made.requests) < 2:
            await asyncio.sleep(0)
        second.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await second
        await uploads.put(f"{PREFIX}x", b"three")

    with scripted(settings, [STORED, b"", STORED], [STORED]) as made:
        using(store)
    assert made.requests == [(0, b"one"), (0, b"two"), (1, b"three")]
