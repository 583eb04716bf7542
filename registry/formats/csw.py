"""CSW 2.0.2 as a client: requests written, answers read, and the next page decided (contract 4.3; OGC 07-006r1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from registry.formats import iso

CSW: Final = "http://www.opengis.net/cat/csw/2.0.2"
OWS: Final = "http://www.opengis.net/ows"
XLINK: Final = "http://www.w3.org/1999/xlink"
GMD_SCHEMA: Final = "http://www.isotc211.org/2005/gmd"
MDB_PREFIX: Final = "http://standards.iso.org/iso/19115/-3/mdb/"
PAGE_SIZE: Final = 100


class CswError(ValueError):
    """The catalogue answered with an exception report or with something that is no CSW answer."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    post_url: str
    output_schemas: tuple[str, ...]

    @property
    def schema(self) -> str:
        """gmd, or ISO 19115-3 if nothing else of ISO is offered."""
        if GMD_SCHEMA in self.output_schemas or not self.output_schemas:
            return GMD_SCHEMA
        newer = [schema for schema in self.output_schemas if schema.startswith(MDB_PREFIX)]
        return newer[0] if newer else GMD_SCHEMA


@dataclass(frozen=True, slots=True)
class Page:
    matched: int
    next_record: int | None
    records: tuple[bytes, ...] = field(repr=False)
    identities: tuple[str, ...]


def capabilities_url(url: str) -> str:
    """The GetCapabilities request of a service URL; parameters it already has (a `map=`, say) are kept."""
    ours = {"service": "CSW", "version": "2.0.2", "request": "GetCapabilities"}
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name.lower() not in ours]
    return urlunsplit(parts._replace(query=urlencode([*kept, *ours.items()]), fragment=""))


def read_capabilities(document: bytes, url: str) -> Capabilities:
    """Where to POST GetRecords and which schemas it offers; without an announced address the service URL itself."""
    root = _root(document)
    if etree.QName(root).localname != "Capabilities":
        raise CswError("the answer to GetCapabilities is no capabilities document")
    for operation in root.iter(f"{{{OWS}}}Operation"):
        if operation.get("name") == "GetRecords":
            return Capabilities(_absolute(_post_url(operation), url), _schemas(operation))
    raise CswError("the catalogue offers no GetRecords")


def _post_url(operation: etree._Element) -> str:
    posts = operation.findall(f".//{{{OWS}}}Post")
    for post in posts:  # an endpoint marked as plain XML wins over a SOAP one
        values = [value.text for value in post.iter(f"{{{OWS}}}Value")]
        if "XML" in values:
            return post.get(f"{{{XLINK}}}href", "")
    return posts[0].get(f"{{{XLINK}}}href", "") if posts else ""


def _absolute(address: str, url: str) -> str:
    try:
        return urljoin(url, address.strip())
    except ValueError as error:
        raise CswError("the catalogue's address for GetRecords is none") from error


def _schemas(operation: etree._Element) -> tuple[str, ...]:
    found: list[str] = []
    for parameter in operation.iter(f"{{{OWS}}}Parameter"):
        if (parameter.get("name") or "").lower() == "outputschema":
            found += [(value.text or "").strip() for value in parameter.iter(f"{{{OWS}}}Value")]
    return tuple(found)


def get_records(*, start: int, schema: str, page_size: int = PAGE_SIZE, cql: str = "") -> bytes:
    """The body of a GetRecords POST: type csw:Record, full element set, from 1-based `start`."""
    constraint = ""
    if cql:
        constraint = f'<csw:Constraint version="1.1.0"><csw:CqlText>{escape(cql)}</csw:CqlText></csw:Constraint>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<csw:GetRecords xmlns:csw="{CSW}" service="CSW" version="2.0.2" resultType="results" '
        f'outputFormat="application/xml" outputSchema={quoteattr(schema)} '
        f'startPosition="{start}" maxRecords="{page_size}">'
        '<csw:Query typeNames="csw:Record"><csw:ElementSetName>full</csw:ElementSetName>'
        f"{constraint}</csw:Query></csw:GetRecords>"
    ).encode()


def read_page(document: bytes) -> Page:
    """One GetRecords answer: announced total, next position, and each record's bytes with its identity."""
    root = _root(document)
    if etree.QName(root).localname != "GetRecordsResponse":
        raise CswError("the answer to GetRecords is no GetRecordsResponse")
    results = root.find(f"{{{CSW}}}SearchResults")
    if results is None:
        raise CswError("the answer to GetRecords has no SearchResults")
    matched = _number(results.get("numberOfRecordsMatched"))
    if matched is None:
        raise CswError("SearchResults does not say how many records match")
    elements = [child for child in results if iso.local(child)]
    for element in elements:
        element.tail = None
    return Page(
        matched,
        _number(results.get("nextRecord")),
        tuple(etree.tostring(element, encoding="UTF-8", xml_declaration=True) for element in elements),
        tuple(identity(element) for element in elements),
    )


def identity(element: etree._Element) -> str:
    """A record's identifier, else the SHA-256 of its canonical form."""
    return iso.identifier(element) or hashlib.sha256(etree.tostring(element, method="c14n")).hexdigest()


def next_start(*, start: int, returned: int, page: Page, limit: int) -> int | None:
    """The position of the next page, or `None` at the end. Never returns a value at or below `start`: no loops."""
    if returned == 0 or start - 1 + returned >= limit:
        return None
    announced = page.next_record
    if announced is None:  # absent: some catalogues forget it although records are missing
        following = start + returned
        return following if following <= page.matched else None
    return announced if start < announced <= page.matched else None


def _root(document: bytes) -> etree._Element:
    try:
        root = etree.fromstring(document, iso.parser())
    except etree.XMLSyntaxError as error:
        raise CswError(f"the answer is not XML: {error.msg}") from error
    if etree.QName(root).localname == "ExceptionReport":
        raise CswError("exception report: " + _exception_text(root))
    return root


def _exception_text(root: etree._Element) -> str:
    """Only the standard's code and locator: remote words are not repeated (contract 8)."""
    for element in root.iter():
        if iso.local(element) == "Exception":
            code = element.get("exceptionCode", "")[:60]
            return code if code.isalnum() else "no code"
    return "no code"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.strip().isdigit() and len(text) < 12 else None
