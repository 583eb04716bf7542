"""Forms with types instead of lines: Parquet and GeoJSON. One stretch, in order of the uuid (contract 5.2)."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from core import db, streams
from downloads.formats import cells, members, terms
from downloads.jobs.build.plan import Plan
from downloads.jobs.build.produce import group_id
from downloads.jobs.build.sqltext import Sql

Note = Callable[[int], None]
_ROW_GROUP = 5000


def parquet(plan: Plan, sink: streams.Sink, note: Note) -> dict[str, int]:
    """Write a Parquet file, zstd, a row group for every few thousand rows; returns its rows."""
    import pyarrow as pa  # a heavy library that only this form needs
    import pyarrow.parquet as pq

    (member,) = plan.files
    schema = pa.schema(
        [(member.id_header, pa.string()), *((column.header, _arrow_type(pa, column)) for column in member.columns)]
    )
    rows = 0
    with pq.ParquetWriter(_File(sink), schema, compression="zstd") as writer:
        for batch in _batches(_rows(plan, member)):
            by_column = zip(zip(*batch, strict=True), schema, strict=True)
            columns = [pa.array(values, field.type) for values, field in by_column]
            writer.write_table(pa.table(columns, schema=schema))
            rows += len(batch)
            note(len(batch))
    return {plan.file_name: rows}


def geojson(plan: Plan, sink: streams.Sink, note: Note) -> dict[str, int]:
    """Write an RFC 7946 FeatureCollection of the rows that have a point; returns how many."""
    (member,) = plan.files
    rows, separator = 0, b"\n"
    with streams.Blocks(sink) as out:
        out.write(b'{"type":"FeatureCollection","features":[')
        for feature in _features(plan, member, note):
            out.write(separator + orjson.dumps(feature))
            rows, separator = rows + 1, b",\n"
        out.write(b"\n]}\n")
    return {plan.file_name: rows}


class _File:
    """A sink as the file Arrow wants: it asks where it stands and closes it."""

    def __init__(self, sink: streams.Sink) -> None:
        self._sink = sink
        self._size = 0
        self.closed = False
        self.mode = "wb"

    def write(self, data: Any) -> int:
        block = bytes(data)
        self._size += len(block)
        self._sink.write(block)
        return len(block)

    def tell(self) -> int:
        return self._size

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        self.closed = True


def _arrow_type(pa: Any, column: members.Column) -> Any:
    if column.header == "idigbio:itemCount":
        return pa.int64()
    match column.term.kind if column.term else "text":
        case "float":
            return pa.float64()
        case "int":
            return pa.int64()
        case "bool":
            return pa.bool_()
        case "list":
            return pa.list_(pa.string())
        case "point":
            return pa.struct([("lat", pa.float64()), ("lon", pa.float64())])
        case _:
            return pa.string()


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(itertools.islice(rows, _ROW_GROUP)):
        yield batch


def _column_sql(member: members.Member, column: members.Column) -> Sql:
    alias = "r" if member.entity == "records" else "m"
    if column.term is None:
        return Sql(f"{alias}.raw -> %s", (column.provider_term,))
    if column.term.kind == "point":
        return Sql(f"CASE WHEN {alias}.lat IS NOT NULL THEN ARRAY[{alias}.lat, {alias}.lon] END")
    if column.term.name in ("uuid", "recordset"):
        return Sql(f"{alias}.{column.term.column}::text")
    return Sql(f"{alias}.{column.term.shown}")


def _rows(plan: Plan, member: members.Member) -> Iterator[tuple[Any, ...]]:
    """(id, value, …) of every row, values as Python types."""
    with db.snapshot() as snapshot:
        if member.entity == "names":
            query = plan.selection.groups()
            for value, count in snapshot.stream(query.text, query.params or None):
                ident = group_id(plan.asked.core_type, value.encode().hex().encode()).decode()
                yield ident, value[:1].upper() + value[1:], count
            return
        entity: Any = member.entity
        # The values bound in columns come before those of the conditions.
        columns = Sql(plan.selection.id_text(entity))
        for column in member.columns:
            columns = columns + ", " + _column_sql(member, column)
        query = plan.selection.rows(entity, columns.text)
        values = (*columns.params, *query.params)
        for row in snapshot.stream(query.text, values or None, size=1000):
            yield (row[0], *(_value(each, column) for each, column in zip(row[1:], member.columns, strict=True)))


def _value(value: Any, column: members.Column) -> Any:
    term: terms.Term | None = column.term
    if value is None:
        return None
    if term is None:
        return cells.raw_value(_decoded(value))
    if term.kind == "point":
        return {"lat": value[0], "lon": value[1]}
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


def _decoded(value: Any) -> Any:
    """A jsonb value as the driver gives it: text that is JSON, or decoded already."""
    return orjson.loads(value) if isinstance(value, str) else value


def _features(plan: Plan, member: members.Member, note: Note) -> Iterator[dict[str, Any]]:
    place = members.Column("idigbio:geoPoint", terms.RECORD_TERM["geopoint"])
    with_place = members.Member(
        name=member.name,
        entity=member.entity,
        source=member.source,
        columns=(place, *member.columns),
        row_type=member.row_type,
    )
    if member.entity != "records":
        return  # media and names have no place
    for ident, point, *values in _rows(plan, with_place):
        note(1)
        if point is None:
            continue
        shown = {
            column.header: value
            for column, value in zip(member.columns, values, strict=True)
            if value not in (None, []) and column.header != place.header
        }
        geometry = {"type": "Point", "coordinates": [point["lon"], point["lat"]]}
        yield {"type": "Feature", "id": ident, "geometry": geometry, "properties": shown}
