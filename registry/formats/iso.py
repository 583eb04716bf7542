"""Read ISO metadata records: ISO 19139 (`gmd`), ISO 19115-2 (`gmi`) and ISO 19115-3 (`mdb`), one parse per record.

Everything here works on an lxml element and never raises for odd content: what a record does not say is empty.
Sources: ISO/TS 19139:2007, ISO 19115-3:2016, contract 4.5.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

GMD: Final = "http://www.isotc211.org/2005/gmd"
GMI: Final = "http://www.isotc211.org/2005/gmi"
GCO: Final = "http://www.isotc211.org/2005/gco"
GMX: Final = "http://www.isotc211.org/2005/gmx"
SRV: Final = "http://www.isotc211.org/2005/srv"
TITLE_LENGTH: Final = 2000
NUMBER: Final = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
ISO3: Final = re.compile(r"http://standards\.iso\.org/iso/19(?:115|110)/(?:-[0-9]/)?(?P<module>[a-z0-9]+)/[0-9.]+\Z")

_local = threading.local()


def parser() -> etree.XMLParser:
    """This thread's parser: no entities, no DTD, no network, libxml2's own size limits on (contract 8)."""
    made: etree.XMLParser | None = getattr(_local, "parser", None)
    if made is None:
        made = etree.XMLParser(
            resolve_entities=False, load_dtd=False, dtd_validation=False, no_network=True, huge_tree=False
        )
        _local.parser = made
    return made


@dataclass(frozen=True, slots=True)
class Extract:
    """What a record says about itself. `bbox` is west, south, east, north in degrees, or `None`.

    `titles` are the title's translations as `{"language": code, "title": text}` in document order.
    """

    file_id: str
    title: str
    titles: list[dict[str, str]]
    description: str
    metadata_date: str
    standard: str
    kind: str
    services: list[dict[str, str]]
    links: list[dict[str, str]]
    bbox: list[float] | None


def standard_of(root: etree._Element) -> str:
    """`gmd`, `gmi`, `mdb` or `unknown`, by the root element."""
    name = etree.QName(root)
    if name.localname == "MD_Metadata" and name.namespace == GMD:
        return "gmd"
    if name.localname == "MI_Metadata" and name.namespace == GMI:
        return "gmi"
    if name.localname == "MD_Metadata" and module_of(name.namespace or "") == "mdb":
        return "mdb"
    return "unknown"


def module_of(namespace: str) -> str:
    """The module of an ISO 19115-3 namespace (`mdb`, `mri`, `cit` ...), its version ignored; else empty."""
    match = ISO3.match(namespace)
    return match["module"] if match else ""


def local(element: etree._Element) -> str:
    """An element's name without namespace; empty for comments and processing instructions."""
    tag: Any = element.tag  # a function for comments, which the stubs do not know
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def line(element: etree._Element) -> int | None:
    """Where an element stands in its document, if the parser knew."""
    found: Any = element.sourceline
    return found if isinstance(found, int) else None


def children(element: etree._Element | None, *names: str) -> Iterator[etree._Element]:
    """Child elements with one of these local names, whatever the module's version."""
    if element is not None:
        for child in element:
            if local(child) in names:
                yield child


def first(element: etree._Element | None, *path: str) -> etree._Element | None:
    """Walk down by local names, taking the first child at each step."""
    for name in path:
        if element is None:
            return None
        element = next(children(element, name), None)
    return element


def text(element: etree._Element | None) -> str:
    """A property's value: the text of its CharacterString, Anchor, Date ... or its own, white space folded.

    One that says it in translations only has the first of them.
    """
    if element is None:
        return ""
    for child in element:
        if local(child) in ("CharacterString", "Anchor", "FileName", "MimeFileType", "URL", "DateTime", "Date"):
            return _whole_text(child)
    own = " ".join((element.text or "").split())
    return own or next((words for _locale, words in translations(element)), "")


def _whole_text(element: etree._Element) -> str:
    return " ".join("".join(str(part) for part in element.itertext()).split())


def translations(element: etree._Element | None) -> Iterator[tuple[str, str]]:
    """(locale, text) of a property's PT_FreeText; the locale is the id the record gives it (ISO/TS 19139, 9.7)."""
    for free in children(element, "PT_FreeText"):
        for group in children(free, "textGroup"):
            for words in children(group, "LocalisedCharacterString"):
                said = _whole_text(words)
                if said:
                    yield words.get("locale", "").removeprefix("#"), said


def _languages(root: etree._Element) -> dict[str, str]:
    """The language code of each locale the record declares, by the locale's id."""
    found: dict[str, str] = {}
    for holder in children(root, "locale", "otherLocale", "defaultLocale"):
        for place in children(holder, "PT_Locale"):
            language = code(first(place, "languageCode")) or code(first(place, "language"))
            found[place.get("id", "")] = language
    return found


def _titles(root: etree._Element, title: etree._Element | None) -> list[dict[str, str]]:
    """A title's translations; a locale nobody declared is named by its id."""
    languages = _languages(root)
    found = [
        {"language": (languages.get(locale) or locale)[:40], "title": words[:TITLE_LENGTH]}
        for locale, words in translations(title)
    ]
    return found[:100]


def code(element: etree._Element | None) -> str:
    """A code list property's value: `codeListValue` of its child, else the child's text."""
    if element is None:
        return ""
    for child in element:
        if local(child):
            return (child.get("codeListValue") or child.text or "").strip()
    return ""


def identifier(root: etree._Element) -> str:
    """`gmd:fileIdentifier`, or the first code of `mdb:metadataIdentifier`."""
    found = first(root, "fileIdentifier")
    if found is not None:
        return text(found)
    return text(first(root, "metadataIdentifier", "MD_Identifier", "code"))


def identifications(root: etree._Element) -> list[etree._Element]:
    """The identification sections, data or service, in document order."""
    return [child for info in children(root, "identificationInfo") for child in info if local(child)]


def operations(service: etree._Element) -> Iterator[etree._Element]:
    for holder in children(service, "containsOperations"):
        yield from children(holder, "SV_OperationMetadata")


def _services(sections: list[etree._Element]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for section in sections:
        if local(section) != "SV_ServiceIdentification":
            continue
        kind = _service_type(section)
        for operation in operations(section):
            for point in children(operation, "connectPoint"):
                url = text(first(point, "CI_OnlineResource", "linkage"))
                if url:
                    found.append({"type": kind, "operation": text(first(operation, "operationName")), "url": url})
    return found[:100]


def _service_type(section: etree._Element) -> str:
    holder = first(section, "serviceType")
    if holder is None:
        return ""
    inner = next((child for child in holder if local(child) in ("LocalName", "ScopedName")), None)
    return (inner.text or "").strip() if inner is not None else text(holder)


def _links(root: etree._Element) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for info in children(root, "distributionInfo"):
        for resource in info.iter("{*}CI_OnlineResource"):
            url = text(first(resource, "linkage"))
            if url:
                found.append(
                    {
                        "url": url,
                        "name": text(first(resource, "name")),
                        "protocol": text(first(resource, "protocol")),
                        "function": code(first(resource, "function")),
                    }
                )
    return found[:200]


def _metadata_date(root: etree._Element) -> str:
    stamp = first(root, "dateStamp")
    if stamp is not None:
        return text(stamp)
    dates = {
        code(first(date, "dateType")): text(first(date, "date"))
        for info in children(root, "dateInfo")
        for date in children(info, "CI_Date")
    }
    return dates.get("revision") or dates.get("creation") or ""


def _kind(root: etree._Element, sections: list[etree._Element]) -> str:
    level = code(first(root, "hierarchyLevel")) or code(
        first(root, "metadataScope", "MD_MetadataScope", "resourceScope")
    )
    if level in ("dataset", "series", "service"):
        return level
    if level:
        return "other"
    if sections and local(sections[0]) == "SV_ServiceIdentification":
        return "service"
    return "dataset"


def boxes(root: etree._Element) -> list[etree._Element]:
    """Every geographic bounding box of the record."""
    return list(root.iter("{*}EX_GeographicBoundingBox"))


BOUNDS: Final = ("westBoundLongitude", "southBoundLatitude", "eastBoundLongitude", "northBoundLatitude")


def bounds(box: etree._Element) -> dict[str, str]:
    """The printed numbers of a box by bound name; missing ones are empty."""
    found = dict.fromkeys(BOUNDS, "")
    for child in box:
        name = local(child)
        if name in found:
            value = next((grandchild for grandchild in child if local(grandchild) == "Decimal"), None)
            found[name] = ((value.text if value is not None else child.text) or "").strip()
    return found


def number(printed: str) -> float:
    """What a bound says; not a number for anything XML Schema knows no number in, such as `1_0` or other digits."""
    return float(printed) if NUMBER.fullmatch(printed) else math.nan


def _bbox(root: etree._Element) -> list[float] | None:
    for box in boxes(root):
        west, south, east, north = (number(value) for value in bounds(box).values())
        if all(abs(value) <= 360 for value in (west, south, east, north)):
            return [west, south, east, north]
    return None


def extract(root: etree._Element) -> Extract:
    """Read what the registry shows of a record (contract 4.5, extraction)."""
    sections = identifications(root)
    section = sections[0] if sections else None
    title = first(section, "citation", "CI_Citation", "title")
    return Extract(
        file_id=identifier(root)[:500],
        title=text(title)[:TITLE_LENGTH],
        titles=_titles(root, title),
        description=text(first(section, "abstract"))[:20000],
        metadata_date=_metadata_date(root)[:40],
        standard=standard_of(root),
        kind=_kind(root, sections),
        services=_services(sections),
        links=_links(root),
        bbox=_bbox(root),
    )
