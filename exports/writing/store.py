"""The few statements every write shares: ids from sequences, COPY of rows, finished fragments."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, models

from core import db
from exports.formats import text
from exports.models import Fragment

#: columns of the versions of concepts and of mappings, behind their own id and that of their row
VERSION_COLUMNS = (
    "source_id",
    "fragment_id",
    "uuid",
    "version",
    "previous",
    "is_latest",
    "retired",
    "external_id",
    "extras",
    "update_comment",
    "retire_reason",
    "updated_at",
    "updated_by",
    "standard",
    "smart",
    "digest",
    "kept",
    "rank",
    "search",
)


def table(model: type[models.Model]) -> str:
    return model._meta.db_table


def ids(model: type[models.Model], count: int) -> list[int]:
    """Fresh primary keys of a table, ascending; one statement."""
    if not count:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table(model), count]
        )
        return sorted(row[0] for row in cursor.fetchall())


def label_ids(count: int) -> list[str]:
    """Fresh uuids for names and descriptions."""
    if not count:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('exports_label') FROM generate_series(1, %s)", [count])
        return [str(row[0]) for row in cursor.fetchall()]


def copy(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Load rows with COPY."""
    db.copy_rows(table(model), columns, rows)


def rows(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def execute(sql: str, params: Sequence[Any] = ()) -> int:
    """Run a statement; how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


@dataclass(frozen=True)
class Finished:
    """A document on its way into the fragment table."""

    row: int
    document: dict[str, Any]


def save_fragments(finished: Sequence[Finished]) -> list[int]:
    """Write documents as fragments; their ids, in order."""
    keys = ids(Fragment, len(finished))
    copy(
        Fragment,
        ("id", "body", "length", "sha256", "row"),
        (
            (key, body, len(body), hashlib.sha256(body.encode()).digest(), one.row)
            for key, one in zip(keys, finished, strict=True)
            for body in (text.dumps(one.document),)
        ),
    )
    return keys


def swap_fragments(model: type[models.Model], finished: Sequence[Finished], *, is_latest: bool) -> None:
    """Give row versions new fragments; the old ones are swept when no frozen version holds them."""
    if not finished:
        return
    name, keys = table(model), save_fragments(finished)
    pks = [one.row for one in finished]
    execute(
        f"UPDATE {table(Fragment)} f SET replaced_at = now() FROM {name} r"
        " WHERE r.id = ANY(%s) AND f.id = r.fragment_id",
        [pks],
    )
    execute(
        f"UPDATE {name} r SET fragment_id = n.key, is_latest = %s"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS n(pk, key) WHERE r.id = n.pk",
        [is_latest, pks, keys],
    )
