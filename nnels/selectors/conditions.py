"""Filter conditions to SQL. Every value is a bound parameter; columns are our own constants."""

import dataclasses
import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.utils import dateparse, timezone

from nnels.formats import dates, isbn, languages, text
from nnels.selectors import listing

Sql = tuple[str, list[Any]]
_COMPARISONS = {"=": "=", ">": ">", "<": "<", ">=": ">=", "<=": "<=", "<>": "<>", "!=": "<>"}


@dataclasses.dataclass(frozen=True)
class Number:
    """A bigint column."""

    column: str

    def sql(self, condition: listing.Condition) -> Sql:
        if condition.operator in ("CONTAINS", "LIKE", "STARTS_WITH"):
            return Text(f"{self.column}::text").sql(condition)
        values = [self.parse(condition, value) for value in condition.values]
        if condition.operator == "BETWEEN":
            return f"{self.column} BETWEEN %s AND %s", values
        if condition.operator in ("IN", "NOT IN"):
            sign = "= ANY" if condition.operator == "IN" else "<> ALL"
            return f"{self.column} {sign}(%s::bigint[])", [values]
        return f"{self.column} {_COMPARISONS[condition.operator]} %s", values

    def parse(self, condition: listing.Condition, value: str) -> int:
        digits = value.strip()
        if not digits.removeprefix("-").isascii() or not digits.removeprefix("-").isdigit() or len(digits) > 18:
            raise listing.malformed(condition.field, "The value is not a whole number.")
        return int(digits)


def like(value: str) -> str:
    """A text as a LIKE pattern that means itself."""
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def pattern(operator: str, value: str) -> tuple[str, str]:
    """(predicate, parameter) of a pattern operator; in LIKE only `%` and `_` are special, there is no escape."""
    if operator == "LIKE":
        return "LIKE %s ESCAPE ''", value
    return "LIKE %s", f"%{like(value)}%" if operator == "CONTAINS" else f"{like(value)}%"


@dataclasses.dataclass(frozen=True)
class Text:
    """A text column that holds folded values; null counts as "no value"."""

    column: str
    fold: Callable[[str], str] = text.plain

    def sql(self, condition: listing.Condition) -> Sql:
        values = [self.fold(value) for value in condition.values]
        if condition.operator in ("CONTAINS", "LIKE", "STARTS_WITH"):
            predicate, value = pattern(condition.operator, values[0])
            return f"{self.column} {predicate}", [value]
        if condition.operator == "BETWEEN":
            return f'{self.column} COLLATE "C" BETWEEN %s AND %s', values
        if condition.operator == "IN":
            return f"{self.column} = ANY(%s::text[])", [values]
        if condition.is_negative:
            return f"({self.column} = ANY(%s::text[])) IS NOT TRUE", [values]
        collate = "" if condition.operator == "=" else ' COLLATE "C"'
        return f"{self.column}{collate} {_COMPARISONS[condition.operator]} %s", values


@dataclasses.dataclass(frozen=True)
class Texts:
    """A text array of folded values: a positive operator needs one matching value, a negative one none.

    `flat`: a column with all values in one text under a trigram index, to find rows for pattern operators.
    """

    column: str
    fold: Callable[[str], str] = text.plain
    flat: str = ""

    def sql(self, condition: listing.Condition) -> Sql:
        values = [self.fold(value) for value in condition.values]
        if condition.is_negative:
            return f"({self.column} && %s::text[]) IS NOT TRUE", [values]
        if condition.operator in ("=", "IN"):
            return f"{self.column} && %s::text[]", [values]
        if condition.operator == "BETWEEN":
            return self._some('COLLATE "C" BETWEEN %s AND %s'), values
        if condition.operator in _COMPARISONS:
            return self._some(f'COLLATE "C" {_COMPARISONS[condition.operator]} %s'), values
        predicate, value = pattern(condition.operator, values[0])
        if not self.flat:
            return self._some(predicate), [value]
        anywhere = pattern("LIKE", f"%{value}%") if condition.operator == "LIKE" else pattern("CONTAINS", values[0])
        return f"{self.flat} {anywhere[0]} AND {self._some(predicate)}", [anywhere[1], value]

    def _some(self, predicate: str) -> str:
        return f"EXISTS (SELECT FROM unnest({self.column}) AS one(value) WHERE one.value {predicate})"


@dataclasses.dataclass(frozen=True)
class Dates:
    """A pair of date columns (first and last day of a partial date); `=` means within the period that is asked."""

    first: str
    last: str
    as_text: str

    def sql(self, condition: listing.Condition) -> Sql:
        if condition.operator in ("CONTAINS", "LIKE", "STARTS_WITH"):
            return Text(self.as_text).sql(condition)
        periods = [self._period(condition, value) for value in condition.values]
        if condition.operator == "BETWEEN":
            return f"({self.first} >= %s AND {self.last} <= %s)", [periods[0].first, periods[1].last]
        if condition.operator in ("=", "IN") or condition.is_negative:
            within = " OR ".join(f"({self.first} >= %s AND {self.last} <= %s)" for _ in periods)
            values = [day for one in periods for day in (one.first, one.last)]
            return f"({within}) IS {'NOT TRUE' if condition.is_negative else 'TRUE'}", values
        only = periods[0]
        predicate, value = {
            "<": (f"{self.last} < %s", only.first),
            ">": (f"{self.first} > %s", only.last),
            "<=": (f"{self.last} <= %s", only.last),
            ">=": (f"{self.first} >= %s", only.first),
        }[condition.operator]
        return predicate, [value]

    def _period(self, condition: listing.Condition, value: str) -> dates.Period:
        found = dates.period(value.strip())
        if found is None:
            raise listing.malformed(condition.field, "A date is YYYY, YYYY-MM or YYYY-MM-DD.")
        return found


@dataclasses.dataclass(frozen=True)
class Instant:
    """A timestamp column; a value is a partial date (a period) or RFC 3339 (one second)."""

    column: str

    def sql(self, condition: listing.Condition) -> Sql:
        if condition.operator in ("CONTAINS", "LIKE", "STARTS_WITH"):
            shown = f"to_char({self.column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"t\"HH24:MI:SS\"z\"')"
            return Text(shown).sql(condition)
        spans = [self._span(condition, value) for value in condition.values]
        if condition.operator == "BETWEEN":
            return f"({self.column} >= %s AND {self.column} < %s)", [spans[0][0], spans[1][1]]
        if condition.operator in ("=", "IN") or condition.is_negative:
            within = " OR ".join(f"({self.column} >= %s AND {self.column} < %s)" for _ in spans)
            return f"({'NOT ' if condition.is_negative else ''}({within}))", [end for one in spans for end in one]
        start, end = spans[0]
        sign, value = {"<": ("<", start), ">": (">=", end), "<=": ("<", end), ">=": (">=", start)}[condition.operator]
        return f"{self.column} {sign} %s", [value]

    def _span(self, condition: listing.Condition, value: str) -> tuple[datetime.datetime, datetime.datetime]:
        found = dates.period(value.strip())
        try:
            if found is not None:
                day = datetime.timedelta(days=1)
                midnight = datetime.time(tzinfo=datetime.UTC)
                return (
                    datetime.datetime.combine(found.first, midnight),
                    datetime.datetime.combine(found.last, midnight) + day,
                )
            # A "+" of an offset that was not escaped arrives as a space.
            instant = dateparse.parse_datetime(value.strip().replace(" ", "+"))
            if instant is not None:
                instant = instant if timezone.is_aware(instant) else instant.replace(tzinfo=datetime.UTC)
                return instant, instant + datetime.timedelta(seconds=0 if instant.microsecond else 1)
        except (ValueError, OverflowError):
            pass
        raise listing.malformed(condition.field, "A date is YYYY[-MM[-DD]] or an RFC 3339 time.")


def language(value: str) -> str:
    """A language value as stored: B, T, two-letter and BCP 47 codes become the T code."""
    return languages.to_t(value) or text.plain(value)


def isbn_value(value: str) -> str:
    """An ISBN value as stored; a part of one (for LIKE, CONTAINS) keeps its digits."""
    return isbn.to_13(value) or value.strip().replace("-", "")


ITEM_FIELDS: Mapping[str, Number | Text | Texts | Dates | Instant] = {
    "id": Number("i.id"),
    "label": Text("i.label_sort"),
    "creators": Texts("i.creators_n", flat="i.creators_flat"),
    "languages": Texts("i.languages", fold=language),
    "isbn": Texts("i.isbn", fold=isbn_value),
    "uuid": Text("i.uuid::text"),
    "published_date": Dates("i.published_from", "i.published_to", "i.published_date"),
    "subjects": Texts("i.subjects_n"),
    "publisher": Text("i.publisher_n"),
    "formats": Texts("i.formats"),
    "narrators": Texts("i.narrators_n"),
    "narration": Text("i.narration"),
    "series": Text("i.series_n"),
    "rights": Text("i.rights"),
    "changed": Instant("i.changed"),
    "accessMode": Texts("i.access_modes"),
    "accessibilityFeature": Texts("i.access_features"),
    "accessibilityHazard": Texts("i.access_hazards"),
}

ITEM_SORTS: Mapping[str, str] = {
    "id": "i.id",
    "label": "i.label_sort",
    "creators": "i.creators_n[1]",
    "published_date": "i.published_from",
    "changed": "i.changed",
    "uuid": "i.uuid",
}

# A tombstone knows no more than this.
TOMBSTONE_FIELDS: Mapping[str, Number | Text | Texts | Dates | Instant] = {
    "id": Number("t.item_id"),
    "uuid": Text("t.uuid::text"),
    "changed": Instant("t.changed"),
}

HARVEST_SORTS: Mapping[str, str] = {"id": "id", "changed": "changed", "uuid": "uuid"}

USER_FIELDS: Mapping[str, Number | Text | Texts | Dates | Instant] = {
    "id": Number("u.id"),
    "label": Text("u.username"),
    "mail": Text("lower(u.email)"),
}

USER_SORTS: Mapping[str, str] = {"id": "u.id", "label": "u.username", "mail": "lower(u.email)"}


def where(
    conditions: tuple[listing.Condition, ...], known: Mapping[str, Number | Text | Texts | Dates | Instant]
) -> Sql:
    """The conditions as ` AND …` (or nothing) and their parameters."""
    parts = [known[condition.field].sql(condition) for condition in conditions]
    return "".join(f" AND ({sql})" for sql, _ in parts), [value for _, values in parts for value in values]


def order(sort: tuple[tuple[str, bool], ...], known: Mapping[str, str], *, last: str) -> str:
    """An ORDER BY list ending in the unique column `last`, nulls last in both directions."""
    parts = [f"{known[name]} {'DESC' if descending else 'ASC'} NULLS LAST" for name, descending in sort]
    return ", ".join([*parts, last])


def holds(condition: listing.Condition, value: object) -> bool:
    """Whether a plain value meets a condition: for the few rows that are not in a table (discovery)."""
    if isinstance(value, int):
        number = Number("")
        return _compares(condition.operator, value, [number.parse(condition, one) for one in condition.values])
    return _compares(condition.operator, text.plain(str(value)), [text.plain(one) for one in condition.values])


def meets(condition: listing.Condition, value: str) -> bool:
    """Whether one stored value of the condition's list field meets it."""
    field = ITEM_FIELDS[condition.field]
    fold = field.fold if isinstance(field, Texts) else text.plain
    return _compares(condition.operator, value, [fold(one) for one in condition.values])


def _compares(operator: str, value: Any, wanted: list[Any]) -> bool:
    if operator in ("CONTAINS", "LIKE", "STARTS_WITH"):
        shown, needle = str(value), str(wanted[0])
        if operator == "LIKE":
            return _like_matches(shown, needle)
        return needle in shown if operator == "CONTAINS" else shown.startswith(needle)
    outcomes: dict[str, Callable[[], bool]] = {
        "=": lambda: value == wanted[0],
        "<>": lambda: value != wanted[0],
        "!=": lambda: value != wanted[0],
        "<": lambda: value < wanted[0],
        ">": lambda: value > wanted[0],
        "<=": lambda: value <= wanted[0],
        ">=": lambda: value >= wanted[0],
        "IN": lambda: value in wanted,
        "NOT IN": lambda: value not in wanted,
        "BETWEEN": lambda: bool(wanted[0] <= value <= wanted[-1]),
    }
    return outcomes[operator]()


def _like_matches(shown: str, needle: str) -> bool:
    expression = "".join(".*" if mark == "%" else "." if mark == "_" else re.escape(mark) for mark in needle)
    return re.fullmatch(expression, shown, re.DOTALL) is not None
