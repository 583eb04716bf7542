"""Undo a harvest's last swap (contract 10): what it added goes, what it changed or removed comes back as it was."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from core import errors
from registry.jobs import remove
from registry.models import Harvest, HarvestRun, RunChange

DAYS: Final = 7
PRUNE_ROWS: Final = 50_000

# Documents that were listed for the first time and could not be fetched are no changes, but came with the swap.
_FORGET = "DELETE FROM registry_record WHERE harvest_id = %(harvest)s AND first_seen = %(swapped)s"

_DROP = """
DELETE FROM registry_record r USING registry_runchange c
WHERE c.run_id = %(run)s AND c.before IS NOT NULL AND r.harvest_id = %(harvest)s AND r.identity_sha256 =
    (c.before ->> 'identity_sha256')::bytea
"""

# The organisation is the harvest's of now: it may have moved since. Rows noted before a column came have its default.
_RESTORE = """
INSERT INTO registry_record SELECT old.* FROM registry_runchange c
CROSS JOIN LATERAL jsonb_populate_record(NULL::registry_record,
    '{"titles": [], "repaired_sha256": "", "repaired_size": 0}'::jsonb || c.before
        || jsonb_build_object('organization_id', %(organization)s, 'changed_at', %(now)s)) old
WHERE c.run_id = %(run)s AND c.before IS NOT NULL ORDER BY c.id
"""

_COUNT = """
SELECT count(*), count(*) FILTER (WHERE valid AND stale_since IS NULL) FROM registry_record
WHERE harvest_id = %(harvest)s
"""


def may_undo(run: HarvestRun) -> bool:
    """Whether this is a harvest's last swap, at most seven days old, changed something and was not undone."""
    if run.state != HarvestRun.State.OK or run.undone_at or run.finished_at is None:
        return False
    if timezone.now() - run.finished_at > timedelta(days=DAYS) or not (run.added or run.changed or run.removed):
        return False
    return not HarvestRun.objects.filter(harvest_id=run.harvest_id, state="ok", pk__gt=run.pk).exists()


def undo(run: HarvestRun) -> None:
    """Bring back the records from before a run and pause the source, so that the next run does not repeat it.

    Raises Conflict when the run is not the last swap, is too old, or another one is active.
    """
    with transaction.atomic():
        harvest = Harvest.objects.select_for_update(no_key=True).get(pk=run.harvest_id)
        run = HarvestRun.objects.select_for_update(of=("self",)).get(pk=run.pk)
        if harvest.deleting or harvest.runs.filter(state__in=HarvestRun.ACTIVE).exists():
            raise errors.Conflict("A run of this harvest is active.", code="run_active")
        if not may_undo(run):
            raise errors.Conflict("Only the last swap of the last seven days can be undone.", code="not_undoable")
        _restore(run, harvest)
        HarvestRun.objects.filter(pk=run.pk).update(undone_at=timezone.now())
        remove.touch_folder(harvest.organization_id)


def _restore(run: HarvestRun, harvest: Harvest) -> None:
    keys: dict[str, Any] = {
        "run": run.pk,
        "harvest": harvest.pk,
        "organization": harvest.organization_id,
        "swapped": run.finished_at,
        "now": timezone.now(),
    }
    with connection.cursor() as cursor:
        for statement in (_FORGET, _DROP, _RESTORE):
            cursor.execute(statement, keys)
        cursor.execute(_COUNT, keys)
        records, good = cursor.fetchone()
    harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count = records, good, records - good
    harvest.paused = True
    harvest.save(update_fields=["last_record_count", "last_good_count", "last_bad_count", "paused"])


def prune() -> int:
    """Forget what records were before swaps that can no longer be undone; how many rows were emptied."""
    border = timezone.now() - timedelta(days=DAYS)
    old = RunChange.objects.filter(before__isnull=False, run__finished_at__lt=border).order_by("id")
    numbers = list(old.values_list("pk", flat=True)[:PRUNE_ROWS])
    return RunChange.objects.filter(pk__in=numbers).update(before=None)
