"""Read THREDDS catalogues: the ISO records their datasets have, and the catalogues they refer to.

THREDDS Client Catalog Specification 1.0.7. A dataset has a record when a service of type ISO, alone or within a
compound one, is its own, inherited, or the catalogue's default.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from lxml import etree

from registry.formats import iso, listing

XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
DEEPEST = 64


class UnreadableCatalogError(ValueError):
    """The answer is no THREDDS catalogue."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """`documents`: addresses of ISO records; `catalogs`: addresses of further catalogues. Absolute and normalised."""

    documents: tuple[str, ...]
    catalogs: tuple[str, ...]


def read(document: bytes, url: str) -> Catalog:
    """A catalogue found at `url`; anything else raises UnreadableCatalogError."""
    try:
        root = etree.fromstring(document, iso.parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableCatalogError("the catalogue is not XML") from error
    if iso.local(root) != "catalog":
        raise UnreadableCatalogError("the answer is no THREDDS catalogue")
    bases = {name: base for service in iso.children(root, "service") for name, base in _iso_services(service)}
    default = next(iter(bases), "")
    documents = dict.fromkeys(_documents(root, url, bases=bases, service=default, depth=0))
    references = (_absolute(ref.get(XLINK_HREF, ""), url) for ref in root.iter("{*}catalogRef"))
    return Catalog(tuple(documents), tuple(dict.fromkeys(filter(None, references))))


def _iso_services(service: etree._Element, depth: int = 0) -> Iterator[tuple[str, str]]:
    """(service name, base of the ISO service) of a service and of the compound ones around an ISO service."""
    name = service.get("name", "")
    if service.get("serviceType", "").lower() == "iso":
        yield name, service.get("base", "")
    elif depth < DEEPEST:
        for inner in iso.children(service, "service"):
            for inner_name, base in _iso_services(inner, depth + 1):
                yield name, base
                yield inner_name, base


def _documents(parent: etree._Element, url: str, *, bases: dict[str, str], service: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        return
    for dataset in iso.children(parent, "dataset"):
        inherited = _service_of(iso.first(dataset, "metadata")) or service
        own = dataset.get("serviceName") or _service_of(dataset) or inherited
        path = dataset.get("urlPath", "")
        if path and own in bases:
            address = _absolute(bases[own] + quote(path, safe="/%:@!$&'()*+,;=~-._?"), url)
            if address:
                yield address
        yield from _documents(dataset, url, bases=bases, service=inherited, depth=depth + 1)


def _service_of(element: etree._Element | None) -> str:
    return iso.text(iso.first(element, "serviceName"))


def _absolute(href: str, url: str) -> str:
    """A reference as an http or https address; empty for anything else."""
    if not href:
        return ""
    try:
        found = urljoin(url, href)
        return listing.normalise_url(found) if found.lower().startswith(("http://", "https://")) else ""
    except ValueError:
        return ""
