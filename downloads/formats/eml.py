"""`eml.xml`: the metadata of an archive as EML 2.1.1, in the GBIF profile's subset (contract §5.1)."""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from downloads.formats import manifest

_EML = "eml://ecoinformatics.org/eml-2.1.1"
_LICENCE_UNKNOWN = "not stated"

ET.register_namespace("eml", _EML)


def eml_xml(
    *,
    build: str,
    title: str,
    creator: str,
    contact: str,
    published: datetime.date,
    query: Mapping[str, Any],
    recordsets: Sequence[manifest.Source],
) -> bytes:
    """The metadata document: title, creator, pubDate, query, licences, recordsets."""
    root = ET.Element(f"{{{_EML}}}eml", {"packageId": build, "system": "http://gbif.org", "scope": "system"})
    root.set("{http://www.w3.org/XML/1998/namespace}lang", "eng")
    dataset = ET.SubElement(root, "dataset")
    _add(dataset, "title", title)
    _party(dataset, "creator", creator, contact)
    _add(dataset, "pubDate", published.isoformat())
    _add(dataset, "language", "eng")
    _paragraphs(dataset, "abstract", [f"Query: {json.dumps(query, ensure_ascii=False)}"])
    _paragraphs(dataset, "intellectualRights", _licences(recordsets))
    _paragraphs(dataset, "purpose", [_source(source) for source in recordsets] or ["No recordset contributed."])
    _party(dataset, "contact", creator, contact)
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _licences(recordsets: Sequence[manifest.Source]) -> list[str]:
    names = sorted({source.license or _LICENCE_UNKNOWN for source in recordsets})
    return [f"Licence: {name}" for name in names] or [f"Licence: {_LICENCE_UNKNOWN}"]


def _source(source: manifest.Source) -> str:
    return f"{source.name} ({source.uuid}): {source.records} records, licence {source.license or _LICENCE_UNKNOWN}"


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _storable(text)


def _party(parent: ET.Element, tag: str, name: str, contact: str) -> None:
    party = ET.SubElement(parent, tag)
    _add(party, "organizationName", name)
    if contact:
        _add(party, "electronicMailAddress", contact)


def _paragraphs(parent: ET.Element, tag: str, texts: Sequence[str]) -> None:
    element = ET.SubElement(parent, tag)
    for text in texts:
        _add(element, "para", text)


def _storable(text: str) -> str:
    """Without the characters XML 1.0 has no way to write."""
    return "".join(char if char in "\t\n\r" or " " <= char not in "\ufffe\uffff" else "\ufffd" for char in text)
