"""The backend's connection. Django looks for the class ``DatabaseWrapper`` in a module of this name."""

from __future__ import annotations

import select
from typing import Any

from django.db import DataError
from django.db.backends.postgresql import base, operations


class Operations(operations.DatabaseOperations):
    """A year that no date has is bad data, as it is when PostgreSQL says so, and not a bug of ours.

    Django writes `year` lookups as bounds made of Python's dates, so the server is never asked.
    """

    def year_lookup_bounds_for_date_field(self, value: int, iso_year: bool = False) -> list[Any]:
        try:
            return super().year_lookup_bounds_for_date_field(value, iso_year)
        except (ValueError, OverflowError) as error:
            raise DataError(f"no such year: {error}") from error

    def year_lookup_bounds_for_datetime_field(self, value: int, iso_year: bool = False) -> list[Any]:
        try:
            return super().year_lookup_bounds_for_datetime_field(value, iso_year)
        except (ValueError, OverflowError) as error:
            raise DataError(f"no such year: {error}") from error


class DatabaseWrapper(base.DatabaseWrapper):
    """Finds a connection that the server has ended without asking the server.

    Django's check (``CONN_HEALTH_CHECKS``) is a ``SELECT 1`` for each connection a request uses: a round trip, and a
    tenth of the CPU of a small request. A server that ends or dies closes its socket, and an idle connection whose
    socket has nothing to read was not closed; only when there is something to read is the question asked. What
    neither shows (a host that vanished without a word) the next statement meets as before.
    """

    ops_class = Operations

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: set[str] = set()
        """Names of the statements prepared on the present connection, see ``core.db.prepared``."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.prepared = set()
        return super().get_new_connection(conn_params)

    def close_if_health_check_failed(self) -> None:
        if self.connection is not None and not self.errors_occurred and _is_silent(self.connection):
            self.health_check_done = True
            return
        super().close_if_health_check_failed()


def _is_silent(raw: Any) -> bool:
    """Whether the socket of a psycopg2 connection is open and has nothing to read."""
    if raw.closed:
        return False
    watched = select.poll()
    watched.register(raw.fileno(), select.POLLIN)
    return not watched.poll(0)
