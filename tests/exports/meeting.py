"""A writer in the middle of a change, for others who come meanwhile; writers that meet halfway."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import connection, transaction

from exports.models import Repo
from exports.writing import clock, concepts, drafts
from tests import together
from tests.house import wait_for

Writer = Callable[[clock.Clock, Sequence[drafts.Draft]], list[drafts.Outcome]]


@contextlib.contextmanager
def writing(source: Repo, draft: drafts.Draft, *, writer: Writer = concepts.write) -> Iterator[None]:
    """While the block runs somebody has written a concept of the source, and commits when it ends."""
    with doing(source, lambda lock: writer(lock, [draft])):
        yield


@contextlib.contextmanager
def doing(source: Repo, act: Callable[[clock.Clock], object]) -> Iterator[None]:
    """While the block runs somebody has done something to the source, and commits when it ends."""
    written, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            lock = clock.lock(source.pk)
            act(lock)
            written.set()
            assert go_on.wait(30)
            if Repo.objects.filter(pk=source.pk).exists():
                lock.save()

    one = together.in_background(write)
    try:
        assert written.wait(30)
        yield
    finally:
        go_on.set()
        one.join(30)


def begun(act: Callable[[], object]) -> threading.Thread:
    """Something in the background that is over, or waits for a lock, by now."""
    other = together.in_background(act)
    wait_for(lambda: not other.is_alive() or together.is_waiting(), what="the other one to end or to wait")
    return other


def halfway(acts: Sequence[Callable[[], Any]], *, at: str) -> list[Any]:
    """Do two things at once; each stops behind its first statement that begins so and finds something, until the other
    one got as far or waits for a lock."""
    arrived: set[int] = set()

    def one(act: Callable[[], Any]) -> Any:
        def stop(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if sql.startswith(at) and context["cursor"].rowcount and threading.get_ident() not in arrived:
                arrived.add(threading.get_ident())
                wait_for(lambda: len(arrived) == len(acts) or together.is_waiting(), what="the other one")
            return result

        with connection.execute_wrapper(stop):
            return act()

    return together.at_once([functools.partial(one, act) for act in acts])
