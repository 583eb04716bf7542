"""Puts the one file together and streams it into the store: a zip with true sizes in its headers, or bare lines.

Parts are raw deflate stretches; a file's bytes are its header, its parts and an empty final block, one after the other.
CRCs combine; SHA-256 does not, so another thread inflates and hashes what passes by, in order (contract 9).
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from django.conf import settings
from isal import isal_zlib

from core import blobs, streams
from downloads.formats import citation, dwca, eml, manifest, members
from downloads.jobs.build import parts, produce
from downloads.jobs.build.plan import Plan, metadata, normal_seven
from downloads.jobs.build.selection import EVERYTHING
from downloads.models import BuildPart

_HELD_MOST: Final = 48 << 20
"""Deflated bytes of a file kept in memory until its size is known; beyond, its sizes follow it in a descriptor."""
_BEHIND: Final = 4

Note = Callable[[int], None]


def archive(plan: Plan, sink: streams.Sink, note: Note) -> dict[str, int]:
    """Write the whole zip; returns rows per file."""
    is_old = settings.DOWNLOADS_COMPAT == "2016"
    files: list[manifest.File] = []
    with streams.Zip(sink, modified=plan.build.snapshot_at, method=plan.method) as target:
        for member in plan.files:
            add = _add_parts if plan.has_parts else _add_directly
            files.append(add(plan, member, target, note))
        for name, data in _texts(plan, is_old=is_old):
            target.add(name, data)
            files.append(manifest.File(name, len(data), None, hashlib.sha256(data).hexdigest()))
        descriptor = dwca.meta_xml(plan.files, compat=settings.DOWNLOADS_COMPAT)
        target.add("meta.xml", descriptor)
        files.append(manifest.File("meta.xml", len(descriptor), None, hashlib.sha256(descriptor).hexdigest()))
        if not is_old:
            target.add("manifest.json", metadata(plan, files))
    return {file.name: file.rows for file in files if file.rows is not None}


def bare(plan: Plan, sink: streams.Sink, note: Note) -> dict[str, int]:
    """Write the one file of a bare form; returns its rows."""
    (member,) = plan.files
    sink.write(member.header.encode())
    if not plan.has_parts:
        return {plan.file_name: produce.lines(plan, member, EVERYTHING, sink, note)}
    rows = 0
    for part in parts.of_member(plan, member):
        inflater = isal_zlib.decompressobj(-15)
        for block in _blocks(part, note):
            sink.write(inflater.decompress(block))
        rows += part.rows
    return {plan.file_name: rows}


def _texts(plan: Plan, *, is_old: bool) -> Iterator[tuple[str, bytes]]:
    """Citations, and the metadata document."""
    entities = {member.entity for member in plan.files}
    queries = {"records": plan.asked.normal_rq, "media": plan.asked.normal_mq}
    names = {"records": "records.citation.txt", "media": "mediarecords.citation.txt"}
    for entity, name in names.items():
        if entity in entities and plan.counts["rows"].get(entity):
            text = citation.text(
                queries[entity],
                plan.shares(entity),
                snapshot=plan.build.snapshot_at,
                portal=settings.DOWNLOADS_PORTAL_URL,
            )
            yield name, text.encode()
    if not is_old:
        yield "eml.xml", _eml(plan)


def _eml(plan: Plan) -> bytes:
    return eml.eml_xml(
        build=str(plan.build.uuid),
        title=settings.DOWNLOADS_TITLE,
        creator=settings.DOWNLOADS_PUBLISHER,
        contact=settings.CONTACT_EMAIL,
        published=plan.build.snapshot_at.date(),
        query=normal_seven(plan.asked),
        recordsets=plan.sources(),
    )


class _Held:
    """A zip member whose deflated bytes wait in memory until its true sizes can go before them."""

    def __init__(self, target: streams.Zip, name: str) -> None:
        self._target = target
        self._name = name
        self._held: list[bytes] = []
        self._size = 0
        self._open: Any = None

    def write(self, data: bytes, /) -> None:
        if self._open is not None:
            self._open.write(data)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > _HELD_MOST:
            self._open = self._target.deflated(self._name)
            for piece in self._held:
                self._open.write(piece)
            self._held.clear()

    def close(self, *, size: int, crc: int) -> None:
        if self._open is not None:
            self._open.finish(size=size, crc=crc)
        else:
            self._target.add_parts(self._name, self._held, size=size, crc=crc, compressed=self._size)


def _add_directly(plan: Plan, member: members.Member, target: streams.Zip, note: Note) -> manifest.File:
    """A file of one stretch, made on the way into the archive."""
    held = _Held(target, member.name)
    deflating = produce.Deflating(streams.Deflater(plan.method), held)
    hashing = streams.Hashing(deflating)
    hashing.write(member.header.encode())
    rows = produce.lines(plan, member, EVERYTHING, hashing, note)
    deflating.end("finish")
    held.close(size=hashing.size, crc=deflating.deflater.crc)
    return manifest.File(member.name, hashing.size, rows, hashing.sha256)


def _add_parts(plan: Plan, member: members.Member, target: streams.Zip, note: Note) -> manifest.File:
    """A file put together from its stored parts."""
    header = member.header.encode()
    deflater = streams.Deflater(plan.method)
    head = deflater.update(header) + deflater.flush(streams.FLUSH_SYNC)
    found = parts.of_member(plan, member)
    size, crc = len(header), deflater.crc
    for part in found:
        crc = streams.crc32_combine(crc, part.crc, part.size)
        size += part.size
    compressed = len(head) + sum(part.compressed for part in found) + len(streams.FINAL)
    with (
        _Inflating() as hashing,
        target.deflated(member.name, size=size, crc=crc, compressed=compressed) as entry,
    ):
        sink = streams.Tee(entry, hashing)
        sink.write(head)
        for part in found:
            for block in _blocks(part, note):
                sink.write(block)
        sink.write(streams.FINAL)
    if hashing.size != size:
        raise ValueError(f"{member.name} has {hashing.size} bytes instead of {size}")
    return manifest.File(member.name, size, sum(part.rows for part in found), hashing.sha256)


def _blocks(part: BuildPart, note: Note) -> Iterator[bytes]:
    for block in blobs.reader(part.blob_key):
        note(0)
        yield block


class _Inflating:
    """A sink for a raw deflate stream that hashes what it unpacks to, on another thread, a few blocks behind."""

    def __init__(self) -> None:
        self._inflater = isal_zlib.decompressobj(-15)
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inflate")
        self._waiting: collections.deque[Future[None]] = collections.deque()
        self.size = 0

    def write(self, data: bytes, /) -> None:
        self._waiting.append(self._thread.submit(self._take, data))
        if len(self._waiting) > _BEHIND:
            self._waiting.popleft().result()

    def _take(self, data: bytes) -> None:
        plain = self._inflater.decompress(data)
        self.size += len(plain)
        self._hash.update(plain)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=kind is not None)
        while kind is None and self._waiting:
            self._waiting.popleft().result()
