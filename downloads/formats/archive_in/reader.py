"""An archive as a whole: what kind it is, its tables in reading order, its metadata."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from lxml import etree

from downloads.formats import terms
from downloads.formats.archive_in import meta, rows, sources

_RAW_NAMES = {"occurrence_raw": "records", "multimedia_raw": "media"}
_INDEX_NAMES = {"occurrence": "records", "multimedia": "media"}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_TELLING = terms.RECORD_SOURCES | terms.MEDIA_SOURCES | {"id", "coreid", "ac:providerManagedID", "idigbio:recordId"}
"""A file without a descriptor has at least one of these columns; else it is some other table, or no table at all."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A raw file of a download archive and its indexed twin, which has the same rows in the same order."""

    role: meta.Role
    raw: meta.Table
    index: meta.Table | None


@dataclasses.dataclass(kw_only=True)
class Archive(sources.Closing):
    """An opened archive.

    `tables` are a provider's; `pairs` are set instead when the archive is a download of this service or of iDigBio,
    whose raw files are the source and whose `coreid` is the uuid: of records where `core` is "records" or, as iDigBio
    writes them, the descriptor names no core. `name` is the file's own name.
    """

    source: sources.Source
    limits: sources.Limits
    name: str
    package_id: str
    title: str
    licence: str
    eml: str
    tables: list[meta.Table]
    pairs: list[Pair]
    core: meta.Role | None

    def rows(self, table: meta.Table) -> Iterator[rows.Row | rows.Problem]:
        """Every row of the table's files, in order."""
        for file in table.files:
            with closing(self.source.open(file)) as stream:
                yield from rows.Reader(stream, PurePosixPath(file).name, table, self.limits)

    def close(self) -> None:
        self.source.close()


def opened(path: Path, *, limits: sources.Limits | None = None) -> Archive:
    """Open what lies at `path`: zip, tar.gz, directory, or a lone Darwin Core CSV/TSV; else `Unreadable`."""
    bounds = limits or sources.Limits()
    source = sources.open_source(path, bounds)
    try:
        return _archive(source, bounds, path)
    except BaseException:
        source.close()
        raise


def _archive(source: sources.Source, limits: sources.Limits, path: Path) -> Archive:
    names = set(source.names())
    descriptor = _find(names, "meta.xml")
    if descriptor is None:
        tables, folder, eml_name = [_lone(source, names)], "", None
    else:
        folder = descriptor[: -len("meta.xml")]
        data = _small(source, descriptor, limits)
        tables = meta.read_descriptor(data, folder, names, limits)
        eml_name = _eml_name(data, folder, names)
    eml = b"" if eml_name is None else _small(source, eml_name, limits)
    facts = _eml_facts(eml)
    return Archive(
        source=source,
        limits=limits,
        name=path.name.partition(".")[0] or path.name,
        eml=eml.decode("utf-8", "replace").replace("\0", ""),
        tables=tables,
        pairs=_pairs(tables),
        core=next((table.role for table in tables if table.is_core), None),
        **facts,
    )


def _find(names: set[str], wanted: str) -> str | None:
    found = [name for name in names if PurePosixPath(name).name == wanted]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def _small(source: sources.Source, name: str, limits: sources.Limits) -> bytes:
    with closing(source.open(name)) as stream:
        data = stream.read(limits.xml + 1)
    if len(data) > limits.xml:
        raise sources.Unreadable(f"The file {PurePosixPath(name).name} is larger than {limits.xml} bytes.")
    return data


def _lone(source: sources.Source, names: set[str]) -> meta.Table:
    found = [name for name in names if PurePosixPath(name).suffix.lower() in sources.LONE_SUFFIXES]
    if len(found) != 1:
        raise sources.Unreadable("The archive has no meta.xml.")
    with closing(source.open(found[0])) as stream:
        head = stream.read(1 << 20)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8-sig")
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip("\r\n")
    line = text.partition("\n")[0].partition("\r")[0]
    delimiter = max("\t,|;", key=line.count)
    names_in_order = [rows.header_name(cell.strip('"')) for cell in line.split(delimiter)]
    if _TELLING.isdisjoint(names_in_order):
        file = PurePosixPath(found[0]).name
        raise sources.Unreadable(f"The first line of {file} names no column of Darwin Core.")
    role: meta.Role = "media" if "ac:accessURI" in names_in_order else "records"
    id_index = next((names_in_order.index(name) for name in ("id", "coreid") if name in names_in_order), None)
    return meta.Table(
        role=role,
        row_type=meta.OCCURRENCE,
        files=(found[0],),
        encoding=encoding,
        delimiter=delimiter,
        line_end="\n" if "\n" in text else "\r",
        is_core=True,
        id_index=id_index,
    )


def _eml_name(descriptor: bytes, folder: str, names: set[str]) -> str | None:
    named = (meta.parse_xml(descriptor).get("metadata") or "").strip()
    return next((folder + name for name in (named, "eml.xml") if name and folder + name in names), None)


def _eml_facts(eml: bytes) -> dict[str, str]:
    """packageId, title and licence of an EML document; a malformed one has none: it is metadata, not data."""
    facts = {"package_id": "", "title": "", "licence": ""}
    if not eml:
        return facts
    try:
        root = meta.parse_xml(eml)
    except sources.Unreadable as fault:
        if "document type" in fault.message:
            raise
        return facts
    facts["package_id"] = (root.get("packageId") or "").strip()
    facts["title"] = _text(root, "title")
    facts["licence"] = _text(root, "intellectualRights") or _text(root, "licenseName")
    return facts


def _text(root: etree._Element, name: str) -> str:
    found = next(root.iter(f"{{*}}{name}", name), None)
    return "" if found is None else " ".join("".join(str(part) for part in found.itertext()).split())


def _stem(table: meta.Table) -> str:
    return PurePosixPath(table.files[0]).stem.lower()


def _pairs(tables: list[meta.Table]) -> list[Pair]:
    """The raw and indexed files of a download archive, told by the names this service and iDigBio give them."""
    if not any(_stem(table) in _RAW_NAMES for table in tables):
        return []
    # the header line holds the provider's own spelling; the descriptor's URIs may have lost it (iDigBio)
    own = {
        _stem(table): dataclasses.replace(
            table,
            columns=None,
            has_curie_header=True,
            header_lines=max(table.header_lines, 1),
            id_index=0,
            is_core=False,
        )
        for table in tables
    }
    index = {role: own[stem] for stem, role in _INDEX_NAMES.items() if stem in own}
    return [
        Pair("media" if role == "media" else "records", own[stem], index.get(role))
        for stem, role in _RAW_NAMES.items()
        if stem in own
    ]
