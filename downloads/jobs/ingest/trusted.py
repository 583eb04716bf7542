"""Index terms as a download archive carries them, back from cells to values (`--trust-index`, contract 6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from downloads.formats import dates, terms

_LINKED = frozenset({"hasImage", "hasMedia", "mediarecords", "hasSpecimen", "records"})
_TABLES = {
    "records": {term.header: term for term in terms.RECORD_TERMS},
    "media": {term.header: term for term in terms.MEDIA_TERMS},
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LARGEST_INTEGER: Final = 2**53
_CELL = re.compile(r',(?:"((?:[^"]+|"")*)"|([^,"]*))')
"""A cell of a finished line, behind its comma."""


def index(role: str, cells: Mapping[str, str]) -> dict[str, Any]:
    """Term → value, of the types `formats.normalise` gives; terms that depend on links are left out.

    A cell that is not of its term's type is left out too: it is somebody else's archive.
    """
    found: dict[str, Any] = {}
    for header, cell in cells.items():
        term = _TABLES[role].get(header)
        if term is None or term.name in _LINKED:
            continue
        value = _value(term, cell)
        if value is not None:
            found[term.name] = value
    return found


def of_line(role: str, line: str) -> dict[str, Any]:
    """The same of a row's finished line (`formats.cells.index_line`): what the store holds, trusted or computed."""
    found = (match[2] or (match[1] or "").replace('""', '"') for match in _CELL.finditer(line.removesuffix("\r\n")))
    return _with_tuple(index(role, {header: cell for header, cell in zip(_TABLES[role], found, strict=True) if cell}))


def loaded(text: str) -> dict[str, Any]:
    """What `index` gave, back from JSON."""
    return _with_tuple(orjson.loads(text))


def _with_tuple(found: dict[str, Any]) -> dict[str, Any]:
    if "geopoint" in found:
        found["geopoint"] = tuple(found["geopoint"])
    return found


def record_ids(cells: Mapping[str, str]) -> list[str]:
    """The identifiers an archive states for a row."""
    return _strings(cells.get("idigbio:recordIds", ""))


def _value(term: terms.Term, cell: str) -> Any:
    match term.kind:
        case "float":
            return _number(cell)
        case "int":
            number = _number(cell)
            return None if number is None or abs(number) > _LARGEST_INTEGER else int(number)
        case "date":
            return cell if _DATE.fullmatch(cell) and dates.moment(cell) else dates.moment(cell)
        case "bool":
            return {"true": True, "false": False}.get(cell.lower())
        case "list":
            return _strings(cell) or None
        case "point":
            return _point(cell)
        case _:
            return cell


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _loaded(cell: str) -> Any:
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError:
        return None


def _strings(cell: str) -> list[str]:
    value = _loaded(cell)
    return [str(each).replace("\0", "") for each in value] if isinstance(value, list) else []


def _point(cell: str) -> list[float] | None:
    value = _loaded(cell)
    if not isinstance(value, dict):
        return None
    lat, lon = value.get("lat"), value.get("lon")
    if isinstance(lat, int | float) and isinstance(lon, int | float) and abs(lat) <= 90 and abs(lon) <= 180:
        return [float(lat), float(lon)]
    return None
