"""House-keeping by the clock: expiry, leftovers of builds, addresses, old row versions (contract 4)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Min, Q
from django.utils import timezone

from core import blobs, jobs
from downloads.jobs import imports
from downloads.jobs.build import lead
from downloads.jobs.ingest import publish
from downloads.models import Build, BuildPart, Claim, Download, IngestRun, StoreVersion

LINK_SECONDS = 900
"""How long a link to the store works once it was handed out."""
LINKS_LAST = timedelta(seconds=LINK_SECONDS)
ADDRESSES_KEPT = timedelta(days=30)
VERSIONS_KEPT = timedelta(days=30)
ROWS_KEPT = timedelta(days=400)
_BATCH = 200


def sweep(run: jobs.Run) -> dict[str, Any]:
    """Work of the kind `downloads.expire`."""
    return {
        "expired": _expire(run),
        "tidied": _tidy(run),
        "addresses": _erase_addresses(),
        "forgotten": _forget(),
        "pruned": _prune(),
        "abandoned": imports.close_abandoned(),
    }


def _expire(run: jobs.Run) -> int:
    """Delete files whose time is over until the store confirms it, then mark their downloads.

    No link is handed out once the time is over (`Download.is_over`); those handed out before still work to their end.
    """
    count = 0
    over = Q(expires_at__lte=timezone.now() - LINKS_LAST, is_pinned=False)
    ended = [Download.State.DONE, Download.State.FAILED, Download.State.CANCELLED]
    due = Download.objects.filter(over, state__in=ended).order_by("expires_at", "uuid")
    for download in list(due.select_related("build")[:_BATCH]):
        run.check()
        count += _expire_one(download)
    return count


def _expire_one(download: Download) -> bool:
    with transaction.atomic():
        build = None
        if download.build_id is not None:
            build = Build.objects.select_for_update().get(pk=download.build_id)
        if build is not None and build.state == Build.State.DONE and not _is_wanted(build, download):
            blobs.delete(build.blob_key)
            if blobs.stat(build.blob_key) is not None:
                return False  # not confirmed: the next sweep tries again
            Build.objects.filter(pk=build.pk).update(state=Build.State.DELETED)
        changed = (
            Download.objects.filter(pk=download.pk, expires_at__lte=timezone.now() - LINKS_LAST, is_pinned=False)
            .exclude(state__in=[Download.State.WAITING, Download.State.EXPIRED])
            .update(state=Download.State.EXPIRED, expired_at=timezone.now())
        )
        return bool(changed)


def _is_wanted(build: Build, but: Download) -> bool:
    """Whether another download still offers this build's file, or a link to it handed out still works."""
    living = Q(expires_at__gt=timezone.now() - LINKS_LAST) | Q(is_pinned=True)
    return build.downloads.filter(living, state=Download.State.DONE).exclude(pk=but.pk).exists()


def _tidy(run: jobs.Run) -> int:
    """Remove parts of builds that are over."""
    over = [Build.State.DONE, Build.State.FAILED, Build.State.CANCELLED, Build.State.DELETED]
    left = BuildPart.objects.filter(build__state__in=over).values_list("build", flat=True).distinct()
    found = list(left.order_by("build")[:_BATCH])
    for build in found:
        run.check()
        lead.tidy(build)
    return len(found)


def _erase_addresses() -> int:
    old = Claim.objects.filter(created_at__lt=timezone.now() - ADDRESSES_KEPT, address__isnull=False)
    return old.update(address=None)


def _forget() -> int:
    """Rows of downloads that nobody can ask about any more."""
    horizon = timezone.now() - ROWS_KEPT
    count, _by_model = Download.objects.filter(state=Download.State.EXPIRED, expired_at__lt=horizon).delete()
    orphans = Build.objects.filter(downloads=None, created_at__lt=horizon)
    orphans.delete()
    return count


def _prune() -> int:
    """Delete row versions closed over 30 days ago that no live download may need."""
    horizon = _oldest_needed()
    if not StoreVersion.objects.filter(number__lt=horizon, pruned=False).exists():
        return 0
    count = 0
    with transaction.atomic():
        publish.lock_transaction()
        with connection.cursor() as cursor:
            for table in ("downloads_record", "downloads_mediarecord", "downloads_recordmedia"):
                cursor.execute(f"DELETE FROM {table} WHERE v_to IS NOT NULL AND v_to <= %s", [horizon])
                count += cursor.rowcount
        StoreVersion.objects.filter(number__lt=horizon).update(pruned=True)
    return count


def _oldest_needed() -> int:
    """The oldest store version that must stay readable."""
    recent = StoreVersion.objects.filter(created_at__gt=timezone.now() - VERSIONS_KEPT).aggregate(v=Min("number"))["v"]
    newest = publish.current_version()
    # The version before the oldest recent one was current within the last 30 days.
    by_time = newest if recent is None else recent - 1
    active = Build.objects.filter(state__in=[Build.State.WAITING, Build.State.RUNNING])
    by_builds = active.aggregate(v=Min("data_version"))["v"]
    living = Download.objects.exclude(state=Download.State.EXPIRED).filter(state=Download.State.DONE)
    by_downloads = living.aggregate(v=Min("data_version"))["v"]
    return min(each for each in (by_time, by_builds, by_downloads) if each is not None)


def live_blobs(keys: Iterable[str]) -> set[str]:
    """Which keys are still referenced: files of finished builds, anything of active ones, uploads being read."""
    wanted = set(keys)
    live = set(Build.objects.filter(blob_key__in=wanted, state=Build.State.DONE).values_list("blob_key", flat=True))
    active = Build.objects.filter(state__in=[Build.State.WAITING, Build.State.RUNNING]).values_list("pk", flat=True)
    names = {str(pk) for pk in active}
    live |= {key for key in wanted if names.intersection(key.split("/")[1:3])}
    running = IngestRun.objects.filter(state=IngestRun.State.RUNNING, job__isnull=False)
    uploads = {job_params.get("key") for job_params in running.values_list("job__params", flat=True)}
    return live | (wanted & uploads)
