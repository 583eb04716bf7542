"""Metadata of DAISY 2.02 (`ncc.html`) and DAISY 3 (package) books."""

from collections import defaultdict

from nnels.formats import dates, metadata, package, xml


def read_ncc(raw: bytes) -> metadata.Metadata:
    """Metadata of a DAISY 2.02 navigation control centre; `Rejected("bad_daisy")` when it cannot be read."""
    try:
        root = xml.parse_html(raw)
    except xml.Broken as error:
        raise metadata.Rejected("bad_daisy", f"ncc.html: {error}") from None
    values: dict[str, list[str]] = defaultdict(list)
    for element in root.iter():
        if xml.local(element) == "meta" and element.get("name"):
            values[str(element.get("name")).lower()].append(element.get("content", ""))
    if not values:
        raise metadata.Rejected("bad_daisy", "ncc.html has no metadata")
    found = metadata.Metadata()
    for text in values["dc:identifier"]:
        found.add_identifier(text)
    title = next((xml.text(element) for element in root.iter() if xml.local(element) == "title"), "")
    found.title = metadata.clean(next(iter(values["dc:title"]), "") or title)
    found.creators = metadata.unique(values["dc:creator"])
    for text in values["dc:language"]:
        found.add_language(text)
    for text in values["dc:date"][:1] if not values["ncc:sourcedate"] else values["ncc:sourcedate"][:1]:
        found.set_date(text)
    found.publisher = metadata.clean(next(iter(values["ncc:sourcepublisher"] or values["dc:publisher"]), ""))
    found.subjects = metadata.unique(values["dc:subject"])
    found.description = metadata.strip_tags(next(iter(values["dc:description"]), ""))
    found.narrators = metadata.unique(values["ncc:narrator"])
    found.edition = metadata.clean(next(iter(values["ncc:sourceedition"]), ""))
    found.duration = next(filter(None, map(dates.seconds, values["ncc:totaltime"])), None)
    for text in values["ncc:sourceisbn"]:
        found.add_isbn(text)
    return found


def read_package(raw: bytes) -> metadata.Metadata:
    """Metadata of a DAISY 3 package; `Rejected("bad_daisy")` when it cannot be read."""
    try:
        return package.read(xml.parse(raw))
    except xml.Broken as error:
        raise metadata.Rejected("bad_daisy", f"package: {error}") from None


def is_daisy3(raw: bytes) -> bool:
    """Whether a package document names both an NCX and a DTBook."""
    try:
        types = package.media_types(xml.parse(raw))
    except xml.Broken:
        return False
    return {package.NCX, package.DTBOOK} <= types
