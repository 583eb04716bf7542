"""The OPF package document: EPUB 2 and 3, DAISY 3 (contract section 6)."""

import re
from collections import defaultdict

from lxml import etree

from nnels.formats import dates, metadata, xml

OPF = "{http://www.idpf.org/2007/opf}"
NCX = "application/x-dtbncx+xml"
DTBOOK = "application/x-dtbook+xml"


def media_types(root: etree._Element) -> set[str]:
    """Media types of the manifest."""
    return {item.get("media-type", "") for item in root.iter() if xml.local(item) == "item"}


def read(root: etree._Element) -> metadata.Metadata:
    """Metadata of a package document."""
    found = metadata.Metadata()
    elements = _metadata_elements(root)
    refines = _refines(elements)
    plain = _plain_meta(elements)
    unique_id = root.get("unique-identifier", "")
    dublin: dict[str, list[etree._Element]] = defaultdict(list)
    for element in elements:
        dublin[xml.local(element).lower()].append(element)
    _identify(found, dublin["identifier"], unique_id)
    found.title = _title(dublin["title"], refines)
    for element in dublin["creator"] + dublin["contributor"]:
        _person(found, element, refines)
    for element in dublin["language"]:
        found.add_language(xml.text(element))
    for element in dublin["date"]:
        if element.get(OPF + "event", "publication") in ("publication", "original-publication"):
            found.set_date(xml.text(element))
    found.publisher = metadata.clean(next(map(xml.text, dublin["publisher"]), ""))
    found.subjects = metadata.unique([xml.text(element) for element in dublin["subject"]])
    found.description = metadata.strip_tags(next(map(xml.text, dublin["description"]), ""))
    found.series = _series(elements, refines, plain)
    found.duration = next(filter(None, map(dates.seconds, plain["media:duration"] + plain["dtb:totaltime"])), None)
    found.narrators = metadata.unique(found.narrators + plain["media:narrator"] + plain["dtb:narrator"])
    found.accessibility = _accessibility(elements, plain)
    return found


def _metadata_elements(root: etree._Element) -> list[etree._Element]:
    block = next((element for element in root.iter() if xml.local(element) == "metadata"), None)
    return [] if block is None else [element for element in block.iter() if xml.local(element)]


def _refines(elements: list[etree._Element]) -> dict[tuple[str, str], str]:
    """(id, property) → value of EPUB 3 refinements."""
    return {
        (element.get("refines", "")[1:], element.get("property", "")): metadata.clean(xml.text(element))
        for element in elements
        if xml.local(element) == "meta" and element.get("refines")
    }


def _plain_meta(elements: list[etree._Element]) -> dict[str, list[str]]:
    """Values of `meta` that describe the whole book, by lower-case property (EPUB 3) or name (EPUB 2, DAISY 3)."""
    values: dict[str, list[str]] = defaultdict(list)
    for element in elements:
        if xml.local(element) == "meta" and not element.get("refines"):
            key = element.get("property") or element.get("name") or ""
            values[key.lower()].append(element.get("content") or xml.text(element))
    return values


def _identify(found: metadata.Metadata, elements: list[etree._Element], unique_id: str) -> None:
    """The package's own identifier first, then the others."""
    for element in sorted(elements, key=lambda element: element.get("id") != unique_id):
        scheme = element.get(OPF + "scheme", "").lower()
        value = xml.text(element).strip()
        found.add_identifier(f"isbn:{value}" if scheme == "isbn" and not value.lower().startswith("urn:") else value)


def _title(elements: list[etree._Element], refines: dict[tuple[str, str], str]) -> str:
    """The main title, followed by a subtitle when the package marks one."""
    kinds = [(refines.get((element.get("id", ""), "title-type"), ""), element) for element in elements]
    main = next((element for kind, element in kinds if kind == "main"), elements[0] if elements else None)
    if main is None:
        return ""
    title = metadata.clean(xml.text(main))
    subtitle = next((metadata.clean(xml.text(element)) for kind, element in kinds if kind == "subtitle"), "")
    return f"{title}: {subtitle}" if subtitle else title


def _person(found: metadata.Metadata, element: etree._Element, refines: dict[tuple[str, str], str]) -> None:
    own = element.get("id", "")
    role = element.get(OPF + "role") or refines.get((own, "role"), "")
    name = element.get(OPF + "file-as") or refines.get((own, "file-as")) or xml.text(element)
    if role == "nrt":
        found.narrators = metadata.unique([*found.narrators, xml.text(element)])
    elif xml.local(element).lower() == "creator":
        found.creators = metadata.unique([*found.creators, name])


def _series(elements: list[etree._Element], refines: dict[tuple[str, str], str], plain: dict[str, list[str]]) -> str:
    for element in elements:
        if element.get("property") == "belongs-to-collection":
            own = element.get("id", "")
            place = refines.get((own, "group-position"), "")
            return metadata.clean(f"{xml.text(element)} {place}")
    name = next(iter(plain["calibre:series"]), "")
    place = re.sub(r"\.0$", "", next(iter(plain["calibre:series_index"]), "")) if name else ""
    return metadata.clean(f"{name} {place}")


def _accessibility(elements: list[etree._Element], plain: dict[str, list[str]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in ("accessMode", "accessModeSufficient", "accessibilityFeature", "accessibilityHazard"):
        if values := metadata.unique(plain[f"schema:{key.lower()}"]):
            found[key] = values
    if summary := metadata.clean(next(iter(plain["schema:accessibilitysummary"]), "")):
        found["accessibilitySummary"] = summary
    links = [
        element.get("href", "")
        for element in elements
        if xml.local(element) == "link"
        and "dcterms:conformsTo" in (element.get("rel") or element.get("property") or "")
    ]
    if conforms := metadata.unique(plain["dcterms:conformsto"] + links):
        found["conformsTo"] = conforms
    return found
