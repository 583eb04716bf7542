"""Index terms as a download archive carries them, back from cells to values (`--trust-index`, contract 6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from downloads.formats import terms

_LINKED = frozenset({"hasImage", "hasMedia", "mediarecords", "hasSpecimen", "records"})
_TABLES = {
    "records": {term.header: term for term in terms.RECORD_TERMS},
    "media": {term.header: term for term in terms.MEDIA_TERMS},
}


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


def record_ids(cells: Mapping[str, str]) -> list[str]:
    """The identifiers an archive states for a row."""
    return _strings(cells.get("idigbio:recordIds", ""))


def _value(term: terms.Term, cell: str) -> Any:
    match term.kind:
        case "float":
            return _number(cell)
        case "int":
            number = _number(cell)
            return None if number is None else int(number)
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
    return [str(each) for each in value] if isinstance(value, list) else []


def _point(cell: str) -> list[float] | None:
    value = _loaded(cell)
    if not isinstance(value, dict):
        return None
    lat, lon = value.get("lat"), value.get("lon")
    if isinstance(lat, int | float) and isinstance(lon, int | float) and abs(lat) <= 90 and abs(lon) <= 180:
        return [float(lat), float(lon)]
    return None
