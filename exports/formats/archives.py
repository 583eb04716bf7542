"""The export file: one raw deflate pass feeds a tgz and a zip (contract §5).

The JSON's deflate stream M ends with a full flush, so it is byte-aligned and not final:

* gzip = 10-byte header (mtime 0, OS 255), *stored* block with the ustar header, M, final stored block with the tar's
  padding and end, CRC-32 and length (RFC 1952);
* zip = local header, M, ``03 00`` (an empty final block), data descriptor, directory (APPNOTE 4.3, ZIP64 when needed).

The tar header stands before M and names the size, so the size must be known before the first byte: fragments carry
their lengths. Same content and compressor → same bytes.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

from isal import isal_zlib

MEMBER = "export.json"
_FOUR_GIB = 0xFFFFFFFF
_EIGHT_GIB = 8 * 1024**3
Sink = Callable[[bytes], object]


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: int = ..., /) -> bytes: ...


class SizeMismatch(Exception):
    """The content was not as long as announced."""


def compressor(name: str) -> Compressor:
    """A raw deflate stream: ``isal-1`` (ISA-L level 1) or ``zlib-6``."""
    if name == "zlib-6":
        return zlib.compressobj(6, zlib.DEFLATED, -15)
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)


def tar_header(size: int, *, modified: datetime) -> bytes:
    """512 bytes of ustar for the one member: mode 0644, ids 0, no names; sizes over 8 GiB in base-256."""
    octal = f"{size:011o}\0".encode() if size < _EIGHT_GIB else b"\x80" + size.to_bytes(11, "big")
    block = bytearray(512)
    block[0 : len(MEMBER)] = MEMBER.encode()
    block[100:124] = b"0000644\x000000000\x000000000\x00"
    block[124:136] = octal
    block[136:148] = f"{int(modified.timestamp()):011o}\0".encode()
    block[148:156] = b" " * 8
    block[156:157] = b"0"
    block[257:265] = b"ustar\x0000"
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def tar_tail(size: int) -> bytes:
    """Padding of the member and the two end blocks."""
    return b"\0" * (-size % 512 + 1024)


def stored_block(data: bytes, *, final: bool) -> bytes:
    """A byte-aligned stored block (RFC 1951 §3.2.4) of at most 65,535 bytes."""
    return struct.pack("<BHH", final, len(data), len(data) ^ 0xFFFF) + data


class TwinArchive:
    """Write the JSON once, get a tgz and a zip. ``size`` is the JSON's length in bytes, known beforehand."""

    def __init__(self, *, size: int, modified: datetime, tgz: Sink, zipped: Sink, deflate: str = "isal-1") -> None:
        self.size = size
        self.written = 0
        self.json_sha256 = hashlib.sha256()
        self._modified = modified.astimezone(UTC)
        self._tgz, self._zip = tgz, zipped
        self._deflate = compressor(deflate)
        self._head = tar_header(size, modified=self._modified)
        self._tar_crc = zlib.crc32(self._head)
        self._crc = 0
        self._packed = 0
        tgz(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + stored_block(self._head, final=False))
        zipped(self._local_header())

    def write(self, block: bytes) -> None:
        """Take the next bytes of the JSON."""
        self.json_sha256.update(block)
        self._tar_crc = isal_zlib.crc32(block, self._tar_crc)
        self._crc = isal_zlib.crc32(block, self._crc)
        self.written += len(block)
        self._send(self._deflate.compress(block))

    def close(self) -> None:
        """End both archives; the length must be the one announced."""
        if self.written != self.size:
            raise SizeMismatch(f"{self.written} bytes written, {self.size} announced")
        self._send(self._deflate.flush(zlib.Z_FULL_FLUSH))
        tail = tar_tail(self.size)
        crc = zlib.crc32(tail, self._tar_crc)
        length = len(self._head) + self.size + len(tail)
        self._tgz(stored_block(tail, final=True) + struct.pack("<II", crc, length & _FOUR_GIB))
        self._zip(b"\x03\x00")
        self._packed += 2
        self._zip(self._zip_end())

    def _send(self, packed: bytes) -> None:
        if packed:
            self._packed += len(packed)
            self._tgz(packed)
            self._zip(packed)

    @property
    def _is_large(self) -> bool:
        # deflate can grow data by some bytes per block, so the decision leaves a margin
        return self.size + self.size // 1000 + 1024 > _FOUR_GIB

    def _dos_time(self) -> tuple[int, int]:
        when = max(self._modified, datetime(1980, 1, 1, tzinfo=UTC))
        return when.hour << 11 | when.minute << 5 | when.second // 2, (
            when.year - 1980
        ) << 9 | when.month << 5 | when.day

    def _local_header(self) -> bytes:
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if self._is_large else b""
        version = 45 if self._is_large else 20
        sizes = _FOUR_GIB if self._is_large else 0
        return (
            struct.pack(
                "<4s5H3I2H", b"PK\3\4", version, 8, 8, *self._dos_time(), 0, sizes, sizes, len(MEMBER), len(extra)
            )
            + MEMBER.encode()
            + extra
        )

    def _zip_end(self) -> bytes:
        local = len(self._local_header())
        if not self._is_large:
            descriptor = struct.pack("<4s3I", b"PK\7\x08", self._crc, self._packed, self.size)
            entry = self._directory_entry(20, self._packed, self.size, b"")
            start = local + self._packed + len(descriptor)
            return descriptor + entry + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), start, 0)
        descriptor = struct.pack("<4sIQQ", b"PK\7\x08", self._crc, self._packed, self.size)
        entry = self._directory_entry(45, _FOUR_GIB, _FOUR_GIB, struct.pack("<HHQQ", 1, 16, self.size, self._packed))
        start = local + self._packed + len(descriptor)
        end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), start)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(entry), 1)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), _FOUR_GIB, 0)
        return descriptor + entry + end64 + locator + end

    def _directory_entry(self, version: int, packed: int, size: int, extra: bytes) -> bytes:
        made_on_unix, mode = 3 << 8 | version, 0o100644 << 16
        times = self._dos_time()
        head = struct.pack("<4s6H3I", b"PK\1\2", made_on_unix, version, 8, 8, *times, self._crc, packed, size)
        return head + struct.pack("<5H2I", len(MEMBER), len(extra), 0, 0, 0, mode, 0) + MEMBER.encode() + extra


def inflate_gzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The tar inside a tgz, in blocks, in constant memory."""
    inflater = isal_zlib.decompressobj(31)
    for block in blocks:
        while block:
            yield inflater.decompress(block, 1 << 20)
            block = inflater.unconsumed_tail
    if rest := inflater.flush():
        yield rest


def tar_size(size: int) -> int:
    """Length of the plain tar around a JSON of this size."""
    return 512 + size + len(tar_tail(size))


def zip_of(json_blocks: Iterator[bytes], *, modified: datetime) -> Iterator[bytes]:
    """A zip with the one member, streamed: for ``Compress: true``, where the size is not known beforehand."""
    pending: list[bytes] = []
    archive = TwinArchive(size=0, modified=modified, tgz=lambda _: None, zipped=pending.append)
    for block in json_blocks:
        archive.write(block)
        yield from pending
        pending.clear()
    archive.size = archive.written
    archive.close()
    yield from pending
