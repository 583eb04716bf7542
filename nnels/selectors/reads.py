"""Running a read with this API's time limit."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import connection


def rows(sql: str, params: Sequence[Any] = (), *, prelude: str = "") -> list[tuple[Any, ...]]:
    """All rows of a query, limited to `NNELS_READ_TIMEOUT_MS`.

    The limit and `prelude` travel in the same round trip: statements sent together are one transaction.
    """
    limit = f"SET LOCAL statement_timeout = {int(settings.NNELS_READ_TIMEOUT_MS)}; {prelude}"
    with connection.cursor() as cursor:
        cursor.execute(limit + sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
