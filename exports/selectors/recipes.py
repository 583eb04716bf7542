"""What goes into a variant's ``export.json``: a header and arrays of finished rows, all from one snapshot."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from core import db
from exports.formats import envelope, localized, text, variants
from exports.models import RepoVersion
from exports.selectors import deltas, documents, rows


@dataclass(frozen=True)
class Piece:
    """One array: its name, rows and bytes, and its finished rows, each time anew."""

    array: envelope.Array
    rows: Callable[[], Iterator[str]]

    def blocks(self, *, separator: str = "", end: str = "") -> Iterator[bytes]:
        """The rows in blocks, each row between ``separator`` and ``end``."""
        return documents.blocks(self.rows(), separator=separator, end=end)


@dataclass(frozen=True)
class Recipe:
    """A whole document; ``stamp`` is the time its file name tells, ``counts`` what its status does."""

    header: str
    pieces: list[Piece]
    stamp: dt.datetime
    counts: dict[str, int]
    #: the state of the version's metadata that was read, HEAD's of all its content
    built_from: dt.datetime

    @property
    def arrays(self) -> list[envelope.Array]:
        return [piece.array for piece in self.pieces]


def of(view: db.Snapshot, version: RepoVersion, key: str) -> Recipe:
    """The document of a variant of a version, as the snapshot sees it."""
    delta, part = variants.read_delta(key), variants.read_part(key)
    if delta is not None:
        return _delta(view, version, delta)
    if part is None:
        raise ValueError(f"no variant {key!r}")
    return _part(view, version, part)


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
    return Recipe(text.dumps(header), pieces, stamp, {**totals, **actions}, version.updated_at)


def _lines(view: db.Snapshot, statement: deltas.Statement) -> Callable[[], Iterator[str]]:
    return lambda: (deltas.line(*one) for one in rows.stream(view, *deltas.lines(statement)))


def _part(view: db.Snapshot, version: RepoVersion, part: variants.Part) -> Recipe:
    wanted = documents.Wanted(concepts=True, references=True, mappings=True, retired=part.retired)
    version = documents.as_seen(view, version)
    header = documents.header(version)
    if part != variants.Part():
        header = {**header, "export_variant": {"locale": list(part.locales) or None, "includeRetired": part.retired}}
    pieces, counts, newest = [], {"references": 0}, version.last_child_update
    for name in wanted.arrays(version):
        if name == "references":
            piece = _measured(name, functools.partial(documents.references, view, version))
            counts[name] = piece.array.count
        else:
            piece, retired, changed = _rows(view, version, name, wanted, part.locales)
            counts |= {name: piece.array.count, f"retired_{name}": retired}
            newest = max(filter(None, (newest, changed)), default=None) if version.is_head else newest
        pieces.append(piece)
    # HEAD changes with every write to its repository, a frozen version with its own metadata only
    built_from = version.repo.write_clock if version.is_head else version.updated_at
    return Recipe(text.dumps(header), pieces, newest or version.updated_at, counts, built_from)


def _rows(
    view: db.Snapshot, version: RepoVersion, name: str, wanted: documents.Wanted, locales: Sequence[str]
) -> tuple[Piece, int, dt.datetime | None]:
    """Concepts or mappings, how many of them are retired, and when one was last changed."""
    found = documents.rows_of(version, name, wanted)  # type: ignore[arg-type]
    columns = "count(*), coalesce(sum(f.length), 0), count(*) FILTER (WHERE h.retired), max(h.updated_at)"
    ((count, size, retired, changed),) = view.rows(*found.sql(columns, ordered=False))

    def bodies() -> Iterator[str]:
        for (body,) in rows.stream(view, *found.sql(rows.narrow())):
            yield text.dumps(localized.concept(text.loads(body), locales)) if name == "concepts" and locales else body

    if name == "concepts" and locales:
        return _measured(name, bodies), int(retired), changed
    return Piece(envelope.Array(name, int(count), int(size)), bodies), int(retired), changed


def _measured(name: str, bodies: Callable[[], Iterator[str]]) -> Piece:
    """An array whose bytes are known only after it was made once."""
    count = size = 0
    for row in bodies():
        count, size = count + 1, size + len(row)
    return Piece(envelope.Array(name, count, size), bodies)
