"""Raw deflate (RFC 1951) with ISA-L or zlib, and the arithmetic that lets separate stretches be joined."""

from __future__ import annotations

import functools
import zlib
from typing import Any, Final, Literal

from isal import isal_zlib

# Ends a deflate stream that was flushed to a byte boundary: one empty final block with fixed codes (RFC 1951, 3.2.6).
FINAL: Final = b"\x03\x00"
FLUSH_SYNC: Final = "sync"
FLUSH_FULL: Final = "full"
Flush = Literal["sync", "full", "finish"]

_MODES: Final[dict[str, int]] = {
    FLUSH_SYNC: isal_zlib.Z_SYNC_FLUSH,
    FLUSH_FULL: isal_zlib.Z_FULL_FLUSH,
    "finish": isal_zlib.Z_FINISH,
}
_STORED_MAX: Final = 0xFFFF
_POLYNOMIAL: Final = 0xEDB88320  # CRC-32, bits reflected


class Deflater:
    """A raw deflate stream that counts and sums what goes through it.

    ``method`` is ``"isal-0"`` … ``"isal-3"`` (ISA-L, about ten times the speed of zlib) or ``"zlib-1"`` … ``"zlib-9"``.
    ``size`` and ``crc`` describe the bytes put in, ``compressed`` the bytes given out so far.

    After ``flush("sync")`` the output ends on a byte boundary, so that another stretch may follow it; after
    ``flush("full")`` it also refers to nothing earlier, so that it may follow another stretch; ``flush("finish")``
    ends the stream. Raises ``ValueError`` for an unknown method.
    """

    def __init__(self, method: str = "isal-2") -> None:
        self._compressor: Any  # the two libraries agree on compress and flush, not on a class
        family, _, level = method.partition("-")
        if family == "isal" and level in {"0", "1", "2", "3"}:
            self._compressor = isal_zlib.compressobj(int(level), isal_zlib.DEFLATED, -15)
        elif family == "zlib" and level in set("123456789"):
            self._compressor = zlib.compressobj(int(level), zlib.DEFLATED, -15)
        else:
            raise ValueError(f"unknown deflate method {method!r}")
        self.method = method
        self.size = 0
        self.crc = 0
        self.compressed = 0

    def update(self, data: bytes) -> bytes:
        """Deflated bytes ready so far (often none); ``data`` is best given in blocks of 64 KiB and more."""
        self.size += len(data)
        self.crc = isal_zlib.crc32(data, self.crc)
        return self._count(self._compressor.compress(data))

    def flush(self, mode: Flush = "finish") -> bytes:
        """What was held back, ended as ``mode`` says."""
        return self._count(self._compressor.flush(_MODES[mode]))

    def _count(self, data: bytes) -> bytes:
        self.compressed += len(data)
        return data


def crc32(data: bytes, value: int = 0) -> int:
    """CRC-32 of ``data`` continued from ``value`` (the sum of what came before)."""
    return isal_zlib.crc32(data, value)


def crc32_combine(first: int, second: int, second_size: int) -> int:
    """The CRC-32 of two stretches put together, from the CRC of each and the size of the second in bytes.

    Appending n bytes multiplies the first sum by x^(8n) modulo the CRC polynomial; squaring makes that O(log n), so
    any 64-bit size takes microseconds.
    """
    if second_size < 0:
        raise ValueError("a size cannot be negative")
    factor, power = 1 << 31, 0
    while second_size:
        if second_size & 1:
            factor = _multiply(_byte_power(power), factor)
        second_size >>= 1
        power += 1
    return _multiply(factor, first) ^ second


@functools.lru_cache(maxsize=128)
def _byte_power(power: int) -> int:
    """x^(8·2^power) modulo the polynomial."""
    if power == 0:
        return 1 << 23
    half = _byte_power(power - 1)
    return _multiply(half, half)


def _multiply(a: int, b: int) -> int:
    """a·b over GF(2) modulo the polynomial; bit 31 is the coefficient of x^0."""
    product = 0
    bit = 1 << 31
    while bit:
        if a & bit:
            product ^= b
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
        bit >>= 1
    return product


def stored_blocks(data: bytes, *, final: bool = False) -> bytes:
    """``data`` as uncompressed deflate blocks (RFC 1951, 3.2.4); the stream must be at a byte boundary.

    Ends on a byte boundary again. With ``final`` the last block ends the stream; empty ``data`` gives one empty block.
    """
    pieces = []
    for start in range(0, max(len(data), 1), _STORED_MAX):
        piece = data[start : start + _STORED_MAX]
        last = final and start + _STORED_MAX >= len(data)
        size = len(piece)
        pieces += [bytes((last,)), size.to_bytes(2, "little"), (size ^ _STORED_MAX).to_bytes(2, "little"), piece]
    return b"".join(pieces)
