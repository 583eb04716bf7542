"""The import as a whole: every title in turn, counts, report; and the job that runs it."""

import contextlib
import dataclasses
import pathlib
import uuid as uuids
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.utils import timezone

from core import blobs, jobs
from core.models import Job
from nnels import models
from nnels.formats import report, sidecar
from nnels.jobs.importing import plan, store

STORE_FAILURES = 10


class StoreGone(Exception):
    """The store failed for too many titles in a row."""


@dataclasses.dataclass
class Summary:
    """Lines and counts of an import; `warnings` are about the sidecar itself."""

    lines: list[store.Outcome] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        return Counter(line.outcome for line in self.lines)

    def csv(self) -> Iterator[str]:
        """The report, line by line."""
        yield report.row(report.COLUMNS)
        for line in self.lines:
            values = (line.path, line.uuid, line.isbn, line.title, line.outcome, line.reason, line.detail)
            yield report.row(values)


Progress = Callable[[int, int], None]


def run(
    root: pathlib.Path,
    *,
    sidecar_path: pathlib.Path | None,
    options: store.Options,
    progress: Progress = lambda _done, _total: None,
) -> Summary:
    """Import a folder. Raises `sidecar.Unreadable` (nothing was imported) and `StoreGone`."""
    found = sidecar_path or plan.find_sidecar(root)
    table = plan.read_sidecar(found) if found else None
    planned = plan.titles(root, table=table, besides=found)
    summary = Summary(warnings=list(table.warnings) if table else [])
    seen: set[uuids.UUID] = set()
    failures = 0
    for number, one in enumerate(planned, 1):
        options.check()
        outcome = store.take(one, seen=seen, options=options)
        summary.lines.append(outcome)
        failures = failures + 1 if outcome.reason == "storage_unavailable" else 0
        if failures == STORE_FAILURES:
            raise StoreGone
        progress(number, len(planned))
    return summary


def job(run_: jobs.Run) -> dict[str, Any] | None:
    """`nnels.import`: the import the admin asked for, on a folder under the import root."""
    root = pathlib.Path(run_.params["folder"])
    models.ImportRun.objects.filter(job_id=run_.job_id).update(state="running")
    options = store.Options(
        rights=run_.params.get("rights"),
        is_published=run_.params.get("is_published", True),
        check=run_.check,
        fenced=run_.fenced,
    )
    try:
        summary = run(
            root,
            sidecar_path=None,
            options=options,
            progress=lambda done, total: run_.progress(stage="importing", done=done, total=total),
        )
    except sidecar.Unreadable as error:
        raise jobs.Failure("unreadable_sidecar", str(error)) from error
    except StoreGone as error:
        raise jobs.Failure("storage_unavailable", "The file store failed for ten titles in a row.") from error
    except OSError as error:
        raise jobs.Failure("unreadable_folder", f"The folder cannot be read: {error.strerror}") from error
    key = f"nnels/reports/{run_.job_id}/report.csv"
    with blobs.writer(key, content_type="text/csv; charset=utf-8", filename="report.csv") as sink:
        for line in summary.csv():
            sink.write(line.encode())
    counts = summary.counts
    with run_.finish({"counts": dict(counts)}):
        models.ImportRun.objects.filter(job_id=run_.job_id).update(report_key=key, **count_fields(counts))
    return None


def count_fields(counts: Counter[str]) -> dict[str, int]:
    """Counts under the names of `ImportRun`."""
    return {
        f"{outcome}_count": counts[outcome]
        for outcome in (store.CREATED, store.UPDATED, store.UNCHANGED, store.REJECTED)
    }


def settled(job_: Job) -> None:
    """The run follows its job to its end."""
    models.ImportRun.objects.filter(job_id=job_.pk).update(
        state=job_.state, error=job_.error_message[:255], finished_at=timezone.now()
    )


@contextlib.contextmanager
def recorded(root: pathlib.Path) -> Iterator[models.ImportRun]:
    """An `ImportRun` for an import from the command line."""
    made = models.ImportRun.objects.create(folder=str(root)[:1024], state="running")
    try:
        yield made
    except BaseException as error:
        made.state, made.error = "failed", str(error)[:255]
        raise
    else:
        made.state = "succeeded"
    finally:
        made.finished_at = timezone.now()
        made.save()
