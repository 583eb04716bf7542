"""Puts the one file together in the store: a zip with true sizes in its headers, or bare lines.

Parts are raw deflate stretches; a file's bytes are its parts and an empty final block, one after the other. The store
copies them itself; headers, directory and what is small pass through here. CRCs combine, so the whole file's is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from django.conf import settings

from core import blobs, streams
from downloads.formats import citation, dwca, eml, manifest, members
from downloads.jobs.build import parts, produce
from downloads.jobs.build.plan import Plan, metadata, normal_seven
from downloads.jobs.build.selection import EVERYTHING
from downloads.jobs.build.sums import Sums

_HELD_MOST: Final = 16 << 20
"""Packed bytes of a file of one stretch kept in memory until its sizes are known; more waits in the store."""

Note = Callable[[int], None]


@dataclass(frozen=True)
class Piece:
    """Some packed bytes of a file: in memory, or a blob of known sums."""

    data: Sequence[bytes] = ()
    key: str = ""
    compressed: int = 0
    packed_crc: int = 0


@dataclass
class File:
    """A file that waits to go into the archive, its sums over the plain bytes."""

    member: members.Member
    rows: int = 0
    size: int = 0
    crc: int = 0
    sha256: str = ""
    pieces: list[Piece] = field(default_factory=list)


def archive(plan: Plan, blob: blobs.Writer, files: Sequence[File]) -> dict[str, int]:
    """Write the whole zip; returns rows per file."""
    is_old = settings.DOWNLOADS_COMPAT == "2016"
    listed = [manifest.File(file.member.name, file.size, file.rows, file.sha256) for file in files]
    with streams.Zip(blob, modified=plan.build.snapshot_at, method=plan.method) as target:
        for file in files:
            _add(target, blob, file)
        for name, data in _texts(plan, is_old=is_old):
            target.add(name, data)
            listed.append(manifest.File(name, len(data), None, hashlib.sha256(data).hexdigest()))
        descriptor = dwca.meta_xml(plan.files, compat=settings.DOWNLOADS_COMPAT)
        target.add("meta.xml", descriptor)
        listed.append(manifest.File("meta.xml", len(descriptor), None, hashlib.sha256(descriptor).hexdigest()))
        if not is_old:
            target.add("manifest.json", metadata(plan, listed))
    return {file.member.name: file.rows for file in files}


def bare(plan: Plan, blob: blobs.Writer, note: Note) -> dict[str, int]:
    """Write the one file of a bare form; returns its rows."""
    (member,) = plan.files
    if not plan.has_parts:
        packing = produce.Packing(blob, plan.packing)
        return {plan.file_name: produce.stretch(plan, [member], EVERYTHING, [packing], note)}
    made = parts.of_member(plan, member)
    for part in made:
        blob.copy(part.blob_key, size=part.compressed, crc=part.packed_crc)
    return {plan.file_name: sum(part.rows for part in made)}


def from_parts(plan: Plan, sums: Sums) -> list[File]:
    """The files of a build whose parts are all done and summed."""
    return [_from_parts(plan, member, sums) for member in plan.files]


def _from_parts(plan: Plan, member: members.Member, sums: Sums) -> File:
    file = File(member, sha256=sums.sha256(member.name))
    for part in parts.of_member(plan, member):
        file.rows += part.rows
        file.crc = streams.crc32_combine(file.crc, part.crc, part.size)
        file.size += part.size
        file.pieces.append(Piece((), part.blob_key, part.compressed, part.packed_crc))
    return file


def directly(plan: Plan, token: uuid.UUID | None, note: Note) -> list[File]:
    """Make the files of a build of one stretch each; `token` tells this attempt's blobs from others."""
    made = [file for group in plan.groups for file in _made_together(plan, group, token, note)]
    places = {member.name: place for place, member in enumerate(plan.files)}
    return sorted(made, key=lambda file: places[file.member.name])  # a core of media: its raw file comes last


def _made_together(plan: Plan, group: list[members.Member], token: uuid.UUID | None, note: Note) -> list[File]:
    digests = [hashlib.sha256() for _ in group]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(_Held(parts.key(plan.build.pk, each.name, 1, token))) for each in group]
        packed = [produce.Packing(sink, plan.packing, digest) for sink, digest in zip(held, digests, strict=True)]
        rows = produce.stretch(plan, group, EVERYTHING, packed, note)
    return [
        File(member, rows, sums.size, sums.crc, digest.hexdigest(), [sink.piece(sums)])
        for member, sums, digest, sink in zip(group, packed, digests, held, strict=True)
    ]


class _Held:
    """A sink whose bytes wait until what goes before them is known: a few in memory, many as a blob."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._held: list[bytes] = []
        self._size = 0
        self._stack = contextlib.ExitStack()
        self._blob: blobs.Writer | None = None

    def write(self, data: bytes, /) -> None:
        if self._blob is not None:
            self._blob.write(data)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > _HELD_MOST:
            self._blob = self._stack.enter_context(blobs.writer(self._key, hashed=False))
            for piece in self._held:
                self._blob.write(piece)
            self._held.clear()

    def piece(self, sums: produce.Packing) -> Piece:
        """What was written, after the block."""
        key = self._key if self._blob is not None else ""
        return Piece(self._held, key, sums.compressed, sums.packed_crc)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def _add(target: streams.Zip, blob: blobs.Writer, file: File) -> None:
    """A file into the archive, which `blob` is the sink of."""
    compressed = sum(piece.compressed for piece in file.pieces) + len(streams.FINAL)
    with target.deflated(file.member.name, size=file.size, crc=file.crc, compressed=compressed) as entry:
        for piece in file.pieces:
            if piece.key:
                blob.copy(piece.key, size=piece.compressed, crc=piece.packed_crc)
                entry.passed(piece.compressed)
            for data in piece.data:
                entry.write(data)
        entry.write(streams.FINAL)


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
