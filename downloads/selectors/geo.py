"""Places as queries spell them, and the geometry both the parser and the SQL need (contract §2.7).

Longitudes and latitudes are degrees, distances metres on a sphere of `RADIUS`.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from core import errors
from downloads.selectors import nodes

RADIUS: Final = 6_371_008.8
MOST_POINTS: Final = 5_000
METRES: Final = {
    "mm": 0.001,
    "cm": 0.01,
    "m": 1.0,
    "km": 1000.0,
    "in": 0.0254,
    "ft": 0.3048,
    "yd": 0.9144,
    "mi": 1609.344,
    "nmi": 1852.0,
    "NM": 1852.0,
}
SHAPES: Final = ("Polygon", "MultiPolygon", "envelope", "circle")

_DISTANCE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)\s*")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WKT_WORD = re.compile(r"\s*(MULTIPOLYGON|POLYGON|ENVELOPE|BBOX)\s*(?:Z\s*)?(?=\()", re.IGNORECASE)
_WKT_TOKEN = re.compile(r"\s*([(),]|[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)", re.ASCII)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e300 else None


def shown(value: Any) -> str:
    """A value as an error sentence shows it: JSON-like, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value[:60]}"'
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return "null" if value is None else str(value)[:60]


def latitude(value: Any) -> float:
    return _degrees(value, "latitude", 90)


def longitude(value: Any) -> float:
    return _degrees(value, "longitude", 180)


def _degrees(value: Any, name: str, most: int) -> float:
    number = _number(value)
    if number is None:
        raise errors.Invalid(f"The {name} {shown(value)} is not a number.")
    if not -most <= number <= most:
        raise errors.Invalid(f"The {name} {value} is outside -{most} to {most}.")
    return number + 0.0  # no negative zero


def distance(value: Any) -> float:
    """Metres of `"100km"`, or of a bare number."""
    if isinstance(value, str) and (found := _DISTANCE.fullmatch(value)):
        unit = METRES.get(found[2] or "m", METRES.get(found[2].lower()))
        if unit is not None and math.isfinite(metres := float(found[1]) * unit):
            return metres
    elif not isinstance(value, str) and (number := _number(value)) is not None and number >= 0:
        return number
    given = value if isinstance(value, str) else shown(value)
    raise errors.Invalid(f"The distance {given[:60]} is not understood.", allowed=sorted(METRES))


def corner(value: Any, name: str) -> tuple[float, float]:
    """(lat, lon) of `{"lat": …, "lon": …}`."""
    if not isinstance(value, dict) or "lat" not in value or "lon" not in value:
        raise errors.Invalid(f"The {name} needs lat and lon.")
    for key in value:
        if key not in ("lat", "lon"):
            raise errors.Invalid(f"The {name} has no key {key}.", allowed=["lat", "lon"])
    return latitude(value["lat"]), longitude(value["lon"])


def box(north: float, west: float, south: float, east: float) -> nodes.Box:
    return nodes.Box(max(north, south), west, min(north, south), east)


def ring(points: Sequence[tuple[float, float]]) -> nodes.Ring:
    """(lon, lat) corners as a ring: opened if it was closed, at least three corners."""
    corners = tuple(points[:-1] if len(points) > 1 and points[0] == points[-1] else points)
    if len(corners) < 3:
        raise errors.Invalid(f"The polygon has {len(corners)} points; it needs 3.")
    return corners


def refuse_too_many(count: int) -> None:
    if count > MOST_POINTS:
        raise errors.Invalid(f"The polygon has {count} points; the limit is {MOST_POINTS}.", limit=MOST_POINTS)


def polygon(value: Any) -> nodes.Polygons:
    """`geo_polygon`: a list of `{"lat", "lon"}`."""
    if not isinstance(value, list):
        raise errors.Invalid(f"The polygon needs a list of points, not {shown(value)}.")
    refuse_too_many(len(value))
    corners = [corner(each, "point") for each in value]
    return nodes.Polygons(((ring([(lon, lat) for lat, lon in corners]),),), is_list=True)


def shape(value: Any) -> nodes.Shape:
    """`geo_shape`: GeoJSON geometry or WKT."""
    if isinstance(value, str):
        return _wkt(value)
    if not isinstance(value, dict):
        raise errors.Invalid(f"The shape needs GeoJSON or WKT, not {shown(value)}.")
    kind, coordinates = value.get("type"), value.get("coordinates")
    known = {name.lower(): name for name in SHAPES}.get(kind.lower()) if isinstance(kind, str) else None
    if known is None:
        raise errors.Invalid(
            f"The shape {kind if isinstance(kind, str) else shown(kind)} is not known.", allowed=SHAPES
        )
    allowed = ("type", "coordinates", "radius") if known == "circle" else ("type", "coordinates")
    for key in value:
        if key not in allowed:
            raise errors.Invalid(f"The shape {known} has no key {key}.", allowed=allowed)
    if known == "Polygon":
        return _polygons([coordinates])
    if known == "MultiPolygon":
        return _polygons(coordinates)
    if known == "envelope":
        (west, north), (east, south) = _positions(coordinates, 2)
        return box(north, west, south, east)
    ((lon, lat),) = _positions([coordinates], 1)
    return nodes.Circle(lat, lon, distance(value.get("radius")))


def _positions(value: Any, count: int | None = None) -> list[tuple[float, float]]:
    """GeoJSON positions as (lon, lat)."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise _not_coordinates()
    for position in value:
        if not isinstance(position, list) or not 2 <= len(position) <= 4:
            raise _not_coordinates()
    return [(longitude(position[0]), latitude(position[1])) for position in value]


def _not_coordinates() -> errors.Invalid:
    return errors.Invalid("The coordinates of the shape are not understood.")


def _polygons(value: Any) -> nodes.Polygons:
    if not isinstance(value, list) or not value or not all(isinstance(each, list) and each for each in value):
        raise _not_coordinates()
    refuse_too_many(sum(len(part) for rings in value for part in rings if isinstance(part, list)))
    return nodes.Polygons(tuple(tuple(ring(_positions(part)) for part in rings) for rings in value))


def _wkt(text: str) -> nodes.Shape:
    word = _WKT_WORD.match(text)
    if not word:
        raise errors.Invalid(f"The shape {shown(text)} is not known.", allowed=("POLYGON", "MULTIPOLYGON", "ENVELOPE"))
    refuse_too_many(text.count(",") // 2)
    tokens = iter(_tokens(text[word.end() :]))
    next(tokens)
    content = _nested(tokens)
    if next(tokens, None) is not None:
        raise _not_coordinates()
    kind = word[1].upper()
    if kind in ("ENVELOPE", "BBOX"):
        west, east, north, south = _envelope(content)
        return box(latitude(north), longitude(west), latitude(south), longitude(east))
    return _polygons([content] if kind == "POLYGON" else content)


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        found = _WKT_TOKEN.match(text, place)
        if not found:
            raise _not_coordinates()
        tokens.append(found[1])
        place = found.end()
    return tokens


def _envelope(content: list[Any]) -> list[float]:
    numbers = [each[0] for each in content if isinstance(each, list) and len(each) == 1]
    if len(numbers) != 4 or len(content) != 4:
        raise _not_coordinates()
    return numbers


def _nested(tokens: Iterator[str]) -> list[Any]:
    """Nested WKT brackets as lists; `1 2, 3 4` as positions. Never deeper than three."""
    stack: list[list[Any]] = [[]]
    position: list[float] = []
    for sign in tokens:
        if sign == "(":
            if len(stack) > 3:
                raise _not_coordinates()
            stack.append([])
        elif sign in (",", ")"):
            if position:
                stack[-1].append(position)
                position = []
            if sign == ")":
                done = stack.pop()
                if not stack:
                    return done
                stack[-1].append(done)
        else:
            position.append(float(sign))
    raise _not_coordinates()


Edge = tuple[float, float, float, float, bool]
"""lon, lat of its start and of its end, and whether points on it belong to the polygon."""


def edges(corners: nodes.Ring) -> list[Edge]:
    """The edges of a ring with continuous longitudes, which may lie beyond ±180°.

    An edge spanning more than 180° of longitude is taken to cross ±180°. A ring around a pole is closed along two
    meridians, which are no edges of the polygon, and the pole, which is.
    """
    path = [corners[0]]
    for lon, lat in (*corners[1:], corners[0]):
        turn = round((path[-1][0] - lon) / 360)
        step = lon + 360 * turn
        if abs(step - path[-1][0]) > 180:
            step += math.copysign(360, path[-1][0] - step)
        path.append((step, lat))
    made = [(*start, *end, True) for start, end in itertools.pairwise(path)]
    first, last = path[0], path[-1]
    if first[0] != last[0]:
        pole = math.copysign(90, sum(lat for _, lat in corners))
        made.append((*last, last[0], pole, False))
        made.append((last[0], pole, first[0], pole, round((last[0] - first[0]) / 360) % 2 == 1))  # twice around is out
        made.append((first[0], pole, *first, False))
    return made


def haversine(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Metres between two places on the sphere."""
    phi, other_phi = math.radians(lat), math.radians(other_lat)
    half = math.sin((other_phi - phi) / 2) ** 2
    half += math.cos(phi) * math.cos(other_phi) * math.sin(math.radians(other_lon - lon) / 2) ** 2
    return 2 * RADIUS * math.asin(min(1.0, math.sqrt(half)))
