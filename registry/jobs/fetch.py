"""Fetch, check and store the documents a run waits for, many at a time (contract 4.4).

Coroutines on the network's loop fetch and store, two threads validate, the job's thread talks to the database. Every
queue is bounded: only as many documents are in memory as there are workers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from django.conf import settings

from core import blobs
from registry.formats import headers, validation
from registry.jobs import client, stage

SETTLED_AFTER: Final = timedelta(minutes=2)
SETTLED_LISTING: Final = timedelta(hours=26)
STORE_TRIES: Final = 3
STORE_STATUS: Final = (200, 201, 204)
EMPTY: Final = hashlib.sha256().hexdigest()
EXAMINERS: Final = 2
EXAMINE_AT_ONCE: Final = 8

# The SHA-256 of a document and what validation says; no verdict for bytes that were validated before.
Examined = tuple[str, validation.Verdict | None]


class StorageDownError(Exception):
    """The blob store did not take a document after all tries."""


def blob_key(sha256: str) -> str:
    """Where the bytes of a document are stored."""
    return f"registry/docs/{sha256[:2]}/{sha256}"


@dataclass(frozen=True, slots=True)
class Options:
    """What decides how documents are looked at in this run."""

    uid: str
    full_check: bool = False
    stored_only: bool = False


def is_settled(modified: str, date: str, *, listed_date: datetime | None, now: datetime) -> bool:
    """Whether a file had rested when we fetched it, so that an equal listing proves it unchanged (4.4, step 1).

    `modified`, `date`: the answer's `Last-Modified` and `Date`.
    """
    changed, sent = _http_date(modified), _http_date(date)
    if changed is not None and sent is not None:
        return sent - changed > SETTLED_AFTER
    return listed_date is not None and now - listed_date > SETTLED_LISTING


@functools.lru_cache(maxsize=1024)  # answers of one second have the same Date
def _http_date(value: str) -> datetime | None:
    return headers.date(value) if value else None


@dataclass(slots=True)
class _Case:
    """A fetched document that waits for its verdict."""

    body: bytes
    waiting: stage.Waiting
    done: asyncio.Future[Examined]


class Pool:
    """Workers on the network's loop: `put` batches in, `take` results out, `raise_fatal` says why all stopped."""

    def __init__(self, network: client.Network, staged: stage.Stage, options: Options) -> None:
        self._network = network
        self._stage = staged
        self._options = options
        self._waiting: asyncio.Queue[stage.Waiting] = asyncio.Queue()
        # Filled by the loop, emptied by the job's thread, which is woken for many at once: each time costs a change of
        # threads, as much as half a validation.
        self._results: deque[stage.Result] = deque()
        self._wanted = 0
        self._enough = threading.Event()
        self._fatal: Exception | None = None
        self.in_flight = 0
        # half of the workers fetch while the others validate and store
        for _ in range(network.limits.per_host + network.limits.connections):
            network.start(self._work())
        self._examining: asyncio.Queue[_Case] = asyncio.Queue()
        for _ in range(EXAMINERS):
            network.start(self._examine_batches())

    def put(self, batch: Sequence[stage.Waiting]) -> None:
        """Hand over documents; the caller keeps `in_flight` bounded."""
        self.in_flight += len(batch)
        self._network.call(self._enqueue(batch))

    async def _enqueue(self, batch: Sequence[stage.Waiting]) -> None:
        for waiting in batch:
            self._waiting.put_nowait(waiting)

    def take(self, *, most: int, seconds: float) -> list[stage.Result]:
        """Up to `most` results, as soon as there are so many or all in flight, else what is there after `seconds`."""
        self._enough.clear()
        self._wanted = min(most, self.in_flight)  # set before it is compared, so that one of the threads sees the other
        if self._fatal is None and len(self._results) < self._wanted:
            self._enough.wait(seconds)
        self.raise_fatal()
        found = [self._results.popleft() for _ in range(min(most, len(self._results)))]
        self.in_flight -= len(found)
        return found

    def _finish(self, result: stage.Result) -> None:
        self._results.append(result)
        if len(self._results) >= self._wanted:
            self._enough.set()

    def _fail(self, error: Exception) -> None:
        self._fatal = error
        self._enough.set()

    def raise_fatal(self) -> None:
        """Raise what stopped the workers, if anything did."""
        if self._fatal is not None:
            raise self._fatal

    async def _work(self) -> None:
        while True:
            waiting = await self._waiting.get()
            try:
                self._finish(await self._document(waiting))
            except Exception as error:
                self._fail(error)
                return

    async def _examined(self, body: bytes, waiting: stage.Waiting) -> Examined:
        case = _Case(body, waiting, asyncio.get_running_loop().create_future())
        self._examining.put_nowait(case)
        return await case.done

    async def _examine_batches(self) -> None:
        """Hand documents to the threads several at a time: a change of threads costs as much as half a validation."""
        loop = asyncio.get_running_loop()
        while True:
            cases = [await self._examining.get()]
            while len(cases) < EXAMINE_AT_ONCE and not self._examining.empty():
                cases.append(self._examining.get_nowait())
            found = await loop.run_in_executor(self._network.threads, _examine_all, cases)
            for case, examined in zip(cases, found, strict=True):
                if not case.done.done():
                    case.done.set_result(examined)

    async def _document(self, waiting: stage.Waiting) -> stage.Result:
        if waiting.same_listing or self._options.stored_only:
            return await self._revalidate(waiting)
        try:
            answer = await self._network.fetch(
                waiting.url, cap=settings.REGISTRY_MAX_DOCUMENT_BYTES, headers=_conditions(waiting)
            )
        except client.FetchError as error:
            return self._stage.failed(waiting, error.code, error.message)
        if answer.status == 304 and waiting.content_sha256:
            return await self._same_bytes(waiting, answer)
        if answer.status != 200:
            return self._stage.failed(waiting, "status", f"The server answered {answer.status}.")
        if not answer.body and waiting.content_sha256 not in ("", EMPTY):
            # no document (4.4), so what we have stays; one that never was more is kept as it is (4.5)
            return self._stage.failed(waiting, "empty", "The answer has no body.")
        sha256, verdict = await self._examined(answer.body, waiting)
        if verdict is None:
            return await self._same_bytes(waiting, answer)
        await store(self._network, sha256, answer.body)
        columns = stage.content_columns(verdict, url=waiting.url, sha256=sha256, size=len(answer.body))
        columns |= self._headers(waiting, answer)
        columns["waf_name"] = self._stage.waf_name(waiting.identity)
        return stage.Result(
            waiting.id,
            "fetched",
            waiting.url,
            columns,
            [issue.as_dict() for issue in verdict.issues],
            is_good=verdict.is_valid,
            received=len(answer.body),
        )

    async def _same_bytes(self, waiting: stage.Waiting, answer: client.Answer) -> stage.Result:
        """The bytes are those we have: keep them, or validate them anew if our validator has changed."""
        headers = self._headers(waiting, answer)
        if waiting.validator_version == validation.VALIDATOR_VERSION:
            return stage.Result(waiting.id, "unchanged", waiting.url, headers, is_good=waiting.valid)
        return await self._revalidate(waiting, headers)

    async def _revalidate(self, waiting: stage.Waiting, headers: dict[str, Any] | None = None) -> stage.Result:
        """Validate the stored bytes; without any, or with the store away, the old verdict stays."""
        loop = asyncio.get_running_loop()
        if not waiting.content_sha256:
            return stage.Result(waiting.id, "carried", waiting.url)
        try:
            body = await loop.run_in_executor(None, _stored, waiting.content_sha256)
        except blobs.StoreUnavailable as error:
            raise StorageDownError("the store did not answer") from error
        if body is None and not self._options.stored_only:
            # the source still has it: asked as for a document we never had
            return await self._document(
                dataclasses.replace(waiting, content_sha256="", etag="", last_modified="", same_listing=False)
            )
        if body is None:
            return self._stage.failed(waiting, stage.LOST, "The stored copy is missing.")
        verdict = await loop.run_in_executor(self._network.threads, validation.validate, body)
        columns = stage.content_columns(verdict, url=waiting.url, sha256=waiting.content_sha256, size=len(body))
        columns |= headers or {
            "etag": waiting.etag,
            "last_modified": waiting.last_modified,
            "settled": waiting.same_listing,
            "fetched_at": datetime.now(UTC),
            "listed_date": waiting.listed_date,
            "listed_size": waiting.listed_size,
        }
        columns["waf_name"] = self._stage.waf_name(waiting.identity)
        issues = [issue.as_dict() for issue in verdict.issues]
        return stage.Result(waiting.id, "fetched", waiting.url, columns, issues, is_good=verdict.is_valid)

    def _headers(self, waiting: stage.Waiting, answer: client.Answer) -> dict[str, Any]:
        now = datetime.now(UTC)
        etag, modified = answer.header("etag"), answer.header("last-modified")[:60]
        if answer.status == 304:  # which need not repeat them (RFC 9110, 15.4.5); Apache leaves out Last-Modified
            etag, modified = etag or waiting.etag, modified or waiting.last_modified
        return {
            "etag": etag,
            "last_modified": modified,
            "settled": is_settled(modified, answer.header("date"), listed_date=waiting.listed_date, now=now),
            "fetched_at": now,
        }


async def store(network: client.Network, sha256: str, data: bytes) -> None:
    """PUT a document with three tries; the store's outage fails the run, not the document (4.1)."""
    for attempt in range(STORE_TRIES):
        try:
            status = await network.put(blobs.upload_url(blob_key(sha256)), data)
        except (OSError, aiohttp.ClientError):
            status = 0
        if status in STORE_STATUS:
            return
        if attempt < STORE_TRIES - 1:
            await asyncio.sleep(network.limits.backoff_seconds * 2**attempt)
    raise StorageDownError("the store did not take a document")


def _conditions(waiting: stage.Waiting) -> dict[str, str]:
    """Validators for a conditional request, if we still have the bytes they belong to."""
    if not waiting.content_sha256:
        return {}
    conditions = {"If-None-Match": waiting.etag, "If-Modified-Since": waiting.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _examine_all(cases: Sequence[_Case]) -> list[Examined]:
    return [_examine(case.body, case.waiting) for case in cases]


def _examine(body: bytes, waiting: stage.Waiting) -> Examined:
    """Hash and, unless the bytes are those we validated before, validate; runs in a thread."""
    sha256 = hashlib.sha256(body).hexdigest()
    return sha256, None if sha256 == waiting.content_sha256 else validation.validate(body)


def _stored(sha256: str) -> bytes | None:
    try:
        with blobs.reader(blob_key(sha256)) as reader:
            return reader.read()
    except blobs.Missing:
        return None
