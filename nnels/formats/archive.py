"""Opening zip files from strangers: bounded entries, size and ratio; no unsafe paths."""

import contextlib
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from lxml import etree

from nnels.formats import metadata, xml

MAX_ENTRIES = 20_000
MAX_RATIO = 200
MAX_BYTES = 4 * 1024**3
# Small members (an empty chapter template, a page of spaces) may compress far better than any bomb needs to.
RATIO_FREE_BYTES = 16 * 1024 * 1024

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


@contextlib.contextmanager
def opened(file: IO[bytes], *, broken: str) -> Iterator[zipfile.ZipFile]:
    """The zip in a seekable file, after checks; `Rejected(broken)` when it cannot be read."""
    try:
        book = zipfile.ZipFile(file)
    except BROKEN as error:
        raise metadata.Rejected(broken, f"not a readable zip: {str(error)[:80]}") from None
    with book:
        _check(book)
        yield book


def _check(book: zipfile.ZipFile) -> None:
    entries = book.infolist()
    if len(entries) > MAX_ENTRIES:
        raise metadata.Rejected("too_large", f"more than {MAX_ENTRIES} entries")
    for entry in entries:
        if not is_safe(entry.filename) or stat.S_ISLNK(entry.external_attr >> 16):
            raise metadata.Rejected("unsafe_path", f"entry {metadata.clean(entry.filename)[:80]}")
    size, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if size > MAX_BYTES:
        raise metadata.Rejected("too_large", "more than 4 GiB when unpacked")
    if size > RATIO_FREE_BYTES and size > MAX_RATIO * max(1, packed):
        raise metadata.Rejected("too_large", f"unpacks to more than {MAX_RATIO} times its size")


def is_safe(path: str) -> bool:
    """A relative path that stays below where it starts."""
    parts = path.split("/")
    return bool(path) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in parts[0]


def read(book: zipfile.ZipFile, name: str, *, broken: str, limit: int = xml.LIMIT) -> bytes:
    """One member of at most `limit` bytes; `Rejected(broken)` when absent or damaged."""
    try:
        with book.open(name) as member:
            raw = member.read(limit + 1)
    except (KeyError, *BROKEN) as error:
        raise metadata.Rejected(broken, f"{metadata.clean(name)[:80]}: {metadata.clean(str(error))[:80]}") from None
    if len(raw) > limit:
        raise metadata.Rejected("too_large", f"{metadata.clean(name)[:80]} is larger than {limit} bytes")
    return raw


def document(book: zipfile.ZipFile, name: str, *, broken: str) -> etree._Element:
    """The root of an XML member."""
    try:
        return xml.parse(read(book, name, broken=broken))
    except xml.Broken as error:
        raise metadata.Rejected(broken, f"{metadata.clean(name)[:80]}: {error}") from None


def beside(base: str, href: str) -> str:
    """The member a reference in member `base` names."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), href.partition("#")[0]))
