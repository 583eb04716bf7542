"""Raw lines made for an older set of raw columns, made anew (contract 6.3); the output of builds stays the same."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.db import connection, transaction

from downloads.formats import cells
from downloads.jobs.ingest import publish

_BATCH = 1000
_TABLES = {"records": "downloads_record", "media": "downloads_mediarecord"}


def rerender(*, check: Callable[[int], None] = lambda _rows: None) -> int:
    """Render every stale raw line in place, batch by batch; returns how many. Safe to stop and to start again."""
    count = 0
    for kind, table in _TABLES.items():
        version, names = publish.raw_columns(kind)
        places = cells.places(names)
        while done := _batch(table, version, places):
            count += done
            check(count)
    return count


def _batch(table: str, version: int, places: dict[str, int]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, raw::text FROM {table} WHERE line_version < %s ORDER BY line_version, id LIMIT {_BATCH} "
            "FOR UPDATE SKIP LOCKED",
            [version],
        )
        rows = [(ident, cells.raw_line(json.loads(raw), places)) for ident, raw in cursor.fetchall()]
        if rows:
            cursor.execute(
                f"UPDATE {table} t SET line_raw = v.line, line_version = %s "
                "FROM unnest(%s::bigint[], %s::text[]) v(id, line) WHERE t.id = v.id",
                [version, [ident for ident, _line in rows], [line for _ident, line in rows]],
            )
    return len(rows)
