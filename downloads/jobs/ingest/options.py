"""What an ingest is told and what it tells."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from core import errors


class Refused(errors.Conflict):
    """The archive can be read but may not be taken as it is; nothing was changed."""


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
    """Counts of contract 6.1; rows are records and media together, `links` those made or ended."""

    read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    restored: int = 0
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    links: int = 0
    version: int | None = None
    recordsets: list[str] = dataclasses.field(default_factory=list)
    dry_run: bool = False

    @property
    def rejects(self) -> int:
        return sum(self.rejected.values())

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
