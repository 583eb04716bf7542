"""Which fields under which names: the original's for harvests (contract 2.2), ours for records and runs (2.8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from registry.models import Harvest, HarvestRun, Record, RunChange

# The original's words for a state that replaces the date of the last harvest.
ACTIVE_WORDS = {"queued": "pending", "running": "harvesting"}


def moment(value: datetime | None) -> str | None:
    """UTC with three decimals and `Z`."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z" if value else None


def harvest_elements(rows: Iterable[Sequence[Any]], *, with_contact: bool) -> list[dict[str, Any]]:
    """Rows of `selectors.HARVEST_COLUMNS` as the original's elements."""
    return [_element(*row, with_contact=with_contact) for row in rows]


def _element(
    uid: str,
    harvest_type: str,
    name: str,
    url: str,
    publish: bool,
    interval: int,
    organization: str,
    organization_ckan: str,
    ckan: str,
    finished: datetime | None,
    status: str,
    records: int | None,
    good: int | None,
    bad: int | None,
    contact: str,
    deleting: bool,
    active: str | None,
    *,
    with_contact: bool,
) -> dict[str, Any]:
    element: dict[str, Any] = {
        "_id": uid,
        "harvest_type": harvest_type,
        "name": name,
        "url": url,
        "publish": publish,
        "harvest_interval": interval,
        "organization": organization,
    }
    # up: the date gives way to a word while something is going on
    shown = "deleting" if deleting else ACTIVE_WORDS.get(active or "") or moment(finished)
    if shown:
        element["last_harvest_dt"] = shown
    if ckan or organization_ckan:
        element["ckan_harvest_url"] = ckan or organization_ckan
    if records is not None:
        element["last_record_count"] = records
        element["last_good_count"] = good
        element["last_bad_count"] = bad
    # up: null while running, absent if never run
    if active == "running":
        element["last_harvest_status"] = None
    elif status:
        element["last_harvest_status"] = status
    if with_contact and contact:
        element["harvest_contact"] = contact
    return element


def harvest_row(harvest: Harvest) -> tuple[Any, ...]:
    """The row of `selectors.HARVEST_COLUMNS` of one harvest with `active_state`."""
    return (
        harvest.uid,
        harvest.harvest_type,
        harvest.name,
        harvest.url,
        harvest.publish,
        harvest.harvest_interval,
        harvest.organization.name,
        harvest.organization.ckan_harvest_url,
        harvest.ckan_harvest_url,
        harvest.last_finished,
        harvest.last_status,
        harvest.last_record_count,
        harvest.last_good_count,
        harvest.last_bad_count,
        harvest.harvest_contact,
        harvest.deleting,
        harvest.active_state,  # type: ignore[attr-defined]  # annotated by selectors.with_active_run
    )


def harvest_element(harvest: Harvest, *, with_contact: bool) -> dict[str, Any]:
    """One harvest as the original shows it."""
    return _element(*harvest_row(harvest), with_contact=with_contact)


def waf_path(record: Record) -> str | None:
    """Where the folder serves a record, if it does."""
    harvest = record.harvest
    is_good = record.valid or (harvest.serve_invalid and record.well_formed)
    if not (record.content_sha256 and is_good and harvest.publish and not harvest.deleting):
        return None
    return f"/waf/{record.organization.slug}/{record.waf_name}"


def record_item(record: Record, *, base_url: str) -> dict[str, Any]:
    """A record with all its stored issues; a document that could not be fetched says so first."""
    path = waf_path(record)
    return {
        "id": record.pk,
        "harvest": record.harvest.uid,
        "url": record.url,
        "file_id": record.file_id,
        "title": record.title,
        "description": record.description,
        "metadata_date": record.metadata_date or None,
        "standard": record.standard,
        "kind": record.kind,
        "services": record.services,
        "links": record.links,
        "bbox": record.bbox,
        "valid": record.valid,
        "stale": record.stale_since is not None,
        "issues": issues_of(record),
        "hash": record.content_sha256 or None,
        "waf_url": base_url + path if path else None,
        "update_time": moment(record.changed_at),
        "titles": record.titles,
        "repaired": record.is_repaired,
    }


def issues_of(record: Record) -> list[dict[str, Any]]:
    """What is wrong with a record now."""
    fetch = record.fetch_issue
    return [fetch, *record.issues] if fetch and fetch not in record.issues else list(record.issues)


def run_item(run: HarvestRun) -> dict[str, Any]:
    """A run with its progress while it is active and its counts afterwards."""
    progress = run.job.progress if run.state in HarvestRun.ACTIVE else {}
    return {
        "id": run.pk,
        "harvest": run.harvest.uid,
        "trigger": run.trigger,
        "state": "cancelling" if run.job.state == "cancelling" else run.state,
        "stage": run.stage or progress.get("stage") or None,
        "attempt": run.job.attempt,
        "coalesced": run.coalesced,
        "progress": {name: progress[name] for name in ("done", "total", "good", "bad", "bytes") if name in progress},
        "counts": {
            name: getattr(run, name)
            for name in ("listed", "done", "good", "bad", "stale", "unchanged", "requests", "bytes")
        },
        "diff": {name: getattr(run, name) for name in ("added", "changed", "removed")},
        "failure": {"code": run.failure_code, "message": run.failure_message} if run.failure_code else None,
        "ckan": run.ckan_outcome or None,
        "created_at": moment(run.created_at),
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at),
        "undone_at": moment(run.undone_at),
    }


def removed_item(change: RunChange) -> dict[str, Any]:
    """A document a harvest no longer has."""
    return {
        "identity": change.identity,
        "title": change.title,
        "hash": change.old_sha256 or None,
        "run": change.run_id,
        "removed_at": moment(change.run.finished_at),
    }


def public_base() -> str:
    """The prefix of absolute links; empty when no public address is set."""
    base: str = settings.PUBLIC_BASE_URL
    return base
