"""Makes the bytes of one stretch of one file: COPY of stored lines, reshaped where asked, deflated, counted.

The short way (whole columns, commas) only moves blocks. Rows whose raw line was made for another column set are
rendered here; the output is the same.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core import db, streams
from downloads.formats import cells, members, reshape
from downloads.jobs.build.plan import Plan, calm, places_of
from downloads.jobs.build.selection import Range, within
from downloads.models import Delta

Note = Callable[[int], None]


@dataclass
class Sums:
    """What a stretch came to: rows, bytes before and after deflate, CRC-32 of the bytes before."""

    rows: int = 0
    size: int = 0
    compressed: int = 0
    crc: int = 0


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


@dataclass
class Deflating:
    """A sink that deflates into another one."""

    deflater: streams.Deflater
    sink: streams.Sink

    def write(self, block: bytes, /) -> None:
        if out := self.deflater.update(block):
            self.sink.write(out)

    def end(self, mode: Any) -> None:
        if out := self.deflater.flush(mode):
            self.sink.write(out)


def part(plan: Plan, member: members.Member, bounds: Range, sink: streams.Sink, note: Note) -> Sums:
    """Deflate one stretch into `sink`, ending in a sync flush so that another may follow; `note(rows)` may raise."""
    deflating = Deflating(streams.Deflater(plan.method), sink)
    rows = lines(plan, member, bounds, deflating, note)
    deflating.end(streams.FLUSH_SYNC)
    deflater = deflating.deflater
    return Sums(rows, deflater.size, deflater.compressed, deflater.crc)


def lines(plan: Plan, member: members.Member, bounds: Range, sink: streams.Sink, note: Note) -> int:
    """Write the plain lines of one stretch, without header; returns the number of rows."""
    if member.entity == "deleted":
        return _write_all(_deleted(plan), sink, note)
    with db.snapshot() as snapshot:
        calm(snapshot)
        if member.entity == "names":
            return _write_all(_names(plan, member, snapshot), sink, note)
        how = _reshaping(plan, member)
        shaped = sink if how.is_nothing else Reshaping(sink, how.converter())
        if _has_stale_lines(plan, member, bounds, snapshot):
            counted = Counted(shaped, note)
            for block in _rendered(plan, member, bounds, snapshot):
                counted.write(block)
            return counted.rows
        query = plan.selection.rows(_entity(member), _stored(plan, member), bounds)
        return db.copy_out_binary(query.text, query.params or None, shaped, using=snapshot.connection, note=note)


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


def _has_stale_lines(plan: Plan, member: members.Member, bounds: Range, snapshot: db.Snapshot) -> bool:
    """Whether the stretch has rows whose raw line was made for another set of columns."""
    if not _kinds_of_lines(member)[1]:
        return False
    current = plan.raw_sets[member.entity][0]
    table = "downloads_record" if member.entity == "records" else "downloads_mediarecord"
    # Two ranges of an index; usually both are empty and no row is looked at.
    inside = within("s.uuid", bounds)
    stale = f"EXISTS (SELECT 1 FROM {table} s WHERE s.line_version {{}} {current:d} AND {inside.text})"
    query = f"SELECT {stale.format('<')} OR {stale.format('>')}"
    found = snapshot.rows(query, (*inside.params, *inside.params) or None)
    return bool(found[0][0])


def _rendered(plan: Plan, member: members.Member, bounds: Range, snapshot: db.Snapshot) -> Iterator[bytes]:
    """The stretch with every raw line rendered anew where it must be, in blocks of whole rows."""
    alias, ident = _alias(member), plan.selection.id_text(_entity(member))
    version, names = plan.raw_sets[member.entity]
    places = cells.places(names)
    needs_index = _kinds_of_lines(member)[0]
    index = f"left({alias}.line_index, -2)" if needs_index else "''"
    columns = (
        f"{ident} || {index}, {alias}.line_raw, CASE WHEN {alias}.line_version <> {version:d} THEN {alias}.raw END"
    )
    query = plan.selection.rows(_entity(member), columns, bounds)
    held: list[str] = []
    for head, line, raw in snapshot.stream(query.text, query.params or None, size=500):
        held.append(head + (line if raw is None else cells.raw_line(_loaded(raw), places)))
        if len(held) >= 500:
            yield "".join(held).encode()
            held.clear()
    if held:
        yield "".join(held).encode()


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
