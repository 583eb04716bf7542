"""The end of an ingest: one transaction in which every reader sees the store go from one version to the next."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import OperationalError, connection
from psycopg2 import errorcodes

from core import db
from downloads.formats import cells
from downloads.models import RawColumnSet, StoreVersion

LOCK = "downloads.ingest"
"""Whoever changes the store holds this lock: versions are published one after another."""

_STORES = {"record": "downloads_record", "media": "downloads_mediarecord"}
_ROOM = "SET LOCAL gin_pending_list_limit = '64MB'; SET LOCAL work_mem = '64MB'"
"""Words go into their index by the ten thousand rows instead of the hundred: fewer pages are touched."""

_CLOSE = """
UPDATE {store} SET v_to = %(version)s WHERE v_to IS NULL AND uuid IN (
    SELECT uuid FROM todo_{kind} WHERE what IN ('changed', 'linked') UNION ALL SELECT uuid FROM gone_{kind})
"""
_LINKS = """
UPDATE downloads_recordmedia SET v_to = %(version)s WHERE id IN (SELECT id FROM gone_link);
INSERT INTO downloads_recordmedia (record, media, position, v_from)
    SELECT record, media, position, %(version)s FROM new_link ORDER BY media, position;
"""
_IDENTIFIERS = """
INSERT INTO downloads_identifier (text, uuid)
    SELECT i.text, k.uuid FROM id_{kind} i JOIN known_{kind} k ON k.n = i.n WHERE k.reason IS NULL
    ORDER BY i.text ON CONFLICT (text) DO NOTHING
"""
_COUNTS = """
UPDATE downloads_recordset s SET
    record_count = (SELECT count(*) FROM downloads_record r WHERE r.recordset_id = s.uuid AND r.v_to IS NULL),
    media_count = (SELECT count(*) FROM downloads_mediarecord m WHERE m.recordset_id = s.uuid AND m.v_to IS NULL)
WHERE s.uuid = ANY(%s)
"""


_KNOWN_ROWS = "SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE oid = ANY(%s::text[]::regclass[])"


def lock_session(*, waiting: Callable[[], None] = lambda: None) -> None:
    """Hold the ingest lock until `unlock_session`, across transactions, waiting for whoever has it.

    `waiting()` is called every second till then and may raise to stop.
    """
    while not _has_locked():
        waiting()


def _has_locked() -> bool:
    """Whether the lock was to be had within a second."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")
        try:
            db.session_lock(LOCK)
        except OperationalError as fault:
            if getattr(fault.__cause__, "pgcode", "") != errorcodes.LOCK_NOT_AVAILABLE:
                raise
            return False
        finally:
            cursor.execute("RESET lock_timeout")
    return True


def unlock_session() -> None:
    db.session_unlock(LOCK)


def lock_transaction() -> None:
    """The same lock for the rest of the running transaction."""
    db.advisory_lock(LOCK)


def current_version() -> int:
    """The number of the newest store version; 0 for a store nothing was ever put into."""
    newest = StoreVersion.objects.order_by("-number").values_list("number", flat=True).first()
    return newest or 0


def new_version(reason: str) -> StoreVersion:
    """Open the next store version; needs the ingest lock."""
    return StoreVersion.objects.create(number=current_version() + 1, reason=reason[:200])


def raw_columns(kind: str, version: int | None = None) -> tuple[int, list[str]]:
    """The raw column set of a kind ("records", "media") as of a store version: its own version, its names."""
    sets = RawColumnSet.objects.filter(kind=kind)
    if version is not None:
        sets = sets.filter(version__lte=version)
    found = sets.order_by("-version").first()
    return (found.version, found.names) if found else (0, [])


def widened(kind: str, names: Iterable[str], version: int) -> tuple[int, list[str]]:
    """The column set that also holds `names`: the present one, or one to begin with `version`."""
    present_version, present = raw_columns(kind)
    wanted = cells.raw_columns([*present, *names])
    return (present_version, present) if wanted == present and present_version else (version, wanted)


def close(version: int) -> None:
    """End the row versions that have a successor in `todo_…` or none at all; call in the transaction that publishes."""
    with connection.cursor() as cursor:
        cursor.execute(_ROOM)
        for kind, store in _STORES.items():
            cursor.execute(_CLOSE.format(store=store, kind=kind), {"version": version})


def publish(version: int, sets: Mapping[str, tuple[int, list[str]]], recordsets: list[uuid.UUID]) -> None:
    """Make what goes with the new row versions; call in the transaction that makes the version, after them."""
    with connection.cursor() as cursor:
        for kind in _STORES:
            cursor.execute(_IDENTIFIERS.format(kind=kind))
        for entity, (set_version, names) in sets.items():
            _add_column_set(entity, set_version, names, version)
        cursor.execute(_LINKS, {"version": version})
        cursor.execute(_COUNTS, [recordsets])


def _add_column_set(kind: str, set_version: int, names: list[str], version: int) -> None:
    if set_version == version:
        RawColumnSet.objects.create(kind=kind, version=version, names=names)


def save_rejects(run_id: int, *, most: int | None = None) -> None:
    """Keep the rows set aside (or the first ones) with their run; of a row, at most 8 KB.

    No character takes more than four bytes.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO downloads_rejectedrow (run_id, file, line, reason, message, row) "
            "SELECT %s, left(file, 300), line, reason, left(message, 500), "
            "CASE WHEN octet_length(row) <= 8192 THEN row ELSE left(row, 2048) END "
            "FROM stage_reject ORDER BY file, line LIMIT %s",
            [run_id, most],
        )


def settle(rows: int) -> None:
    """After `rows` rows were written: nothing is left beside the indexes of words, and the planner knows of many rows.

    It is told where they are a tenth of the store. Of fewer the server's own autovacuum tells it; looking at 30,000
    wide rows costs more than bringing in a few.
    """
    with connection.cursor() as cursor:
        for store in _STORES.values():
            cursor.execute("SELECT gin_clean_pending_list(%s)", [f"{store}_words"])
        cursor.execute(_KNOWN_ROWS, [list(_STORES.values())])
        (known,) = cursor.fetchone()
        if rows * 10 >= known:
            cursor.execute(
                "ANALYZE downloads_record, downloads_mediarecord, downloads_recordmedia, downloads_identifier"
            )


def rows_of(sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    """All rows of a small query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())
