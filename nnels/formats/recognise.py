"""Which format a file or folder is, by its content (contract section 5)."""

import codecs
import dataclasses
import pathlib
import zipfile
from typing import IO

from nnels.formats import archive, daisy, epub, folder, metadata, xml

MEDIA_TYPES = {
    "epub": "application/epub+zip",
    "daisy202": "application/zip",
    "daisy3": "application/zip",
    "mp3": "application/zip",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "rtf": "application/rtf",
    "brf": "application/x-brf",
    "txt": "text/plain",
    "html": "text/html",
}
EXTENSIONS = {code: code for code in MEDIA_TYPES} | {"daisy202": "zip", "daisy3": "zip", "mp3": "zip"}
_BESIDES_MP3 = frozenset({"m3u", "m3u8", "pls", "xspf", "txt", "nfo", "html", "jpg", "jpeg", "png", "gif", "webp"})
_BRF_BYTES = bytes(range(0x20, 0x7F)) + b"\r\n\f\x1a"


@dataclasses.dataclass
class Recognised:
    """Format code, and what the content says of the title."""

    format: str
    metadata: metadata.Metadata

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.format]


def file(source: IO[bytes], *, name: str) -> Recognised:
    """Recognise a seekable file. `Rejected` with a reason of the report when it is none we take."""
    source.seek(0, 2)
    if source.tell() > archive.MAX_BYTES:
        raise metadata.Rejected("too_large", f"{name} is larger than 4 GiB")
    source.seek(0)
    head = source.read(8)
    extension = name.rpartition(".")[2].lower()
    if head.startswith(b"PK\x03\x04") or extension == "epub":
        return _zip(source, extension=extension, name=name)
    if head.startswith(b"%PDF-"):
        return Recognised("pdf", metadata.Metadata())
    if head.startswith(b"{\\rtf"):
        return Recognised("rtf", metadata.Metadata())
    if extension == "brf" and _only(source, _BRF_BYTES):
        return Recognised("brf", metadata.Metadata())
    if extension in ("txt", "html", "htm", "xhtml") and _is_utf8(source):
        return Recognised("txt" if extension == "txt" else "html", metadata.Metadata())
    raise metadata.Rejected("unknown_format", metadata.clean(name)[:120])


def _zip(source: IO[bytes], *, extension: str, name: str) -> Recognised:
    is_epub = extension == "epub"
    with archive.opened(source, broken="bad_epub" if is_epub else "unknown_format") as book:
        names = book.namelist()
        if is_epub or (names and names[0] == "mimetype"):
            epub.check(book)
            return Recognised("epub", epub.read(book))
        if "word/document.xml" in names:
            return Recognised("docx", metadata.Metadata())
        if found := _daisy_zip(book, names):
            return found
        if _is_mp3(names):
            return Recognised("mp3", metadata.Metadata())
    raise metadata.Rejected("unknown_format", metadata.clean(name)[:120])


def _daisy_zip(book: zipfile.ZipFile, names: list[str]) -> Recognised | None:
    ncc = next((one for one in names if one.lower().rpartition("/")[2] == "ncc.html"), None)
    if ncc is not None:
        return Recognised("daisy202", daisy.read_ncc(archive.read(book, ncc, broken="bad_daisy")))
    for one in names:
        if one.lower().endswith(".opf"):
            raw = archive.read(book, one, broken="bad_daisy")
            if daisy.is_daisy3(raw):
                return Recognised("daisy3", daisy.read_package(raw))
    return None


def _is_mp3(names: list[str]) -> bool:
    kinds = [one.lower().rpartition(".")[2] for one in names if not one.endswith("/")]
    return "mp3" in kinds and all(kind == "mp3" or kind in _BESIDES_MP3 for kind in kinds)


def directory(path: pathlib.Path) -> Recognised | None:
    """A folder that is one DAISY book or a set of MP3 files; None when it is neither."""
    files = folder.members(path)
    ncc = next((one for one in files if one.name.lower() == "ncc.html" and one.parent == path), None)
    if ncc is not None:
        return Recognised("daisy202", daisy.read_ncc(_small(ncc)))
    for one in files:
        if one.parent == path and one.suffix.lower() == ".opf":
            raw = _small(one)
            if daisy.is_daisy3(raw):
                return Recognised("daisy3", daisy.read_package(raw))
    if _is_mp3([one.relative_to(path).as_posix() for one in files]):
        return Recognised("mp3", metadata.Metadata())
    return None


def _small(path: pathlib.Path) -> bytes:
    with path.open("rb") as source:
        raw = source.read(xml.LIMIT + 1)
    if len(raw) > xml.LIMIT:
        raise metadata.Rejected("too_large", f"{path.name} is larger than 4 MiB")
    return raw


def _only(source: IO[bytes], allowed: bytes) -> bool:
    source.seek(0)
    while block := source.read(folder.BLOCK):
        if block.translate(None, allowed):
            return False
    return True


def _is_utf8(source: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    source.seek(0)
    try:
        while block := source.read(folder.BLOCK):
            if "\0" in decoder.decode(block):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
