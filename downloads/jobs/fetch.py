"""An archive's bytes on local disk for as long as it is read: from a path, a URL, or an upload in the blob store."""

from __future__ import annotations

import contextlib
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils import timezone

from core import blobs, egress, errors
from downloads.formats import archive_in
from downloads.models import IngestRun

_SECONDS = 3600.0


def is_url(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))


@contextlib.contextmanager
def local(place: str, run: IngestRun, *, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """The archive at a path or URL as a local path; a fault in fetching it fails the run.

    `check()` is called while it is fetched and may raise to stop.
    """
    if not is_url(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="quincunx-") as folder:
        path = Path(folder) / _name(urllib.parse.urlsplit(place).path)
        try:
            _download(place, path, check)
        except errors.Fact as fault:
            message = f"The archive could not be fetched: {fault.message}"
            IngestRun.objects.filter(pk=run.pk).update(
                state=IngestRun.State.FAILED, error=message[:1000], finished_at=timezone.now()
            )
            raise archive_in.Unreadable(message) from fault
        yield path


@contextlib.contextmanager
def uploaded(key: str, name: str) -> Iterator[Path]:
    """An uploaded archive as a local path."""
    with tempfile.TemporaryDirectory(prefix="quincunx-") as folder:
        path = Path(folder) / _name(name)
        with path.open("wb") as out:
            for block in blobs.reader(key):
                out.write(block)
        yield path


def _name(path: str) -> str:
    """A safe file name that keeps the suffix, by which lone CSV files are known."""
    return PurePosixPath(path).name[-100:] or "archive"


def _download(url: str, path: Path, check: Callable[[], None]) -> None:
    limit = settings.DOWNLOADS_INGEST_BYTES
    with egress.stream("GET", url, limit=limit, seconds=_SECONDS) as answer, path.open("wb") as out:
        if not 200 <= answer.status < 300:
            raise errors.Unavailable(f"the other side answered {answer.status}.")
        for block in answer.blocks():
            check()
            out.write(block)
