"""Delete a harvest with all it has, a batch at a time, and old runs (contract 4.1, Delete and Retention)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core import jobs as core_jobs
from registry.models import Harvest, HarvestRun, Organization, RunChange, RunIssue, StagedRecord

BATCH: Final = 5000
FAILED_DAYS: Final = 180


def work(attempt: core_jobs.Run) -> dict[str, Any]:
    """The job `registry.delete`: `params` are `{"harvest": id}`. Waits for the cancelled run, then removes rows."""
    harvest = Harvest.objects.filter(pk=attempt.params["harvest"], deleting=True).first()
    if harvest is None:
        return {"deleted": 0}
    if harvest.runs.filter(state__in=HarvestRun.ACTIVE).exists():
        raise core_jobs.Retry(1, "run_active", "A run is still ending.", counts=False)
    deleted = 0
    while removed := _delete_batch("registry_record", "harvest_id", harvest.pk):
        attempt.check()
        deleted += removed
        attempt.progress(done=deleted)
    for run_id in harvest.runs.values_list("pk", flat=True):
        attempt.check()
        forget_run(run_id)
    with attempt.finish({"deleted": deleted}):
        harvest.subscriptions.all().delete()
        organization_id = harvest.organization_id
        harvest.delete()
        touch_folder(organization_id)
    return {"deleted": deleted}


def forget_run(run_id: int) -> None:
    """Delete a run and its report, in batches."""
    for model in (RunIssue, RunChange, StagedRecord):
        while _delete_batch(model._meta.db_table, "run_id", run_id):
            continue
    HarvestRun.objects.filter(pk=run_id).delete()


def _delete_batch(table: str, column: str, value: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} = %s ORDER BY id LIMIT %s)",
            [value, BATCH],
        )
        return int(cursor.rowcount)


def touch_folder(organization_id: int) -> None:
    """Move the validators of an organisation's folder, because what it holds has changed."""
    with transaction.atomic():
        folder = Organization.objects.select_for_update().get(pk=organization_id)
        folder.waf_version += 1
        folder.waf_changed_at = timezone.now()
        folder.save(update_fields=["waf_version", "waf_changed_at"])


def prune_runs() -> int:
    """Forget runs beyond the newest `REGISTRY_KEEP_RUNS` of each harvest; failed ones stay 180 days."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id FROM (
                SELECT id, state, finished_at, row_number() OVER (PARTITION BY harvest_id ORDER BY id DESC) AS age
                FROM registry_harvestrun WHERE state NOT IN ('queued', 'running')) runs
            WHERE age > %s AND (state <> 'fail' OR finished_at < %s) ORDER BY id LIMIT 500
            """,
            [settings.REGISTRY_KEEP_RUNS, timezone.now() - timedelta(days=FAILED_DAYS)],
        )
        old = [row[0] for row in cursor.fetchall()]
    for run_id in old:
        forget_run(run_id)
    return len(old)
