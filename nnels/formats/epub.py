"""Metadata of an EPUB file."""

import zipfile
from urllib import parse

from nnels.formats import archive, metadata, package, xml

MIMETYPE = b"application/epub+zip"
_BAD = "bad_epub"


def read(book: zipfile.ZipFile) -> metadata.Metadata:
    """Metadata of an opened EPUB; `Rejected("bad_epub")` when container or package cannot be read."""
    return package.read(archive.document(book, package_name(book), broken=_BAD))


def package_name(book: zipfile.ZipFile) -> str:
    """The package document named by the container."""
    container = archive.document(book, "META-INF/container.xml", broken=_BAD)
    path = next((root.get("full-path", "") for root in container.iter() if xml.local(root) == "rootfile"), "")
    if not archive.is_safe(path):
        raise metadata.Rejected(_BAD, "the container names no package")
    return path


def check(book: zipfile.ZipFile) -> None:
    """`Rejected("bad_epub")` unless the zip is an EPUB: first entry, container, package, spine."""
    first = next(iter(book.infolist()), None)
    if first is None or first.filename != "mimetype" or first.compress_type != zipfile.ZIP_STORED:
        raise metadata.Rejected(_BAD, "the first entry is not a stored mimetype")
    if archive.read(book, "mimetype", broken=_BAD, limit=64).strip() != MIMETYPE:
        raise metadata.Rejected(_BAD, "the mimetype is not application/epub+zip")
    name = package_name(book)
    root = archive.document(book, name, broken=_BAD)
    names = set(book.namelist())
    items = {item.get("id", ""): item.get("href", "") for item in root.iter() if xml.local(item) == "item"}
    spine = [item.get("idref", "") for item in root.iter() if xml.local(item) == "itemref"]
    if not spine:
        raise metadata.Rejected(_BAD, "the package has no spine")
    for idref in spine:
        if archive.beside(name, parse.unquote(items.get(idref, ""))) not in names:
            raise metadata.Rejected(_BAD, f"spine item {metadata.clean(idref)[:60]} is not in the file")
