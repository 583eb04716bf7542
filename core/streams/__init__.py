"""Bytes in blocks: deflate, zip, tar and gzip framing, and sinks, all over streams that cannot seek.

A *sink* is anything with ``write(bytes)``: a file, ``blobs.writer(...)``, or one of the sinks here. Nothing in this
package holds more than a few blocks in memory, whatever passes through it. Sizes are bytes, CRCs are the CRC-32 of
zip and gzip (unsigned 32-bit int), SHA-256 sums are lower-case hex.
"""

from core.streams.deflate import FINAL, FLUSH_FULL, FLUSH_SYNC, Deflater, crc32, crc32_combine, stored_blocks
from core.streams.framing import TAR_END, gzip_header, gzip_trailer, tar_header, tar_padding
from core.streams.sinks import BLOCK, Blocks, Hashing, Sink, Tee, read_all, read_blocks
from core.streams.zips import Entry, Member, Zip

__all__ = [
    "BLOCK",
    "FINAL",
    "FLUSH_FULL",
    "FLUSH_SYNC",
    "TAR_END",
    "Blocks",
    "Deflater",
    "Entry",
    "Hashing",
    "Member",
    "Sink",
    "Tee",
    "Zip",
    "crc32",
    "crc32_combine",
    "gzip_header",
    "gzip_trailer",
    "read_all",
    "read_blocks",
    "stored_blocks",
    "tar_header",
    "tar_padding",
]
