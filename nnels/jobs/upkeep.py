"""House-keeping: dead token pairs, the issue log, retired blobs, files that went missing (contract section 4)."""

import datetime
import hashlib
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core import blobs, jobs
from nnels import models
from nnels.jobs import catalogue

log = structlog.get_logger(__name__)

DEAD_PAIRS_KEPT = datetime.timedelta(days=30)
REPORTS_KEPT = datetime.timedelta(days=90)
RETIRED_KEPT = datetime.timedelta(days=1)
BATCH = 500


def purge() -> dict[str, int]:
    """Hourly: revoke pairs of blocked accounts, forget what is old enough; counts by what was done."""
    return {
        "revoked": _revoke_blocked(),
        "pairs": _delete_dead_pairs(),
        "issues": _fold_issues(),
        "reports": _delete_old_reports(),
    }


def _revoke_blocked() -> int:
    live = models.TokenPair.objects.filter(revoked_at=None, user__is_active=False)
    return live.update(revoked_at=timezone.now(), revoked_why="blocked")


def _delete_dead_pairs() -> int:
    border = timezone.now() - DEAD_PAIRS_KEPT
    revoked = models.TokenPair.objects.filter(revoked_at__lt=border)
    expired = models.TokenPair.objects.filter(expires_at__lt=border, refresh_expires_at__lt=border)
    return revoked.delete()[0] + expired.delete()[0]


def _fold_issues() -> int:
    """Totals per item, day and purpose replace the log's rows beyond the retention."""
    border = timezone.now() - datetime.timedelta(days=settings.NNELS_ISSUE_LOG_DAYS)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "WITH old AS (DELETE FROM nnels_urlissue WHERE at < %s RETURNING at, item_id, purpose), "
            "folded AS (INSERT INTO nnels_issuetotal (day, item_id, purpose, issues) "
            "SELECT (at AT TIME ZONE 'UTC')::date, item_id, purpose, count(*) FROM old GROUP BY 1, 2, 3 "
            "ON CONFLICT (day, item_id, purpose) DO UPDATE SET issues = nnels_issuetotal.issues + excluded.issues) "
            "SELECT count(*) FROM old",
            [border],
        )
        return int(cursor.fetchone()[0])


def _delete_old_reports() -> int:
    old = models.ImportRun.objects.filter(finished_at__lt=timezone.now() - REPORTS_KEPT).exclude(report_key="")
    keys = list(old.values_list("report_key", flat=True)[:BATCH])
    if keys:
        blobs.delete(*keys)
        models.ImportRun.objects.filter(report_key__in=keys).update(report_key="")
    return len(keys)


def sweep_retired() -> int:
    """Daily: delete retired blobs once no issued link can need them. Unknown blobs are swept by the core."""
    grace = max(RETIRED_KEPT, datetime.timedelta(seconds=settings.NNELS_URL_LIFETIME))
    deleted = 0
    while True:
        # Locked until the blobs are gone: an import that brings one back waits (`catalogue.hold`) and writes it after.
        with transaction.atomic():
            old = models.RetiredBlob.objects.select_for_update(skip_locked=True).order_by("at", "id")
            keys = list(old.filter(at__lt=timezone.now() - grace).values_list("blob_key", flat=True)[:BATCH])
            used = set(models.File.objects.filter(blob_key__in=keys).values_list("blob_key", flat=True))
            blobs.delete(*(key for key in keys if key not in used))
            models.RetiredBlob.objects.filter(blob_key__in=keys).delete()
        if not keys:
            return deleted
        deleted += len(keys) - len(used)


def verify(run: jobs.Run) -> dict[str, Any]:
    """Weekly job `nnels.verify`: read every file and set or clear `missing`, which hides it from links."""
    total = models.File.objects.count()
    after = done = lost = 0
    while batch := list(models.File.objects.filter(id__gt=after).order_by("id")[:BATCH]):
        for file in batch:
            run.check()
            lost += _verify(file, check=run.check)
            done += 1
            run.progress(stage="verifying", done=done, total=total)
        after = batch[-1].id
    return {"files": done, "missing": lost}


def _verify(file: models.File, *, check: Callable[[], None]) -> bool:
    is_missing = not _is_whole(file, check=check)
    with transaction.atomic():
        item = models.Item.objects.select_for_update().get(pk=file.item_id)
        # A file that was replaced meanwhile has another key and is none of our business.
        changed = models.File.objects.filter(pk=file.pk, blob_key=file.blob_key).update(
            missing=is_missing, verified_at=timezone.now()
        )
        if changed and is_missing != file.missing:
            log.warning("file_checked", item=item.pk, file=file.pk, missing=is_missing)
            catalogue.settle(item, was_published=item.published)
    return is_missing


def _is_whole(file: models.File, *, check: Callable[[], None]) -> bool:
    """Whether the store still has the very bytes; an unreachable store says nothing and raises."""
    found = blobs.stat(file.blob_key)
    if found is None or found.size != file.bytes:
        return False
    digest = hashlib.sha256()
    try:
        for block in blobs.reader(file.blob_key):
            check()
            digest.update(block)
    except blobs.Missing:
        return False
    return digest.hexdigest() == file.sha256
