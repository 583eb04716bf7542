"""A piece of SQL with its values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sql:
    """Text with `%s` for each of `params`; pieces are put together with `+` and `join`."""

    text: str
    params: tuple[Any, ...] = ()

    def __add__(self, other: Sql | str) -> Sql:
        if isinstance(other, str):
            return Sql(self.text + other, self.params)
        return Sql(self.text + other.text, self.params + other.params)

    def __radd__(self, other: str) -> Sql:
        return Sql(other + self.text, self.params)


def all_of(conditions: Iterable[Sql]) -> Sql:
    """The conditions joined by AND; TRUE if there are none."""
    found = [each for each in conditions if each.text]
    if not found:
        return Sql("TRUE")
    return Sql(" AND ".join(each.text for each in found), tuple(value for each in found for value in each.params))
