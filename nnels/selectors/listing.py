"""The query language of listings: `range`, `page`, `sort`, `fields`, `filter` (contract 2.9), parsed and checked."""

import dataclasses
import re
from collections.abc import Collection, Mapping

from core import errors

OPERATORS = ("=", ">", "<", ">=", "<=", "<>", "!=", "BETWEEN", "CONTAINS", "IN", "LIKE", "NOT IN", "STARTS_WITH")
NEGATIVE = frozenset({"<>", "!=", "NOT IN"})
TAKES_LIST = frozenset({"BETWEEN", "IN", "NOT IN"})
MAX_FILTERS = 20
MAX_VALUES = 100
# Beyond this a page number is past the end of any catalogue; keeping it small keeps the arithmetic in bigint.
MAX_PAGE = 10**12

_KEY = re.compile(
    r"filter\[(?P<field>[^\[\]]*)\](?:\[(?P<part>value|operator|conjunction)\](?:\[(?P<place>[0-9]*)\])?)?"
)


@dataclasses.dataclass(frozen=True)
class Condition:
    """`field operator values`; one value except for BETWEEN (two), IN and NOT IN."""

    field: str
    operator: str
    values: tuple[str, ...]

    @property
    def is_negative(self) -> bool:
        return self.operator in NEGATIVE


@dataclasses.dataclass(frozen=True)
class Listing:
    """What was asked of a listing. `sort`: (field, descending)."""

    range: int
    page: int
    sort: tuple[tuple[str, bool], ...] = ()
    conditions: tuple[Condition, ...] = ()
    fields: tuple[str, ...] | None = None

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.range


def malformed(name: str, reason: str) -> errors.Invalid:
    """The refusal of a filter that cannot be read."""
    return errors.Invalid(f"The filter {name} is malformed.", field=f"filter[{name}]", errors={name: [reason]})


def parse(params: Mapping[str, str], *, sortable: Collection[str], filterable: Collection[str], cap: int) -> Listing:
    """Check every part; `errors.Invalid` with the original framework's sentences."""
    size = params.get("page[size]", params.get("range"))
    number = params.get("page[number]", params.get("page"))
    return Listing(
        range=min(cap, _number(size, name="Range")) if size is not None else cap,
        page=_number(number, name="Page") if number is not None else 1,
        sort=_sort(params.get("sort", ""), sortable),
        conditions=_conditions(params, filterable),
        fields=fields(params),
    )


def fields(params: Mapping[str, str]) -> tuple[str, ...] | None:
    """Names in `fields=a,b`; None when not asked for."""
    text = params.get("fields")
    return tuple(name for name in text.split(",") if name) if text else None


def _number(text: str, *, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,400}", text) or int(text) < 1:
        raise errors.Invalid(f'"{name}" property should be numeric and equal or higher than 1.', field=name.lower())
    return min(int(text), MAX_PAGE)


def _sort(text: str, sortable: Collection[str]) -> tuple[tuple[str, bool], ...]:
    wanted = [(name.removeprefix("-"), name.startswith("-")) for name in text.split(",") if name]
    for name, _ in wanted:
        if name not in sortable:
            raise errors.Invalid(f"The sort {name} is not allowed for this path.", field="sort")
    seen: dict[str, bool] = {}
    for name, descending in wanted:
        seen.setdefault(name, descending)
    return tuple(seen.items())


def _conditions(params: Mapping[str, str], filterable: Collection[str]) -> tuple[Condition, ...]:
    if "filter" in params:
        raise malformed(params["filter"], "A filter names its field: filter[field]=value.")
    parts: dict[str, dict[str, list[str]]] = {}
    for key, value in params.items():
        if not key.startswith("filter["):
            continue
        match = _KEY.fullmatch(key)
        if match is None:
            raise malformed(key[7:].partition("]")[0], "The filter's key cannot be read.")
        parts.setdefault(match["field"], {}).setdefault(match["part"] or "value", []).append(value)
    if len(parts) > MAX_FILTERS:
        raise malformed(list(parts)[MAX_FILTERS], f"At most {MAX_FILTERS} filters are possible.")
    found: list[Condition] = []
    for name, said in parts.items():
        if name not in filterable:
            raise errors.Invalid(f"The filter {name} is not allowed for this path.", field=f"filter[{name}]")
        found += _condition(name, said)
    if len(found) > MAX_FILTERS:
        raise malformed(found[MAX_FILTERS].field, f"At most {MAX_FILTERS} filters are possible.")
    return tuple(found)


def _condition(name: str, said: dict[str, list[str]]) -> list[Condition]:
    values = said.get("value", [])
    operators = [_operator(text) for text in said.get("operator", ["="])]
    if any(text.strip().upper() != "AND" for text in said.get("conjunction", [])):
        raise malformed(name, "Only the conjunction AND is possible.")
    if not values:
        raise malformed(name, "A value is required.")
    if len(values) > MAX_VALUES:
        raise malformed(name, f"At most {MAX_VALUES} values are possible.")
    if any("\0" in value for value in values):
        raise malformed(name, "A value holds a NUL character.")
    if operators[0] in TAKES_LIST:
        if operators[0] == "BETWEEN" and len(values) != 2:
            raise malformed(name, "BETWEEN needs two values.")
        return [Condition(name, operators[0], tuple(values))]
    if len(operators) != len(values):
        raise malformed(name, "The number of operators and values has to be the same.")
    return [Condition(name, operator, (value,)) for operator, value in zip(operators, values, strict=True)]


def _operator(text: str) -> str:
    operator = " ".join(text.upper().split())
    if operator not in OPERATORS:
        raise errors.Invalid(
            f'Operator "{text}" is not allowed for filtering on this resource. '
            f"Allowed operators are: {', '.join(OPERATORS)}",
            field="filter",
        )
    return operator
