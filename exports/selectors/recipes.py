"""What goes into a variant's ``export.json``: a header and arrays of finished rows, all from one snapshot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core import db
from exports.formats import envelope, text, variants
from exports.models import RepoVersion
from exports.selectors import deltas, documents


@dataclass(frozen=True)
class Piece:
    """One array: its name, rows and bytes, and its finished rows, each time anew."""

    array: envelope.Array
    rows: Callable[[], Iterator[str]]

    def blocks(self, *, separator: str = "", end: str = "") -> Iterator[bytes]:
        """The rows in blocks, each row between ``separator`` and ``end``."""
        held: list[str] = []
        for row in self.rows():
            held.append(f"{separator}{row}{end}")
            if len(held) == documents.BLOCK_ROWS:
                yield "".join(held).encode()
                held.clear()
        if held:
            yield "".join(held).encode()


@dataclass(frozen=True)
class Recipe:
    """A whole document; ``stamp`` is the time its file name tells, ``counts`` what its status does."""

    header: str
    pieces: list[Piece]
    stamp: dt.datetime
    counts: dict[str, int]

    @property
    def arrays(self) -> list[envelope.Array]:
        return [piece.array for piece in self.pieces]


def of(view: db.Snapshot, version: RepoVersion, key: str) -> Recipe:
    """The document of a variant of a version, as the snapshot sees it."""
    delta = variants.read_delta(key)
    if delta is None:
        raise ValueError(f"no variant {key!r}")
    return _delta(view, version, delta)


def _delta(view: db.Snapshot, version: RepoVersion, delta: variants.Delta) -> Recipe:
    base = None if delta.base is None else RepoVersion.objects.get(pk=delta.base, repo=version.repo_id)
    pieces, told, totals = [], {}, {"concepts": 0, "mappings": 0, "references": 0}
    for name in documents.Wanted(concepts=True, references=True, mappings=True).arrays(version):
        statement = deltas.statement(version, name, base=base, moment=delta.moment)
        found = deltas.measured(view, statement)
        told[name] = found.actions
        totals[name] = found.rows
        pieces.append(Piece(envelope.Array(name, found.rows, found.size), _lines(view, statement)))
    stamp = version.last_child_update or version.updated_at
    header = deltas.header(version, base=base, moment=delta.moment, counts=told, stamp=stamp)
    actions = {action: sum(found[action] for found in told.values()) for action in deltas.ACTIONS}
    return Recipe(text.dumps(header), pieces, stamp, {**totals, **actions})


def _lines(view: db.Snapshot, statement: deltas.Statement) -> Callable[[], Iterator[str]]:
    return lambda: (line for (line,) in view.stream(*deltas.lines(statement), size=documents.BLOCK_ROWS))
