"""A writer in the middle of a change, for others who come meanwhile."""

import contextlib
import threading
from collections.abc import Iterator

from django.db import transaction

from exports.models import Repo
from exports.writing import clock, concepts, drafts
from tests import together


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

    writer = together.in_background(write)
    try:
        assert written.wait(30)
        yield
    finally:
        go_on.set()
        writer.join(30)
