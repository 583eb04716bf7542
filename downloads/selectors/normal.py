"""The one spelling of equivalent queries (contract §3.1): what builds are keyed by, stored with and cited with.

A normal form is a query itself: parsing it gives nodes that select the same rows.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from downloads.formats import words
from downloads.selectors import hashes, nodes


def query(node: nodes.Node) -> dict[str, Any]:
    """The normal form of a whole query."""
    entries: dict[str, dict[str, Any]] = {}
    sought: set[str] = set()
    for part in _flat(node):
        if isinstance(part, nodes.Fulltext):
            sought.update(part.words)
            continue
        key, value = _entry(part)
        entries.setdefault(key, {})[hashes.digest(value)] = value
    if sought:
        entries["data"] = {"": {"type": "fulltext", "value": " ".join(sorted(sought))}}
    made = {key: values[min(values)] for key, values in entries.items()}
    spare = [{key: values[other]} for key, values in entries.items() for other in sorted(values)[1:]]
    if spare:
        made["and"] = _sorted(spare)
    return dict(sorted(made.items()))


def _flat(node: nodes.Node) -> Iterator[nodes.Node]:
    """The parts that must all hold; `and` within `and` is one."""
    node = _simple(node)
    if isinstance(node, nodes.Group) and node.word == "and":
        for part in node.parts:
            yield from _flat(part)
    else:
        yield node


def _simple(node: nodes.Node) -> nodes.Node:
    """Without groups of one and without double negation."""
    if not isinstance(node, nodes.Group):
        return node
    if node.word != "not":
        return _simple(node.parts[0]) if len(node.parts) == 1 else node
    inner = _simple(node.parts[0])
    if isinstance(inner, nodes.Group) and inner.word == "not":
        return inner.parts[0]
    return nodes.Group("not", (inner,))


def _sorted(queries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    unique = {hashes.digest(each): each for each in queries}
    return [unique[key] for key in sorted(unique)]


def _entry(node: nodes.Node) -> tuple[str, Any]:
    if isinstance(node, nodes.Group):
        return _group(node)
    if isinstance(node, nodes.Equals):
        return node.field.key, _values(node)
    if isinstance(node, nodes.Exists):
        return node.field.key, {"type": "exists"}
    if isinstance(node, nodes.Range):
        return node.field.key, {"type": "range"} | {name: _value(bound) for name, bound in node.bounds}
    if isinstance(node, nodes.Text):
        return node.field.key, _text(node)
    if isinstance(node, nodes.Place):
        return node.field.key, _shape(node.shape)
    raise AssertionError(node)


def _group(node: nodes.Group) -> tuple[str, Any]:
    if node.word == "or":
        return "or", _sorted(query(part) for part in node.parts)
    (part,) = node.parts
    if isinstance(part, nodes.Exists):
        return part.field.key, {"type": "missing"}
    return "not", query(part)


def _values(node: nodes.Equals) -> Any:
    values = {hashes.digest(made): made for made in (_sought(node.field, value) for value in node.values)}
    made = sorted(values.values(), key=lambda value: (str(type(value)), value))
    return made[0] if len(made) == 1 else made


def _sought(field: nodes.Field, value: nodes.Value) -> Any:
    if isinstance(value, str) and field.has_words:
        return " ".join(words.split(value)) or value
    return _value(value)


def _value(value: nodes.Value) -> Any:
    """One form of numbers and dates: 2.0 is 2, an instant is in UTC, a partial date stays partial."""
    if isinstance(value, nodes.Period):
        return value.text
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _text(node: nodes.Text) -> dict[str, Any]:
    text = node.text
    if node.operator == "fuzzy" or (node.operator == "prefix" and node.field.has_words):
        text = " ".join(words.split(text)) or text
    return {"type": node.operator, "value" if node.operator == "prefix" else "text": text}


def _shape(shape: nodes.Shape) -> dict[str, Any]:
    if isinstance(shape, nodes.Box):
        return {
            "type": "geo_bounding_box",
            "top_left": {"lat": shape.north, "lon": shape.west},
            "bottom_right": {"lat": shape.south, "lon": shape.east},
        }
    if isinstance(shape, nodes.Circle):
        return {"type": "geo_distance", "distance": shape.metres, "lat": shape.lat, "lon": shape.lon}
    if shape.is_list:
        corners = shape.polygons[0][0]
        return {"type": "geo_polygon", "value": [{"lat": lat, "lon": lon} for lon, lat in corners]}
    coordinates = [[[list(corner) for corner in ring] for ring in rings] for rings in shape.polygons]
    return {"type": "geo_shape", "value": {"type": "MultiPolygon", "coordinates": coordinates}}
