"""Which blobs are alive, and asking for imports."""

import pathlib
import uuid as uuids
from collections.abc import Sequence

from django.conf import settings
from django.db import transaction

from core import blobs, errors, jobs
from core.models import User
from nnels import models, tasks
from nnels.jobs import catalogue

REPORT_SECONDS = 300


def live_blobs(keys: Sequence[str]) -> set[str]:
    """The keys some row names: files, retired files (they have a sweep of their own), reports of imports."""
    return {
        *catalogue.known_blobs(keys),
        *models.ImportRun.objects.filter(report_key__in=keys).values_list("report_key", flat=True),
    }


def import_root() -> pathlib.Path:
    """The folder below which imports may be asked for; `Invalid` when none is set."""
    if not settings.NNELS_IMPORT_ROOT:
        raise errors.Invalid("NNELS_IMPORT_ROOT is not set.", field="folder")
    return pathlib.Path(settings.NNELS_IMPORT_ROOT).resolve()


def import_folder(folder: str) -> pathlib.Path:
    """A folder below the import root; `Invalid` for any other."""
    root = import_root()
    path = (root / folder).resolve() if "\0" not in folder else root / ".."
    if not path.is_relative_to(root) or ".." in path.parts or not path.is_dir():
        raise errors.Invalid("There is no such folder below the import root.", field="folder")
    return path


def request_import(
    folder: str, *, requested_by: User, rights: str | None = None, is_published: bool = True
) -> models.ImportRun:
    """Ask for the import of a folder below the root; while one is active for it, that one is returned."""
    path = import_folder(folder)
    params = {"folder": str(path), "rights": rights, "is_published": is_published}
    with transaction.atomic():
        job, _ = jobs.submit(tasks.IMPORT.name, params, fingerprint=str(path)[-200:], requested_by=requested_by)
        run, _ = models.ImportRun.objects.get_or_create(
            job_id=job.pk, defaults={"who": requested_by, "folder": str(path)[:1024]}
        )
    return run


def report_url(run_id: int) -> str:
    """A fresh link to the report of an import; `NotFound` when there is none, or no longer."""
    run = models.ImportRun.objects.filter(pk=run_id).exclude(report_key="").first()
    if run is None:
        raise errors.NotFound("The report is not kept any more.")
    return blobs.url(run.report_key, REPORT_SECONDS, filename="report.csv", content_type="text/csv; charset=utf-8")


def cancel_import(job_id: uuids.UUID) -> bool:
    """Ask an import to stop; committed titles stay."""
    return jobs.cancel(job_id)
