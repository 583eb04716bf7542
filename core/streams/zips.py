"""A zip writer over a sink that cannot seek (PKWARE APPNOTE 6.3.10).

Members whose size is known beforehand carry it in their local header; others get a data descriptor. ZIP64 fields
appear only where a number does not fit, so small archives open with the oldest tools. Like Go's ``archive/zip``, a
member of unknown size that turns out to be 4 GiB or more gets a 64-bit descriptor and ZIP64 fields in the central
directory. Readers that stream cannot foresee it, and old unzip versions fail on it, so give the sizes when they are
known (``Zip.deflated``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from core.streams import deflate, sinks

_MAX32: Final = 0xFFFFFFFF
_MAX16: Final = 0xFFFF
_DEFLATED: Final = 8
_FLAG_DESCRIPTOR: Final = 0x0008
_FLAG_UTF8: Final = 0x0800
_VERSION: Final = 20
_VERSION_ZIP64: Final = 45
_UNIX: Final = 3 << 8
_REGULAR_0644: Final = 0o100644 << 16


@dataclass
class Entry:
    """One member as the central directory tells it; sizes in bytes, ``offset`` of its local header."""

    name: str
    modified: datetime
    offset: int
    size: int = 0
    compressed: int = 0
    crc: int = 0
    has_descriptor: bool = False

    @property
    def is_zip64(self) -> bool:
        return self.size >= _MAX32 or self.compressed >= _MAX32

    def _common(self, version: int) -> bytes:
        """Version, flags, method, time, date: the fields both headers share."""
        flags = _FLAG_DESCRIPTOR * self.has_descriptor | _FLAG_UTF8 * (not self.name.isascii())
        return struct.pack("<HHHHH", version, flags, _DEFLATED, *dos_time(self.modified))

    def local_header(self) -> bytes:
        name = self.name.encode()
        large = self.is_zip64 and not self.has_descriptor
        extra = struct.pack("<HHQQ", 1, 16, self.size, self.compressed) if large else b""
        sizes = (
            (0, 0, 0)
            if self.has_descriptor
            else (self.crc, *((_MAX32,) * 2 if large else (self.compressed, self.size)))
        )
        common = self._common(_VERSION_ZIP64 if large else _VERSION)
        return b"PK\x03\x04" + common + struct.pack("<LLLHH", *sizes, len(name), len(extra)) + name + extra

    def descriptor(self) -> bytes:
        sizes = struct.pack("<QQ" if self.is_zip64 else "<LL", self.compressed, self.size)
        return b"PK\x07\x08" + struct.pack("<L", self.crc) + sizes

    def central_header(self) -> bytes:
        name = self.name.encode()
        numbers = (self.size, self.compressed, self.offset)
        large = [number for number in numbers if number >= _MAX32]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        size, compressed, offset = (min(number, _MAX32) for number in numbers)
        version = _VERSION_ZIP64 if large else _VERSION
        return b"".join(
            (
                b"PK\x01\x02",
                struct.pack("<H", _UNIX | version),
                self._common(version),
                struct.pack(
                    "<LLLHHHHHLL", self.crc, compressed, size, len(name), len(extra), 0, 0, 0, _REGULAR_0644, offset
                ),
                name,
                extra,
            )
        )


class Zip:
    """Writes a zip archive to ``sink`` front to back; deterministic for equal input.

    ``modified`` is the time of every member that names no other (cut to two seconds, kept in UTC, 1980 … 2107).
    ``method`` is a ``Deflater`` method. Names use ``/`` and are unique; one member is open at a time. ``close`` writes
    the central directory; as a context manager it does so on success only, so a failed archive never looks whole.
    """

    def __init__(self, sink: sinks.Sink, *, modified: datetime, method: str = "isal-2") -> None:
        self._sink = sink
        self._modified = modified
        self._method = method
        self._open: Member | None = None
        self._is_closed = False
        self.entries: list[Entry] = []
        self._names: set[str] = set()
        self.size = 0

    def add(self, name: str, data: bytes, *, modified: datetime | None = None) -> Entry:
        """A small member at once, its true sizes in the local header."""
        deflater = deflate.Deflater(self._method)
        body = deflater.update(data) + deflater.flush()
        with self.deflated(name, size=len(data), crc=deflater.crc, compressed=len(body), modified=modified) as member:
            member.write(body)
        return member.entry

    def member(self, name: str, *, modified: datetime | None = None, method: str | None = None) -> Member:
        """A member of unknown size: write plain bytes to it, in blocks, and close it (or use ``with``)."""
        entry = self._entry(name, modified, has_descriptor=True)
        return self._start(Member(self, entry, deflater=deflate.Deflater(method or self._method)))

    def deflated(
        self,
        name: str,
        *,
        size: int | None = None,
        crc: int | None = None,
        compressed: int | None = None,
        modified: datetime | None = None,
    ) -> Member:
        """A member whose bytes the caller has deflated already (raw, ended by a final block).

        With ``size`` and ``crc`` of the content and the ``compressed`` size all given, they go into the local header
        and closing checks the bytes written against them. Without, call ``member.finish(size=…, crc=…)`` at the end.
        """
        if size is None or crc is None or compressed is None:
            return self._start(Member(self, self._entry(name, modified, has_descriptor=True)))
        entry = self._entry(name, modified, has_descriptor=False)
        entry.size, entry.crc, entry.compressed = size, crc, compressed
        return self._start(Member(self, entry))

    def add_parts(
        self,
        name: str,
        parts: Iterable[bytes],
        *,
        size: int,
        crc: int,
        compressed: int,
        modified: datetime | None = None,
    ) -> Entry:
        """A member from ready deflated parts, of known sums; raises ``ValueError`` when the parts do not add up."""
        with self.deflated(name, size=size, crc=crc, compressed=compressed, modified=modified) as member:
            for part in parts:
                member.write(part)
        return member.entry

    def close(self) -> None:
        """Write the central directory; the sink stays open."""
        if self._is_closed:
            return
        if self._open:
            raise ValueError(f"member {self._open.entry.name!r} is still open")
        self._is_closed = True
        start = self.size
        with sinks.Blocks(_Counted(self)) as blocks:
            for entry in self.entries:
                blocks.write(entry.central_header())
        self._write(end_of_directory(len(self.entries), self.size - start, start))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def _entry(self, name: str, modified: datetime | None, *, has_descriptor: bool) -> Entry:
        if self._is_closed or self._open:
            raise ValueError("the archive is closed" if self._is_closed else "another member is still open")
        if not name or "\\" in name or "\0" in name or name.startswith("/") or len(name.encode()) > _MAX16:
            raise ValueError(f"not a member name: {name[:80]!r}")
        if name in self._names:
            raise ValueError(f"two members named {name!r}")
        return Entry(name, modified or self._modified, self.size, has_descriptor=has_descriptor)

    def _start(self, member: Member) -> Member:
        self._names.add(member.entry.name)
        self._open = member
        self._write(member.entry.local_header())
        return member

    def _end(self, member: Member) -> None:
        if member.entry.has_descriptor:
            self._write(member.entry.descriptor())
        self.entries.append(member.entry)
        self._open = None

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        self._sink.write(data)


class _Counted:
    """The archive's own counted output, as a sink."""

    def __init__(self, archive: Zip) -> None:
        self.write = archive._write


class Member:
    """A sink for one member; ``entry`` holds its sizes and CRC, complete once it is closed."""

    def __init__(self, archive: Zip, entry: Entry, *, deflater: deflate.Deflater | None = None) -> None:
        self._archive = archive
        self._deflater = deflater
        self._written = 0
        self._is_closed = False
        self.entry = entry

    def write(self, data: bytes, /) -> int:
        if self._is_closed:
            raise ValueError("write to a closed member")
        self._put(self._deflater.update(data) if self._deflater else data)
        return len(data)

    def passed(self, size: int) -> None:
        """Count bytes of a deflated member that the caller has put into the archive's sink by another way."""
        if self._is_closed or self._deflater:
            raise ValueError("only an open member that is deflated already takes bytes by another way")
        self._written += size
        self._archive.size += size

    def finish(self, *, size: int, crc: int) -> None:
        """Close a deflated member of unknown size, telling what the content was."""
        self.entry.size, self.entry.crc = size, crc
        self._close(self._written)

    def close(self) -> None:
        """Raises ``ValueError`` when a member of known size did not get exactly its bytes."""
        if self._is_closed:
            return
        if self._deflater:
            self._put(self._deflater.flush())
            self.entry.size, self.entry.crc = self._deflater.size, self._deflater.crc
            self._close(self._written)
        elif self.entry.has_descriptor:
            raise ValueError("a deflated member of unknown size is closed with finish(size=…, crc=…)")
        elif self._written != self.entry.compressed:
            raise ValueError(f"{self.entry.name!r} got {self._written} bytes instead of {self.entry.compressed}")
        else:
            self._close(self._written)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()

    def _put(self, data: bytes) -> None:
        if data:
            self._written += len(data)
            self._archive._write(data)

    def _close(self, compressed: int) -> None:
        self.entry.compressed = compressed
        self._is_closed = True
        self._archive._end(self)


def end_of_directory(count: int, size: int, offset: int) -> bytes:
    """The closing records for a central directory of ``count`` members and ``size`` bytes at ``offset``."""
    record = b""
    if count >= _MAX16 or size >= _MAX32 or offset >= _MAX32:
        record = b"PK\x06\x06" + struct.pack(
            "<QHHLLQQQQ", 44, _UNIX | _VERSION_ZIP64, _VERSION_ZIP64, 0, 0, count, count, size, offset
        )
        record += b"PK\x06\x07" + struct.pack("<LQL", 0, offset + size, 1)
    short = min(count, _MAX16)
    return (
        record + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, short, short, min(size, _MAX32), min(offset, _MAX32), 0)
    )


def dos_time(moment: datetime) -> tuple[int, int]:
    """MS-DOS time and date, 16 bits each; a naive ``moment`` is taken as UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    if utc.year < 1980:
        return 0, 1 << 5 | 1
    if utc.year > 2107:
        return 23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31
    return (
        utc.hour << 11 | utc.minute << 5 | utc.second // 2,
        (utc.year - 1980) << 9 | utc.month << 5 | utc.day,
    )
