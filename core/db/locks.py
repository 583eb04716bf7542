"""Who waits for whom, how long, and what happens when two wait for each other."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import errorcodes

from core.db.handles import Using, connection_of

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

_TRIES: Final = 3  # of a transaction that meets deadlocks


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


def session_lock(key: str, *, using: Using = "default") -> None:
    """Wait for the lock of ``advisory_lock`` and hold it, across transactions, until ``session_unlock`` or the
    connection's end."""
    with connection_of(using).cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])


def session_unlock(key: str, *, using: Using = "default") -> None:
    """Give back what ``session_lock`` holds."""
    with connection_of(using).cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])


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


def _in_transaction(using: Using) -> BaseDatabaseWrapper:
    connection = connection_of(using)
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an advisory lock needs a transaction")
    return connection
