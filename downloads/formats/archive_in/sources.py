"""Where an archive's members come from: zip, tar.gz, directory or a single file, under hard limits on real bytes."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

from core import errors

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LONE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".tab"})
"""Of tables that come without a descriptor."""
_RATIO_FLOOR = 16 * MIB
"""A ratio says little about small files: a page of equal rows packs better than 200:1 and harms nobody."""
_BLOCK = 1 << 20
_TRUNCATED = "The archive is damaged or cut short."
_NO_ARCHIVE = "The file is not a zip archive, or it is cut short."
_GZIP = b"\x1f\x8b"


class Unreadable(errors.Invalid):
    """The archive as a whole cannot be taken; the message is one plain sentence."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Ceilings of contract 6.3, in bytes unless named otherwise.

    `name` is the longest name of a column, in characters: it becomes a word of the index, which holds 2 KB.
    """

    packed: int = 10 * GIB
    unpacked: int = 100 * GIB
    ratio: int = 200
    members: int = 10_000
    row: int = MIB
    cell: int = 256 * KIB
    columns: int = 1_000
    name: int = 500
    xml: int = 10 * MIB


@contextlib.contextmanager
def _telling_damage() -> Iterator[None]:
    """What damaged bytes make the libraries raise, as one sentence; an OSError without a number is about the bytes."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as fault:
        raise Unreadable(_TRUNCATED) from fault
    except OSError as fault:
        raise Unreadable(_TRUNCATED if fault.errno is None else _not_readable(fault)) from fault


def _not_readable(fault: OSError) -> str:
    return f"The archive cannot be read: {fault.strerror}."


class Source(Protocol):
    """A set of named members; `open` may be called again for the same name."""

    def names(self) -> list[str]: ...

    def open(self, name: str) -> BinaryIO: ...

    def close(self) -> None: ...


class _Counted(io.RawIOBase):
    """A member's bytes, counted as they really come out."""

    def __init__(self, stream: BinaryIO, spend: Callable[[int], None]) -> None:
        self._stream = stream
        self._spend = spend

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        with _telling_damage():
            block = self._stream.read(len(view))
        self._spend(len(block))
        view[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Meter:
    """Adds up what the whole archive unpacked to; refuses beyond the limits."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self.limits = limits
        self.packed = packed
        self.unpacked = 0

    def spend(self, count: int) -> None:
        self.unpacked += count
        if self.unpacked > self.limits.unpacked:
            raise Unreadable(f"The archive unpacks to more than {self.limits.unpacked} bytes.")
        if self.unpacked > max(_RATIO_FLOOR, self.limits.ratio * self.packed):
            raise Unreadable(f"The archive unpacks to more than {self.limits.ratio} times its size.")


def _check_name(name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in (path.parts[0] if path.parts else ""):
        raise Unreadable("The archive has a member with an unsafe name.")


class ZipSource:
    """Members of a zip, read in place: nothing is ever unpacked to a path."""

    def __init__(self, path: Path, limits: Limits) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as fault:
            raise Unreadable(_NO_ARCHIVE) from fault
        self._limits = limits
        self._packed = path.stat().st_size
        members = [(info.filename.replace("\\", "/"), info) for info in self._zip.infolist()]
        self._infos = {name: info for name, info in members if name and not name.endswith("/")}
        self._read: dict[str, _Meter] = {}
        try:
            self._check()
        except Unreadable:
            self._zip.close()
            raise

    def _check(self) -> None:
        if len(self._zip.infolist()) > self._limits.members:
            raise Unreadable(f"The archive has more than {self._limits.members} members.")
        for info in self._infos.values():
            _check_name(info.filename)
            if info.flag_bits & 0x1:
                raise Unreadable("The archive is encrypted.")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise Unreadable("The archive contains a symbolic link.")
        # What it admits to is looked at before a byte is unpacked; what comes out is counted all the same.
        _Meter(self._limits, self._packed).spend(sum(info.file_size for info in self._infos.values()))

    def names(self) -> list[str]:
        return list(self._infos)

    def open(self, name: str) -> BinaryIO:
        try:
            stream = self._zip.open(self._infos[name])
        except NotImplementedError as fault:
            raise Unreadable("The archive is packed by a method that is not known here.") from fault
        except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as fault:
            raise Unreadable(_TRUNCATED) from fault
        meter = _Meter(self._limits, self._packed)
        return cast(BinaryIO, io.BufferedReader(_Counted(cast(BinaryIO, stream), meter.spend), _BLOCK))

    def close(self) -> None:
        self._zip.close()


class FolderSource:
    """Regular files below a directory (also the landing place of tar members, under names of our own)."""

    def __init__(self, files: dict[str, Path], limits: Limits, scratch: str | None = None) -> None:
        if len(files) > limits.members:
            raise Unreadable(f"The archive has more than {limits.members} members.")
        self._files = files
        self._limits = limits
        self._scratch = scratch

    def names(self) -> list[str]:
        return list(self._files)

    def open(self, name: str) -> BinaryIO:
        path = self._files[name]
        with _telling_damage():
            meter = _Meter(self._limits, max(path.stat().st_size, 1))
            stream = path.open("rb")
        return cast(BinaryIO, io.BufferedReader(_Counted(stream, meter.spend), _BLOCK))

    def close(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch)


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, _subfolders, files in os.walk(root, followlinks=False):
        for file in sorted(files):
            path = Path(folder) / file
            if path.is_symlink():
                raise Unreadable("The archive contains a symbolic link.")
            yield path.relative_to(root).as_posix(), path


def _from_tar(path: Path, limits: Limits) -> FolderSource:
    scratch = tempfile.mkdtemp(prefix="quincunx-tar-")
    try:
        return FolderSource(_unpack_tar(path, limits, Path(scratch)), limits, scratch)
    except BaseException:
        shutil.rmtree(scratch)
        raise


def _unpack_tar(path: Path, limits: Limits, scratch: Path) -> dict[str, Path]:
    meter = _Meter(limits, path.stat().st_size)
    files: dict[str, Path] = {}
    with _telling_damage(), _unzipped(path) as packed:
        with _opened_tar(packed) as tar:
            for number, member in enumerate(tar, 1):
                if number > limits.members:
                    raise Unreadable(f"The archive has more than {limits.members} members.")
                if member.isdir():
                    continue
                _check_name(member.name)
                if not member.isreg():
                    raise Unreadable("The archive contains a symbolic link.")
                stream = tar.extractfile(member)
                assert stream is not None  # noqa: S101 - a regular member always has a stream
                target = scratch / f"{len(files):05d}"
                with target.open("wb") as out:
                    _pour(cast(BinaryIO, stream), out, meter)
                files[member.name.removeprefix("./")] = target
        _pour(packed, None, meter)  # to the sum at the end, which tells damaged bytes
    return files


def _unzipped(path: Path) -> BinaryIO:
    """The bytes of a tar. The gzip module compares them with their sum; tarfile by itself would take what comes."""
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == _GZIP
    return cast(BinaryIO, gzip.open(path)) if is_gzip else path.open("rb")


def _opened_tar(packed: BinaryIO) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=packed, mode="r|*")
    except tarfile.ReadError as fault:
        raise Unreadable("The file is not a zip or tar.gz archive, or it is cut short.") from fault


def _pour(stream: BinaryIO, out: BinaryIO | None, meter: _Meter) -> None:
    while block := stream.read(_BLOCK):
        meter.spend(len(block))
        if out is not None:
            out.write(block)


def open_source(path: Path, limits: Limits) -> Source:
    """The right source for what lies at `path`, told by its content and not by its name."""
    try:
        return _open_source(path, limits)
    except OSError as fault:
        raise Unreadable(_not_readable(fault)) from fault


def _open_source(path: Path, limits: Limits) -> Source:
    if path.is_dir():
        return FolderSource(dict(_walk(path)), limits)
    if not path.is_file():
        raise Unreadable("There is no archive at this place.")
    if path.stat().st_size > limits.packed:
        raise Unreadable(f"The archive is larger than {limits.packed} bytes.")
    with path.open("rb") as stream:
        magic = stream.read(2)
    if magic == b"PK":
        return ZipSource(path, limits)
    if magic == _GZIP or tarfile.is_tarfile(path):
        return _from_tar(path, limits)
    if path.suffix.lower() not in LONE_SUFFIXES:
        raise Unreadable(_NO_ARCHIVE)
    return FolderSource({path.name: path}, limits)


class Closing:
    """Context manager half shared by archives."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
