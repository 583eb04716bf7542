"""Statements planned once a connection."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from core.db.handles import Using, connection_of


def prepared(sql: str, params: Sequence[Any], *, using: Using = "default") -> list[tuple[Any, ...]]:
    """The rows of a statement that is planned once a connection (``PREPARE``), for the small ones asked all day long.

    ``sql`` names its parameters ``$1``, ``$2`` …. Worth it where planning costs more than running: a primary key looked
    up over four joins takes a tenth of the time. Not for patterns, which must be known to be planned well.
    """
    connection = connection_of(using)
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
