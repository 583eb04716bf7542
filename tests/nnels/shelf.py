"""Books as files, made for import tests."""

from __future__ import annotations

import io
import pathlib
import zipfile

from nnels.formats import epub_writer

UUID = "1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b"

CONTAINER = (
    '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)

RICH_OPF = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="pub">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:opf="http://www.idpf.org/2007/opf">
<dc:identifier id="pub">urn:uuid:1B4E28BA-2fa1-4d3b-a3f5-ef19b5a7633b</dc:identifier>
<dc:identifier>urn:isbn:0142437247</dc:identifier>
<dc:title id="t2">The Whale</dc:title><meta refines="#t2" property="title-type">subtitle</meta>
<dc:title id="t1">Moby-Dick</dc:title><meta refines="#t1" property="title-type">main</meta>
<dc:creator id="c1">Herman Melville</dc:creator><meta refines="#c1" property="file-as">Melville, Herman</meta>
<dc:creator id="c2">Ann Reader</dc:creator><meta refines="#c2" property="role">nrt</meta>
<dc:language>en-US</dc:language><dc:language>fre</dc:language>
<dc:date>1851-10-18T00:00:00Z</dc:date>
<dc:publisher>Harper</dc:publisher><dc:subject>Whaling</dc:subject><dc:subject>Sea stories</dc:subject>
<dc:description>&lt;p&gt;A &lt;b&gt;whale&lt;/b&gt; &amp;amp; a captain&lt;/p&gt;</dc:description>
<meta property="belongs-to-collection" id="s">Classics</meta><meta refines="#s" property="group-position">3</meta>
<meta property="media:duration">1:02:03.5</meta>
<meta property="schema:accessMode">textual</meta><meta property="schema:accessMode">auditory</meta>
<meta property="schema:accessModeSufficient">textual,auditory</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta>
<meta property="schema:accessibilityHazard">none</meta>
<meta property="schema:accessibilitySummary">All of it.</meta>
<link rel="dcterms:conformsTo" href="http://www.idpf.org/epub/a11y/accessibility-20170105.html#wcag-aa"/>
<meta property="dcterms:modified">2020-01-01T00:00:00Z</meta>
</metadata>
<manifest><item id="c" href="c%201.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="c"/></spine></package>"""

EPUB2_OPF = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" version="2.0" unique-identifier="pub">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:opf="http://www.idpf.org/2007/opf">
<dc:identifier id="pub" opf:scheme="ISBN">978-0-14-143951-8</dc:identifier><dc:title>Emma</dc:title>
<dc:creator opf:file-as="Austen, Jane" opf:role="aut">Jane Austen</dc:creator><dc:language>en</dc:language>
<meta name="calibre:series" content="Novels"/><meta name="calibre:series_index" content="4.0"/>
<meta name="schema:accessibilityFeature" content="tableOfContents"/>
</metadata>
<manifest><item id="c" href="c%201.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="c"/></spine></package>"""


def epub(opf: str = RICH_OPF, **more: bytes) -> bytes:
    """An EPUB around a package document."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip")
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("OPS/package.opf", opf)
        book.writestr("OPS/c 1.xhtml", "<html xmlns='http://www.w3.org/1999/xhtml'><body><p>x</p></body></html>")
        for name, content in more.items():
            book.writestr(name, content)
    return out.getvalue()


def simple_epub(title: str, uuid: str = UUID) -> bytes:
    """A generated EPUB 3."""
    return epub_writer.build(
        epub_writer.Book(
            uuid=uuid, title=title, creators=["Doe, Jo"], language="eng", chapters=[("1", ["Text."])],
            modified="2020-01-01T00:00:00Z",
        )
    )  # fmt: skip


NCC = """<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Listen</title>
<meta name="dc:title" content="Écoutez"/><meta name="dc:creator" content="Roy, G."/>
<meta name="dc:language" content="fr-CA"/><meta name="dc:identifier" content="ca-cnib-0001"/>
<meta name="ncc:narrator" content="Une voix"/><meta name="ncc:totalTime" content="02:00:30"/>
<meta name="ncc:sourceDate" content="1945"/></head><body><h1>1</h1></body></html>"""

DAISY3_OPF = """<?xml version="1.0"?><package unique-identifier="u"><metadata><dc-metadata
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:Title>Third</dc:Title><dc:Creator>Three, T.</dc:Creator>
<dc:Language>en</dc:Language><dc:Identifier id="u">urn:uuid:2b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b</dc:Identifier>
</dc-metadata><x-metadata><meta name="dtb:narrator" content="A Voice"/><meta name="dtb:totalTime" content="1:00:00"/>
</x-metadata></metadata><manifest><item id="n" href="n.ncx" media-type="application/x-dtbncx+xml"/>
<item id="d" href="d.xml" media-type="application/x-dtbook+xml"/></manifest><spine/></package>"""

MARC = """<collection xmlns="http://www.loc.gov/MARC21/slim"><record><leader>00000nam</leader>
<controlfield tag="008">850101s1851    nyu           000 1 eng d</controlfield>
<datafield tag="020" ind1=" " ind2=" "><subfield code="a">0142437247 (pbk.)</subfield></datafield>
<datafield tag="100" ind1="1" ind2=" "><subfield code="a">Melville, Herman,</subfield></datafield>
<datafield tag="700" ind1="1" ind2=" "><subfield code="a">Kent, R.</subfield></datafield>
<datafield tag="245" ind1="1" ind2="0"><subfield code="a">Moby-Dick :</subfield><subfield code="b">or, The whale /</subfield></datafield>
<datafield tag="250" ind1=" " ind2=" "><subfield code="a">2nd ed.</subfield></datafield>
<datafield tag="264" ind1=" " ind2="1"><subfield code="a">New York :</subfield><subfield code="b">Harper,</subfield><subfield code="c">c1851.</subfield></datafield>
<datafield tag="306" ind1=" " ind2=" "><subfield code="a">012030</subfield><subfield code="a">004000</subfield><subfield code="a">about an hour</subfield></datafield>
<datafield tag="024" ind1="7" ind2=" "><subfield code="a">urn:uuid:1B4E28BA-2FA1-4D3B-A3F5-EF19B5A7633C</subfield></datafield>
<datafield tag="341" ind1="0" ind2=" "><subfield code="a">textual</subfield><subfield code="b">tableOfContents</subfield></datafield>
<datafield tag="521" ind1=" " ind2=" "><subfield code="a">Adults.</subfield></datafield>
<datafield tag="651" ind1=" " ind2="0"><subfield code="a">Nantucket (Mass.)</subfield></datafield>
<datafield tag="653" ind1=" " ind2=" "><subfield code="a">sea</subfield></datafield>
<datafield tag="490" ind1="0" ind2=" "><subfield code="a">Classics ;</subfield><subfield code="v">3</subfield></datafield>
<datafield tag="511" ind1="0" ind2=" "><subfield code="a">Narrated by Ann Reader.</subfield></datafield>
<datafield tag="520" ind1=" " ind2=" "><subfield code="a">A whale.</subfield></datafield>
<datafield tag="532" ind1="1" ind2=" "><subfield code="a">Text only.</subfield></datafield>
<datafield tag="650" ind1=" " ind2="0"><subfield code="a">Whaling</subfield><subfield code="v">Fiction.</subfield></datafield>
<datafield tag="856" ind1="4" ind2="0"><subfield code="u">https://example.org/files/moby.brf?x=1</subfield></datafield>
</record></collection>"""  # noqa: E501 - records are one field per line


def mp3_zip() -> bytes:
    """A zip of sound files with a playlist."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("01.mp3", b"ID3 sound")
        book.writestr("list.m3u", "01.mp3")
    return out.getvalue()


def write(root: pathlib.Path, files: dict[str, bytes | str]) -> pathlib.Path:
    """Files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root
