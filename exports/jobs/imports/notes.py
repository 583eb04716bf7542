"""What became of the records: counted, written down with the batch that decided it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from core import errors
from exports.formats import text
from exports.models import ImportJob, ImportNote
from exports.writing import store

OUTCOMES = ("created", "updated", "unchanged", "deleted", "failed", "invalid", "permission_denied", "unknown")
BAD = ("failed", "invalid", "permission_denied", "unknown")
#: how much of a type nobody knows is kept
_TYPE = 40


@dataclass(frozen=True)
class Note:
    outcome: str
    line: int
    type: str
    url: str
    errors: dict[str, Any] | None = None


def of_error(error: errors.Fact, *, line: int, type: str, url: str) -> Note:
    """The list an error belongs in, with its words."""
    if isinstance(error, errors.Denied | errors.Unauthenticated):
        words: dict[str, Any] = {"detail": "You do not have permission to perform this action."}
        return Note("permission_denied", line, type, url, words)
    told = error.details.get("fields") or ({error.field: [error.message]} if error.field else {"detail": error.message})
    if isinstance(error, errors.Invalid) and error.code != "duplicate":
        return Note("invalid", line, type, url, told)
    if isinstance(error, errors.NotFound):
        told = {"detail": "Not found."}
    return Note("failed", line, type, url, told)


class Book:
    """The notes of one import: kept until the batch commits, then in the table."""

    def __init__(self, importing: ImportJob | None, *, keeps_all: bool = False) -> None:
        self._importing = importing
        self._keeps_all = keeps_all or importing is None
        self.pending: list[Note] = []
        self.all: list[Note] = []
        self.counts: Counter[str] = Counter()

    def add(self, note: Note) -> None:
        self.pending.append(note)
        self.counts[note.outcome] += 1

    def save(self) -> None:
        """In the transaction of the batch."""
        if self._keeps_all:
            self.all += self.pending
        if self._importing is not None:
            key = self._importing.pk
            store.copy(
                ImportNote,
                ("importing_id", "outcome", "line", "type", "url", "errors"),
                (
                    (key, n.outcome, n.line, n.type[:_TYPE], n.url, text.dumps(n.errors) if n.errors else None)
                    for n in self.pending
                ),
            )
        self.pending = []

    def kept(self) -> list[Note]:
        """Everything noted, also what a rollback took out of the table; only while ``keeps_all``."""
        return [*self.all, *self.pending]

    def restart(self) -> None:
        self.pending, self.all = [], []
        self.counts.clear()

    @property
    def has_bad(self) -> bool:
        return any(self.counts[outcome] > 0 for outcome in BAD)
