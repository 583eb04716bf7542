"""The query language once more, in plain Python over plain rows: what the SQL is held to (contract §2.7).

Written from the contract, sharing with the service only its folding and word splitting (tested by themselves).
"""

import calendar
import datetime
import fractions
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from downloads.formats import terms
from downloads.formats.words import fold, split

Row = tuple[dict[str, Any], dict[str, Any]]
NOT_WORDS = {"hasImage", "hasMedia", "mediarecords", "hasSpecimen", "records", "dqs", "etag", "datemodified"}


def selects(query: dict[str, Any], row: Row, table: dict[str, terms.Term]) -> bool:
    """Whether a (validated) query selects a row of (index terms, raw row)."""
    return all(_entry(key, value, row, table) for key, value in query.items())


def _entry(key: str, value: Any, row: Row, table: dict[str, terms.Term]) -> bool:
    if key == "and":
        return all(selects(each, row, table) for each in value)
    if key == "or":
        return any(selects(each, row, table) for each in value)
    if key == "not":
        return not selects(value, row, table)
    if isinstance(value, dict) and value["type"] == "fulltext":
        return set(split(fold(str(value.get("value", value.get("text")))))) <= _all_words(row)
    kind = "data" if key.startswith("data.") else table[key].kind
    held = values(key, row)
    if isinstance(value, dict):
        return _operation(kind, held, value)
    sought = value if isinstance(value, list) else [value]
    return any(_equal(kind, found, each) for found in held for each in sought)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (list, dict)):
        for each in value if isinstance(value, list) else value.values():
            yield from _leaves(each)
    else:
        yield str(value)


def values(key: str, row: Row) -> list[Any]:
    """What a row has in a field, texts folded."""
    index, raw = row
    if key.startswith("data."):
        return [fold(leaf) for leaf in _leaves(raw[key[5:]])] if key[5:] in raw else []
    value = index.get(key)
    if value is None:
        return []
    return [fold(v) if isinstance(v, str) else v for v in (value if isinstance(value, list) else [value])]


def _all_words(row: Row) -> set[str]:
    index, raw = row
    texts = [leaf for value in raw.values() for leaf in _leaves(value)]
    for name, value in index.items():
        if name not in NOT_WORDS:
            texts += [str(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
    return {word for text in texts for word in split(fold(text))}


def _has_phrase(words: list[str], value: list[str], *, prefix: bool = False) -> bool:
    for start in range(len(value) - len(words) + 1):
        window = value[start : start + len(words)]
        if window == words or (prefix and window[:-1] == words[:-1] and window[-1].startswith(words[-1])):
            return True
    return False


def _equal(kind: str, found: Any, sought: Any) -> bool:
    if kind in ("float", "int"):
        return bool(found == float(sought))
    if kind == "bool":
        return bool(found == (sought if isinstance(sought, bool) else sought.strip().lower() == "true"))
    if kind == "date":
        start, end = _period(sought)
        return start <= moment(found) < end if start != end else moment(found) == start
    text = fold(str(sought))
    if kind in ("word", "data"):
        words = split(text)
        return _has_phrase(words, split(found)) if words else bool(text) and found == text
    return bool(text) and found == text


def _operation(kind: str, values: list[Any], value: dict[str, Any]) -> bool:
    operator: str = value["type"]
    if operator in ("exists", "missing"):
        return bool(values) == (operator == "exists")
    if operator == "range":
        return any(_in_range(kind, found, value) for found in values)
    if operator.startswith("geo_"):
        return any(_inside(value, lat, lon) for lat, lon in values)
    text = fold(str(value.get("value", value.get("text"))))
    if operator == "prefix" and not text:
        return bool(values)
    test = {"prefix": _prefix, "exact": _exact, "keyword": _exact, "fuzzy": _fuzzy}[operator]
    return any(test(kind, found, text) for found in values)


def _prefix(kind: str, found: str, text: str) -> bool:
    words = split(text)
    if kind in ("word", "data"):
        return _has_phrase(words, split(found), prefix=True) if words else found == text
    return found.startswith(text)


def _exact(kind: str, found: str, text: str) -> bool:
    return bool(text) and found == text


def _fuzzy(kind: str, found: str, text: str) -> bool:
    words = split(text)
    if not words:
        return _exact(kind, found, text)
    return all(any(_edits(word, each) <= _allowed(word) for each in split(found)) for word in words)


def _allowed(word: str) -> int:
    return 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2


def _edits(one: str, two: str) -> int:
    row = list(range(len(two) + 1))
    for i, left in enumerate(one, 1):
        fresh = [i]
        for j, right in enumerate(two, 1):
            fresh.append(min(row[j] + 1, fresh[-1] + 1, row[j - 1] + (left != right)))
        row = fresh
    return row[-1]


# -- dates and ranges --------------------------------------------------------------------------------------------------


def moment(text: str) -> datetime.datetime:
    """The instant of an ISO date or time, which is UTC's unless it says otherwise."""
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _period(value: Any) -> tuple[datetime.datetime, datetime.datetime]:
    if isinstance(value, int) or (value.lstrip("-").isdigit() and len(value) > 4):
        instant = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(milliseconds=int(value))
        return instant, instant
    if len(value) > 10:
        return moment(value), moment(value)
    numbers = [int(part) for part in value.split("-")]
    year, month, day = [*numbers, 1, 1][:3]
    start = datetime.datetime(year, month, day, tzinfo=datetime.UTC)
    days = (366 if calendar.isleap(start.year) else 365, calendar.monthrange(start.year, start.month)[1], 1)
    return start, start + datetime.timedelta(days=days[len(numbers) - 1])


def _in_range(kind: str, found: Any, value: dict[str, Any]) -> bool:
    return all(_bound(kind, found, name, bound) for name, bound in value.items() if name != "type")


def _bound(kind: str, found: Any, name: str, bound: Any) -> bool:
    if kind == "date":
        found = moment(found)
        start, end = _period(bound)
        if start != end:
            return bool({"gte": found >= start, "lt": found < start, "gt": found >= end, "lte": found < end}[name])
        bound = start
    elif kind in ("float", "int"):
        bound = float(bound)
    else:
        bound = fold(str(bound))  # Python compares by code point
    return bool({"gte": found >= bound, "gt": found > bound, "lte": found <= bound, "lt": found < bound}[name])


# -- places ------------------------------------------------------------------------------------------------------------


def _inside(value: dict[str, Any], lat: float, lon: float) -> bool:
    operator = value["type"]
    if operator == "geo_distance":
        return _metres(float(value["lat"]), float(value["lon"]), lat, lon) <= _distance(value["distance"]) + 1e-6
    if operator == "geo_bounding_box":
        corners = [float(value[c][axis]) for c in ("top_left", "bottom_right") for axis in ("lat", "lon")]
        return _in_box(corners[1], corners[3], corners[0], corners[2], lat, lon)
    if operator == "geo_polygon":
        return in_rings([[(float(p["lon"]), float(p["lat"])) for p in value["value"]]], lat, lon)
    shape = _from_wkt(value["value"]) if isinstance(value["value"], str) else value["value"]
    kind = shape["type"].lower()
    if kind == "envelope":
        (west, north), (east, south) = shape["coordinates"]
        return _in_box(west, east, south, north, lat, lon)
    if kind == "circle":
        west, north = shape["coordinates"]
        return _metres(north, west, lat, lon) <= _distance(shape["radius"]) + 1e-6
    polygons = [shape["coordinates"]] if kind == "polygon" else shape["coordinates"]
    return any(in_rings(rings, lat, lon) for rings in polygons)


def _from_wkt(text: str) -> dict[str, Any]:
    """The same shape as GeoJSON."""
    kind, _, numbers = text.lower().replace("(", " (", 1).partition(" ")
    pairs = re.sub(r"([-+.e0-9]+) +([-+.e0-9]+)", r"[\1,\2]", numbers.replace("(", "[").replace(")", "]"))
    coordinates = json.loads(pairs)
    if kind == "envelope":
        west, east, north, south = coordinates
        coordinates = [[west, north], [east, south]]
    return {"type": kind, "coordinates": coordinates}


def _distance(value: Any) -> float:
    units = {"km": 1000.0, "nmi": 1852.0, "NM": 1852.0, "mi": 1609.344, "yd": 0.9144, "ft": 0.3048, "in": 0.0254}
    units |= {"mm": 0.001, "cm": 0.01, "m": 1.0, "": 1.0}
    number, unit = re.fullmatch(r"(.*?) ?([A-Za-z]*)", str(value)).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def _metres(lat: float, lon: float, lat2: float, lon2: float) -> float:
    def vector(a: float, b: float) -> tuple[float, float, float]:
        a, b = math.radians(a), math.radians(b)
        return math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)

    return 2 * 6_371_008.8 * math.asin(min(1, math.dist(vector(lat, lon), vector(lat2, lon2)) / 2))


def _in_box(west: float, east: float, one_lat: float, other_lat: float, lat: float, lon: float) -> bool:
    if not min(one_lat, other_lat) <= lat <= max(one_lat, other_lat):
        return False
    places = {lon, 180.0, -180.0} if abs(lon) == 180 else {lon}
    return any(west <= each <= east if west <= east else each >= west or each <= east for each in places)


def in_rings(rings: list[Any], lat: Any, lon: Any) -> bool:
    """Even-odd over all rings, each edge of which takes the short way round; the edges are inside. Exact."""
    crossings = 0
    lat, lon = fractions.Fraction(lat), fractions.Fraction(lon)
    for ring in rings:
        corners = [(fractions.Fraction(x), fractions.Fraction(y)) for x, y in ring]
        corners = corners[:-1] if corners[0] == corners[-1] else corners
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
            # seen from the point, as if it stood at longitude 0
            a = _short(x1 - lon)
            b = a + _short(x2 - x1)
            crosses, on_edge = _crosses(a, y1, b, y2, lat)
            if on_edge:
                return True
            crossings += crosses
        turn = sum(_short(x2 - x1) for (x1, _), (x2, _) in zip(corners, corners[1:] + corners[:1], strict=True))
        if sum(y for _, y in corners) > 0:
            crossings += round(turn / 360)  # so often it goes around the pole the meridian runs to
    return crossings % 2 == 1


def _short(degrees: Any) -> Any:
    return (degrees + 180) % 360 - 180


def _crosses(x1: Any, y1: Any, x2: Any, y2: Any, lat: Any) -> tuple[int, bool]:
    """Crossings of the meridian from the point to the north pole by an edge, and whether the point lies on the edge."""
    on_edge, crossings = False, 0
    for turn in (-360, 0, 360):
        a, b = x1 + turn, x2 + turn
        if (a > 0) != (b > 0):
            y = y1 + (y2 - y1) * (0 - a) / (b - a)
            crossings += y > lat
            on_edge |= abs(y - lat) < 1e-9
        elif abs(a) < 1e-12 and abs(b) < 1e-12:
            on_edge |= min(y1, y2) - 1e-9 <= lat <= max(y1, y2) + 1e-9
        elif abs(a) < 1e-12:
            on_edge |= abs(y1 - lat) < 1e-9
    return crossings, on_edge
