"""Asking for imports: the upload goes to the store, a job does the rest."""

from collections.abc import Iterable
from typing import Any
from urllib import parse

from django.conf import settings
from django.db import transaction

from core import blobs, egress, errors, jobs
from core.models import User
from exports.jobs import imports
from exports.models import ImportJob

Json = dict[str, Any]


def request(blocks: Iterable[bytes], *, user: User, name: str, options: Json) -> ImportJob:
    """Store an upload and queue its import."""
    importing = ImportJob(user=user, name=name[:255], options=options)
    importing.key = f"exports/imports/{importing.uuid.hex}"
    with blobs.writer(importing.key) as upload:
        for block in blocks:
            upload.write(block)
            if upload.size > settings.EXPORTS_IMPORT_MAX_BYTES:
                raise errors.TooLarge("The upload is too large.", limit=settings.EXPORTS_IMPORT_MAX_BYTES)
    if not upload.size:
        blobs.delete(importing.key)
        raise errors.Invalid("No content to import.", code="parse_error")
    return _submit(importing)


def _submit(importing: ImportJob) -> ImportJob:
    with transaction.atomic():
        importing.job, _ = jobs.submit(imports.KIND, {"import": str(importing.uuid)}, requested_by=importing.user)
        importing.save(force_insert=True)
    return importing


def check_url(url: str) -> None:
    """A file to fetch is refused unless its host is on the list."""
    try:
        host = parse.urlsplit(url).hostname or ""
    except ValueError:  # http://[
        host = ""
    if host not in settings.EXPORTS_IMPORT_HOSTS:
        raise errors.Invalid("This host is not allowed.", field="file_url")


def fetch(url: str) -> Iterable[bytes]:
    """The bytes of an allowed URL, through the guarded client."""
    check_url(url)
    with egress.stream("GET", url, redirects=0, limit=settings.EXPORTS_IMPORT_MAX_BYTES, seconds=300) as answer:
        if answer.status != 200:
            raise errors.Invalid(f"The host answered {answer.status}.", field="file_url")
        yield from answer.blocks()


def cancel(importing: ImportJob) -> None:
    """Stop an import; what its finished batches stored stays."""
    if importing.job_id is not None:
        jobs.cancel(importing.job_id)


def retry(importing: ImportJob) -> ImportJob:
    """Go on with an import that failed, behind its last batch."""
    if importing.job is None or blobs.stat(importing.key) is None:
        raise errors.Conflict("The upload is gone; import the file again.")
    with transaction.atomic():
        importing.job = jobs.retry(importing.job.pk)
        importing.save(update_fields=["job"])
    return importing
