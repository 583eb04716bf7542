"""What a writer wants to become of a concept or mapping, and what became of it."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Literal

from core import errors

Mode = Literal["create", "update", "upsert"]
Result = Literal["created", "updated", "unchanged", "failed"]


@dataclass(frozen=True)
class Imported:
    """What an archive brings into a new repository and must come out again unchanged."""

    uuid: str
    version: str
    created_at: dt.datetime | None
    created_by: str
    updated_at: dt.datetime | None
    updated_by: str
    author: str
    checksums: dict[str, str]
    kept: dict[str, Any]
    rank: int
    previous: str | None = None


@dataclass
class Draft:
    """One wanted change. ``changes`` holds only what is mentioned; everything else stays as it is."""

    id: str | None
    changes: dict[str, Any]
    user: str
    mode: Mode = "upsert"
    #: write a version even when nothing differs (a PUT always does; an import never)
    force: bool = False
    imported: Imported | None = None


@dataclass
class Outcome:
    """What became of a draft."""

    result: Result
    id: str = ""
    url: str = ""
    pk: int = 0
    error: errors.Fact | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def failed(draft: Draft, error: errors.Fact) -> Outcome:
    return Outcome("failed", id=draft.id or "", error=error)


def refusal(draft: Draft, *, exists: bool, kind: str) -> errors.Fact | None:
    """Why a draft's mode does not fit what is stored."""
    if draft.mode == "create" and exists:
        # the original's words
        return errors.Invalid(f"{kind} ID must be unique within a source.", field="__all__", code="duplicate")
    if draft.mode == "update" and not exists:
        return errors.NotFound()
    return None
