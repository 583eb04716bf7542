"""How many items of a selection have each language, format or accessibility feature."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from core import errors
from nnels.selectors import conditions, items, listing, reads, recent

# Filterable list fields that may be counted, and their columns.
COLUMNS = {
    "languages": "i.languages",
    "formats": "i.formats",
    "accessibilityFeature": "i.access_features",
    "accessibilityHazard": "i.access_hazards",
    "accessMode": "i.access_modes",
    "subjects": "i.subjects_n",
    "creators": "i.creators_n",
}
MOST = 50

_counted: recent.Recent[tuple[int, str, str, str], list["Value"]] = recent.Recent(500)


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A value and how many items have it."""

    value: str
    count: int


def parse(text: str) -> list[str]:
    """Field names of `facets=a,b`; `Invalid` for one that cannot be counted."""
    names = list(dict.fromkeys(name for name in text.split(",") if name))
    for name in names:
        if name not in COLUMNS:
            raise errors.Invalid(f"The facet {name} is not allowed for this path.", field="facets")
    return names


def narrowing(chosen: Sequence[listing.Condition], *, field: str, value: str) -> tuple[listing.Condition, ...] | None:
    """The field's conditions that ask for this value besides what they ask already.

    None where the query language cannot say both: a field has one group of conditions, and IN or BETWEEN fill it.
    """
    own = [condition for condition in chosen if condition.field == field]
    kept: list[listing.Condition] = []
    for condition in own:
        if condition.operator == "NOT IN" or (condition.operator == "IN" and len(condition.values) == 1):
            operator = "<>" if condition.is_negative else "="
            kept += [listing.Condition(field, operator, (one,)) for one in condition.values]
        else:
            kept.append(condition)
    kept = [one for one in kept if one.is_negative or not conditions.meets(one, value)]
    if any(one.operator in listing.TAKES_LIST for one in kept):
        return None
    if len(chosen) - len(own) + len(kept) + 1 > listing.MAX_FILTERS:
        return None
    return (*kept, listing.Condition(field, "=", (value,)))


def count(
    names: list[str], chosen: tuple[listing.Condition, ...], *, match: str = "true", bound: list[Any] | None = None
) -> dict[str, list[Value]]:
    """Values with counts under the conditions, most frequent first; kept until the catalogue changes."""
    now = items.version()
    where, values = conditions.where(chosen, conditions.ITEM_FIELDS)
    found: dict[str, list[Value]] = {}
    for name in names:
        parameters = [*(bound or []), *values]
        key = (now, name, match + where, repr(parameters))
        cached = _counted.get(key)
        if cached is None:
            cached = [
                Value(*row)
                for row in reads.rows(
                    f"SELECT one.value, count(*) FROM nnels_item i CROSS JOIN LATERAL unnest({COLUMNS[name]}) "
                    f"AS one(value) WHERE i.published AND {match}{where} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST}",
                    parameters,
                )
            ]
            _counted.put(key, cached)
        found[name] = cached
    return found
