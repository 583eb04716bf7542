"""`meta.xml`, read without trusting it: which file is what, how it is cut into cells, which column is which term."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from lxml import etree

from downloads.formats import terms
from downloads.formats.archive_in import sources

Role = Literal["records", "media", "other"]

OCCURRENCE = "http://rs.tdwg.org/dwc/terms/Occurrence"
_MEDIA_TYPES = frozenset({"multimedia", "image", "audubon"})
_DELIMITERS = {"": ",", "\\t": "\t", "tab": "\t", "0x09": "\t", "&#9;": "\t"}
_TAB_AS_IT_IS = " "
"""What XML makes of a tab written into an attribute (XML 1.0, 3.3.3); nobody delimits by spaces."""
_MULTI_CHARACTER = "||"
UNDECODABLE = "downloads.undecodable"
"""Error handler of decoders: a lone surrogate for every byte, as `surrogateescape` has it, in any encoding.

It tells undecodable bytes from a U+FFFD that the provider wrote.
"""
_NO_ENCODING = "The descriptor meta.xml names an unknown encoding."
_NO_DOCTYPE = "The descriptor declares a document type; entities are not accepted."


def _undecodable(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeDecodeError):
        raise fault
    return "\udc80" * (fault.end - fault.start), fault.end


codecs.register_error(UNDECODABLE, _undecodable)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One `<field>`: `index` is None where only a default is given."""

    index: int | None
    name: str
    default: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """One `<core>` or `<extension>`: how to cut its files into raw rows.

    `delimiter` may be the two characters `||`; `quote` is empty where cells are never enclosed; `id_index` is None
    where the rows carry no id; `columns` is None where the header line names the columns (files without a descriptor),
    as CURIEs where `has_curie_header` (archives of this service and of iDigBio), else in any spelling.
    """

    role: Role
    row_type: str
    files: tuple[str, ...]
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    line_end: str = "\n"
    header_lines: int = 1
    id_index: int | None = 0
    is_core: bool = False
    columns: tuple[Column, ...] | None = None
    has_curie_header: bool = False

    @property
    def id_name(self) -> str:
        """The raw key under which the id column is kept."""
        return "id" if self.is_core else "coreid"


def role_of(row_type: str) -> Role:
    """Row type URI to what its rows become (contract 6.2)."""
    local = row_type.rstrip("/").rpartition("/")[2].rpartition("#")[2].lower()
    if local == "occurrence":
        return "records"
    return "media" if local in _MEDIA_TYPES else "other"


def parse_xml(data: bytes) -> etree._Element:
    """A document without DTD, entities or network access; otherwise `Unreadable`."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as fault:
        if b"<!DOCTYPE" in data:
            raise sources.Unreadable(_NO_DOCTYPE) from fault
        raise sources.Unreadable("The descriptor meta.xml is not well-formed XML.") from fault
    if root.getroottree().docinfo.internalDTD is not None:
        raise sources.Unreadable(_NO_DOCTYPE)
    return root


def _local(element: etree._Element) -> str:
    tag: object = element.tag  # comments and instructions have a function here
    return etree.QName(element).localname if isinstance(tag, str) else ""


def _children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return (child for child in element if _local(child).lower() == name)


def _number(element: etree._Element, name: str) -> int | None:
    text = (element.get(name) or "").strip()
    if not text:
        return None
    if not text.isdecimal() or len(text) > 6:
        raise sources.Unreadable(f"The descriptor meta.xml has something else than a number as {name}.")
    return int(text)


def _encoding(element: etree._Element) -> str:
    name = (element.get("encoding") or "utf-8").strip()
    try:
        codec = codecs.lookup(name)
        is_of_text = codec._is_text_encoding and _decodes(codec)
    except LookupError as fault:
        raise sources.Unreadable(_NO_ENCODING) from fault
    if not is_of_text:
        raise sources.Unreadable(_NO_ENCODING)
    # a byte order mark is no part of the first header
    return "utf-8-sig" if codec.name == "utf-8" else codec.name


def _decodes(codec: codecs.CodecInfo) -> bool:
    """Whether files can be in it: some encodings are of host names only, or made to be unusable."""
    try:
        codecs.getincrementaldecoder(codec.name)(UNDECODABLE).decode(b"a", True)
    except UnicodeError:
        return False
    return True


def _delimiter(element: etree._Element) -> str:
    text = element.get("fieldsTerminatedBy")
    if text is None:
        return ","
    text = "\t" if text == _TAB_AS_IT_IS else _DELIMITERS.get(text.strip(" ").lower(), text)
    if text != _MULTI_CHARACTER and (len(text) != 1 or text in '\r\n"'):
        raise sources.Unreadable("The descriptor meta.xml names a delimiter that is not understood.")
    return text


def _quote(element: etree._Element) -> str:
    text = element.get("fieldsEnclosedBy")
    if text is None:
        return '"'
    text = '"' if text.strip() in {"&quot;", "0x22"} else text.strip()
    if len(text) > 1 or (text and text == _delimiter(element)):
        raise sources.Unreadable("The descriptor meta.xml names an enclosure that is not understood.")
    return text


def _columns(element: etree._Element, limits: sources.Limits) -> tuple[Column, ...]:
    columns = tuple(
        Column(
            index=_number(field, "index"),
            name=terms.curie((field.get("term") or "").strip()),
            default=(field.get("default") or "").strip(),
        )
        for field in _children(element, "field")
    )
    if len(columns) > limits.columns or any((column.index or 0) > limits.columns for column in columns):
        raise sources.Unreadable(f"A file of the archive has more than {limits.columns} columns.")
    check_names([column.name for column in columns], limits)
    if any(not column.name for column in columns):
        raise sources.Unreadable("The descriptor meta.xml has a field without a term.")
    return columns


def check_names(names: Iterable[str], limits: sources.Limits) -> None:
    """Refuse names of columns (or of row types, which become columns) that are too long."""
    if any(len(name) > limits.name for name in names):
        raise sources.Unreadable(f"A column of the archive has a name of more than {limits.name} characters.")


def _files(element: etree._Element, folder: str, names: set[str]) -> tuple[str, ...]:
    found = [
        folder + PurePosixPath((location.text or "").strip()).as_posix()  # "./a.csv" is a.csv
        for files in _children(element, "files")
        for location in _children(files, "location")
    ]
    if not found:
        raise sources.Unreadable("The descriptor meta.xml names no file.")
    for name in found:
        if name not in names:
            raise sources.Unreadable(f"The archive lacks the file {name[len(folder) :]}.")
    return tuple(found)


def _table(element: etree._Element, folder: str, names: set[str], limits: sources.Limits) -> Table:
    is_core = _local(element) == "core"
    row_type = (element.get("rowType") or "").strip()
    id_element = next(_children(element, "id" if is_core else "coreid"), None)
    check_names([row_type], limits)
    line_end = (element.get("linesTerminatedBy") or "\n").replace("\\r", "\r").replace("\\n", "\n")
    return Table(
        role=role_of(row_type),
        row_type=row_type,
        files=_files(element, folder, names),
        encoding=_encoding(element),
        delimiter=_delimiter(element),
        quote=_quote(element),
        line_end=line_end,
        header_lines=_number(element, "ignoreHeaderLines") or 0,
        id_index=None if id_element is None else _number(id_element, "index"),
        is_core=is_core,
        columns=_columns(element, limits),
    )


def read_descriptor(data: bytes, folder: str, names: set[str], limits: sources.Limits) -> list[Table]:
    """The tables of a `meta.xml` found in `folder` ("" or ending in "/"), core first where there is one."""
    root = parse_xml(data)
    if _local(root) != "archive":
        raise sources.Unreadable("The descriptor meta.xml does not describe an archive.")
    cores = [_table(each, folder, names, limits) for each in _children(root, "core")]
    if len(cores) > 1:
        raise sources.Unreadable("The descriptor meta.xml has more than one core.")
    tables = cores + [_table(each, folder, names, limits) for each in _children(root, "extension")]
    if not tables:
        raise sources.Unreadable("The descriptor meta.xml describes no file.")
    return tables
