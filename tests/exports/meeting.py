"""Several at once: one writer in the middle of a change, others that come meanwhile."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from django.db import connection, connections, transaction

from exports.models import Repo
from exports.writing import clock, concepts, drafts


def in_background(act: Callable[[], object]) -> threading.Thread:
    """Do something in a thread with a database connection of its own."""

    def work() -> None:
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@contextlib.contextmanager
def writing(source: Repo, draft: drafts.Draft) -> Iterator[None]:
    """While the block runs somebody has written a concept of the source, and commits when it ends."""
    written, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            lock = clock.lock(source.pk)
            concepts.write(lock, [draft])
            written.set()
            assert go_on.wait(30)
            lock.save()

    writer = in_background(write)
    try:
        assert written.wait(30)
        yield
    finally:
        go_on.set()
        writer.join(30)


def is_waiting() -> bool:
    """Whether somebody waits for a lock."""
    return waiting() > 0


def waiting() -> int:
    """How many sessions wait for a lock somebody else holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction the first look would stay
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])
