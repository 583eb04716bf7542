"""Reading XML from strangers: no DTD entities, no network, bounded size."""

from lxml import etree

LIMIT = 4 * 1024 * 1024


class Broken(ValueError):
    """The document is not well-formed, too large, or declares entities."""


def parse(raw: bytes) -> etree._Element:
    """Root of a document of at most 4 MiB. A DOCTYPE is allowed, entity declarations are not."""
    if len(raw) > LIMIT:
        raise Broken("an XML document is larger than 4 MiB")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False
    )
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Broken(f"not well-formed: {str(error)[:120]}") from None
    subset = root.getroottree().docinfo.internalDTD
    if subset is not None and list(subset.iterentities()):  # type: ignore[union-attr]
        raise Broken("entity declarations are not accepted")
    return root


def parse_html(raw: bytes) -> etree._Element:
    """Root of an XHTML or HTML document (DAISY 2.02's `ncc.html` is often only nearly XHTML)."""
    try:
        return parse(raw)
    except Broken:
        if len(raw) > LIMIT or b"<!ENTITY" in raw:
            raise
    root: etree._Element | None = etree.fromstring(raw, etree.HTMLParser(no_network=True, huge_tree=False))
    if root is None:
        raise Broken("no HTML found")
    return root


def local(element: etree._Element) -> str:
    """Local name of an element, empty for comments and instructions."""
    # lxml gives comments and instructions a function for a tag; its stubs do not say so.
    tag: object = element.tag
    return etree.QName(element).localname if isinstance(tag, str) else ""


def text(element: etree._Element) -> str:
    """All text below an element."""
    return "".join(str(part) for part in element.itertext())
