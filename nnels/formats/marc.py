"""MARC 21 bibliographic records in MARCXML to titles (contract section 6)."""

import re
from collections import defaultdict
from collections.abc import Iterator

from lxml import etree

from nnels.formats import metadata, xml

Field = tuple[str, list[tuple[str, str]]]


def records(raw: bytes) -> list[metadata.Metadata]:
    """One `Metadata` per record of a collection (or single record); raises `xml.Broken`."""
    root = xml.parse(raw)
    found = [element for element in root.iter() if xml.local(element) == "record"]
    if not found:
        raise xml.Broken("no MARC record found")
    return [_record(element) for element in found]


def _record(element: etree._Element) -> metadata.Metadata:
    control = {part.get("tag", ""): part.text or "" for part in element if xml.local(part) == "controlfield"}
    data: dict[str, list[Field]] = defaultdict(list)
    for part in element:
        if xml.local(part) == "datafield":
            codes = [(sub.get("code", ""), metadata.clean(sub.text)) for sub in part if xml.local(sub) == "subfield"]
            data[part.get("tag", "")].append((part.get("ind1", " ") + part.get("ind2", " "), codes))
    found = metadata.Metadata()
    _identify(found, data)
    _describe(found, data)
    for code in _languages(data, control.get("008", "")):
        found.add_language(code)
    _publish(found, data)
    found.duration = _playing_time(list(_values(data["306"], "a")))
    _access(found, data)
    for value in _values(data["856"], "u"):
        found.files.append(re.split(r"[?#]", value)[0].rstrip("/").rpartition("/")[2])
    found.files = metadata.unique(found.files)
    return found


def _identify(found: metadata.Metadata, data: dict[str, list[Field]]) -> None:
    for value in _values(data["020"], "a"):
        found.add_isbn(value.partition(" ")[0])
    for value in _values(data["024"], "a"):
        found.uuid = found.uuid or metadata.find_uuid(value)


def _describe(found: metadata.Metadata, data: dict[str, list[Field]]) -> None:
    parts = [trim(value) for value in _values(data["245"][:1], "ab")]
    found.title = ": ".join(part for part in parts if part)
    found.creators = metadata.unique([trim(value) for value in _values(data["100"] + data["700"], "a")])
    found.edition = trim(next(_values(data["250"], "a"), ""))
    found.series = " ".join(filter(None, (trim(value) for value in _values((data["490"] + data["830"])[:1], "av"))))
    found.narrators = metadata.unique(
        [re.sub(r"^(narrat(ed|or|ion) by|narrat(or|eur)|read by|lu par)\W*", "", trim(value), flags=re.IGNORECASE)
         for value in _values(data["511"], "a")]
    )  # fmt: skip
    found.description = metadata.strip_tags(next(_values(data["520"], "a"), ""))
    found.audience = trim(next(_values(data["521"], "a"), ""))
    subjects = data["650"] + data["651"] + data["653"]
    found.subjects = metadata.unique(["--".join(trim(value) for value in _values([one], "avxyz")) for one in subjects])


def _languages(data: dict[str, list[Field]], fixed: str) -> list[str]:
    """041$a (older records run several codes together), else the code in 008/35-37."""
    said = [value[place : place + 3] for value in _values(data["041"], "a") for place in range(0, len(value), 3)]
    return said or ([fixed[35:38]] if len(fixed) >= 38 else [])


def _publish(found: metadata.Metadata, data: dict[str, list[Field]]) -> None:
    imprint = [one for one in data["264"] if one[0][1] in " 1"] + data["260"] + data["264"]
    if not imprint:
        return
    one = imprint[:1]
    found.publisher_place = trim(next(_values(one, "a"), ""))
    found.publisher = trim(next(_values(one, "b"), ""))
    if value := next(_values(one, "c"), ""):
        found.set_date(value)


def _playing_time(texts: list[str]) -> int | None:
    """Seconds of all parts together; each is said as hhmmss."""
    parts = [re.fullmatch(r"([0-9]{2})([0-5][0-9])([0-5][0-9])", text) for text in texts]
    return sum(int(part[1]) * 3600 + int(part[2]) * 60 + int(part[3]) for part in parts if part) or None


def _access(found: metadata.Metadata, data: dict[str, list[Field]]) -> None:
    """341 (adaptive technology) and 532 (accessibility note)."""
    if modes := metadata.unique(list(_values(data["341"], "a"))):
        found.accessibility["accessMode"] = modes
    if features := metadata.unique(list(_values(data["341"], "bcde"))):
        found.accessibility["accessibilityFeature"] = features
    if notes := metadata.unique(list(_values(data["532"], "a"))):
        found.accessibility["accessibilitySummary"] = " ".join(notes)


def _values(fields: list[Field], codes: str) -> Iterator[str]:
    return (value for _, subfields in fields for code, value in subfields if code in codes and value)


def trim(text: str) -> str:
    """A value without ISBD punctuation at its end (`Moby-Dick /`, `Melville, Herman,`); initials keep their stop."""
    bare = re.sub(r"[\s/:;,=]+$", "", text.strip())
    bare = re.sub(r"^\[(.*)\]$", r"\1", bare)
    return bare if re.search(r"(?:\b\w|\.\.)\.$", bare) else bare.removesuffix(".")
