"""Runs of an ingest: the job that admin uploads and URLs become, and those of the command line (contract 6.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import blobs, db, jobs
from core.models import Job
from downloads.formats import archive_in
from downloads.jobs import fetch, ingest
from downloads.models import IngestRun


def bring_in(run: jobs.Run) -> dict[str, Any]:
    """Work of the kind `downloads.ingest`; params: `run`, and `url` or `key` with `name`."""
    found = IngestRun.objects.get(pk=run.params["run"])
    opts = ingest.Options.from_json(found.options)

    def progress(stage: str, rows: int) -> None:
        run.check()
        run.progress(stage=stage, rows=rows)

    @contextlib.contextmanager
    def publishing(report: ingest.Report) -> Iterator[None]:
        with run.finish(report.to_json()):
            yield

    try:
        with _place(run, found) as path:
            report = ingest.ingest(
                path, opts, found, source_url=run.params["url"], progress=progress, publishing=publishing
            )
    except (archive_in.Unreadable, ingest.Refused) as fault:
        _drop_upload(run)
        raise jobs.Failure("refused", fault.message) from fault
    _drop_upload(run)
    return report.to_json()


_STOPPED = "The ingest was stopped."


@contextlib.contextmanager
def by_hand(source: str, opts: ingest.Options) -> Iterator[IngestRun]:
    """A run of this process, which no job looks after: it is over when the block is, however that ends.

    Its lock, held by the connection, tells whether the process still lives (`close_abandoned`).
    """
    with transaction.atomic():
        run = IngestRun.objects.create(source=source[:2000], options=opts.to_json())
        db.session_lock(_lock_name(run.pk))  # before anybody can see the run
    try:
        yield run
    finally:
        _close([run.pk])
        db.session_unlock(_lock_name(run.pk))


def close_abandoned() -> int:
    """End the runs whose process is gone without a word; returns how many."""
    running = IngestRun.objects.filter(state=IngestRun.State.RUNNING, job=None).values_list("pk", flat=True)
    with transaction.atomic():
        return _close([pk for pk in running if db.try_advisory_lock(_lock_name(pk))])


def _close(runs: list[int]) -> int:
    left = IngestRun.objects.filter(pk__in=runs, state=IngestRun.State.RUNNING)
    return left.update(state=IngestRun.State.FAILED, error=_STOPPED, finished_at=timezone.now())


def _lock_name(run: int) -> str:
    return f"downloads.ingest.run.{run}"


def _place(run: jobs.Run, found: IngestRun) -> contextlib.AbstractContextManager[Any]:
    if run.params["key"]:
        return fetch.uploaded(run.params["key"], run.params["name"])
    return fetch.local(run.params["url"], found, check=run.check)


def _drop_upload(run: jobs.Run) -> None:
    if run.params["key"]:
        blobs.delete(run.params["key"])


def settled(job: Job) -> None:
    """A run whose job ended otherwise than by its own work is over too."""
    if job.state == Job.State.SUCCEEDED:
        return
    IngestRun.objects.filter(job=job, state=IngestRun.State.RUNNING).update(
        state=IngestRun.State.FAILED,
        error=job.error_message or _STOPPED,
        finished_at=timezone.now(),
    )
