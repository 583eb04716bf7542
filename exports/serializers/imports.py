"""An import as its asker sees it (contract §6)."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count

from core import jobs
from exports.formats import stamps, text
from exports.models import ImportJob, ImportNote

#: the queueing library's words, which the original showed
STATES = {
    jobs.QUEUED: "PENDING",
    jobs.RUNNING: "STARTED",
    jobs.CANCELLING: "STARTED",
    jobs.SUCCEEDED: "SUCCESS",
    jobs.FAILED: "FAILURE",
    jobs.CANCELLED: "REVOKED",
}
TAKEN = ("created", "updated", "unchanged", "deleted")
OUTCOMES = (*TAKEN, "failed", "invalid", "permission_denied", "unknown")
_LABELS = {outcome: outcome.replace("_", " ").title() for outcome in OUTCOMES}


def document(importing: ImportJob) -> dict[str, Any]:
    """The task of an import."""
    job = importing.job
    counts = counted(importing)
    runtime = (job.finished_at - job.started_at).total_seconds() if job and job.finished_at and job.started_at else None
    return {
        "id": str(importing.uuid),
        "state": STATES[job.state] if job else "PENDING",  # type: ignore[index]
        "name": importing.name,
        "queue": "exports",
        "username": importing.user.username if importing.user else None,
        "task": "exports.import",
        "created_at": stamps.iso(importing.created_at),
        "started_at": stamps.iso(job.started_at) if job else None,
        "finished_at": stamps.iso(job.finished_at) if job else None,
        "runtime": runtime,
        "summary": summary(counts),
        "children": [],
        "message": job.error_message if job and job.error_message else None,
    }


def counted(importing: ImportJob) -> dict[str, int]:
    found = importing.notes.values_list("outcome").annotate(Count("pk")).order_by("outcome")
    return dict(found)


def summary(counts: dict[str, int]) -> str:
    """``Processed: 120 of 121 | Created: 100 | …``: what was done of all records, then each list."""
    total = sum(counts.values())
    done = sum(counts.get(outcome, 0) for outcome in TAKEN)
    parts = [f"Processed: {done} of {total}", *(f"{_LABELS[one]}: {counts.get(one, 0)}" for one in OUTCOMES)]
    return " | ".join(parts)


def report(importing: ImportJob) -> Iterator[str]:
    """The whole report as JSON, list by list, in constant memory."""
    yield f'{{"summary": {text.dumps(summary(counted(importing)))}'
    for outcome in OUTCOMES:
        yield f', "{outcome}": ['
        joint = ""
        for note in ImportNote.objects.filter(importing=importing, outcome=outcome).order_by("id").iterator(2000):
            yield joint + text.dumps(entry(note.line, note.type, note.url, note.errors))
            joint = ", "
        yield "]"
    yield "}"


def entry(line: int, kind: str, url: str, faults: Any) -> dict[str, Any]:
    return {"line": line, "type": kind, "url": url, **({"errors": faults} if faults else {})}
