"""A run over uploaded documents: a zip in the blob store instead of a source on the network (contract 6)."""

from __future__ import annotations

import lzma
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, cast

from django.conf import settings

from core import blobs
from core import jobs as core_jobs
from registry.jobs import client, inline, stage

BATCH: Final = 100
# Documents are staged when so many bytes of them are held, so that large ones do not fill the memory.
BATCH_BYTES: Final = 16 * 1024**2
MAX_MEMBERS: Final = 200_000
MAX_UNPACKED: Final = 20 * 1024**3
PREFIX: Final = "registry/uploads/"
# What zipfile raises for damaged archives: ValueError for names and offsets, NotImplementedError for odd versions.
UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    NotImplementedError,
    ValueError,
    struct.error,
)


class UnreadableUploadError(ValueError):
    """The upload is no zip, or not one we unpack."""


def pack(path: Path) -> IO[bytes]:
    """A folder's XML files as a zip, or the given zip, in a temporary file at its start."""
    if not path.exists():
        raise UnreadableUploadError(f"{path} does not exist")
    target = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        _fill(target, path)
        members(target)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target


def _fill(target: IO[bytes], path: Path) -> None:
    if path.is_file():
        with path.open("rb") as given:
            shutil.copyfileobj(given, target)
    else:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
            for file in sorted(path.rglob("*")):
                if file.is_file() and file.suffix.lower() == ".xml":
                    made.write(file, _name_in(path, file))
    target.seek(0)


def _name_in(folder: Path, file: Path) -> str:
    name = file.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnreadableUploadError(f"the file name {name!r} is not UTF-8") from error
    return name


def members(archive: IO[bytes]) -> list[zipfile.ZipInfo]:
    """The XML members of a zip within the limits, or UnreadableUploadError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [info for info in opened.infolist() if not info.is_dir()]
    except UNREADABLE as error:
        raise UnreadableUploadError("the file is no zip, or a damaged one") from error
    if len(found) > MAX_MEMBERS:
        raise UnreadableUploadError(f"the zip has more than {MAX_MEMBERS} members")
    if sum(info.file_size for info in found) > MAX_UNPACKED:
        raise UnreadableUploadError("the zip unpacks to more than 20 GiB")
    for info in found:
        if info.filename.startswith(("/", "\\")) or ".." in Path(info.filename).parts or ":" in info.filename[:3]:
            raise UnreadableUploadError(f"the member name {info.filename[:100]!r} is not allowed")
        if info.flag_bits & 1:
            raise UnreadableUploadError("the zip is encrypted")
    return [info for info in found if info.filename.lower().endswith(".xml")]


def documents(archive: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """(relative path, bytes) of each document; of one too large a byte more than allowed, which tells it."""
    wanted = members(archive)
    archive.seek(0)
    with zipfile.ZipFile(archive) as opened:
        for info in wanted:
            try:
                with opened.open(info) as member:
                    body = member.read(settings.REGISTRY_MAX_DOCUMENT_BYTES + 1)
            except UNREADABLE as error:
                raise UnreadableUploadError(f"the member {info.filename[:100]!r} cannot be unpacked") from error
            yield info.filename, body


def harvest(
    key: str,
    network: client.Network,
    staged: stage.Stage,
    *,
    check: Callable[[], None],
    noted: Callable[[list[stage.Result]], None],
) -> None:
    """Stage all documents of an uploaded zip; the identity is the relative path."""
    work = inline.Inline(network, staged)
    with tempfile.TemporaryFile() as local:
        try:
            with blobs.reader(key) as reader:
                for block in reader:
                    check()
                    local.write(block)
        except blobs.Missing as error:
            raise core_jobs.Failure("internal", "The upload is gone.") from error
        try:
            for batch in _batches(documents(cast("IO[bytes]", local))):
                work.store(batch, url_of=str, check=check, noted=noted)
        except UnreadableUploadError as error:
            raise core_jobs.Failure("listing_failed", f"The upload cannot be read: {error}.") from error


def _batches(found: Iterable[tuple[str, bytes]]) -> Iterator[dict[str, bytes]]:
    """Documents by name, as many at once as statement and memory take."""
    held: dict[str, bytes] = {}
    size = 0
    for name, body in found:
        held[name] = body
        size += len(body)
        if len(held) >= BATCH or size >= BATCH_BYTES:
            yield held
            held, size = {}, 0
    if held:
        yield held
