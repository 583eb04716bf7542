"""PostgreSQL where the ORM is the wrong tool: COPY both ways, snapshots, locks, time limits.

COPY moves bytes between the server and a sink in blocks; nothing is decoded on the way. Every function takes
``using``, a database alias or an open connection such as ``Snapshot.connection``. Errors of the driver come out as
Django's (``django.db.OperationalError`` …); errors of a sink come out unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Protocol, TypeVar

import structlog
from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from psycopg2 import errorcodes
from psycopg2 import sql as composed

from core import streams

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Model)
T = TypeVar("T")
P = ParamSpec("P")
Using = str | BaseDatabaseWrapper
Params = Sequence[Any] | dict[str, Any]

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_HEADER_SIZE: Final = 19  # signature, flags, length of the (empty) header extension
_TRAILER: Final = b"\xff\xff"
_COUNT_SIZE: Final = 2  # number of fields, before them
_LENGTH_SIZE: Final = 4  # before each field
_TRIES: Final = 3  # of a transaction that meets deadlocks
_NULL: Final = b"\xff\xff\xff\xff"  # the length of a NULL


class Readable(Protocol):
    """A file open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


# --- COPY out -------------------------------------------------------------------------------------------------


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
    connection = _connection(using)
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


# --- COPY in --------------------------------------------------------------------------------------------------


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
    connection = _connection(using)
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


# --- snapshots ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """One frozen view of the database on a connection of its own.

    ``connection`` serves as ``using`` for ``copy_out`` and ``copy_out_binary``; ``id`` may be given to
    ``snapshot(like=…)`` elsewhere, as long as this one is open, to see the same.
    """

    connection: BaseDatabaseWrapper

    @functools.cached_property
    def id(self) -> str:
        """The server's name for it."""
        ((name,),) = self.rows("SELECT pg_export_snapshot()")
        return str(name)

    def rows(self, sql: str, params: Params | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def instances(self, found: QuerySet[M]) -> list[M]:
        """The rows of a plain query of the ORM, as the snapshot sees them; what they refer to is not loaded."""
        compiler = found.query.get_compiler(connection=self.connection)
        rows = list(compiler.results_iter())
        fields = [column.target.attname for column, _, _ in compiler.select]
        return [found.model.from_db(self.connection.alias, fields, row) for row in rows]

    def stream(self, sql: str, params: Params | None = None, *, size: int = 2000) -> Iterator[tuple[Any, ...]]:
        """The rows of a query through a server-side cursor, ``size`` at a time; one stream at a time."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"DECLARE stream NO SCROLL CURSOR FOR {sql}", params)
            try:
                while rows := self._fetch(cursor, size):
                    yield from rows
            finally:
                cursor.execute("CLOSE stream")

    @staticmethod
    def _fetch(cursor: Any, size: int) -> list[tuple[Any, ...]]:
        cursor.execute(f"FETCH {size:d} FROM stream")
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


@contextlib.contextmanager
def snapshot(using: str = "default", *, like: str | None = None) -> Iterator[Snapshot]:
    """A ``REPEATABLE READ READ ONLY`` transaction on its own connection, which is closed at the end.

    It sees what was committed when it began, however long it lasts and however slowly it is read, and blocks nobody. It
    does not see the caller's uncommitted changes. With ``like`` it sees exactly what the snapshot of that id sees.
    """
    connection = connections[using].copy()
    try:
        with connection.cursor() as cursor:
            begin = (
                "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
            )
            if like is not None:
                cursor.execute(f"{begin} SET TRANSACTION SNAPSHOT %s", [like])
            else:
                cursor.execute(f"{begin} SELECT 1")  # the moment it shows is that of its first query
        yield Snapshot(connection)
    finally:
        # Closing, rather than ending the transaction, also stops a COPY that was left in the middle.
        connection.close()


# --- kept plans -----------------------------------------------------------------------------------------------


def prepared(sql: str, params: Sequence[Any], *, using: Using = "default") -> list[tuple[Any, ...]]:
    """The rows of a statement that is planned once a connection (``PREPARE``), for the small ones asked all day long.

    ``sql`` names its parameters ``$1``, ``$2`` …. Worth it where planning costs more than running: a primary key looked
    up over four joins takes a tenth of the time. Not for patterns, which must be known to be planned well.
    """
    connection = _connection(using)
    name = f"kept_{hashlib.blake2b(sql.encode(), digest_size=8).hexdigest()}"
    with connection.cursor() as cursor:
        kept: set[str] = connection.prepared  # type: ignore[attr-defined]  # core.postgresql
        if name not in kept:
            cursor.execute(f"PREPARE {name} AS {sql}")
            kept.add(name)
        places = f"({', '.join(['%s'] * len(params))})" if params else ""
        cursor.execute(f"EXECUTE {name} {places}", params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


# --- locks and limits -----------------------------------------------------------------------------------------


def again_after_deadlock(act: Callable[P, T]) -> Callable[P, T]:
    """A function that is one transaction, begun anew when the server ended it because two waited for each other.

    It is tried ``_TRIES`` times; then, and within a transaction of the caller, whose work is gone with it, the error
    (``django.db.OperationalError`` with ``pgcode`` 40P01 in its cause) goes on to the caller.
    """

    @functools.wraps(act)
    def repeated(*arguments: P.args, **more: P.kwargs) -> T:
        for _ in range(_TRIES - 1):
            try:
                return act(*arguments, **more)
            except OperationalError as error:
                is_deadlock = getattr(error.__cause__, "pgcode", None) == errorcodes.DEADLOCK_DETECTED
                if not is_deadlock or connections["default"].in_atomic_block:
                    raise
                log.warning("deadlock", function=act.__qualname__)
        return act(*arguments, **more)

    return repeated


def advisory_lock(*keys: str, using: Using = "default") -> None:
    """Wait for the locks of these names and hold them until the running transaction ends; of several, in an order
    everybody keeps, so that nobody waits in a circle.

    Raises ``TransactionManagementError`` outside a transaction, where the lock would be gone at once. Two keys may in
    theory share a lock (a 64-bit hash names it), which costs only waiting.
    """
    with _in_transaction(using).cursor() as cursor:
        wanted = sorted(set(keys))
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(k, 0)) FROM unnest(%s::text[]) k", [wanted])


def try_advisory_lock(key: str, *, using: Using = "default") -> bool:
    """Like ``advisory_lock`` without the wait: False when somebody else holds it."""
    with _in_transaction(using).cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        return bool(cursor.fetchone()[0])


@contextlib.contextmanager
def statement_timeout(milliseconds: int, *, using: str = "default") -> Iterator[None]:
    """Run the block in a transaction whose statements are cancelled after ``milliseconds`` (0: never).

    A cancelled statement raises ``django.db.OperationalError`` with ``pgcode`` 57014 in its cause.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout')")
        (before,) = cursor.fetchone()
        _set_timeout(cursor, str(milliseconds))
        yield
        _set_timeout(cursor, before)


def _set_timeout(cursor: Any, value: str) -> None:
    cursor.execute("SELECT set_config('statement_timeout', %s, true)", [value])


def _connection(using: Using) -> BaseDatabaseWrapper:
    return connections[using] if isinstance(using, str) else using


def _in_transaction(using: Using) -> BaseDatabaseWrapper:
    connection = _connection(using)
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an advisory lock needs a transaction")
    return connection
