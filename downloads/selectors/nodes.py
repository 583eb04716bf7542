"""What a parsed query is made of: conditions on fields, and groups of them (contract §2.7)."""

from dataclasses import dataclass
from typing import Literal

from downloads.formats import terms

Kind = Literal["records", "media"]
FieldKind = terms.Kind | Literal["data"]
Scalar = str | float | bool


@dataclass(frozen=True, slots=True)
class Field:
    """An index term, or a provider term (`term` None, `name` without the `data.` in front)."""

    name: str
    term: terms.Term | None = None

    @property
    def kind(self) -> FieldKind:
        return "data" if self.term is None else self.term.kind

    @property
    def key(self) -> str:
        """As a query and the `words` text spell it."""
        return f"data.{self.name}" if self.term is None else self.name

    @property
    def has_words(self) -> bool:
        """True where a string matches by its words: word fields and provider terms."""
        return self.kind in ("word", "data")


@dataclass(frozen=True, slots=True)
class Period:
    """A date as asked: from `start` up to but without `end`, or (`start` == `end`) one instant; ISO 8601 in UTC."""

    text: str
    start: str
    end: str


Value = Scalar | Period


@dataclass(frozen=True, slots=True)
class Group:
    """`and` (all), `or` (any) or `not` (of exactly one) of other nodes."""

    word: Literal["and", "or", "not"]
    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Equals:
    """One of the values; none at all if there are none."""

    field: Field
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    field: Field


@dataclass(frozen=True, slots=True)
class Range:
    """All bounds apply; at least one is given."""

    field: Field
    bounds: tuple[tuple[Literal["gt", "gte", "lt", "lte"], Value], ...]


@dataclass(frozen=True, slots=True)
class Text:
    """`prefix`, `exact` or `fuzzy` of a folded text."""

    operator: Literal["prefix", "exact", "fuzzy"]
    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class Fulltext:
    """Every word occurs somewhere in the record."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Degrees, edges included; `west` > `east` crosses ±180°."""

    north: float
    west: float
    south: float
    east: float


@dataclass(frozen=True, slots=True)
class Circle:
    """Degrees and metres, edge included."""

    lat: float
    lon: float
    metres: float


Ring = tuple[tuple[float, float], ...]
"""(lon, lat) of each corner, not closed."""


@dataclass(frozen=True, slots=True)
class Polygons:
    """Any of these polygons; of each the first ring is its outside, the others are its holes; edges belong to it."""

    polygons: tuple[tuple[Ring, ...], ...]
    is_list: bool = False
    """True if it was asked as `geo_polygon`: one ring."""


Shape = Box | Circle | Polygons


@dataclass(frozen=True, slots=True)
class Place:
    field: Field
    shape: Shape


Node = Group | Equals | Exists | Range | Text | Fulltext | Place
NOTHING = Group("or", ())
EVERYTHING = Group("and", ())
