"""Moments of the database that last as long as they are read."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from core.db.handles import Params

M = TypeVar("M", bound=Model)


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
