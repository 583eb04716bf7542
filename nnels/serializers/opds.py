"""OPDS 2.0 feeds and publications (Readium web publication metadata), without any secret."""

from collections.abc import Mapping, Sequence
from typing import Any

from nnels.formats import languages, recognise
from nnels.jobs import catalogue
from nnels.selectors import facets, listing
from nnels.serializers import envelopes

FEED = "application/opds+json"
PUBLICATION = "application/opds-publication+json"
AUTHENTICATION = "application/opds-authentication+json"
_FACET_TITLES = {"languages": "Language", "formats": "Format", "accessibilityFeature": "Accessibility feature"}


def authentication(base: str) -> dict[str, Any]:
    """The document that tells a reading system how to log in."""
    return {
        "id": f"{base}/opds",
        "title": "NNELS accessible library",
        "description": "Log in with the user name and password of your account.",
        "links": [{"rel": "start", "href": f"{base}/opds", "type": FEED}],
        "authentication": [
            {
                "type": "http://opds-spec.org/auth/basic",
                "labels": {"login": "User name", "password": "Password"},
            }
        ],
    }


def start(base: str) -> dict[str, Any]:
    """The navigation feed."""
    return {
        "metadata": {"title": "NNELS accessible library"},
        "links": [_link("self", f"{base}/opds"), _link("start", f"{base}/opds"), search_link(base)],
        "navigation": [
            {"title": "All titles", "href": f"{base}/opds/publications", "type": FEED, "rel": "subsection"},
            {
                "title": "New and changed titles",
                "href": f"{base}/opds/publications?sort=-changed",
                "type": FEED,
                "rel": "http://opds-spec.org/sort/new",
            },
        ],
    }


def search_link(base: str) -> dict[str, Any]:
    """The templated search."""
    return {"rel": "search", "href": f"{base}/opds/search{{?query}}", "type": FEED, "templated": True}


def feed(
    base: str,
    title: str,
    docs: Sequence[str],
    *,
    links: envelopes.Links,
    page: int,
    size: int,
    count: int,
    groups: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A feed of publications."""
    rels = ("self", "first", "previous", "next", "last")
    present = [_link(rel, href) for rel in rels if (href := getattr(links, rel)) is not None]
    body: dict[str, Any] = {
        "metadata": {"title": title, "numberOfItems": count, "itemsPerPage": size, "currentPage": page},
        "links": [*present, _link("start", f"{base}/opds"), search_link(base)],
        "publications": [publication(doc, base=base) for doc in docs],
    }
    return {**body, "facets": groups} if groups else body


def facet_groups(
    base: str,
    counted: Mapping[str, list[facets.Value]],
    *,
    query: Sequence[tuple[str, str]],
    chosen: Sequence[listing.Condition],
) -> list[dict[str, Any]]:
    """Facets of the publications feed: each value narrows the feed as it is."""
    groups = []
    for name, values in counted.items():
        links = []
        for one in values:
            href = envelopes.narrowed(f"{base}/opds/publications", query, field=name, value=one.value, chosen=chosen)
            if href is None:
                continue
            link = _link("self" if (f"filter[{name}]", one.value) in query else "subsection", href)
            link["title"] = languages.labels().get(one.value, one.value) if name == "languages" else one.value
            link["properties"] = {"numberOfItems": one.count}
            links.append(link)
        if links:
            groups.append({"metadata": {"title": _FACET_TITLES.get(name, name)}, "links": links})
    return groups


def _link(rel: str, href: str) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": FEED}


def href(base: str, uuid: str) -> str:
    """Where a publication is."""
    return f"{base}/opds/publications/{uuid}"


def publication(doc: str, *, base: str) -> dict[str, Any]:
    """A publication: metadata, and one acquisition link per format."""
    row = catalogue.as_row(doc)
    own = href(base, row["uuid"])
    rel = "http://opds-spec.org/acquisition" + ("/open-access" if row["rights"] == "open" else "")
    return {
        "metadata": _metadata(row),
        "links": [
            {"rel": "self", "href": own, "type": PUBLICATION},
            *(
                {"rel": rel, "href": f"{own}/files/{code}", "type": recognise.MEDIA_TYPES[code], "title": code}
                for code in row["formats"]
            ),
        ],
    }


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    optional = {
        "author": [{"name": name} for name in row["creators"]],
        "narrator": [{"name": name} for name in row["narrators"]],
        "language": [languages.to_bcp47(code) for code in row["languages"]],
        "publisher": row["publisher"]["name"],
        "published": row["published_date"],
        "description": row["description"],
        "subject": row["subjects"],
        "isbn": row["isbn"],
        "belongsTo": {"series": {"name": row["series"]}} if row["series"] else None,
    }
    return {
        "@type": "http://schema.org/Book",
        "identifier": f"urn:uuid:{row['uuid']}",
        "title": row["label"],
        "modified": row["changed"],
        **{name: value for name, value in optional.items() if value},
        "accessibility": _accessibility(row["accessibility"]),
    }


def _accessibility(said: dict[str, Any]) -> dict[str, Any]:
    """The names of the Readium web publication manifest; sufficient modes as lists of modes."""
    named = {
        "conformsTo": said["conformsTo"],
        "accessMode": said["accessMode"],
        "accessModeSufficient": [
            [mode.strip() for mode in one.split(",")] if "," in one else one for one in said["accessModeSufficient"]
        ],
        "feature": said["accessibilityFeature"],
        "hazard": said["accessibilityHazard"],
        "summary": said["accessibilitySummary"],
    }
    return {name: value for name, value in named.items() if value}
