"""The build job: count, cut, make, assemble, publish; and what helpers, outages and dead workers mean for it."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.utils import timezone

from core import blobs, errors, jobs
from core.models import Job
from downloads.formats import members
from downloads.jobs.build import assemble, parts, plan, typed
from downloads.jobs.build.plan import Plan
from downloads.jobs.build.sums import Sums
from downloads.models import Build

log = structlog.get_logger(__name__)

MOST_CRASHES = 5
STORAGE_PATIENCE = timedelta(minutes=30)
INTERRUPTED = "The build was interrupted too often."
NOT_STORED = "The file could not be stored."
ASSIST = "downloads.assist"


def build(run: jobs.Run) -> dict[str, Any]:
    """Work of the kinds `downloads.build` and `downloads.build_long`."""
    found = _begin(run)
    try:
        result = _Lead(run, found).make()
    except blobs.StoreUnavailable as outage:
        raise _storage_away(run, found) from outage
    except (jobs.Failure, jobs.Cancelled):
        _end_orderly(run, found)
        _tidy_if_possible(found)
        raise
    _tidy_if_possible(found)
    return result


def _begin(run: jobs.Run) -> Build:
    """Note the attempt, and refuse when too many in a row died without finishing a part."""
    found = Build.objects.filter(job_id=run.job_id).first()
    if found is None:  # a job started again by hand has no build of its own
        raise jobs.Failure("no_build", "Retry the download, not its job.")
    done = parts.done_count(found)
    crashes = 0
    if found.is_underway:
        crashes = 1 if done > found.parts_done else found.crashes + 1
    with run.fenced():
        Build.objects.filter(pk=found.pk).update(
            state=Build.State.RUNNING,
            is_underway=True,
            parts_done=done,
            crashes=crashes,
            started_at=found.started_at or timezone.now(),
        )
        parts.release_of(run.job_id)
    if crashes >= MOST_CRASHES:
        _end_orderly(run, found)
        raise jobs.Failure("interrupted", INTERRUPTED)
    found.refresh_from_db()
    return found


def _end_orderly(run: jobs.Run, found: Build) -> None:
    with contextlib.suppress(jobs.LeaseLost), run.fenced():
        Build.objects.filter(pk=found.pk).update(is_underway=False)


def _storage_away(run: jobs.Run, found: Build) -> jobs.Retry | jobs.Failure:
    """Wait for the store, at most a minute between tries and half an hour in all."""
    since = found.storage_away_since or timezone.now()
    waited = timezone.now() - since
    with run.fenced():
        Build.objects.filter(pk=found.pk).update(is_underway=False, storage_away_since=since)
    if waited > STORAGE_PATIENCE:
        return jobs.Failure("storage", NOT_STORED)
    run.progress(stage="waiting_for_storage")
    after = min(60.0, 2.0 + waited.total_seconds() / 4)
    return jobs.Retry(after, "storage", "The file store does not answer.", counts=False)


def _tidy_if_possible(found: Build) -> None:
    """Clean up now; what the store refuses now, the hourly sweep does."""
    try:
        tidy(found.pk)
    except blobs.StoreUnavailable:
        log.warning("build_left_untidy", build=str(found.pk))


def tidy(build_uuid: uuid.UUID) -> None:
    """Remove every blob of a finished build but the published one, its parts and its delta."""
    found = Build.objects.get(pk=build_uuid)
    keep = found.blob_key if found.state == Build.State.DONE else ""
    prefixes = (f"downloads/parts/{found.pk}/", f"downloads/{found.pk}/")
    dead = [entry.key for prefix in prefixes for entry in blobs.keys(prefix) if entry.key != keep]
    blobs.delete(*dead)
    found.parts.all().delete()
    found.deltas.all().delete()


@dataclass
class _Lead:
    """One attempt at a build."""

    run: jobs.Run
    build: Build
    others: int = 0
    own: int = field(default=0, init=False)
    _looked_at: float = field(default=0.0, init=False)

    def make(self) -> dict[str, Any]:
        ready = self._planned()
        sums = Sums(ready) if ready.is_archive else None
        if ready.has_parts:
            self._make_parts(ready, sums)
        self.own, self.others = 0, ready.total if ready.has_parts else 0
        stage = "assembling" if ready.has_parts else "building"
        self.run.progress(stage=stage, rows_total=ready.total, rows_done=self.others)
        key = f"downloads/{self.build.pk}/{self.run.lease_token}/{ready.file_name}"
        try:
            return self._publish(ready, key, self._writing(ready, sums))
        except jobs.LeaseLost:
            blobs.delete(key)
            raise

    def _planned(self) -> Plan:
        """The plan, counted by this attempt or an earlier one."""
        ready = plan.load(self.build)
        if ready.asked.fault:
            # Not strict: the original took any query and failed afterwards.
            raise jobs.Failure("invalid_query", ready.asked.fault)
        if ready.counts:
            return ready
        self.run.progress(stage="counting", rows_done=0)
        counts = plan.count(ready, self.run.check)
        with self.run.fenced():
            self.build.plan = counts
            self.build.save(update_fields=["plan"])
            ready = plan.load(self.build)
            self.build.rows_total = ready.total
            self.build.save(update_fields=["rows_total"])
            if ready.has_parts:
                parts.lay_out(ready)
        return ready

    def _make_parts(self, ready: Plan, sums: Sums | None) -> None:
        """Make parts, together with whoever helps, until all are done (and summed, where `sums` wants it)."""
        self._ask_for_help(ready)
        pause = threading.Event()
        self.others = parts.rows_done(self.build)
        self.run.progress(stage="building", rows_total=ready.total, rows_done=self.others)
        while True:
            self.run.check()
            is_last = not parts.unfinished(self.build)
            if sums is not None:
                sums.catch_up(self._note)
            if is_last:
                return
            stretch = parts.claim(ready, self.run.job_id)
            if stretch is None:
                pause.wait(0.2)  # somebody else makes the last ones; their leases run out if they die
            else:
                parts.make(ready, stretch, self._note, sums)
                self._storage_is_back()
            self.own = 0
            self.others = parts.rows_done(self.build)
            self.run.progress(rows_done=self.others)

    def _ask_for_help(self, ready: Plan) -> None:
        waiting = sum(len(ready.cuts(group[0])) for group in ready.groups)
        for number in range(min(settings.DOWNLOADS_ASSISTANTS, waiting - 1)):
            jobs.submit(ASSIST, {"build": str(self.build.pk)}, fingerprint=f"{self.build.pk}/{number}")

    def _note(self, rows: int) -> None:
        self.run.check()
        self.own += rows
        now = time.monotonic()
        if now - self._looked_at > 1.0:
            self._looked_at = now
            self.run.progress(rows_done=self.others + self.own)

    def _storage_is_back(self) -> None:
        if self.build.storage_away_since is not None:
            self.build.storage_away_since = None
            Build.objects.filter(pk=self.build.pk).update(storage_away_since=None)

    def _writing(self, ready: Plan, sums: Sums | None) -> Callable[[blobs.Writer], dict[str, int]]:
        """What writes the file and tells its rows; the files of an archive are made by now."""
        typed_form = {"parquet": typed.parquet, "geojson": typed.geojson}.get(ready.asked.form)
        if typed_form:
            return lambda blob: typed_form(ready, blob, self._note)
        if not ready.is_archive:
            return lambda blob: assemble.bare(ready, blob, self._note)
        if sums is not None and ready.has_parts:
            files = assemble.from_parts(ready, sums)
        else:
            files = assemble.directly(ready, self.run.lease_token, self._note)
        return lambda blob: assemble.archive(ready, blob, files)

    def _publish(self, ready: Plan, key: str, write: Callable[[blobs.Writer], dict[str, int]]) -> dict[str, Any]:
        """Write the file, read it back, and make it known if the lease still holds."""
        kind = members.media_type(ready.asked.form)
        with blobs.writer(key, content_type=kind, filename=ready.file_name, hashed=False) as blob:
            rows = write(blob)
        sha256 = blobs.verify(key, size=blob.size, crc=blob.crc, note=lambda _size: self._note(0))
        result = {"bytes": blob.size, "sha256": sha256, "rows": rows}
        done = sum(rows.values())
        self.run.progress(stage="done", rows_done=done, rows_total=done, bytes=blob.size)
        with self.run.finish(result):
            Build.objects.filter(pk=self.build.pk).update(
                state=Build.State.DONE,
                is_underway=False,
                rows=rows,
                rows_done=done,
                rows_total=done,
                blob_key=key,
                size=blob.size,
                sha256=sha256,
                etag=blob.etag,
                finished_at=timezone.now(),
                storage_away_since=None,
            )
        return result


def assist(run: jobs.Run) -> dict[str, Any]:
    """Work of the kind `downloads.assist`: make parts of a build until none is left, or a short build waits."""
    found = Build.objects.filter(pk=uuid.UUID(run.params["build"]), state=Build.State.RUNNING).first()
    made = 0
    if found is None or not found.plan:
        return {"parts": made}
    parts.release_of(run.job_id)
    ready = plan.load(found)
    while not _somebody_waits():
        run.check()
        # The first stays for the leader, who hashes what it makes in order and reads back what it does not.
        stretch = parts.claim(ready, run.job_id, leaving=1)
        if stretch is None:
            break
        try:
            made += parts.make(ready, stretch, lambda _rows: run.check())
        except (blobs.StoreUnavailable, errors.Unavailable):
            break  # the leader waits for the store and asks for help again
    return {"parts": made}


def _somebody_waits() -> bool:
    """Whether a short build is due that no worker has taken yet: helping must not keep it waiting."""
    return Job.objects.filter(kind="downloads.build", state=Job.State.QUEUED, available_at__lte=timezone.now()).exists()
