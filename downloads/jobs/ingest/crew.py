"""Processes that render rows beside the one that reads and writes them (contract 9); none unless a setting says so."""

from __future__ import annotations

import collections
import contextlib
import gc
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any, Final, Protocol

import django

_COLLECT: Final = (100_000, 50, 1000)
Batch = Sequence[tuple[Any, ...]]
Finished = Callable[[Iterable[Batch]], Iterator[Iterable[bytes]]]


class Renders(Protocol):
    """What a crew needs to know of `render.Renderer`, which travels with each batch."""

    def rows(self, batch: Batch) -> Iterator[bytes]: ...


@contextlib.contextmanager
def fewer_collections() -> Iterator[None]:
    """Rows make no cycles; to look for some among every few hundred new objects is a third of an ingest's work."""
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECT)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def working(renderer: Renders, processes: int) -> Iterator[Finished]:
    """A function from batches of rows to their lines, in the same order.

    With one process the lines are made as they are taken. With more, each of them renders whole batches, one of which
    waits for it at any time, so that memory does not grow with the number of batches.
    """
    if processes <= 1:
        yield lambda batches: map(renderer.rows, batches)
        return
    # Not by fork: the connection to the database and the heartbeat's thread belong to this process.
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(processes, context, django.setup) as pool:
        try:
            yield lambda batches: _in_order(pool, renderer, batches, 2 * processes)
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    pool: futures.Executor, renderer: Renders, batches: Iterable[Batch], most: int
) -> Iterator[Iterable[bytes]]:
    waiting: collections.deque[futures.Future[bytes]] = collections.deque()
    for batch in batches:
        waiting.append(pool.submit(_lines, renderer, batch))
        if len(waiting) >= most:
            yield [waiting.popleft().result()]
    while waiting:
        yield [waiting.popleft().result()]


def _lines(renderer: Renders, batch: Batch) -> bytes:
    with fewer_collections():
        return b"".join(renderer.rows(batch))
