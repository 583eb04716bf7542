"""What an ingest is told and what it tells."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from core import errors


class Refused(errors.Conflict):
    """The archive can be read but may not be taken as it is; nothing was changed."""


_MANY = {
    "no_record_id": "have no identifier",
    "duplicate_row": "came before",
    "duplicate_identifier": "have the identifier of a row before",
    "identifier_conflict": "have an identifier of another row of the store",
    "wrong_column_count": "have too few or too many cells",
    "row_too_long": "are too long",
    "orphan_extension": "belong to no record of the archive",
}
"""What is wrong with rows that are rejected, behind their number."""
_ONE = _MANY | {
    "no_record_id": "has no identifier",
    "duplicate_identifier": "has the identifier of a row before",
    "identifier_conflict": "has an identifier of another row of the store",
    "wrong_column_count": "has too few or too many cells",
    "row_too_long": "is too long",
    "orphan_extension": "belongs to no record of the archive",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Choices of contract 6.1; `recordset` and `name` win over what the archive says of itself."""

    recordset: uuid.UUID | None = None
    name: str = ""
    dry_run: bool = False
    keep_missing: bool = False
    allow_mass_delete: bool = False
    trust_index: bool = False

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"recordset": str(self.recordset) if self.recordset else None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Options:
        given = values.get("recordset")
        return cls(**(values | {"recordset": uuid.UUID(given) if given else None}))


@dataclasses.dataclass(kw_only=True)
class Report:
    """Counts of contract 6.1; rows are records and media together, `links` those made or ended.

    `attached` are rows of other extensions, kept with the record they belong to. Every row read is counted once:
    `read` is the sum of `added`, `changed`, `unchanged`, `restored`, `attached` and what is in `rejected`.
    """

    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    restored: int = 0
    attached: int = 0
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    links: int = 0
    version: int | None = None
    recordsets: list[str] = dataclasses.field(default_factory=list)
    dry_run: bool = False

    @property
    def rejects(self) -> int:
        return sum(self.rejected.values())

    def reasons(self) -> str:
        """Why rows were rejected, and how many, the most frequent reason first."""
        found = sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count:,} {_ONE[reason] if count == 1 else _MANY[reason]}" for reason, count in found)

    def sentence(self) -> str:
        """What became of the rows, in words that add up."""
        became = {name: getattr(self, name) for name in ("added", "changed", "restored", "unchanged")}
        parts = [f"{count:,} {name}" for name, count in became.items() if count]
        if self.attached:
            parts.append(f"{self.attached:,} attached to records")
        if self.rejects:
            parts.append(f"{self.rejects:,} rejected ({self.reasons()})")
        said = f"{_counted(self.read, 'row')} read{': ' if parts else ''}{', '.join(parts)}."
        if self.removed:
            said += f" {_counted(self.removed, 'row')} of the store removed, which the archive lacks."
        if self.links:
            said += f" {_counted(self.links, 'link')} made or ended."
        if self.dry_run:
            return f"Dry run, nothing was changed. {said}"
        return f"{said} {'Nothing changed.' if self.version is None else f'Data version {self.version}.'}"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        """A report as it was kept, also by an earlier release."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
