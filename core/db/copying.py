"""COPY both ways: bytes move between the server and a sink in blocks, and nothing is decoded on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql as composed

from core import streams
from core.db.handles import Params, Using, connection_of

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_HEADER_SIZE: Final = 19  # signature, flags, length of the (empty) header extension
_TRAILER: Final = b"\xff\xff"
_COUNT_SIZE: Final = 2  # number of fields, before them
_LENGTH_SIZE: Final = 4  # before each field
_NULL: Final = b"\xff\xff\xff\xff"  # the length of a NULL


class Readable(Protocol):
    """A file open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


# --- out ----------------------------------------------------------------------------------------------------------


def copy_out(
    sql: str,
    params: Params | None,
    sink: streams.Sink,
    *,
    using: Using = "default",
    options: str = "",
    block: int = streams.BLOCK,
) -> int:
    """Send the result of a query to ``sink`` as ``COPY (sql) TO STDOUT``; returns the number of rows.

    ``params`` are bound as in ``cursor.execute``. ``options`` are COPY's own, for example ``"FORMAT csv, HEADER"``;
    without, it is COPY's text format, which escapes backslash, tab, CR and LF. The sink gets blocks of at least
    ``block`` bytes, save the last.
    """
    with streams.Blocks(sink, block) as blocks:
        return _copy_expert(sql, params, blocks, using=using, options=options)


def copy_out_binary(
    sql: str,
    params: Params | None,
    sink: streams.Sink,
    *,
    using: Using = "default",
    block: int = streams.BLOCK,
    note: Callable[[int], None] | None = None,
) -> int:
    """Send a query's single text or bytea column to ``sink`` exactly as stored, nothing between the rows.

    The rows must be finished lines. They travel as binary COPY, which escapes nothing; its frames are cut off here.
    A NULL adds nothing. The sink gets blocks of at least ``block`` bytes of whole rows, save the last; before each,
    ``note`` is told how many rows it holds, and may raise. Returns the number of rows; raises ``ValueError`` when the
    query has not exactly one column.
    """
    return copy_out_columns(sql, params, [sink], using=using, block=block, note=note)


def copy_out_columns(
    sql: str,
    params: Params | None,
    sinks: Sequence[streams.Sink],
    *,
    using: Using = "default",
    block: int = streams.BLOCK,
    note: Callable[[int], None] | None = None,
) -> int:
    """``copy_out_binary`` for a query with as many columns as ``sinks``: each column goes to its own, in one reading.

    Blocks are passed on together, when those held for all sinks come to ``block`` bytes for each of them.
    """
    unframed = _Unframed(sinks, block * len(sinks), note)
    rows = _copy_expert(sql, params, unframed, using=using, options="FORMAT binary")
    unframed.flush()
    return rows


def _copy_expert(sql: str, params: Params | None, sink: streams.Sink, *, using: Using, options: str) -> int:
    connection = connection_of(using)
    with connection.cursor() as cursor, _wrapped(connection):
        raw = cursor.cursor
        query = raw.mogrify(sql, params).decode() if params else sql
        suffix = f" WITH ({options})" if options else ""
        raw.copy_expert(f"COPY ({query}) TO STDOUT{suffix}", sink, size=streams.BLOCK)
        return int(raw.rowcount)


@contextlib.contextmanager
def _wrapped(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """The driver's errors as Django's, a lost connection as ``OperationalError``.

    psycopg2 says ``DatabaseError: error with status PGRES_COPY_OUT and no message from the libpq`` when the server
    goes away in the middle of a COPY; only an error the server itself sent has a code.
    """
    try:
        with connection.wrap_database_errors:
            yield
    except DatabaseError as error:
        if type(error) is DatabaseError and getattr(error.__cause__, "pgcode", None) is None:
            raise OperationalError("The connection was lost in a COPY.") from error
        raise


class _Unframed:
    """Strips what binary COPY puts round the values of each row, one column for each sink.

    Relies on the protocol's promise that each CopyData message from the server holds exactly one row (PostgreSQL
    documentation, "Message Formats", CopyData) and that psycopg2 calls ``write`` once per message. The file header
    comes glued to the first message. The lengths in each message are checked against its own.
    """

    def __init__(self, sinks: Sequence[streams.Sink], block: int, note: Callable[[int], None] | None) -> None:
        self._sinks = sinks
        self._block = block
        self._note = note
        self._count = len(sinks).to_bytes(2)
        self._frame = _COUNT_SIZE + _LENGTH_SIZE * len(sinks)
        self._held: list[list[bytes]] = [[] for _ in sinks]
        self._held_size = 0
        self._rows = 0
        self._is_started = False

    def write(self, data: bytes, /) -> None:
        if not self._is_started:
            data = self._start(data)
        if data in (_TRAILER, b""):
            return
        place = _COUNT_SIZE
        for held in self._held:
            start = place + _LENGTH_SIZE
            length = data[place:start]
            place = start
            if length != _NULL:
                place += int.from_bytes(length)
                held.append(data[start:place])
        if place != len(data) or data[:_COUNT_SIZE] != self._count:
            columns = "exactly one column" if len(self._sinks) == 1 else f"exactly {len(self._sinks)} columns"
            raise ValueError(f"binary COPY needs a query with {columns}")
        self._rows += 1
        self._held_size += place - self._frame
        if self._held_size >= self._block:
            self.flush()

    def _start(self, data: bytes) -> bytes:
        if not data.startswith(_SIGNATURE):
            raise ValueError("not a binary COPY stream")
        self._is_started = True
        return data[_HEADER_SIZE:]

    def flush(self) -> None:
        if not self._rows:
            return
        blocks, rows = [b"".join(held) for held in self._held], self._rows
        for held in self._held:
            held.clear()
        self._held_size = self._rows = 0
        if self._note:
            self._note(rows)
        for sink, block in zip(self._sinks, blocks, strict=True):
            if block:
                sink.write(block)


# --- in -----------------------------------------------------------------------------------------------------------


def copy_in(
    table: str,
    columns: Sequence[str],
    source: Readable | Iterable[bytes],
    *,
    using: Using = "default",
    options: str = "",
) -> int:
    """Load ``source`` (a file, or blocks of bytes cut anywhere) with ``COPY table (columns) FROM STDIN``.

    The bytes are COPY's text format (see ``copy_line``) unless ``options`` say otherwise. Returns the number of rows.
    """
    connection = connection_of(using)
    statement = composed.SQL("COPY {} ({}) FROM STDIN").format(
        composed.Identifier(*table.split(".")), composed.SQL(", ").join(map(composed.Identifier, columns))
    )
    with connection.cursor() as cursor, _wrapped(connection):
        raw = cursor.cursor
        text = statement.as_string(raw) + (f" WITH ({options})" if options else "")
        raw.copy_expert(text, source if hasattr(source, "read") else _Reader(source), size=streams.BLOCK)
        return int(raw.rowcount)


def copy_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, using: Using = "default") -> int:
    """Load rows of Python values, each as ``copy_line`` writes it. Returns the number of rows."""
    return copy_in(table, columns, map(copy_line, rows), using=using)


def copy_line(values: Iterable[Any]) -> bytes:
    r"""One row in COPY's text format: tab between values, ``\N`` for None, ``t``/``f`` for booleans, ``str`` of others.

    Bytes are written as a bytea literal. Raises ``ValueError`` for a NUL, which PostgreSQL's text cannot hold.
    """
    return "\t".join(map(_copy_value, values)).encode() + b"\n"


_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copy_value(value: Any) -> str:
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    text = str(value)
    if "\0" in text:
        raise ValueError("text for PostgreSQL cannot hold NUL")
    return text.translate(_ESCAPES)


class _Reader:
    """A file over blocks of bytes, as psycopg2 wants it: never more than asked, empty only at the end."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        if len(self._rest) < size:
            self._gather(size)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def _gather(self, size: int) -> None:
        held, total = [bytes(self._rest)], len(self._rest)
        for block in self._blocks:
            held.append(block)
            total += len(block)
            if total >= size:
                break
        self._rest = memoryview(b"".join(held))
