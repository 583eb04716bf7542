"""A tgz of several members over a sink that cannot seek; equal content gives equal bytes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from core import streams


class Tarball:
    """Members one after the other; each one's size is known beforehand, because its header stands in front."""

    def __init__(self, sink: streams.Sink, *, modified: datetime, deflate: str) -> None:
        self._blocks = streams.Blocks(sink)
        self._deflater = streams.Deflater(deflate)
        self._modified = int(modified.timestamp())
        self._blocks.write(streams.gzip_header())

    def add(self, name: str, blocks: Iterable[bytes], *, size: int) -> None:
        """Raises ``ValueError`` when the blocks are not ``size`` bytes together."""
        self._write(streams.tar_header(name, size, mtime=self._modified))
        written = 0
        for block in blocks:
            self._write(block)
            written += len(block)
        if written != size:
            raise ValueError(f"{name} has {written} bytes, {size} were announced")
        self._write(streams.tar_padding(size))

    def close(self) -> None:
        """The end of the tar and of the gzip; the sink stays open."""
        self._write(streams.TAR_END)
        self._blocks.write(self._deflater.flush())
        self._blocks.write(streams.gzip_trailer(self._deflater.crc, self._deflater.size))
        self._blocks.close()

    def _write(self, data: bytes) -> None:
        if packed := self._deflater.update(data):
            self._blocks.write(packed)
