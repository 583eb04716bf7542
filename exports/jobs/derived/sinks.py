"""What all writers share: blobs with their names, and what a build tells of its way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from core import blobs
from exports.formats import names, stamps
from exports.models import ExportBuild


class Progress(Protocol):
    """What a build tells of its way; each call may raise to stop it."""

    def stage(self, name: str, *, rows: int = 0, size: int = 0) -> None: ...
    def moved(self, size: int) -> None: ...
    def array_done(self) -> None: ...


NewProgress = Callable[..., Progress]


def sink(one: ExportBuild, keys: dict[str, str], form: str, stamp: datetime) -> blobs.Writer:
    """The blob of one format; its key is completed with the file's time."""
    keys[form] += f"{stamps.digits(stamp)}.{form}"
    filename = names.filename(repo=one.repo_name, version=one.title, stamp=stamp, form=form)
    return blobs.writer(keys[form], content_type=names.CONTENT_TYPES[form], filename=filename)


def stored(sinks: dict[str, blobs.Writer]) -> dict[str, Any]:
    """Keys, sizes and sums of files written."""
    return {
        **{f"{form}_key": sink.key for form, sink in sinks.items()},
        **{f"{form}_size": sink.size for form, sink in sinks.items()},
        **{f"{form}_sha256": sink.sha256 for form, sink in sinks.items()},
    }
