"""Bringing archives in: from the command line at once, from admin and by URL as a job; hiding a recordset."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from django.db import transaction

from core import blobs, jobs
from core.models import User
from downloads.jobs import fetch, imports, ingest
from downloads.jobs.ingest import publish
from downloads.models import Hiding, IngestRun, Recordset


def import_archive(
    place: str, opts: ingest.Options, *, progress: Callable[[str, int], None] = lambda _stage, _rows: None
) -> tuple[IngestRun, ingest.Report]:
    """Bring in the archive at a path or URL now; raises `archive_in.Unreadable` or `ingest.Refused`."""
    imports.close_abandoned()
    source = place.encode(errors="replace").decode()  # names of files need not be UTF-8
    with imports.by_hand(source, opts) as run, fetch.local(place, run) as path:
        source_url = place if fetch.is_url(place) else ""
        return run, ingest.ingest(path, opts, run, source_url=source_url, progress=progress)


def upload_archive(
    source: BinaryIO | str, opts: ingest.Options, *, name: str = "", user: User | None = None
) -> IngestRun:
    """Bring in an uploaded file, or what lies at a URL, as a job; the run shows how it goes."""
    key = ""
    if not isinstance(source, str):
        key = f"downloads/uploads/{uuid.uuid4()}/{Path(name).name[:100] or 'archive'}"
        with blobs.writer(key) as blob:
            while block := source.read(1 << 20):
                blob.write(block)
    with transaction.atomic():
        run = IngestRun.objects.create(
            source=(source if isinstance(source, str) else name)[:2000], options=opts.to_json(), started_by=user
        )
        params = {"run": run.pk, "url": source if isinstance(source, str) else "", "key": key, "name": name}
        run.job, _created = jobs.submit("downloads.ingest", params, requested_by=user)
        run.save(update_fields=["job"])
    return run


def set_public(recordset: Recordset, *, is_public: bool) -> bool:
    """Show or hide a recordset's rows: a new data version. False when nothing changed."""
    with transaction.atomic():
        publish.lock_transaction()
        changed = Recordset.objects.filter(pk=recordset.pk, is_public=not is_public).update(is_public=is_public)
        if not changed:
            return False
        version = publish.new_version(f"{'shown' if is_public else 'hidden'}: {recordset.name}")
        if is_public:
            Hiding.objects.filter(recordset=recordset, v_to=None).update(v_to=version.number)
        else:
            Hiding.objects.create(recordset=recordset, v_from=version.number)
        return True
