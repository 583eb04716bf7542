"""The query language: a JSON object becomes nodes, or an error that names the place (contract §2.6, §2.7)."""

import datetime
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core import errors
from downloads.formats import terms, words
from downloads.selectors import geo, nodes, suggest

GROUPS: Final = ("and", "or", "not")
OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "exists": (),
    "missing": (),
    "range": ("gte", "gt", "lte", "lt"),
    "prefix": ("value", "text"),
    "fulltext": ("value", "text"),
    "geo_bounding_box": ("top_left", "bottom_right"),
    "geo_distance": ("distance", "lat", "lon"),
    "geo_polygon": ("value",),
    "geo_shape": ("value",),
    "exact": ("text", "value"),
    "keyword": ("text", "value"),
    "fuzzy": ("text", "value"),
}
"""Operator → its keys, beside `type`."""

ALLOWED: Final = sorted(OPERATORS)

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_EPOCH = re.compile(r"-?[0-9]{5,15}")
_PARTIAL = re.compile(r"([0-9]{4})(?:-([0-9]{1,2}))?")
_DAY = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")
_LARGEST_EPOCH: Final = 250_000_000_000_000


@dataclass
class Known:
    """What a query may name: index terms of its kind, and (None: any) provider terms."""

    kind: nodes.Kind = "records"
    provider: Collection[str] | None = None
    _aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.terms = terms.MEDIA_TERM if self.kind == "media" else terms.RECORD_TERM
        self._aliases = {term.header.lower(): term.name for term in self.terms.values()}

    @property
    def table(self) -> tuple[terms.Term, ...]:
        return terms.MEDIA_TERMS if self.kind == "media" else terms.RECORD_TERMS

    def suggestion(self, name: str) -> str | None:
        """The nearest index term to a name, a CSV header or a provider term of one."""
        return suggest.nearest(name, self.terms, self._aliases)

    def provider_suggestion(self, name: str) -> str | None:
        """The nearest provider term, as a query names it."""
        found = suggest.nearest(name, self.provider or ())
        return None if found is None else f"data.{found}"

    def unknown_field(self, name: str, names: Sequence[str], **details: Any) -> errors.Invalid:
        """The refusal of a name that is neither an index term nor a provider term."""
        if name.startswith("data."):
            message, suggestion = f"No record has the provider term {name[5:]}.", self.provider_suggestion(name[5:])
        else:
            message, suggestion = f"The field {name} is not known.", self.suggestion(name)
        return errors.Invalid(message, field=name, fields=list(names), suggestion=suggestion, **details)

    def find(self, name: str) -> nodes.Field | None:
        """The field of this name, if there is one."""
        if name in self.terms:
            return nodes.Field(name, self.terms[name])
        if name.startswith("data.") and len(name) > 5 and (self.provider is None or name[5:] in self.provider):
            return nodes.Field(name[5:])
        return None


def query(value: Any, known: Known, *, is_strict: bool = True) -> nodes.Node:
    """A query's nodes.

    The value must have passed `jsontext.check`. With `is_strict` False an unknown field matches nothing.
    """
    if not isinstance(value, dict):
        raise errors.Invalid(f"The query must be a JSON object, not {named(value)}.")
    reader = _Reader(known)
    node = reader.read(value)
    if reader.unknown and is_strict:
        raise known.unknown_field(reader.unknown[0], reader.unknown)
    return node


def named(value: Any) -> str:
    """What kind of JSON value this is, as error sentences say it."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bool):
        return "a boolean"
    return "null" if value is None else "a number"


class _Reader:
    """One pass over one query; unknown names are collected, every other fault raises."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.unknown: list[str] = []

    def read(self, value: dict[str, Any]) -> nodes.Node:
        parts = [self._entry(key, item) for key, item in value.items()]
        return parts[0] if len(parts) == 1 else nodes.Group("and", tuple(parts))

    def _entry(self, key: str, value: Any) -> nodes.Node:
        if key in GROUPS:
            return self._group(key, value)
        if isinstance(value, dict) and value.get("type") == "fulltext":
            text = _text_of("fulltext", key, value)  # any key name will do
            return nodes.Fulltext(tuple(dict.fromkeys(words.split(words.fold(text)))))
        found = self.known.find(key)
        if found is None:
            if key not in self.unknown:
                self.unknown.append(key)
            return nodes.NOTHING
        return condition(found, value)

    def _group(self, word: str, value: Any) -> nodes.Node:
        if word == "not":
            if not isinstance(value, dict):
                raise errors.Invalid(f"The group not needs a query, not {geo.shown(value)}.", field=word)
            return nodes.Group("not", (self.read(value),))
        if not isinstance(value, list):
            raise errors.Invalid(f"The group {word} needs a list of queries, not {geo.shown(value)}.", field=word)
        for item in value:
            if not isinstance(item, dict):
                raise errors.Invalid(f"The group {word} needs a list of queries, not of {named(item)}.", field=word)
        return nodes.Group("and" if word == "and" else "or", tuple(self.read(item) for item in value))


def condition(target: nodes.Field, value: Any) -> nodes.Node:
    """The node of one condition on a known field."""
    if isinstance(value, dict):
        return _operation(target, value)
    if target.kind == "point":
        raise errors.Invalid(f"The field {target.key} needs a geo operator.", field=target.key, allowed=_GEO)
    items = value if isinstance(value, list) else [value]
    if any(item is None for item in items):
        raise errors.Invalid(
            f"The field {target.key} has no value to look for.", field=target.key, suggestion={"type": "missing"}
        )
    return nodes.Equals(target, tuple(dict.fromkeys(scalar(target, item) for item in items)))


_GEO: Final = [name for name in ALLOWED if name.startswith("geo_")]


def _operation(target: nodes.Field, value: dict[str, Any]) -> nodes.Node:
    if "type" not in value:
        raise errors.Invalid(f'The condition on {target.key} has no "type".', field=target.key, allowed=ALLOWED)
    operator = value["type"]
    if not isinstance(operator, str) or operator not in OPERATORS:
        name = operator[:60] if isinstance(operator, str) else geo.shown(operator)
        raise errors.Invalid(
            f"The operator {name} is not known.",
            field=target.key,
            operator=operator if isinstance(operator, str) else name,
            suggestion=suggest.nearest(name, OPERATORS),
            allowed=ALLOWED,
        )
    _check_fit(target, operator)
    _check_keys(target.key, operator, value)
    try:
        return _MAKERS[operator](target, value)
    except errors.Invalid as error:
        error.field = error.field or target.key
        error.details.setdefault("operator", operator)
        raise


def _check_fit(target: nodes.Field, operator: str) -> None:
    """Refuse an operator on a kind of field it cannot work on."""
    is_point = target.kind == "point"
    if operator.startswith("geo_") and not is_point:
        raise _unfit(target, operator, f"The operator {operator} works only on geopoint.")
    if is_point and not operator.startswith("geo_") and operator not in ("exists", "missing"):
        raise _unfit(target, operator, f"The field {target.key} needs a geo operator.")
    is_text = target.kind in ("text", "word", "list", "data")
    if operator in ("prefix", "exact", "keyword", "fuzzy") and not is_text:
        raise _unfit(target, operator, f"The operator {operator} works only on text fields.")
    if operator == "range" and target.kind == "bool":
        raise _unfit(target, operator, "The operator range works only on numbers, dates and text fields.")


def _unfit(target: nodes.Field, operator: str, message: str) -> errors.Invalid:
    return errors.Invalid(message, field=target.key, operator=operator)


_NEEDED: Final[Mapping[str, str]] = {
    "range": "at least one of gte, gt, lte, lt",
    "prefix": "the key value",
    "fulltext": "the key value",
    "geo_bounding_box": "the keys top_left and bottom_right",
    "geo_distance": "the keys distance, lat and lon",
    "geo_polygon": "the key value",
    "geo_shape": "the key value",
    "exact": "the key text",
    "keyword": "the key text",
    "fuzzy": "the key text",
}
_ANY_OF: Final = frozenset({"range", "prefix", "fulltext", "exact", "keyword", "fuzzy"})


def _check_keys(name: str, operator: str, value: dict[str, Any]) -> None:
    keys = OPERATORS[operator]
    for key in value:
        if key != "type" and key not in keys:
            raise errors.Invalid(
                f"The operator {operator} has no key {key}.",
                field=name,
                operator=operator,
                allowed=list(keys),
                suggestion=suggest.nearest(key, keys),
            )
    enough = any if operator in _ANY_OF else all
    if keys and not enough(key in value for key in keys):
        message = f"The operator {operator} needs {_NEEDED[operator]}."
        raise errors.Invalid(message, field=name, operator=operator, allowed=list(keys))


def _text_of(operator: str, name: str, value: dict[str, Any]) -> str:
    """The text an operator looks for; `text` and `value` are interchangeable."""
    _check_keys(name, operator, value)
    given = value["value"] if "value" in value else value["text"]
    if isinstance(given, str):
        return given
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return str(given)
    raise errors.Invalid(
        f"The operator {operator} needs a text, not {geo.shown(given)}.", field=name, operator=operator
    )


def _text(operator: str) -> Callable[[nodes.Field, dict[str, Any]], nodes.Node]:
    def make(target: nodes.Field, value: dict[str, Any]) -> nodes.Node:
        text = words.fold(_text_of(operator, target.key, value))
        if operator == "prefix":
            return nodes.Text("prefix", target, text) if text else nodes.Exists(target)
        return nodes.Text("fuzzy" if operator == "fuzzy" else "exact", target, text)

    return make


def _range(target: nodes.Field, value: dict[str, Any]) -> nodes.Node:
    for key, bound in value.items():
        if bound is None:
            raise errors.Invalid(f"The bound {key} has no value.", suggestion={"type": "exists"})
    return nodes.Range(
        target, tuple((key, scalar(target, value[key])) for key in ("gt", "gte", "lt", "lte") if key in value)
    )


def _box(target: nodes.Field, value: dict[str, Any]) -> nodes.Node:
    north, west = geo.corner(value["top_left"], "corner top_left")
    south, east = geo.corner(value["bottom_right"], "corner bottom_right")
    return nodes.Place(target, geo.box(north, west, south, east))


def _circle(target: nodes.Field, value: dict[str, Any]) -> nodes.Node:
    lat, lon = geo.latitude(value["lat"]), geo.longitude(value["lon"])
    return nodes.Place(target, nodes.Circle(lat, lon, geo.distance(value["distance"])))


_MAKERS: Final[Mapping[str, Callable[[nodes.Field, dict[str, Any]], nodes.Node]]] = {
    "exists": lambda target, _: nodes.Exists(target),
    "missing": lambda target, _: nodes.Group("not", (nodes.Exists(target),)),
    "range": _range,
    "prefix": _text("prefix"),
    "exact": _text("exact"),
    "keyword": _text("keyword"),
    "fuzzy": _text("fuzzy"),
    "geo_bounding_box": _box,
    "geo_distance": _circle,
    "geo_polygon": lambda target, value: nodes.Place(target, geo.polygon(value["value"])),
    "geo_shape": lambda target, value: nodes.Place(target, geo.shape(value["value"])),
}


def scalar(target: nodes.Field, value: Any) -> nodes.Value:
    """A value to look for, in the type of its field."""
    match target.kind:
        case "float" | "int":
            made: nodes.Value | None = _as_number(value)
            wanted = "a number"
        case "bool":
            made, wanted = _as_boolean(value), "true or false"
        case "date":
            made, wanted = _as_period(value), "a date"
        case _:
            made, wanted = _as_text(value), "a text"
    if made is None:
        raise errors.Invalid(f"The field {target.key} needs {wanted}, not {geo.shown(value)}.", field=target.key)
    return made


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return words.fold(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return str(value)


def _as_number(value: Any) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e308:
        return None
    return float(value) + 0.0


def _as_boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _as_period(value: Any) -> nodes.Period | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _instant_of_epoch(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _EPOCH.fullmatch(text):
        return _instant_of_epoch(int(text))
    try:
        return _calendar_period(text) or _instant(text)
    except (ValueError, OverflowError):
        return None


def _instant_of_epoch(milliseconds: float) -> nodes.Period | None:
    if not -62_135_596_800_000 <= milliseconds <= _LARGEST_EPOCH:
        return None
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    moment = (epoch + datetime.timedelta(milliseconds=milliseconds)).isoformat()
    return nodes.Period(moment, moment, moment)


def _calendar_period(text: str) -> nodes.Period | None:
    """A year, a month or a day."""
    if found := _DAY.fullmatch(text):
        start = datetime.date(int(found[1]), int(found[2]), int(found[3]))
        return _period(start.isoformat(), start, start.toordinal() + 1)
    if not (found := _PARTIAL.fullmatch(text)):
        return None
    year, month = int(found[1]), int(found[2] or 0)
    start = datetime.date(year, month or 1, 1)
    if month:
        following = (year, month + 1) if month < 12 else (year + 1, 1)
        return _period(f"{year:04}-{month:02}", start, _first(*following))
    return _period(f"{year:04}", start, _first(year + 1, 1))


def _first(year: int, month: int) -> int:
    return datetime.date(year, month, 1).toordinal() if year < 10_000 else datetime.date.max.toordinal() + 1


def _period(text: str, start: datetime.date, end: int) -> nodes.Period:
    last = datetime.date.max.toordinal()
    after = f"{datetime.date.fromordinal(end).isoformat()}T00:00:00+00:00" if end <= last else "infinity"
    return nodes.Period(text, f"{start.isoformat()}T00:00:00+00:00", after)


def _instant(text: str) -> nodes.Period:
    parsed = datetime.datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.UTC)
    moment = parsed.astimezone(datetime.UTC).isoformat()
    return nodes.Period(moment, moment, moment)
