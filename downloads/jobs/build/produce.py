"""Makes the bytes of one stretch of a group of files: one COPY of stored lines, reshaped where asked, packed, summed.

The short way (whole columns, commas) only moves blocks. Rows whose raw line was made for another column set are
rendered here; the output is the same.
"""

from __future__ import annotations

import functools
import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core import db, streams
from downloads.formats import cells, members, reshape
from downloads.jobs.build.plan import Plan, calm, can_walk, places_of, walk
from downloads.jobs.build.selection import Range, within
from downloads.models import Delta

Note = Callable[[int], None]


@dataclass
class Counted:
    """A sink for plain lines: counts rows, tells of them, passes the block on."""

    sink: streams.Sink
    note: Note
    rows: int = field(default=0, init=False)

    def write(self, block: bytes, /) -> None:
        rows = block.count(b"\r")  # cells hold none (`cells.cell`)
        self.rows += rows
        self.note(rows)
        self.sink.write(block)


@dataclass
class Reshaping:
    """A sink for plain lines that passes them on in another shape."""

    sink: streams.Sink
    convert: Callable[[bytes], bytes]

    def write(self, block: bytes, /) -> None:
        self.sink.write(self.convert(block))


class Packing:
    """A sink for the plain bytes of one stretch of one file: sums them, deflates them, passes them on.

    `method` None stores them as they are. `digest`, when given, is fed the plain bytes. `size` and `crc` are of what
    came in, `compressed` and `packed_crc` of what went out.
    """

    def __init__(self, sink: streams.Sink, method: str | None, digest: Any = None) -> None:
        self._sink = sink
        self._digest = digest
        self._deflater = streams.Deflater(method) if method else None
        self.size = self.crc = 0
        self.compressed = self.packed_crc = 0

    def write(self, block: bytes, /) -> None:
        if self._digest is not None:
            self._digest.update(block)
        self.size += len(block)
        if self._deflater is None:
            self._put(block)
            self.crc = self.packed_crc
        else:
            self._put(self._deflater.update(block))
            self.crc = self._deflater.crc

    def end(self) -> None:
        """End in a sync flush, so that another stretch may follow."""
        if self._deflater is not None:
            self._put(self._deflater.flush(streams.FLUSH_SYNC))

    def _put(self, data: bytes) -> None:
        if data:
            self.compressed += len(data)
            self.packed_crc = streams.crc32(data, self.packed_crc)
            self._sink.write(data)


def stretch(plan: Plan, group: Sequence[members.Member], bounds: Range, sinks: Sequence[Packing], note: Note) -> int:
    """Make one stretch of each file of a group, the first with its header; returns its rows; `note(rows)` may raise."""
    for member, sink in zip(group, sinks, strict=True):
        if bounds[0] is None:
            sink.write(member.header.encode())
    rows = lines(plan, group, bounds, sinks, note)
    for sink in sinks:
        sink.end()
    return rows


def lines(plan: Plan, group: Sequence[members.Member], bounds: Range, sinks: Sequence[streams.Sink], note: Note) -> int:
    """Write the plain lines of one stretch of each file of a group, without headers; returns the rows of each.

    `note` is told of the rows of all files.
    """

    def tell(rows: int) -> None:
        note(rows * len(group))

    if group[0].entity == "deleted":
        return _write_all(_deleted(plan), sinks[0], tell)
    with db.snapshot() as snapshot:
        calm(snapshot)
        if group[0].entity == "names":
            return _write_all(_names(plan, group[0], snapshot), sinks[0], tell)
        shaped = [_shaped(plan, member, sink) for member, sink in zip(group, sinks, strict=True)]
        if _has_stale_lines(plan, group, bounds, snapshot):
            return _render(plan, group, bounds, snapshot, shaped, tell)
        columns = ", ".join(_stored(plan, member) for member in group)
        query = plan.selection.rows(_entity(group[0]), columns, bounds)
        if group[0].entity == "records" and can_walk(plan, snapshot):
            walk(snapshot)
            query = plan.selection.every_record(columns, bounds)
        params = query.params or None
        return db.copy_out_columns(query.text, params, shaped, using=snapshot.connection, note=tell)


def _shaped(plan: Plan, member: members.Member, sink: streams.Sink) -> streams.Sink:
    how = _reshaping(plan, member)
    return sink if how.is_nothing else Reshaping(sink, how.converter())


def _entity(member: members.Member) -> Any:
    return member.entity


def _alias(member: members.Member) -> str:
    return "r" if member.entity == "records" else "m"


def _kinds_of_lines(member: members.Member) -> tuple[bool, bool]:
    """Whether index lines and raw lines are needed."""
    if member.is_whole:
        return member.source == "indexterms", member.source == "raw"
    has_index = any(column.term is not None for column in member.columns)
    has_raw = any(column.term is None for column in member.columns)
    return has_index or not has_raw, has_raw


def _stored(plan: Plan, member: members.Member) -> str:
    """SQL of a row's finished line with its id before it."""
    alias, ident = _alias(member), plan.selection.id_text(_entity(member))
    needs_index, needs_raw = _kinds_of_lines(member)
    if needs_index and needs_raw:
        return f"{ident} || left({alias}.line_index, -2) || {alias}.line_raw"
    return f"{ident} || {alias}.{'line_raw' if needs_raw else 'line_index'}"


def _reshaping(plan: Plan, member: members.Member) -> reshape.Reshape:
    raw_names = plan.raw_sets[member.entity][1]
    grouped = plan.selection.group_column
    return reshape.Reshape(
        columns=None if member.is_whole else places_of(member, raw_names),
        delimiter=member.delimiter,
        is_safe=plan.asked.spreadsheet_safe,
        key=functools.partial(group_id, plan.asked.core_type) if grouped else None,
    )


@functools.lru_cache(maxsize=100_000)
def group_id(core_type: str, value_hex: bytes) -> bytes:
    """UUIDv5 in the URL namespace of `uniquenames:<value>` (or `uniquelocality:…`), for a value in hex."""
    value = bytes.fromhex(value_hex.decode()).decode()
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{core_type}:{value}")).encode()


def _has_stale_lines(plan: Plan, group: Sequence[members.Member], bounds: Range, snapshot: db.Snapshot) -> bool:
    """Whether the stretch has rows whose raw line was made for another set of columns."""
    if not any(_kinds_of_lines(member)[1] for member in group):
        return False
    current = plan.raw_sets[group[0].entity][0]
    table = "downloads_record" if group[0].entity == "records" else "downloads_mediarecord"
    # Two ranges of an index; usually both are empty and no row is looked at.
    inside = within("s.uuid", bounds)
    stale = f"EXISTS (SELECT 1 FROM {table} s WHERE s.line_version {{}} {current:d} AND {inside.text})"
    query = f"SELECT {stale.format('<')} OR {stale.format('>')}"
    found = snapshot.rows(query, (*inside.params, *inside.params) or None)
    return bool(found[0][0])


def _render(
    plan: Plan,
    group: Sequence[members.Member],
    bounds: Range,
    snapshot: db.Snapshot,
    sinks: Sequence[streams.Sink],
    note: Note,
) -> int:
    """Write the stretch with every raw line rendered anew where it must be, in blocks of whole rows."""
    alias, ident = _alias(group[0]), plan.selection.id_text(_entity(group[0]))
    version, names = plan.raw_sets[group[0].entity]
    places = cells.places(names)
    columns = (
        f"{ident}, left({alias}.line_index, -2), {alias}.line_raw, "
        f"CASE WHEN {alias}.line_version <> {version:d} THEN {alias}.raw END"
    )
    query = plan.selection.rows(_entity(group[0]), columns, bounds)
    kinds = [_kinds_of_lines(member) for member in group]
    rows = 0
    stream = snapshot.stream(query.text, query.params or None, size=500)
    while batch := list(itertools.islice(stream, 500)):
        note(len(batch))
        rows += len(batch)
        ready = [
            (head, index, line if raw is None else cells.raw_line(_loaded(raw), places))
            for head, index, line, raw in batch
        ]
        for (needs_index, needs_raw), sink in zip(kinds, sinks, strict=True):
            sink.write(
                "".join(
                    head + (index if needs_index else "") + (line if needs_raw else cells.CRLF)
                    for head, index, line in ready
                ).encode()
            )
    return rows


def _loaded(raw: Any) -> dict[str, Any]:
    """A jsonb value as the driver gives it: decoded already, or text."""
    found: dict[str, Any] = json.loads(raw) if isinstance(raw, str) else raw
    return found


def _write_all(texts: Iterator[str], sink: streams.Sink, note: Note) -> int:
    counted = Counted(sink, note)
    with streams.Blocks(counted) as blocks:
        for text in texts:
            blocks.write(text.encode())
    return counted.rows


def _deleted(plan: Plan) -> Iterator[str]:
    gone = Delta.objects.filter(build=plan.build, is_deleted=True).order_by("coreid").values_list("coreid", flat=True)
    for coreid in gone.iterator(chunk_size=5000):
        yield f"{coreid}\r\n"


def _names(plan: Plan, member: members.Member, snapshot: db.Snapshot) -> Iterator[str]:
    """Each value once, capitalised, with how many rows have it."""
    query = plan.selection.groups()
    for value, rows in snapshot.stream(query.text, query.params or None):
        ident = group_id(plan.asked.core_type, value.encode().hex().encode()).decode()
        shown = value[:1].upper() + value[1:]
        if plan.asked.spreadsheet_safe:
            shown = cells.harmless(shown)
        yield cells.line((ident, shown, str(rows)), member.delimiter)
