"""Read sitemaps: the addresses they name, and the further sitemaps an index names (sitemaps.org protocol 0.9)."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from registry.formats import iso, listing


class UnreadableSitemapError(ValueError):
    """The answer is no sitemap."""


@dataclass(frozen=True, slots=True)
class Sitemap:
    """`documents` are all addresses of a sitemap; `sitemaps` those of an index. Absolute and normalised."""

    documents: tuple[str, ...]
    sitemaps: tuple[str, ...]


def read(document: bytes) -> Sitemap:
    """A `urlset` or a `sitemapindex`; anything else raises UnreadableSitemapError."""
    try:
        root = etree.fromstring(document, iso.parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableSitemapError("the sitemap is not XML") from error
    kind = iso.local(root)
    if kind not in ("urlset", "sitemapindex"):
        raise UnreadableSitemapError("the answer is no sitemap")
    found = tuple(filter(None, (_address(loc.text) for loc in root.iter("{*}loc"))))
    return Sitemap(found, ()) if kind == "urlset" else Sitemap((), found)


def _address(text: str | None) -> str:
    address = (text or "").strip()
    if not address.lower().startswith(("http://", "https://")):
        return ""
    try:
        return listing.normalise_url(address)
    except ValueError:
        return ""
