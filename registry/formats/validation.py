"""Decide whether a fetched document is a good ISO record, and say where it is not (contract 4.5).

ISO 19139, ISO 19115-2 and GML 3.2 are checked against the published schemas, compiled once per process from the files
of the MIT package `bas-metadata-library`. That package is located, never imported: one of its dependencies is GPL.
Service records and ISO 19115-3 are checked by rules written here.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from lxml import etree

from registry.formats import boxes, iso

# Stored with every record; a new one makes the next run validate the stored bytes again (contract 4.4).
VALIDATOR_VERSION: Final = "2026-11-22.2"
SCHEMA_PACKAGE: Final = "bas_metadata_library"
MAX_ISSUES: Final = 200
_WRAPPED: Final = {"http://www.isotc211.org/2005/gmi": "gmi/gmi.xsd", iso.GMD: "gmd/gmd.xsd", iso.GMX: "gmx/gmx.xsd"}
_DATE = re.compile(
    r"(?P<day>\d{4}(?:-\d\d(?:-\d\d)?)?)"
    r"(?P<time>T\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?P<zone>Z|[+-]\d\d:\d\d)?\Z",
    re.ASCII,
)
_MIDNIGHT = re.compile(r"^T24:00(:00(\.0+)?)?$")
_PLAIN_DOCTYPE = re.compile(
    rb"""
    (?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(?:\s|<\?.*?\?>|<!--.*?-->)*+
    <!DOCTYPE\s+[^\s\[>]+\s*(?:(?:SYSTEM|PUBLIC\s+(?:"[^"]*"|'[^']*'))\s*(?:"[^"]*"|'[^']*')\s*)?>
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMESPACE_IN_MESSAGE = re.compile(r"\{[^}]*/([^/}]+?)(?:/\d[\d.]*)?\}")

# The srv children in their order with how often each may appear; the schema package has no srv (contract 4.5).
_SERVICE_CHILDREN: Final = (
    ("serviceType", 1, 1),
    ("serviceTypeVersion", 0, None),
    ("accessProperties", 0, 1),
    ("restrictions", 0, 1),
    ("keywords", 0, None),
    ("extent", 0, None),
    ("coupledResource", 0, None),
    ("couplingType", 1, 1),
    ("containsOperations", 1, None),
    ("operatesOn", 0, None),
)


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding. `stage` is one of list, fetch, parse, schema, rules, store; `severity` error or warning."""

    stage: str
    severity: str
    code: str
    message: str
    line: int | None = None
    column: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "severity": self.severity,
            "code": self.code,
            "line": self.line,
            "column": self.column,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Copy:
    """A document's copy: the hash and the length in bytes of what would be served."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What validation found: the extract (`None` if not well-formed ISO), and the issues in document order.

    `repaired` is the copy with point boxes widened, `None` if there are no such boxes.
    """

    extract: iso.Extract | None
    issues: tuple[Issue, ...] = field(default=())
    repaired: Copy | None = None

    @property
    def is_valid(self) -> bool:
        return self.extract is not None and not any(issue.severity == "error" for issue in self.issues)

    @property
    def errors(self) -> int:
        return sum(issue.severity == "error" for issue in self.issues)

    @property
    def warnings(self) -> int:
        return len(self.issues) - self.errors


class _Schema:
    """The compiled schema of this process; `log` is shared by all validations, so they take turns."""

    def __init__(self) -> None:
        self.compilations = 0
        self._lock = threading.Lock()
        self._compiled: etree.XMLSchema | None = None

    def check(self, root: etree._Element) -> list[Issue]:
        with self._lock:
            if self._compiled is None:
                self._compiled = compile_schema()
                self.compilations += 1
            if self._compiled.validate(root):
                return []
            # taken out under the lock: lxml keeps one error log per schema, not one per validation
            return [
                Issue("schema", "error", "schema", plain_message(error.message), error.line, error.column)
                for error in list(self._compiled.error_log)  # type: ignore[call-overload]
            ]


schema = _Schema()


def schema_folder() -> Path:
    """Where the XSD files are, found without importing the package that carries them."""
    spec = importlib.util.find_spec(SCHEMA_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the schema package bas-metadata-library is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "schemas" / "xsd"


def compile_schema() -> etree.XMLSchema:
    """Compile gmi, gmd and gmx (and with them gml, gco, gts, gsr, gss, xlink) offline. About 40 ms of CPU."""
    folder = schema_folder()
    imports = "".join(
        f'<xs:import namespace="{namespace}" schemaLocation="{(folder / file).as_uri()}"/>'
        for namespace, file in _WRAPPED.items()
    )
    wrapper = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{imports}</xs:schema>'
    return etree.XMLSchema(etree.fromstring(wrapper.encode(), etree.XMLParser(no_network=True)))


def plain_message(message: str) -> str:
    """A schema message with `{http://…/gmd}title` shortened to `gmd:title`, at most 1000 characters."""
    return _NAMESPACE_IN_MESSAGE.sub(lambda match: match[1].replace("3.2", "gml") + ":", message)[:1000]


def validate(document: bytes) -> Verdict:
    """Parse once, extract, check. Never raises for any bytes; a document that is no ISO record gets one error."""
    root, issue = _parse(document)
    if root is None or issue is not None:
        return Verdict(None, (issue,) if issue else ())
    extract = iso.extract(root)
    if extract.standard == "mdb":
        found = [*_rules_of_19115_3(root)]
    else:
        services = [s for s in iso.identifications(root) if iso.local(s) == "SV_ServiceIdentification"]
        found = schema.check(_without_services(root) if services else root)
        for service in services:
            found.extend(_rules_of_service(service))
    found.extend(_rules_of_boxes(root, extract))
    found.sort(key=lambda issue: (issue.severity, issue.line or 0))
    return Verdict(extract, tuple(found), _repaired(document))


def _repaired(document: bytes) -> Copy | None:
    copied = boxes.widened(document)
    return None if copied is document else Copy(hashlib.sha256(copied).hexdigest(), len(copied))


def _parse(document: bytes) -> tuple[etree._Element | None, Issue | None]:
    if not document.strip():
        return None, Issue("parse", "error", "empty", "The document is empty.", 1)
    try:
        root = etree.fromstring(document, iso.parser())
    except etree.XMLSyntaxError as error:
        line, column = error.position
        if _looks_like_html(document):
            return None, Issue("parse", "error", "html", "The document is an HTML page.", 1)
        return None, Issue("parse", "error", "malformed", (error.msg or "malformed XML")[:1000], line, column)
    except ValueError as error:  # e.g. an unknown declared encoding
        return None, Issue("parse", "error", "malformed", str(error)[:1000], 1)
    if _has_internal_subset(document, root):
        return None, Issue("parse", "error", "dtd", "The document has a DTD with an internal subset.", 1)
    if iso.local(root).lower() == "html":
        return None, Issue("parse", "error", "html", "The document is an HTML page.", iso.line(root))
    if iso.standard_of(root) == "unknown":
        message = f"The root element {plain_message(str(root.tag))} is no supported ISO record."
        return None, Issue("parse", "error", "unsupported_root", message, iso.line(root))
    return root, None


def _has_internal_subset(document: bytes, root: etree._Element) -> bool:
    """Whether a well-formed document declares anything itself; attribute defaults count, not only entities.

    lxml tells of neither attributes nor notations, so the prolog is read again, as ASCII in whatever width; what does
    not look harmless is taken for a subset.
    """
    if root.getroottree().docinfo.internalDTD is None:
        return False
    return _PLAIN_DOCTYPE.match(document.replace(b"\0", b"")) is None


def _looks_like_html(document: bytes) -> bool:
    head = document[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html"))


def _without_services(root: etree._Element) -> etree._Element:
    """A copy whose service sections look like data identifications, so that the schema can check all the rest."""
    twin = copy.deepcopy(root)
    for section in iso.identifications(twin):
        if iso.local(section) != "SV_ServiceIdentification":
            continue
        for child in list(section):
            if iso.local(child) and etree.QName(child).namespace == iso.SRV:
                section.remove(child)
        section.tag = f"{{{iso.GMD}}}MD_DataIdentification"
        language = etree.SubElement(section, f"{{{iso.GMD}}}language")
        etree.SubElement(language, f"{{{iso.GCO}}}CharacterString").text = "eng"
    return twin


def _rules_of_service(section: etree._Element) -> Iterator[Issue]:
    order = [name for name, _least, _most in _SERVICE_CHILDREN]
    here = [child for child in section if iso.local(child) and etree.QName(child).namespace == iso.SRV]
    position = 0
    for child in here:
        name = iso.local(child)
        if name not in order:
            yield _error("service_child", f"srv:{name} is not allowed in srv:SV_ServiceIdentification.", child)
        elif order.index(name) < position:
            yield _error("service_order", f"srv:{name} stands too late in srv:SV_ServiceIdentification.", child)
        else:
            position = order.index(name)
    for name, least, most in _SERVICE_CHILDREN:
        count = sum(iso.local(child) == name for child in here)
        if count < least:
            yield _error("service_missing", f"srv:{name} is missing.", section)
        elif most is not None and count > most:
            yield _error("service_repeated", f"srv:{name} appears {count} times.", section)
    for operation in iso.operations(section):
        for name in ("operationName", "DCP", "connectPoint"):
            if iso.first(operation, name) is None:
                yield _error("service_operation", f"srv:{name} is missing in an operation.", operation)


def _rules_of_19115_3(root: etree._Element) -> Iterator[Issue]:
    for name in ("contact", "dateInfo", "identificationInfo"):
        if iso.first(root, name) is None:
            yield _error("missing", f"mdb:{name} is missing.", root)
    for section in iso.identifications(root):
        if not iso.text(iso.first(section, "citation", "CI_Citation", "title")):
            yield _error("missing", "The citation has no title.", section)
        if not iso.text(iso.first(section, "abstract")):
            yield _error("missing", "The abstract is missing.", section)
    for holder in root.iter("{*}Date", "{*}DateTime"):
        if iso.module_of(etree.QName(holder).namespace or "") == "gco":
            value = (holder.text or "").strip()
            if not _is_date(value):
                yield _error("date", f"{value[:40]!r} is no date.", holder)


def _is_date(value: str) -> bool:
    """Whether a date or time of XML Schema is one of the calendar: year, year and month, day, or a moment."""
    found = _DATE.match(value)
    if found is None or (found["time"] and len(found["day"]) < len("2026-11-22")):
        return False
    day = found["day"] + "-01-01"[len(found["day"]) - len("2026") :]
    # the end of a day may be written as hour 24 (XML Schema part 2, 3.2.7)
    moment = _MIDNIGHT.sub("T00:00", found["time"] or "T00:00") + (found["zone"] or "")
    try:
        datetime.fromisoformat(day + moment)
    except ValueError:
        return False
    return True


def _rules_of_boxes(root: etree._Element, extract: iso.Extract) -> Iterator[Issue]:
    found = iso.boxes(root)
    for box in found:
        yield from _rules_of_box(box)
    if not found and extract.kind == "dataset":
        yield Issue("rules", "warning", "no_box", "The dataset has no geographic bounding box.", iso.line(root))


def _rules_of_box(box: etree._Element) -> Iterator[Issue]:
    numbers: dict[str, float] = {}
    for name, printed in iso.bounds(box).items():
        if not printed:
            yield _error("box_missing", f"{name} is missing or empty.", box)
            continue
        value = iso.number(printed)
        if not math.isfinite(value):
            yield _error("box_number", f"{name} {printed[:40]!r} is no number.", box)
            continue
        numbers[name] = value
        yield from _rules_of_bound(name, value, box)
    south, north = numbers.get("southBoundLatitude"), numbers.get("northBoundLatitude")
    if south is not None and north is not None and south > north:
        yield _error("box_order", f"South {south:g} lies above north {north:g}.", box)


def _rules_of_bound(name: str, value: float, box: etree._Element) -> Iterator[Issue]:
    if name.endswith("Latitude") and not -90 <= value <= 90:
        yield _error("box_range", f"{name} {value:g} is outside -90 to 90.", box)
    elif name.endswith("Longitude") and not -180 <= value <= 360:
        yield _error("box_range", f"{name} {value:g} is outside -180 to 360.", box)
    elif name.endswith("Longitude") and value > 180:
        yield Issue("rules", "warning", "box_beyond_180", f"{name} {value:g} is above 180.", iso.line(box))


def _error(code: str, message: str, element: etree._Element) -> Issue:
    return Issue("rules", "error", code, message, iso.line(element))
