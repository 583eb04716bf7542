"""Brings an archive into the store: read, resolve, render, publish (contract 6).

Nothing of the store changes before the last step, which is one transaction. Memory does not grow with the archive.
"""

from __future__ import annotations

import contextlib
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from downloads.formats import archive_in
from downloads.jobs.ingest import crew, publish, render, resolve, stage
from downloads.jobs.ingest.options import Options, Refused, Report
from downloads.models import IngestRun, Recordset, StoreVersion

__all__ = ["Options", "Refused", "Report", "ingest"]

Progress = Callable[[str, int], None]
Publishing = Callable[[Report], AbstractContextManager[Any]]
_KEPT_OF_REFUSED = 1000
"""Rejected rows that are kept of an archive that is refused for their number: enough to see what is wrong."""


def ingest(
    path: Path,
    opts: Options,
    run: IngestRun,
    *,
    source_url: str = "",
    progress: Progress = lambda _stage, _rows: None,
    publishing: Publishing | None = None,
) -> Report:
    """Bring in the archive at `path`; the report is also kept in `run`.

    `progress(stage, rows)` is called now and then and may raise to stop. `publishing(report)` is the transaction to
    publish in (default: one of our own). Raises `archive_in.Unreadable` or `Refused`; then nothing was changed.
    """
    try:
        with crew.fewer_collections(), archive_in.opened(path) as archive:
            if query := urllib.parse.urlsplit(source_url).query:
                archive.name += f"?{query}"  # many a server has all its archives under one name: archive.do?r=birds
            report = _ingest(archive, opts, run, source_url, progress, publishing)
    except (archive_in.Unreadable, Refused) as fault:
        run.state, run.error, run.finished_at = IngestRun.State.FAILED, fault.message[:1000], timezone.now()
        run.save(update_fields=["state", "error", "finished_at", "report"])
        raise
    finally:
        stage.drop()
    if report.version is not None:
        publish.settle(report.added + report.changed + report.restored + report.links)
    return report


def _ingest(
    archive: archive_in.Archive,
    opts: Options,
    run: IngestRun,
    source_url: str,
    progress: Progress,
    publishing: Publishing | None,
) -> Report:
    staged = stage.Stage(archive, opts, lambda rows: progress("reading", rows))
    staged.fill()
    with _exclusive(lambda: progress("waiting for another ingest", staged.read)):
        report = resolve.resolve(staged.recordsets, staged.roles, opts)
        report.read = staged.read
        run.report = report.to_json()  # of what is refused, too: it tells why
        try:
            resolve.refuse(report, staged.recordsets, opts)
        except Refused:
            publish.save_rejects(run.pk, most=_KEPT_OF_REFUSED)
            raise
        if opts.dry_run:
            _finish(run, report, staged)
            return report
        changes = report.added + report.changed + report.removed + report.restored + report.links
        if not changes:
            with (publishing or _own_transaction)(report):
                if report.unchanged:  # the rows are the same; what the archive says of itself may not be
                    _describe(staged, source_url)
                _finish(run, report, staged)
            return report
        return _write(staged, report, run, source_url, progress, publishing)


def _write(
    staged: stage.Stage,
    report: Report,
    run: IngestRun,
    source_url: str,
    progress: Progress,
    publishing: Publishing | None,
) -> Report:
    version, now = publish.current_version() + 1, timezone.now()
    sets = {kind: publish.widened(kind, staged.raw_names[kind], version) for kind in ("records", "media")}
    with transaction.atomic():
        publish.close(version)
        for kind, (raw_version, names) in sets.items():
            renderer = render.Renderer(kind, version=version, raw_names=names, raw_version=raw_version, now=now)
            render.render(renderer, check=lambda rows: progress("normalising", rows))
        progress("publishing", 0)
        report.version = version
        with (publishing or _own_transaction)(report):
            _describe(staged, source_url)
            StoreVersion.objects.create(number=version, reason=f"ingest of {run.source}"[:200], created_at=now)
            publish.publish(version, sets, sorted(staged.recordsets))
            _finish(run, report, staged)
    return report


@contextlib.contextmanager
def _exclusive(waiting: Callable[[], None]) -> Iterator[None]:
    publish.lock_session(waiting=waiting)
    try:
        yield
    finally:
        publish.unlock_session()


@contextlib.contextmanager
def _own_transaction(_report: Report) -> Iterator[None]:
    with transaction.atomic():
        yield


def _describe(staged: stage.Stage, source_url: str) -> None:
    """The recordsets spoken of, made where new; what an archive says of itself is kept up to date."""
    archive, opts = staged.archive, staged.options
    for recordset in sorted(staged.recordsets):
        said = {
            "name": (opts.name or archive.title or archive.name)[:500],
            "licence": archive.licence[:500],
            "eml": archive.eml,
            "source_url": source_url[:2000],
        }
        if len(staged.recordsets) > 1 or archive.pairs:  # a download archive describes itself, not its recordsets
            said = {"name": opts.name[:500]}
        found, is_new = Recordset.objects.get_or_create(
            uuid=recordset, defaults=said | {"name": said["name"] or f"Recordset {recordset}"}
        )
        given = {name: value for name, value in said.items() if value}
        if given and not is_new:
            Recordset.objects.filter(pk=found.pk).exclude(**given).update(**given, modified_at=timezone.now())


def _finish(run: IngestRun, report: Report, staged: stage.Stage) -> None:
    publish.save_rejects(run.pk)
    run.state, run.report, run.finished_at = IngestRun.State.DONE, report.to_json(), timezone.now()
    run.version_id = report.version
    run.recordset_id = _only(staged.recordsets)
    run.save(update_fields=["state", "report", "finished_at", "version", "recordset"])


def _only(recordsets: set[uuid.UUID]) -> uuid.UUID | None:
    """The one recordset of most archives, if it exists by now."""
    if len(recordsets) != 1:
        return None
    return Recordset.objects.filter(pk=next(iter(recordsets))).values_list("pk", flat=True).first()
