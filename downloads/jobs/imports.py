"""The ingest job: what admin uploads and URLs become (contract 6.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from core import blobs, jobs
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


def _place(run: jobs.Run, found: IngestRun) -> contextlib.AbstractContextManager[Any]:
    if run.params["key"]:
        return fetch.uploaded(run.params["key"], run.params["name"])
    return fetch.local(run.params["url"], found)


def _drop_upload(run: jobs.Run) -> None:
    if run.params["key"]:
        blobs.delete(run.params["key"])


def settled(job: Job) -> None:
    """A run whose job ended otherwise than by its own work is over too."""
    if job.state == Job.State.SUCCEEDED:
        return
    IngestRun.objects.filter(job=job, state=IngestRun.State.RUNNING).update(
        state=IngestRun.State.FAILED,
        error=job.error_message or "The ingest was stopped.",
        finished_at=timezone.now(),
    )
