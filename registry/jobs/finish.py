"""What follows a run, in the transaction that ends it: the harvest's counters, its next date, mails and notices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.utils import timezone

from core import errors, mail, webhooks
from core import jobs as core_jobs
from core.models import Job, Mail
from registry.jobs import swap
from registry.models import Harvest, HarvestRun, Subscription

log = structlog.get_logger(__name__)

# The job's words for an end, and the registry's (contract 4.1, failure codes).
FAILURE_CODES: Final = {
    "timeout": "deadline",
    "internal_error": "internal",
    "database_unavailable": "internal",
    "unavailable": "storage",
    "worker_lost": "worker_lost",
}
KNOWN_CODES: Final = frozenset(
    {
        "listing_failed",
        "empty_listing",
        "shrink_guard",
        "too_many_documents",
        "csw_exception",
        "blocked_address",
        "deadline",
        "storage",
        "worker_lost",
        "internal",
    }
)
# What a run that came to nothing still did.
TALLIED: Final = ("good", "bad", "requests", "bytes")
JITTER: Final = 0.1
FIRST_RETRY: Final = timedelta(hours=1)
# An address hears of failures no more often.
QUIET: Final = timedelta(hours=1)


def next_due(harvest: Harvest, *, end: datetime) -> datetime | None:
    """End plus the interval, up to 10 % earlier or later by a share the source's id decides (4.2)."""
    if not harvest.harvest_interval:
        return None
    share = int.from_bytes(hashlib.sha256(harvest.uid.encode()).digest()[:4]) / 0xFFFFFFFF
    days: float = harvest.harvest_interval * (1 + JITTER * (2 * share - 1))
    due: datetime = end + timedelta(days=days)
    return due


def next_retry(harvest: Harvest, *, end: datetime) -> datetime | None:
    """After a failure one hour, doubling up to the interval (4.2)."""
    if not harvest.harvest_interval:
        return None
    doublings = min(max(harvest.failures_in_row, 1) - 1, 20)
    wait: timedelta = min(FIRST_RETRY * 2**doublings, timedelta(days=harvest.harvest_interval))
    return end + wait


def succeed(run: HarvestRun, counts: swap.Counts, *, now: datetime, requests: int, received: int) -> None:
    """Write a finished run and its harvest's counters, and ask for what follows; within the swap's transaction."""
    for name in ("good", "bad", "added", "changed", "removed", "unchanged", "stale"):
        setattr(run, name, getattr(counts, name))
    run.done = counts.records
    run.listed = counts.records
    run.requests, run.bytes = requests, received
    run.state, run.stage, run.finished_at = HarvestRun.State.OK, "", now
    run.save()
    harvest = Harvest.objects.select_for_update(of=("self",)).select_related("organization").get(pk=run.harvest_id)
    harvest.last_finished, harvest.last_status, harvest.failures_in_row = now, "ok", 0
    harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count = counts.records, counts.good, counts.bad
    harvest.next_due = next_due(harvest, end=now)
    harvest.waive_guard_once = harvest.waive_guard_once and not run.waived_guard
    if run.full_check:
        harvest.last_full_check = now
    harvest.save()
    _ask_ckan(run, harvest)
    changed = bool(counts.added or counts.changed or counts.removed)
    _notify(run, events=("always", "change") if changed else ("always",))


def _ask_ckan(run: HarvestRun, harvest: Harvest) -> None:
    url = harvest.ckan_harvest_url or harvest.organization.ckan_harvest_url
    if not url:
        return
    if (urlsplit(url).hostname or "") not in settings.REGISTRY_CKAN_HOSTS:
        HarvestRun.objects.filter(pk=run.pk).update(ckan_outcome="not asked: the host is not in REGISTRY_CKAN_HOSTS")
        return
    core_jobs.submit("registry.ckan", {"run": run.pk, "url": url})


def settled(job: Job) -> None:
    """The job of a run has ended: bring run and harvest to their end too, in the same transaction."""
    run = HarvestRun.objects.select_related("harvest__organization").filter(job=job).first()
    if run is None:
        return
    if run.state not in HarvestRun.ACTIVE:
        if job.state == Job.State.CANCELLED:  # a new run was asked for while this one was being cancelled
            run.staged.all().delete()
        return
    now = timezone.now()
    run.finished_at, run.stage = now, ""
    progress = job.progress
    run.listed, run.done = progress.get("total") or progress.get("listed") or 0, progress.get("done") or 0
    for name in TALLIED:
        setattr(run, name, max(getattr(run, name), progress.get(name) or 0))
    if job.state == Job.State.CANCELLED:
        run.state = HarvestRun.State.CANCELLED
        run.save()
    else:
        _fail(run, job, now=now)
    run.staged.all().delete()


def _fail(run: HarvestRun, job: Job, *, now: datetime) -> None:
    code = FAILURE_CODES.get(job.error_code, job.error_code)
    run.state, run.failure_code = HarvestRun.State.FAIL, code if code in KNOWN_CODES else "internal"
    run.failure_message = job.error_message
    run.save()
    harvest = run.harvest
    harvest.failures_in_row += 1
    harvest.last_finished, harvest.last_status = now, "fail"
    harvest.next_due = next_retry(harvest, end=now)
    harvest.save(update_fields=["failures_in_row", "last_finished", "last_status", "next_due"])
    _mail_failure(run, now=now)
    _notify(run, events=("failure", "always"))


def _mail_failure(run: HarvestRun, *, now: datetime) -> None:
    """To the source's contact and the organisation's members, no two to an address within an hour."""
    harvest = run.harvest
    members = harvest.organization.accounts.filter(approved=True, user__is_active=True)
    addresses = {harvest.harvest_contact, *members.values_list("user__email", flat=True)}
    for address in sorted(filter(None, addresses)):
        keys = [failure_key(address, hour) for hour in (now, now - QUIET)]
        if Mail.objects.filter(dedupe__in=keys, created_at__gt=now - QUIET).exists():
            continue
        _mail(
            "registry.failed",
            address,
            subject=f"Harvest failed: {harvest.name}",
            body=_failure_text(run),
            dedupe=keys[0],
        )


def failure_key(address: str, moment: datetime) -> str:
    """What makes mails about failures to an address in one hour of the clock the same mail; short for any address."""
    return f"registry.failed:{hashlib.sha256(address.lower().encode()).hexdigest()}:{moment:%Y%m%d%H}"


def _failure_text(run: HarvestRun) -> str:
    return (
        f"The harvest of {run.harvest.name} ({run.harvest.url}) failed.\n\n"
        f"{run.failure_code}: {run.failure_message}\n\n"
        "The records of the last good run are still served.\n"
        f"{settings.PUBLIC_BASE_URL}/registry/runs/{run.pk}\n"
    )


def _mail(kind: str, address: str, *, subject: str, body: str, dedupe: str | None = None) -> None:
    """Queue a mail; an address that cannot be mailed must not stop a run."""
    subject = " ".join(subject.split())
    try:
        mail.queue(kind, address, subject, body, dedupe=dedupe)
    except errors.Invalid:
        return


def _notify(run: HarvestRun, *, events: Iterable[str]) -> None:
    wishes = Subscription.objects.filter(harvest_id=run.harvest_id, event__in=list(events), user__is_active=True)
    payload = notice(run)
    for wish in wishes.select_related("user"):
        if wish.webhook_url:
            _post(wish, payload)
        elif wish.user.email:
            subject = f"Harvest {run.state}: {run.harvest.name}"
            _mail("registry.run", wish.user.email, subject=subject, body=_digest(payload))


def _post(wish: Subscription, payload: dict[str, Any]) -> None:
    """Queue a signed webhook; an address that is refused must not stop a run."""
    try:
        webhooks.queue("registry.run", wish.webhook_url, payload, key=wish.key)
    except errors.Invalid as fault:
        log.warning("webhook_refused", subscription=wish.pk, reason=fault.code)


def notice(run: HarvestRun) -> dict[str, Any]:
    """What a subscriber is told of a run."""
    return {
        "run": run.pk,
        "harvest": run.harvest.uid,
        "name": run.harvest.name,
        "state": run.state,
        "added": run.added,
        "changed": run.changed,
        "removed": run.removed,
        "good": run.good,
        "bad": run.bad,
        "failure_code": run.failure_code or None,
        "failure_message": run.failure_message or None,
    }


def _digest(payload: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in payload.items() if value is not None]
    return "\n".join([*lines, "", f"{settings.PUBLIC_BASE_URL}/registry/runs/{payload['run']}", ""])
