"""Several at a time: threads of tests, each with a database connection of its own that is closed at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection, connections

T = TypeVar("T")


def in_background(act: Callable[[], object]) -> threading.Thread:
    """Start something; an exception in it fails the test."""

    def work() -> None:
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def at_once(acts: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of them, beginning at the same moment; what they return, in their order."""
    gate = threading.Barrier(len(acts))

    def one(act: Callable[[], T]) -> T:
        gate.wait(60)
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))


def is_waiting() -> bool:
    """Whether somebody waits for a lock of the database."""
    return waiting() > 0


def waiting() -> int:
    """How many sessions wait for a lock somebody else holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction the first look would stay
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])
