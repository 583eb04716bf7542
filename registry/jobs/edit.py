"""Change a harvest's settings: which values are good, and what follows from them (contract 2.4, 4.1, 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import egress, errors
from registry import selectors
from registry.formats import listing, waf
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


def clean(values: Mapping[str, Any], *, access: selectors.Access) -> dict[str, Any]:
    """The writable ones of `values`, checked in their order; the first bad one raises `Invalid(field=…)`."""
    return {name: _CLEAN[name](values[name], access) for name in WRITABLE if name in values}


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
        if listing.exact_origin(harvest.url) != listing.exact_origin(before.url) and "credentials" not in checked:
            harvest.credentials = ""  # another host must not get them
            written.add("credentials")
        if harvest.harvest_interval != before.harvest_interval or harvest.publish != before.publish:
            harvest.next_due = finish.next_due(harvest, end=before.last_finished or timezone.now())
            written.add("next_due")
        save_or_refuse(harvest, only=written)
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
    if harvest.widen_points != before.widen_points:
        harvest.records.exclude(repaired_sha256="").update(changed_at=timezone.now())
    if moved or _served(harvest) != _served(before):
        remove.touch_folder(harvest.organization_id)


def _served(harvest: Harvest) -> tuple[bool, bool, bool]:
    """What decides which of a harvest's bytes the folder serves."""
    return harvest.publish, harvest.serve_invalid, harvest.widen_points


def save_or_refuse(harvest: Harvest, *, only: Collection[str] | None = None) -> None:
    try:
        with transaction.atomic():
            harvest.save(update_fields=only)
    except IntegrityError as error:
        raise errors.Invalid("another harvest has this address", field="url") from error


def create_organization(name: str, **fields: Any) -> Organization:
    """A new organisation with a folder name of its own."""
    count = Organization.objects.count() + 1
    slug = waf.slug_of(name, number=count)
    while Organization.objects.filter(slug=slug).exists():
        count += 1
        slug = f"{waf.slug_of(name, number=count)}-{count}"
    return Organization.objects.create(name=name, slug=slug, **fields)


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
