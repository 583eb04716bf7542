"""Nodes to SQL over the store's tables (contract §2.7, §3.1).

Every condition is an expression over one row of `downloads_record` or `downloads_mediarecord` under an alias. It may be
null where the row has no value; only `not` cares, and it is two-valued (`IS NOT TRUE`). Field names come from the term
table, everything a caller wrote is bound. Text is compared by code point with folded columns (`COLLATE "C"`); words are
found in the `words` text, first by its index (`formats.words.LEXEMES_SQL`), then by its layout.
"""

import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from downloads.formats import words
from downloads.selectors import geo, nodes

RECORDS: Final = "downloads_record"
MEDIA: Final = "downloads_mediarecord"
LINKS: Final = "downloads_recordmedia"

_ON_EDGE: Final = 1e-9  # degrees: how near to an edge a point lies on it
_ROOM: Final = 1e-6  # metres: how far rounding may put a point that lies on a circle's edge


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and what is bound in it, in order."""

    text: str
    params: tuple[Any, ...] = ()


NEVER: Final = Sql("FALSE")
ALWAYS: Final = Sql("TRUE")


def joined(word: str, parts: Iterable[Sql]) -> Sql:
    """Expressions joined by AND or OR."""
    kept = list(parts)
    text = f" {word} ".join(f"({part.text})" for part in kept)
    return Sql(text, tuple(param for part in kept for param in part.params))


def condition(node: nodes.Node, alias: str) -> Sql:
    """The expression that is true of the rows a node selects."""
    if isinstance(node, nodes.Group):
        return _group(node, alias)
    if isinstance(node, nodes.Equals):
        return _equals(node, alias)
    if isinstance(node, nodes.Exists):
        return _exists(node.field, alias)
    if isinstance(node, nodes.Range):
        return _range(node, alias)
    if isinstance(node, nodes.Text):
        return _TEXT[node.operator](node.field, node.text, alias)
    if isinstance(node, nodes.Fulltext):
        return _lexemes(node.words, alias) if node.words else ALWAYS
    return _place(node.shape, alias)


def _group(node: nodes.Group, alias: str) -> Sql:
    parts = [condition(part, alias) for part in node.parts]
    if node.word == "not":
        return Sql(f"({parts[0].text}) IS NOT TRUE", parts[0].params)
    if not parts:
        return ALWAYS if node.word == "and" else NEVER
    return joined("AND" if node.word == "and" else "OR", parts)


# -- whole values ------------------------------------------------------------------------------------------------------


def _column(field: nodes.Field, alias: str) -> str:
    if field.term is None:
        raise TypeError("a provider term has no column")
    return f"{alias}.{field.term.column}"


def _is_uuid(field: nodes.Field) -> bool:
    return field.term is not None and field.term.column in ("uuid", "recordset_id")


def _equals(node: nodes.Equals, alias: str) -> Sql:
    field, values = node.field, node.values
    if not values:
        return NEVER
    if field.has_words:
        return joined("OR", [_phrase(field, str(value), alias) for value in values])
    if field.kind == "date":
        return joined(
            "OR", [_within(value, _column(field, alias)) for value in values if isinstance(value, nodes.Period)]
        )
    if field.kind == "bool":
        return joined("OR", [Sql(f"{_column(field, alias)} = %s", (value,)) for value in values])
    if field.kind == "float":
        return Sql(f"{_column(field, alias)} = ANY(%s::float8[])", (list(values),))
    if field.kind == "int":
        numbers = [value for value in values if isinstance(value, float) and value == _clamped(value)]
        whole = [int(number) for number in numbers if number.is_integer()]
        return Sql(f"{_column(field, alias)} = ANY(%s::bigint[])", (whole,))
    return _is_any(field, [str(value) for value in values], alias)


def _within(value: nodes.Period, column: str) -> Sql:
    if value.start == value.end:
        return Sql(f"{column} = %s::timestamptz", (value.start,))
    return Sql(f"{column} >= %s::timestamptz AND {column} < %s::timestamptz", (value.start, value.end))


def _is_any(field: nodes.Field, values: Sequence[str], alias: str) -> Sql:
    """A text or list field holds one of these whole values."""
    column = _column(field, alias)
    kept = [value for value in values if value]  # an empty text is no value, so nothing equals it
    if _is_uuid(field):
        return Sql(f"{column} = ANY(%s::uuid[])", ([value for value in kept if _uuid(value)],))
    if field.kind == "list":
        return Sql(f"{column} && %s::text[]", (kept,))
    return Sql(f"{column} = ANY(%s::text[])", (kept,))


def _uuid(text: str) -> bool:
    """Whether a text is a uuid as the store prints it."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _exists(field: nodes.Field, alias: str) -> Sql:
    if field.term is None:
        return joined("OR", [_lexemes([mark], alias) for mark in _marks(field)])
    if field.kind == "list":
        return Sql(f"cardinality({_column(field, alias)}) > 0")
    return Sql(f"{_column(field, alias)} IS NOT NULL")


def _marks(field: nodes.Field) -> list[str]:
    key = words.safe_key(field.key)
    return [f"{words.MARK}{key}{words.SAME}", f"{words.MARK}{key}{words.OTHER}"]


def _exact(field: nodes.Field, text: str, alias: str) -> Sql:
    if not text:
        return NEVER
    if field.term is None:
        whole = Sql(f"strpos({alias}.words, %s) > 0", (words.whole_value(field.key, text),))
        sought = words.split(words.safe(text))
        return joined("AND", [_lexemes(sought, alias), whole]) if sought else whole
    return _is_any(field, [text], alias)


# -- bounds and prefixes -----------------------------------------------------------------------------------------------

_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _range(node: nodes.Range, alias: str) -> Sql:
    texts = tuple(value for _, value in node.bounds if isinstance(value, str))
    if not texts:
        return joined("AND", [_bound(node.field, name, value, alias) for name, value in node.bounds])
    # All bounds of one value: of a list one that is above the lower bound and another below the upper do not do.
    return _over_texts(
        node.field, " AND ".join(f"{{value}} {_SIGNS[name]} %s" for name, _ in node.bounds), texts, alias
    )


def _bound(field: nodes.Field, name: str, value: nodes.Value, alias: str) -> Sql:
    if isinstance(value, nodes.Period):
        return _date_bound(_column(field, alias), name, value)
    if field.kind == "int":
        rounded = math.ceil if name in ("gte", "lt") else math.floor  # so that the column keeps its type and its index
        return Sql(f"{_column(field, alias)} {_SIGNS[name]} %s::bigint", (int(_clamped(rounded(float(value)))),))
    return Sql(f"{_column(field, alias)} {_SIGNS[name]} %s::float8", (value,))


def _clamped(number: float) -> float:
    """Within what a bigint holds, a little less."""
    return max(-9e18, min(9e18, number))


def _date_bound(column: str, name: str, value: nodes.Period) -> Sql:
    """`gte` and `lt` use the start of a period, `gt` and `lte` its end."""
    if value.start == value.end:
        return Sql(f"{column} {_SIGNS[name]} %s::timestamptz", (value.start,))
    sign, moment = {"gte": (">=", value.start), "lt": ("<", value.start), "gt": (">=", value.end)}.get(
        name, ("<", value.end)
    )
    return Sql(f"{column} {sign} %s::timestamptz", (moment,))


def _over_texts(field: nodes.Field, test: str, params: tuple[Any, ...], alias: str) -> Sql:
    """A test of `{value}`, which stands for the (or any) whole value of a text, list or provider field."""
    of_any = f"EXISTS (SELECT 1 FROM {{source}} AS t(v) WHERE {test.format(value=_IN_ORDER.format('t.v'))})"
    if field.term is None:
        source = f"({_WHOLE_VALUES.format(alias=alias)})"
        return Sql(of_any.format(source=source), (_section_regex(field), _fold_regex(field), *params))
    column = _column(field, alias)
    if field.kind == "list":
        return Sql(of_any.format(source=f"unnest({column})"), params)
    return Sql(test.format(value=_IN_ORDER.format(f"{column}::text" if _is_uuid(field) else column)), params)


_IN_ORDER: Final = '{} COLLATE "C"'  # by code point
_WHOLE_VALUES: Final = (
    "SELECT m[1] FROM regexp_matches({alias}.words, %s, 'g') AS m"
    " UNION ALL SELECT m[1] FROM regexp_matches({alias}.words, %s, 'g') AS m"
)


def _section_regex(field: nodes.Field) -> str:
    key = words.escape(words.safe_key(field.key))
    return f"{words.MARK}{key}{words.SAME} ([^{words.MARK}]*) (?={words.MARK})"


def _fold_regex(field: nodes.Field) -> str:
    key = words.escape(words.safe_key(field.key))
    return f"{words.MARK}{key}{words.WHOLE}([^{words.MARK}]*)(?={words.MARK})"


def _prefix(field: nodes.Field, text: str, alias: str) -> Sql:
    if field.has_words:
        return _phrase(field, text, alias, prefix=True)
    after = _after(text)
    if after is None:
        return _over_texts(field, "{value} >= %s", (text,), alias)
    return _over_texts(field, "{value} >= %s AND {value} < %s", (text, after), alias)


def _after(prefix: str) -> str | None:
    """The first text, by code point, that is beyond all that start so; None if there is none."""
    for place in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[place])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1  # surrogates are no text
            return prefix[:place] + chr(following)
    return None


# -- words -------------------------------------------------------------------------------------------------------------


def _lexemes(sought: Iterable[str], alias: str, *, prefix: str = "") -> Sql:
    """All of these lexemes, and one that starts with `prefix`, occur in the row; by index."""
    terms = [_lexeme(each) for each in sought]
    if prefix:
        terms.append(f"{_lexeme(prefix)}:*")
    expression = words.LEXEMES_SQL.replace("words", f"{alias}.words").replace("%", "%%")
    return Sql(f"{expression} @@ %s::tsquery", (" & ".join(terms),))


def _lexeme(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _phrase(field: nodes.Field, text: str, alias: str, *, prefix: bool = False) -> Sql:
    """The words of the text stand consecutively in the field; a text without words is compared whole."""
    sought = words.split(words.safe(text))
    if not sought:
        return _exact(field, text, alias) if not prefix else _over_texts(field, "{value} = %s", (text,), alias)
    found = _lexemes(sought[:-1] if prefix else sought, alias, prefix=sought[-1] if prefix else "")
    pattern = words.phrase_regex(field.key, sought, prefix=prefix)
    return joined("AND", [found, Sql(f"{alias}.words ~ %s", (pattern,))])


_NOT_IN_WORDS: Final = frozenset({"mediarecords", "records", "etag"})
"""Text terms that `formats.normalise.words_text` leaves out; all are lower-case hexadecimal and signs."""


def _fuzzy(field: nodes.Field, text: str, alias: str) -> Sql:
    sought = words.split(words.safe(text))
    if not sought:
        return _exact(field, text, alias)
    near = joined("AND", [_near(word) for word in sought])
    if field.term is not None and field.name in _NOT_IN_WORDS:
        column = _column(field, alias)
        source = f"unnest({column})" if field.kind == "list" else f"(SELECT {column})"
        values = Sql(f"SELECT regexp_split_to_array(v, '[^0-9a-z]+') FROM {source} AS s(v)")
    else:
        values = Sql(
            f"SELECT string_to_array(m[1], ' ') FROM regexp_matches({alias}.words, %s, 'g') AS m",
            (_words_regex(field),),
        )
    return Sql(f"EXISTS (SELECT 1 FROM ({values.text}) AS t(ws) WHERE {near.text})", (*values.params, *near.params))


def _words_regex(field: nodes.Field) -> str:
    key = words.escape(words.safe_key(field.key))
    return f"{words.MARK}{key}[{words.SAME}{words.OTHER}] ([^{words.MARK}]*) (?={words.MARK})"


def _near(word: str) -> Sql:
    """One of the words `ws` is within 0 (up to 2 letters), 1 (3 to 5) or 2 edits."""
    edits = 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2
    if not edits:
        return Sql("%s = ANY(ws)", (word,))
    return Sql(
        "EXISTS (SELECT 1 FROM unnest(ws) AS u(w) WHERE levenshtein_less_equal(w, %s, %s) <= %s)", (word, edits, edits)
    )


_TEXT: Final = {"prefix": _prefix, "exact": _exact, "fuzzy": _fuzzy}


# -- places ------------------------------------------------------------------------------------------------------------


def _place(shape: nodes.Shape, alias: str) -> Sql:
    if isinstance(shape, nodes.Box):
        return _box(shape, alias)
    if isinstance(shape, nodes.Circle):
        return _circle(shape, alias)
    return joined("OR", [_polygon(rings, alias) for rings in shape.polygons])


def _box(shape: nodes.Box, alias: str) -> Sql:
    lat = Sql(f"{alias}.lat BETWEEN %s AND %s", (shape.south, shape.north))
    if shape.west <= shape.east:
        return joined("AND", [lat, _longitudes(shape.west, shape.east, alias)])
    # Compared as it is: turned by 360 an edge is not quite where it was. ±180 are within.
    lon = [Sql(f"{alias}.lon >= %s", (shape.west,)), Sql(f"{alias}.lon <= %s", (shape.east,))]
    return joined("AND", [lat, joined("OR", lon)])


def _longitudes(west: float, east: float, alias: str) -> Sql:
    """Longitude from `west` to `east` (`west` <= `east`, both may lie beyond ±180°), edges included."""
    if east - west >= 360:
        return Sql(f"{alias}.lon IS NOT NULL")
    turns = 360 * math.floor((west + 180) / 360)
    west, east = west - turns, east - turns
    spans = [(max(low, -180.0), min(high, 180.0)) for low, high in _turns(west, east) if low <= 180 and high >= -180]
    return joined("OR", [Sql(f"{alias}.lon BETWEEN %s AND %s", span) for span in spans])


def _turns(west: float, east: float) -> list[tuple[float, float]]:
    return [(west + turn, east + turn) for turn in (0, -360, 360)]


def _circle(shape: nodes.Circle, alias: str) -> Sql:
    reach = math.degrees(shape.metres / geo.RADIUS) * (1 + 1e-9) + 1e-9
    parts = [Sql(f"{alias}.lat BETWEEN %s AND %s", (shape.lat - reach, shape.lat + reach))]
    if abs(shape.lat) + reach < 90:
        spread = math.degrees(math.asin(min(1.0, math.sin(math.radians(reach)) / math.cos(math.radians(shape.lat)))))
        spread += 1e-9
        parts.append(_longitudes(shape.lon - spread, shape.lon + spread, alias))
    half = (
        f"sin(radians({alias}.lat - %s) / 2) ^ 2"
        f" + cos(radians(%s)) * cos(radians({alias}.lat)) * sin(radians({alias}.lon - %s) / 2) ^ 2"
    )
    exact = f"2 * {geo.RADIUS} * asin(least(1, sqrt({half}))) <= %s"
    parts.append(Sql(exact, (shape.lat, shape.lat, shape.lon, shape.metres + _ROOM)))
    return joined("AND", parts)


_EVEN_ODD: Final = """
SELECT bool_or(is_edge
               AND abs((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1))
                   <= {edge} * greatest(abs(x2 - x1), abs(y2 - y1), {edge})
               AND x BETWEEN least(x1, x2) - {edge} AND greatest(x1, x2) + {edge}
               AND y BETWEEN least(y1, y2) - {edge} AND greatest(y1, y2) + {edge})
       OR count(*) FILTER (WHERE (y1 > y) <> (y2 > y)
                           AND x < x1 + (x2 - x1) * ((y - y1) / nullif(y2 - y1, 0))) %% 2 = 1
FROM unnest(%s::float8[]) AS turn, LATERAL (SELECT {alias}.lon + turn AS x, {alias}.lat AS y) AS p,
     unnest(%s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::bool[]) AS e(x1, y1, x2, y2, is_edge)
"""


def _polygon(rings: tuple[nodes.Ring, ...], alias: str) -> Sql:
    """Even-odd over the edges of all rings: holes come out by themselves, every edge belongs to the polygon.

    Crossings are counted over all whole turns together, so that a ring wider than the globe is right too.
    """
    edges = [edge for ring in rings for edge in geo.edges(ring)]
    lons = [lon for edge in edges for lon in (edge[0], edge[2])]
    lats = [lat for edge in edges for lat in (edge[1], edge[3])]
    near = joined(
        "AND",
        [
            Sql(f"{alias}.lat BETWEEN %s AND %s", (min(lats) - _ON_EDGE, max(lats) + _ON_EDGE)),
            _longitudes(min(lons) - _ON_EDGE, max(lons) + _ON_EDGE, alias),
        ],
    )
    most = math.ceil((max(abs(min(lons)), max(lons)) + 180) / 360)
    turns = [360.0 * turn for turn in range(-most, most + 1)]
    columns = tuple([edge[place] for edge in edges] for place in range(5))
    inside = Sql(f"({_EVEN_ODD.format(edge=_ON_EDGE, alias=alias)})", (turns, *columns))
    return joined("AND", [near, inside])
