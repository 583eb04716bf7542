"""What stands round the bytes in a gzip or tar file."""

from __future__ import annotations

import struct
from typing import Final

TAR_END: Final = bytes(1024)
_TAR_BLOCK: Final = 512
_OCTAL_SIZE_LIMIT: Final = 1 << 33  # eleven octal digits


def gzip_header(*, mtime: int = 0) -> bytes:
    """Ten bytes (RFC 1952): no name, operating system unknown, so that equal content gives equal files."""
    return struct.pack("<4BLBB", 0x1F, 0x8B, 8, 0, mtime, 0, 255)


def gzip_trailer(crc: int, size: int) -> bytes:
    """Eight bytes: CRC-32 and size modulo 2^32 of the content."""
    return struct.pack("<LL", crc, size & 0xFFFFFFFF)


def tar_header(name: str, size: int, *, mtime: int, mode: int = 0o644) -> bytes:
    """The 512-byte ustar header (POSIX.1-1988) of a regular file owned by 0:0; ``mtime`` in Unix seconds.

    A size of 8 GiB and more is written in base-256, as GNU tar does. Raises ``ValueError`` when the UTF-8 name does
    not fit into 100 bytes, nor into 155 + 100 cut at a slash.
    """
    prefix, base = _split_name(name.encode())
    header = b"".join(
        (
            base.ljust(100, b"\0"),
            _octal(mode, 8),
            _octal(0, 8),
            _octal(0, 8),
            _octal(size, 12) if size < _OCTAL_SIZE_LIMIT else b"\x80" + size.to_bytes(11, "big"),
            _octal(mtime, 12),
            b" " * 8,  # the checksum counts itself as blanks
            b"0",
            bytes(100),
            b"ustar\0" + b"00",
            bytes(64),
            _octal(0, 8),
            _octal(0, 8),
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def tar_padding(size: int) -> bytes:
    """The zero bytes that fill the last block of a member of ``size`` bytes."""
    return bytes(-size % _TAR_BLOCK)


def _octal(value: int, width: int) -> bytes:
    digits = b"%0*o" % (width - 1, value)
    if value < 0 or len(digits) >= width:
        raise ValueError(f"{value} does not fit into {width - 1} octal digits")
    return digits + b"\0"


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    if not name or b"\0" in name:
        raise ValueError("a tar member needs a name without NUL")
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101)
    if cut < 1 or cut > 155 or cut == len(name) - 1:
        raise ValueError("the name is too long for a ustar header")
    return name[:cut], name[cut + 1 :]
