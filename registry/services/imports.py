"""Ask for imports and checks: files go to the store, a job does the work (contract 6)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import IO
from uuid import uuid4

from core import blobs, errors
from core import jobs as core_jobs
from core.models import Job, User
from registry.formats import imports
from registry.jobs import bring_in, errands, request, upload
from registry.models import Harvest, HarvestRun

BLOCK = 1_048_576


def documents(path: Path, harvest: Harvest, *, user: User | None = None) -> HarvestRun:
    """Queue a run over a folder or zip of ISO records, without any network; the identity is the relative path."""
    if harvest.deleting:
        raise errors.Conflict("The source is being deleted.", code="deleting")
    try:
        with upload.pack(path) as archive:
            key = _stored(archive, "documents.zip")
    except upload.UnreadableUploadError as error:
        raise errors.Invalid(str(error), field="path") from error
    run, is_new = request.run_of(harvest, trigger=HarvestRun.Trigger.IMPORT, requester=user, mode="upload", upload=key)
    if not is_new:
        blobs.delete(key)
        raise errors.Conflict("A run of this harvest is active.", code="run_active")
    return run


def bring_in_file(what: str, file: IO[bytes], *, name: str, options: bring_in.Options, user: User | None) -> Job:
    """Queue the import of a file of `organizations`, `harvests` or `users`; the job's result tells its outcome."""
    key = _stored(file, name, most=imports.MAX_BYTES)
    params = {"what": what, "name": name, "upload": key, **asdict(options)}
    return core_jobs.submit(errands.IMPORT_KIND, params, requested_by=user)[0]


def check(place: IO[bytes] | str, *, name: str = "", harvest_type: str = "", user: User | None) -> Job:
    """Queue a check of an XML file or a zip, or of the source at an address; nothing is stored but the report."""
    where = {"url": place} if isinstance(place, str) else {"upload": _stored(place, name), "name": name}
    params = {**where, "harvest_type": harvest_type}
    return core_jobs.submit(errands.CHECK_KIND, params, requested_by=user)[0]


def _stored(file: IO[bytes], name: str, *, most: int = upload.MAX_UNPACKED) -> str:
    """Put a file below our uploads, where the sweep finds it when nobody needs it any more; its key."""
    key = f"{upload.PREFIX}{uuid4()}{Path(name).suffix.lower()[:8]}"
    total = 0
    with blobs.writer(key) as target:
        while block := file.read(BLOCK):
            total += len(block)
            if total > most:
                raise errors.TooLarge(f"The file is larger than {most} bytes.", field="file")
            target.write(block)
    return key
