"""What an operator asks for in admin with a file or an address: imports and checks, each with a report (contract 6).

The commands do the same by the same functions; here a worker does it, and the report is kept in the store for as long
as the job is kept.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from core import blobs
from core import jobs as core_jobs
from registry import selectors
from registry.formats import imports, report, validation
from registry.jobs import bring_in, preview, upload

IMPORT_KIND, CHECK_KIND = selectors.ERRANDS
REPORTS: Final = "registry/reports/"
# What the page of an errand shows of its report; the file holds all.
SHOWN: Final = 100


def import_work(attempt: core_jobs.Run) -> dict[str, Any]:
    """The job `registry.import`: `params` are `what`, `name`, `upload` and the flags of `bring_in.Options`.

    Rows that were applied before a worker died are found unchanged by the next one.
    """
    params = attempt.params
    try:
        rows = imports.read(_uploaded(params["upload"]), name=params["name"])
    except imports.UnreadableFileError as error:
        raise core_jobs.Failure("unreadable", f"Unreadable: {error}.") from error
    options = bring_in.Options(params["dry_run"], params["strict"], params["create_organizations"])

    def noted(done: int) -> None:
        attempt.check()
        attempt.progress(done=done, total=len(rows))

    outcome = bring_in.run(rows, params["what"], options, noted=noted)
    key = _keep(attempt, report.csv_blocks(bring_in.REPORT_COLUMNS, outcome.lines))
    rejected = [list(line) for line in outcome.lines if line[2] == "rejected"]
    return {
        "counts": {name: outcome.count(name) for name in bring_in.OUTCOMES},
        "applied": outcome.applied,
        "notes": outcome.notes[:SHOWN],
        "columns": list(bring_in.REPORT_COLUMNS),
        "lines": rejected[:SHOWN],
        "report": key,
    }


def check_work(attempt: core_jobs.Run) -> dict[str, Any]:
    """The job `registry.check`: `params` are `url` and `harvest_type`, or `upload` and `name`."""
    checked = preview.Checked()
    lines: list[list[Any]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            verdicts = _verdicts(attempt, Path(folder))
            key = _keep(attempt, report.csv_blocks(report.COLUMNS, _rows(attempt, verdicts, checked, lines)))
    except upload.UnreadableUploadError as error:
        raise core_jobs.Failure("unreadable", f"Unreadable: {error}.") from error
    counts = {"documents": checked.good + checked.bad, "good": checked.good, "bad": checked.bad}
    codes = [f"{code}: {count}" for code, count in sorted(Counter(checked.codes).items())]
    return {"counts": counts, "notes": codes, "columns": list(report.COLUMNS), "lines": lines, "report": key}


def _verdicts(attempt: core_jobs.Run, folder: Path) -> preview.Verdicts:
    params = attempt.params
    if "url" in params:
        source = preview.source_at(params["url"], harvest_type=params["harvest_type"])
        return preview.check_source(source, check=attempt.check)
    path = folder / ("document.xml" if params["name"].lower().endswith(".xml") else "documents.zip")
    with path.open("wb") as local, _reader(params["upload"]) as reader:
        for block in reader:
            local.write(block)
    return ((params["name"] if path.suffix == ".xml" else name, verdict) for name, verdict in preview.check_path(path))


def _rows(
    attempt: core_jobs.Run,
    verdicts: Iterable[tuple[str, validation.Verdict]],
    checked: preview.Checked,
    lines: list[list[Any]],
) -> Iterator[Sequence[Any]]:
    """The report's rows of each document, counted into `checked`, the first ones kept in `lines`."""
    for name, verdict in verdicts:
        attempt.check()
        checked.add(verdict)
        attempt.progress(done=checked.good + checked.bad)
        identifier = verdict.extract.file_id if verdict.extract else ""
        for issue in verdict.issues:
            row = [issue.stage, issue.severity, issue.code, name, identifier, issue.line, issue.column, issue.message]
            if len(lines) < SHOWN:
                lines.append(row)
            yield row


def _uploaded(key: str) -> bytes:
    with _reader(key) as reader:
        return reader.read()


def _reader(key: str) -> blobs.Reader:
    try:
        return blobs.reader(key)
    except blobs.Missing as error:
        raise core_jobs.Failure("unreadable", "The uploaded file is gone.") from error


def _keep(attempt: core_jobs.Run, blocks: Iterable[bytes]) -> str:
    """Store a report; each attempt has its own, so that a worker that lost the job overwrites nothing."""
    key = f"{REPORTS}{attempt.job_id}-{attempt.attempt}.csv"
    with blobs.writer(key, content_type="text/csv") as target:
        for block in blocks:
            target.write(block)
    return key


KINDS: Final[dict[str, Callable[[core_jobs.Run], dict[str, Any]]]] = {
    IMPORT_KIND: import_work,
    CHECK_KIND: check_work,
}
