"""Sinks that gather, split and sum bytes, and readers that know when to stop."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, Self

from core import errors
from core.streams import deflate

# Small enough to stay in a processor's cache while it is summed and deflated, and for memory that is used again.
BLOCK: Final = 64 * 1024


class Sink(Protocol):
    """Anything bytes can be written to; a call takes all of ``data`` or raises."""

    def write(self, data: bytes, /) -> object: ...


class Blocks:
    """Gathers small writes and passes on blocks of at least ``size`` bytes; ``close`` passes on the rest.

    As a context manager it closes on success only: after an error nobody wants the rest.
    """

    def __init__(self, sink: Sink, size: int = BLOCK) -> None:
        self._write = sink.write
        self._size = size
        self._held: list[bytes] = []
        self._held_size = 0

    def write(self, data: bytes, /) -> int:
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size >= self._size:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._held_size:
            block = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            self._held_size = 0
            self._write(block)

    close = flush

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()


class Tee:
    """Writes the same bytes to several sinks, in order."""

    def __init__(self, *sinks: Sink) -> None:
        self._writes = [sink.write for sink in sinks]

    def write(self, data: bytes, /) -> int:
        for write in self._writes:
            write(data)
        return len(data)


class Hashing:
    """Passes bytes on (or drops them, without a sink) and keeps their ``size``, CRC-32 and SHA-256.

    With ``threaded`` the sums are made on one other thread, at most four blocks behind (hashlib and ISA-L release the
    interpreter lock for large blocks); then use it as a context manager or call ``close`` before reading them. The
    blocks given must not change afterwards, which ``bytes`` never do.
    """

    def __init__(self, sink: Sink | None = None, *, threaded: bool = False) -> None:
        self._write = sink.write if sink else None
        self._sha256 = hashlib.sha256()
        self._crc = 0
        self.size = 0
        self._worker = _Worker(self._sum) if threaded else None

    def write(self, data: bytes, /) -> int:
        self.size += len(data)
        if self._worker:
            self._worker.put(data)
        else:
            self._sum(data)
        if self._write:
            self._write(data)
        return len(data)

    def _sum(self, data: bytes) -> None:
        self._sha256.update(data)
        self._crc = deflate.crc32(data, self._crc)

    @property
    def crc(self) -> int:
        self.close()
        return self._crc

    @property
    def sha256(self) -> str:
        self.close()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Wait for the other thread, if there is one; nothing may be written afterwards with ``threaded``."""
        if self._worker:
            self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One thread that applies a function to the items given, in order, a bounded number behind."""

    def __init__(self, function: Callable[[bytes], object], ahead: int = 4) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(ahead)
        self._function = function
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        if not self._thread.is_alive():
            raise ValueError("write to a closed sink")
        self._raise_failure()
        self._queue.put(data)

    def close(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """Goes on taking after a failure, so that nobody waits for room in the queue for ever."""
        while (data := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    self._function(data)
                except Exception as error:
                    self._failure = error


def read_blocks(source: Any, *, limit: int | None = None, size: int = BLOCK) -> Iterator[bytes]:
    """The bytes of ``source`` (a file with ``read(n)``, or an iterable of bytes) in blocks as they come.

    Raises ``errors.TooLarge`` as soon as more than ``limit`` bytes were seen; nothing beyond the limit is yielded.
    """
    pieces: Iterable[bytes] = iter(lambda: source.read(size), b"") if hasattr(source, "read") else source
    seen = 0
    for piece in pieces:
        seen += len(piece)
        if limit is not None and seen > limit:
            raise errors.TooLarge(f"More than {limit} bytes.", limit=limit)
        if piece:
            yield piece


def read_all(source: Any, *, limit: int) -> bytes:
    """All of ``source``, or ``errors.TooLarge`` after ``limit`` bytes."""
    return b"".join(read_blocks(source, limit=limit))
