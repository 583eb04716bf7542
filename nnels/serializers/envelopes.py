"""The four envelopes of an answer (contract 2.2). Rows may be dicts or finished JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any
from urllib import parse

import orjson

from core import api
from nnels.formats import languages, wire
from nnels.selectors import facets
from nnels.selectors import listing as selected

Row = dict[str, Any] | bytes
_TITLES = {"self": "Self", "first": "First", "previous": "Previous", "next": "Next", "last": "Last"}
_CREDENTIALS = frozenset({"access_token", "access-token"})
_PAGING = frozenset({"page", "range", "page[number]", "page[size]"})


@dataclasses.dataclass(frozen=True)
class Links:
    """Hrefs of a page: this one, first, previous, next, last; the middle two only when that page exists."""

    self: str
    first: str
    last: str
    previous: str | None = None
    next: str | None = None


def paging(url: str, query: Sequence[tuple[str, str]], *, page: int, size: int, count: int) -> Links:
    """Links of one page of a listing at `url` under the caller's other parameters, in their order."""
    kept = [(name, value) for name, value in query if name not in _PAGING and name not in _CREDENTIALS]
    last = max(1, -(-count // size))

    def href(number: int) -> str:
        return f"{url}?{parse.urlencode([*kept, ('page', str(number)), ('range', str(size))])}"

    return Links(
        self=href(page),
        first=href(1),
        last=href(last),
        previous=href(min(page - 1, last)) if page > 1 else None,
        next=href(page + 1) if page < last else None,
    )


def dump(row: Row) -> bytes:
    """A row as JSON."""
    return row if isinstance(row, bytes) else api.json_bytes(row)


def load(row: Row) -> dict[str, Any]:
    """A row as a dict."""
    return orjson.loads(row) if isinstance(row, bytes) else row


def link(rel: str, href: str) -> dict[str, str]:
    """A link object of the simple format."""
    return {"title": _TITLES[rel], "href": href}


def one(format_name: str, row: Row, *, kind: str, href: str) -> bytes:
    """One entity."""
    if format_name == wire.SIMPLE:
        return b'{"data":[' + dump(row) + b'],"self":' + api.json_bytes(link("self", href)) + b"}"
    if format_name == wire.SINGLE:
        return dump(row)
    if format_name == wire.HAL:
        return api.json_bytes({**load(row), "_links": {"self": link("self", href)}})
    return api.json_bytes({"data": _resource(load(row), kind), "links": {"self": href}})


def several(format_name: str, rows: Sequence[Row], *, kind: str, href: str, count: int | None = None) -> bytes:
    """Entities without paging: a comma list, the list of resources."""
    number = len(rows) if count is None else count
    if format_name == wire.SIMPLE:
        return b'{"data":[%b],"count":%d,"self":%b}' % (_join(rows), number, api.json_bytes(link("self", href)))
    return _other(format_name, rows, kind=kind, count=number, links={"self": href})


def listing(
    format_name: str,
    rows: Sequence[Row],
    *,
    kind: str,
    href: str,
    count: int,
    links: Links,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """One page. `href` is the collection; `extra` are root members after the links."""
    present = {rel: value for rel in _TITLES if (value := getattr(links, rel)) is not None}
    if format_name == wire.SIMPLE:
        root = {rel: link(rel, value) for rel, value in {**present, "self": href}.items()}
        ordered = {rel: present[rel] for rel in ("self", "first", "previous", "last", "next") if rel in present}
        tail = api.json_bytes({**root, "links": ordered, **(extra or {})})
        return b'{"data":[%b],"count":%d,%b' % (_join(rows), count, tail[1:])
    return _other(format_name, rows, kind=kind, count=count, links=present, extra=extra)


def _other(
    format_name: str,
    rows: Sequence[Row],
    *,
    kind: str,
    count: int,
    links: dict[str, str],
    extra: dict[str, Any] | None = None,
) -> bytes:
    if format_name == wire.SINGLE:
        return dump(rows[0]) if rows else b"{}"
    if format_name == wire.HAL:
        objects: dict[str, Any] = {rel: link(rel, href) for rel, href in links.items()}
        origin = "/".join(links["self"].split("/")[:3])
        curies = [{"name": "hal", "href": f"{origin}/docs/#{{rel}}", "templated": True}]
        embedded = {f"hal:{kind}": [load(row) for row in rows]}
        return api.json_bytes(
            {"count": count, "_embedded": embedded, "_links": {**objects, "curies": curies}, **(extra or {})}
        )
    order = [rel for rel in ("self", "first", "previous", "last", "next") if rel in links]
    body = {
        "data": [_resource(load(row), kind) for row in rows],
        "meta": {"count": count, **(extra or {})},
        "links": {rel: links[rel] for rel in order},
    }
    return api.json_bytes(body)


def _join(rows: Sequence[Row]) -> bytes:
    return b",".join(map(dump, rows))


def needed(format_name: str, fields: Sequence[str] | None) -> Sequence[str] | None:
    """The asked keys and those an envelope cannot do without: a JSON:API resource has an id, whatever is asked."""
    return fields if fields is None or format_name != wire.JSON_API else (*fields, *_IDENTITIES, "self")


# What tells entities, resources of the service and suggestions apart.
_IDENTITIES = ("id", "name", "href")


def _resource(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """A JSON:API resource object."""
    identity = next(name for name in _IDENTITIES if name in row)
    attributes = {name: value for name, value in row.items() if name not in ("id", "self")}
    resource: dict[str, Any] = {"type": kind, "id": str(row[identity]), "attributes": attributes}
    if "self" in row:
        resource["links"] = {"self": row["self"]}
    return resource


def narrowed(
    href: str,
    query: Sequence[tuple[str, str]],
    *,
    field: str,
    value: str,
    chosen: Sequence[selected.Condition],
) -> str | None:
    """The first page of a listing under its filters and this value of `field`; None when no query says that.

    Every spelling of the field's filter is written anew: two of them are a malformed filter.
    """
    own = facets.narrowing(chosen, field=field, value=value)
    if own is None:
        return None
    gone = _PAGING | _CREDENTIALS
    others = [(name, said) for name, said in query if name not in gone and not name.startswith(f"filter[{field}]")]
    written = [(f"filter[{field}]", value)]
    if len(own) > 1:
        written = [
            pair
            for place, one in enumerate(own)
            for pair in (
                (f"filter[{field}][value][{place}]", one.values[0]),
                (f"filter[{field}][operator][{place}]", one.operator),
            )
        ]
    return f"{href}?{parse.urlencode([*others, *written])}"


def counts(
    counted: Mapping[str, Sequence[facets.Value]],
    *,
    href: str,
    query: Sequence[tuple[str, str]],
    chosen: Sequence[selected.Condition],
) -> dict[str, list[dict[str, Any]]]:
    """`facets` of a listing: each value with its count and the listing under it and the current filters."""
    names = languages.labels()
    return {
        field: [
            {
                "value": one.value,
                "label": names.get(one.value, one.value) if field == "languages" else one.value,
                "count": one.count,
                "href": there,
            }
            for one in values
            if (there := narrowed(href, query, field=field, value=one.value, chosen=chosen)) is not None
        ]
        for field, values in counted.items()
    }
