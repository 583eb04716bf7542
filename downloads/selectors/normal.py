"""The one spelling of equivalent queries (contract §3.1): what builds are keyed by, stored with and cited with.

A normal form is a query itself: parsing it gives nodes that select the same rows.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from downloads.formats import words
from downloads.selectors import hashes, nodes


def query(node: nodes.Node) -> dict[str, Any]:
    """The normal form of a whole query."""
    return _written(_simple(node))


def _written(node: nodes.Node) -> dict[str, Any]:
    """A simple node as a query."""
    entries: dict[str, dict[str, Any]] = {}
    for part in node.parts if isinstance(node, nodes.Group) and node.word == "and" else (node,):
        key, value = _entry(part)
        entries.setdefault(key, {})[hashes.digest(value)] = value
    made = {key: values[min(values)] for key, values in entries.items()}
    spare = [{key: values[other]} for key, values in entries.items() for other in sorted(values)[1:]]
    if spare:
        made["and"] = _sorted(spare)
    return dict(sorted(made.items()))


def _simple(node: nodes.Node) -> nodes.Node:
    """Without what changes nothing: groups of one, `and` in `and`, `or` in `or`, double negation, the same twice.

    Equal simple nodes are equal queries, but for the order of their parts.
    """
    if isinstance(node, nodes.Equals):
        return nodes.Equals(node.field, _unique(node))
    if isinstance(node, nodes.Text):
        return dataclasses.replace(node, text=_spelt(node))
    if isinstance(node, nodes.Fulltext):
        return nodes.Fulltext(tuple(sorted(node.words))) if node.words else nodes.EVERYTHING
    if not isinstance(node, nodes.Group):
        return node
    if node.word == "not":
        inner = _simple(node.parts[0])
        if isinstance(inner, nodes.Group) and inner.word == "not":
            return inner.parts[0]
        return nodes.Group("not", (inner,))
    parts = dict.fromkeys(_flat(node))
    return next(iter(parts)) if len(parts) == 1 else nodes.Group(node.word, tuple(parts))


def _flat(group: nodes.Group) -> Iterator[nodes.Node]:
    """The simple parts of `and` or `or`, those of the same group within it among them; of `and` one `fulltext`."""
    sought: set[str] = set()
    for part in map(_simple, group.parts):
        within = part.parts if isinstance(part, nodes.Group) and part.word == group.word else (part,)
        for each in within:
            if isinstance(each, nodes.Fulltext) and group.word == "and":
                sought.update(each.words)
            else:
                yield each
    if sought:
        yield nodes.Fulltext(tuple(sorted(sought)))


def _sorted(queries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    unique = {hashes.digest(each): each for each in queries}
    return [unique[key] for key in sorted(unique)]


def _entry(node: nodes.Node) -> tuple[str, Any]:
    if isinstance(node, nodes.Group):
        return _group(node)
    if isinstance(node, nodes.Equals):
        return node.field.key, _values(node)
    if isinstance(node, nodes.Fulltext):
        return "data", {"type": "fulltext", "value": " ".join(node.words)}
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
    if node.word != "not":
        return node.word, _sorted(map(_written, node.parts))
    (part,) = node.parts
    if isinstance(part, nodes.Exists):
        return part.field.key, {"type": "missing"}
    return "not", _written(part)


def _unique(node: nodes.Equals) -> tuple[nodes.Value, ...]:
    """The values, each once, sorted by how they are written."""
    made: dict[bytes, nodes.Value] = {}
    for value in node.values:
        if isinstance(value, str) and node.field.has_words:
            value = " ".join(words.split(value)) or value
        made[orjson.dumps(_value(value))] = value
    return tuple(made[key] for key in sorted(made))


def _values(node: nodes.Equals) -> Any:
    made = sorted(map(_value, node.values), key=lambda value: (str(type(value)), value))
    return made[0] if len(made) == 1 else made


def _value(value: nodes.Value) -> Any:
    """One form of numbers and dates: 2.0 is 2, an instant is in UTC, a partial date stays partial."""
    if isinstance(value, nodes.Period):
        return value.text
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _spelt(node: nodes.Text) -> str:
    """The text, of which only the words count where it is compared by words."""
    if node.operator == "fuzzy" or (node.operator == "prefix" and node.field.has_words):
        return " ".join(words.split(node.text)) or node.text
    return node.text


def _text(node: nodes.Text) -> dict[str, Any]:
    return {"type": node.operator, "value" if node.operator == "prefix" else "text": node.text}


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
