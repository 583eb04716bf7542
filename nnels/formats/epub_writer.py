"""A small valid EPUB 3 of a text, byte-identical on every run (contract section 5)."""

import dataclasses
import html
import io
import zipfile
from collections.abc import Sequence

from nnels.formats import languages

_STAMP = (1980, 1, 1, 0, 0, 0)
_RIGHT_TO_LEFT = frozenset({"ara", "heb", "fas", "urd", "yid"})


@dataclasses.dataclass(frozen=True)
class Book:
    """What the EPUB says. `chapters`: (heading, paragraphs); `modified`: UTC `CCYY-MM-DDThh:mm:ssZ`."""

    uuid: str
    title: str
    creators: Sequence[str]
    language: str
    chapters: Sequence[tuple[str, Sequence[str]]]
    modified: str
    date: str = ""
    publisher: str = ""
    isbn: str = ""
    subjects: Sequence[str] = ()
    description: str = ""


def build(book: Book) -> bytes:
    """The EPUB's bytes: stored entries in fixed order with fixed time stamps, so no compressor version shows."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name, text in _entries(book):
            info = zipfile.ZipInfo(name, _STAMP)
            info.external_attr = 0o644 << 16
            target.writestr(info, text.encode("utf-8"), compress_type=zipfile.ZIP_STORED)
    return out.getvalue()


def _entries(book: Book) -> list[tuple[str, str]]:
    return [
        ("mimetype", "application/epub+zip"),
        ("META-INF/container.xml", _CONTAINER),
        ("EPUB/package.opf", _package(book)),
        ("EPUB/nav.xhtml", _page(book, book.title, _navigation(book))),
        *(
            (f"EPUB/chapter{number}.xhtml", _page(book, heading, _chapter(heading, paragraphs)))
            for number, (heading, paragraphs) in enumerate(book.chapters, 1)
        ),
    ]


_CONTAINER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="EPUB/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>\n'
)

_ACCESSIBILITY = (
    ("schema:accessMode", "textual"),
    ("schema:accessModeSufficient", "textual"),
    ("schema:accessibilityFeature", "readingOrder"),
    ("schema:accessibilityFeature", "structuralNavigation"),
    ("schema:accessibilityFeature", "tableOfContents"),
    ("schema:accessibilityHazard", "none"),
    ("schema:accessibilitySummary", "Text with headings and a table of contents; no images, sound or scripts."),
)


def _package(book: Book) -> str:
    tag = languages.to_bcp47(book.language)
    dublin = [
        f'<dc:identifier id="id">urn:uuid:{_text(book.uuid)}</dc:identifier>',
        f"<dc:title>{_text(book.title)}</dc:title>",
        f"<dc:language>{_text(tag)}</dc:language>",
        *(_creator(number, name) for number, name in enumerate(book.creators, 1)),
        *(f"<dc:subject>{_text(subject)}</dc:subject>" for subject in book.subjects),
    ]
    optional = (("date", book.date), ("publisher", book.publisher), ("description", book.description))
    dublin += [f"<dc:{name}>{_text(value)}</dc:{name}>" for name, value in optional if value]
    if book.isbn:
        dublin.append(f"<dc:identifier>urn:isbn:{_text(book.isbn)}</dc:identifier>")
    meta = [f'<meta property="dcterms:modified">{_text(book.modified)}</meta>']
    meta += [f'<meta property="{name}">{_text(value)}</meta>' for name, value in _ACCESSIBILITY]
    chapters = range(1, len(book.chapters) + 1)
    manifest = '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>' + "".join(
        f'<item id="c{number}" href="chapter{number}.xhtml" media-type="application/xhtml+xml"/>' for number in chapters
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in chapters)
    direction = ' page-progression-direction="rtl"' if book.language in _RIGHT_TO_LEFT else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" '
        f'xml:lang="{_text(tag)}">\n<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        + "\n".join(dublin + meta)
        + f"\n</metadata>\n<manifest>{manifest}</manifest>\n<spine{direction}>{spine}</spine>\n</package>\n"
    )


def _creator(number: int, name: str) -> str:
    """Catalogue form (`Melville, Herman`) as file-as, reading form as the text."""
    family, comma, given = name.partition(", ")
    shown = f"{given} {family}" if comma else name
    return (
        f'<dc:creator id="creator{number}">{_text(shown)}</dc:creator>'
        f'<meta refines="#creator{number}" property="role" scheme="marc:relators">aut</meta>'
        f'<meta refines="#creator{number}" property="file-as">{_text(name)}</meta>'
    )


def _page(book: Book, title: str, body: str) -> str:
    tag = _text(languages.to_bcp47(book.language))
    direction = ' dir="rtl"' if book.language in _RIGHT_TO_LEFT else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" '
        f'lang="{tag}" xml:lang="{tag}"{direction}>\n'
        f"<head><title>{_text(title)}</title></head>\n<body>{body}</body>\n</html>\n"
    )


def _navigation(book: Book) -> str:
    entries = "".join(
        f'<li><a href="chapter{number}.xhtml">{_text(heading)}</a></li>'
        for number, (heading, _) in enumerate(book.chapters, 1)
    )
    return f'<nav epub:type="toc"><h1>{_text(book.title)}</h1><ol>{entries}</ol></nav>'


def _chapter(heading: str, paragraphs: Sequence[str]) -> str:
    return f"<section><h1>{_text(heading)}</h1>" + "".join(f"<p>{_text(one)}</p>" for one in paragraphs) + "</section>"


def _text(value: str) -> str:
    return html.escape(value, quote=True)
