"""What can be done with harvests: change, run, cancel, pause, delete (contract 2.4, 2.7, 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import egress, errors
from core import jobs as core_jobs
from core.models import User
from registry import selectors
from registry.formats import listing
from registry.jobs import finish, remove, request
from registry.models import Harvest, HarvestRun, HarvestType, Organization

WRITABLE: Final = (
    "name",
    "url",
    "organization",
    "harvest_type",
    "harvest_interval",
    "publish",
    "harvest_contact",
    "ckan_harvest_url",
)


# --- running ----------------------------------------------------------------------------------------------------


def trigger(uid: str, *, user: User, via: str = HarvestRun.Trigger.API, queue: bool = True) -> HarvestRun | None:
    """Queue a run of a harvest, or join the active one. `queue=False` only checks (HEAD).

    Errors in the order of contract 2.7: unknown or being deleted, then not the caller's.
    """
    try:
        harvest, is_own = selectors.harvest_and_right(uid, user)
    except errors.NotFound as error:
        raise errors.NotFound(code="trigger_not_found") from error
    if harvest.deleting:
        raise errors.NotFound(code="trigger_not_found")
    if not is_own:
        raise errors.Denied(code="trigger_denied")
    return request.run_of(harvest, trigger=via, requester=user)[0] if queue else None


def run_now(harvest: Harvest, *, user: User | None, via: str, mode: str = "source") -> HarvestRun:
    """Queue a run for somebody whose right was checked."""
    if harvest.deleting:
        raise errors.Conflict("The source is being deleted.", code="deleting")
    return request.run_of(harvest, trigger=via, requester=user, mode=mode)[0]


def cancel(run: HarvestRun) -> None:
    """Stop an active run; the harvest stays as it was before."""
    if run.state not in HarvestRun.ACTIVE or not core_jobs.cancel(run.job_id):
        raise errors.Conflict("Run is not active", code="run_not_active")


def accept_shrink(harvest: Harvest, *, user: User | None, via: str) -> HarvestRun:
    """Waive the guards once and run again."""
    with transaction.atomic():
        Harvest.objects.filter(pk=harvest.pk).update(waive_guard_once=True)
        return run_now(harvest, user=user, via=via)


def pause(harvest: Harvest, *, paused: bool) -> None:
    """Take a source out of the schedule, or back in."""
    Harvest.objects.filter(pk=harvest.pk).update(paused=paused)


# --- changing ---------------------------------------------------------------------------------------------------


def manageable(uid: str, *, user: User) -> tuple[Harvest, selectors.Access]:
    """A harvest the caller may change: NotFound, then Denied (contract 2.4)."""
    harvest = selectors.harvest(uid)
    access = selectors.access_of(user)
    if not access.may_manage(harvest):
        raise errors.Denied(code="denied")
    return harvest, access


def update(harvest: Harvest, values: Mapping[str, Any], *, access: selectors.Access) -> Harvest:
    """Apply the writable ones of `values`; the first bad one raises `Invalid(field=…)` and nothing is saved."""
    return save(harvest, clean(values, access=access), access=access)


def clean(values: Mapping[str, Any], *, access: selectors.Access) -> dict[str, Any]:
    """The writable ones of `values`, checked in their order; the first bad one raises `Invalid(field=…)`."""
    return {name: _CLEAN[name](values[name], access) for name in WRITABLE if name in values}


def add(harvest: Harvest, *, access: selectors.Access) -> Harvest:
    """Store a checked new harvest; published, it is run at once."""
    with transaction.atomic():
        _save_or_refuse(harvest)
        if harvest.publish:
            request.run_of(harvest, trigger=HarvestRun.Trigger.PAGE, requester=access.user)
    return harvest


def save(harvest: Harvest, checked: Mapping[str, Any], *, access: selectors.Access, start: bool = True) -> Harvest:
    """Store checked values with what follows from them: guards, folders, and a first run unless not to `start` one.

    Only the given values are written: a run that ends meanwhile keeps the counters and dates it wrote.
    """
    with transaction.atomic():
        before = Harvest.objects.select_for_update(no_key=True).get(pk=harvest.pk)
        for name, value in checked.items():
            setattr(harvest, name, value)
        written = set(checked)
        if harvest.url != before.url:
            harvest.waive_guard_once = True  # another address may hold another set (4.1, guards)
            written.add("waive_guard_once")
        if harvest.harvest_interval != before.harvest_interval or harvest.publish != before.publish:
            harvest.next_due = finish.next_due(harvest, end=before.last_finished or timezone.now())
            written.add("next_due")
        _save_or_refuse(harvest, only=written)
        _move_folders(harvest, before)
        if start and harvest.publish and not before.publish and not before.deleting:
            request.run_of(harvest, trigger=HarvestRun.Trigger.PAGE, requester=access.user)
    return selectors.harvest(harvest.uid)


def _move_folders(harvest: Harvest, before: Harvest) -> None:
    """Let the served folders follow a change of organisation or of what is served."""
    moved = harvest.organization_id != before.organization_id
    if moved:
        harvest.records.update(organization_id=harvest.organization_id)
        remove.touch_folder(before.organization_id)
    if moved or (harvest.publish, harvest.serve_invalid) != (before.publish, before.serve_invalid):
        remove.touch_folder(harvest.organization_id)


def _save_or_refuse(harvest: Harvest, *, only: Collection[str] | None = None) -> None:
    try:
        with transaction.atomic():
            harvest.save(update_fields=only)
    except IntegrityError as error:
        raise errors.Invalid("another harvest has this address", field="url") from error


def delete(harvest: Harvest, *, user: User | None) -> None:
    """Mark a harvest as being deleted, stop its run and let a job remove what it has."""
    with transaction.atomic():
        changed = Harvest.objects.filter(pk=harvest.pk, deleting=False).update(deleting=True, next_due=None)
        if not changed:
            return
        remove.touch_folder(harvest.organization_id)
        for job_id in harvest.runs.filter(state__in=HarvestRun.ACTIVE).values_list("job_id", flat=True):
            core_jobs.cancel(job_id)
        core_jobs.submit(
            request.DELETE_KIND, {"harvest": harvest.pk}, fingerprint=request.fingerprint(harvest.pk), requested_by=user
        )


# --- values -----------------------------------------------------------------------------------------------------


def _name(value: Any, _access: selectors.Access) -> str:
    text = _string(value, "name", longest=200).strip()
    if not text:
        raise errors.Invalid("may not be empty", field="name")
    return text


def _url(value: Any, _access: selectors.Access) -> str:
    return checked_url(_string(value, "url", longest=2000).strip(), field="url")


def checked_url(text: str, *, field: str) -> str:
    """An http or https address without user info, as the sender wrote it."""
    try:
        egress.check_url(text)
        parts = urlsplit(text)
        listing.normalise_url(text)
    except (egress.Blocked, ValueError) as error:
        raise errors.Invalid("must be an http or https URL", field=field) from error
    if parts.username or parts.password:
        raise errors.Invalid("must not hold a user name or password", field=field)
    return text


def _optional_url(value: Any, _access: selectors.Access) -> str:
    text = _string(value, "ckan_harvest_url", longest=2000).strip()
    return checked_url(text, field="ckan_harvest_url") if text else ""


def _organization(value: Any, access: selectors.Access) -> Organization:
    name = _string(value, "organization", longest=200)
    found = Organization.objects.filter(name=name).first()
    if found is None or not (access.is_admin or found.pk in access.organizations):
        raise errors.Invalid("is not one of your organizations", field="organization")
    return found


def _harvest_type(value: Any, _access: selectors.Access) -> str:
    if value not in HarvestType.values:
        raise errors.Invalid(f"must be one of {', '.join(HarvestType.values)}", field="harvest_type")
    return str(value)


def _interval(value: Any, _access: selectors.Access) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 365:
        raise errors.Invalid("must be a whole number from 0 to 365", field="harvest_interval")
    return value


def _publish(value: Any, _access: selectors.Access) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "1": True, "false": False, "0": False, 1: True, 0: False}
    key = value.lower() if isinstance(value, str) else value
    if not isinstance(key, (str, int)) or key not in known:
        raise errors.Invalid("must be true or false", field="publish")
    return known[key]


def _contact(value: Any, _access: selectors.Access) -> str:
    text = _string(value, "harvest_contact", longest=254).strip()
    try:
        if text:
            validate_email(text)
    except ValidationError as error:
        raise errors.Invalid("must be an e-mail address", field="harvest_contact") from error
    return text


def _string(value: Any, field: str, *, longest: int) -> str:
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise errors.Invalid("must be a string", field=field)
    if len(value) > longest:
        raise errors.Invalid(f"must have at most {longest} characters", field=field)
    return value


_CLEAN: Final[dict[str, Callable[[Any, selectors.Access], Any]]] = {
    "name": _name,
    "url": _url,
    "organization": _organization,
    "harvest_type": _harvest_type,
    "harvest_interval": _interval,
    "publish": _publish,
    "harvest_contact": _contact,
    "ckan_harvest_url": _optional_url,
}
