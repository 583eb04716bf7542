"""A folder as one zip, streamed: name order and fixed time stamps, so the same folder has the same SHA-256."""

import io
import pathlib
import zipfile
from collections.abc import Callable

Sink = Callable[[bytes], object]

BLOCK = 1024 * 1024
_STAMP = (1980, 1, 1, 0, 0, 0)
_PACKED = frozenset({".mp3", ".jpg", ".jpeg", ".png", ".gif", ".m4a", ".ogg", ".zip"})


class _Stream(io.RawIOBase):
    """A writable file that cannot seek, handing whole blocks to a sink."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._sink(block)
        return len(block)


def members(folder: pathlib.Path) -> list[pathlib.Path]:
    """Regular files below a folder in name order; hidden files, links and what they point at are left out."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    inside = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(
        (path for path in inside if not any(up.is_symlink() for up in path.parents if folder in up.parents)),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def pour(folder: pathlib.Path, sink: Sink) -> None:
    """Write the folder's zip into `sink`, block by block."""
    stream = io.BufferedWriter(_Stream(sink), BLOCK)
    with zipfile.ZipFile(stream, "w", allowZip64=True) as book:
        for path in members(folder):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _STAMP)
            info.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.file_size = path.stat().st_size
            with path.open("rb") as source, book.open(info, "w") as member:
                while block := source.read(BLOCK):
                    member.write(block)
    stream.flush()


def pour_file(path: pathlib.Path, sink: Sink) -> None:
    """Write a file into `sink`, block by block."""
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            sink(block)
