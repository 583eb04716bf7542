"""Bring in organisations, harvests and people from other services' files (contract 6).

Valid rows go in with one transaction; rejected ones are reported. A second import changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from core import errors
from core.models import User
from registry import selectors
from registry.formats import imports
from registry.jobs import edit, finish
from registry.models import Account, Harvest, Organization

BCRYPT: Final = re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}")
REPORT_COLUMNS: Final = ("line", "key", "outcome", "reason")
OUTCOMES: Final = ("created", "updated", "unchanged", "rejected")
# Imports act for an operator, who may put anything anywhere.
OPERATOR: Final = selectors.Access(is_admin=True)


@dataclass(slots=True)
class Outcome:
    """What became of a file: report lines and counts; `applied` tells whether anything was written."""

    lines: list[tuple[int, str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    applied: bool = True

    def count(self, outcome: str) -> int:
        return sum(line[2] == outcome for line in self.lines)

    @property
    def has_rejects(self) -> bool:
        return any(line[2] == "rejected" for line in self.lines)


@dataclass(frozen=True, slots=True)
class Options:
    """Flags all importers share."""

    dry_run: bool = False
    strict: bool = False
    create_organizations: bool = False


Apply = Callable[[dict[str, Any], Options, Outcome], tuple[str, str]]


PROGRESS_ROWS: Final = 100


def run(
    rows: Iterable[imports.Row], what: str, options: Options, *, noted: Callable[[int], None] | None = None
) -> Outcome:
    """Apply rows of `organizations`, `harvests` or `users` in one transaction.

    `noted` hears every hundred rows how many are done.
    """
    outcome = Outcome()
    with transaction.atomic():
        for number, row in enumerate(rows, start=1):
            outcome.lines.append(_applied(row, what, options, outcome))
            if noted is not None and number % PROGRESS_ROWS == 0:
                noted(number)
        if options.dry_run or (options.strict and outcome.has_rejects):
            transaction.set_rollback(True)
            outcome.applied = False
    return outcome


def _applied(row: imports.Row, what: str, options: Options, outcome: Outcome) -> tuple[int, str, str, str]:
    if row.problem:
        return row.line, "", "rejected", row.problem
    importer = IMPORTERS[what]
    key = next((str(row.values[name]) for name in importer.keys if row.values.get(name)), "")
    try:
        with transaction.atomic():
            key, done = importer.apply(row.values, options, outcome)
    except errors.Invalid as fact:
        return row.line, key[:200], "rejected", f"{fact.field}: {fact.message}" if fact.field else fact.message
    except IntegrityError:
        return row.line, key[:200], "rejected", "another row has the same key"
    except DataError:
        return row.line, key[:200], "rejected", "a value is too long or out of range"
    return row.line, key, done, ""


# --- organisations ----------------------------------------------------------------------------------------------


def organization(values: dict[str, Any], _options: Options, _outcome: Outcome) -> tuple[str, str]:
    """One organisation, by name."""
    name = _required(values, "name", longest=200)
    fields = {"description": _text(values, "description", longest=20_000)}
    for key in ("url", "logo_url", "ckan_harvest_url"):
        text = _text(values, key, longest=2000)
        fields[key] = edit.checked_url(text, field=key) if text else ""
    found = Organization.objects.filter(name=name).first()
    if found is None:
        edit.create_organization(name, **fields)
        return name, "created"
    return name, _changed(found, fields)


# --- harvests ---------------------------------------------------------------------------------------------------


def harvest(values: dict[str, Any], options: Options, outcome: Outcome) -> tuple[str, str]:
    """One harvest, by `_id`, else by url. Nothing is run; inconsistent counters are dropped and reported."""
    values = imports.harvest_values(values)
    uid = str(values.get("_id") or "")
    if uid and not selectors.is_uid(uid):
        raise errors.Invalid("must be 17 letters and digits", field="_id")
    owner = _organization_of(values, options)
    fields = _harvest_fields({**values, "organization": owner.name})
    url: str = fields["url"]
    found = Harvest.objects.filter(uid=uid).first() if uid else Harvest.objects.filter(url=url).first()
    history = _history(values, outcome, key=uid or url)
    if found is None:
        made = Harvest(**fields, **history, **({"uid": uid} if uid else {}))
        made.next_due = finish.next_due(made, end=timezone.now())
        made.save()
        return uid or url, "created"
    if found.last_finished is not None:
        history = {}  # our own history is newer than the file's
    different = {name: value for name, value in {**fields, **history}.items() if getattr(found, name) != value}
    if not different:
        return uid or url, "unchanged"
    edit.save(found, different, access=OPERATOR, start=False)
    return uid or url, "updated"


def _organization_of(values: dict[str, Any], options: Options) -> Organization:
    name = _required(values, "organization", longest=200)
    found = Organization.objects.filter(name=name).first()
    if found is None:
        if not options.create_organizations:
            raise errors.Invalid(f"{name!r} is unknown", field="organization")
        found = edit.create_organization(name)
    return found


def _harvest_fields(values: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if key in edit.WRITABLE and value not in (None, "")}
    for key in ("name", "url"):
        _required(given, key, longest=2000)
    return edit.clean(given, access=OPERATOR)


def _history(values: dict[str, Any], outcome: Outcome, *, key: str) -> dict[str, Any]:
    finished = imports.moment(values.get("last_harvest_dt"))
    if finished is None:
        return {}
    history: dict[str, Any] = {"last_finished": finished}
    if values.get("last_harvest_status") in ("ok", "fail"):
        history["last_status"] = values["last_harvest_status"]
    counts: list[Any] = [values.get(f"last_{name}_count") for name in ("record", "good", "bad")]
    if counts == [None, None, None]:
        return history
    if all(type(count) is int and count >= 0 for count in counts) and counts[0] == counts[1] + counts[2]:
        return {**history, **dict(zip(("last_record_count", "last_good_count", "last_bad_count"), counts, strict=True))}
    outcome.notes.append(f"{key}: the counters {counts} are inconsistent and were dropped")
    return history


# --- people -----------------------------------------------------------------------------------------------------


def person(values: dict[str, Any], options: Options, _outcome: Outcome) -> tuple[str, str]:
    """One person, by e-mail. A MongoDB bcrypt hash is kept as it is and allows plain and digest login."""
    read = imports.person(values)
    try:
        validate_email(read.email)
    except ValidationError as error:
        raise errors.Invalid("must be an e-mail address", field="email") from error
    if read.password_hash and not BCRYPT.fullmatch(read.password_hash):
        raise errors.Invalid("is no bcrypt hash", field="password")
    owners = [_organization_of({"organization": name}, options) for name in read.organizations]
    user = User.objects.filter(addresses__address__iexact=read.email).first()
    done = "unchanged"
    if user is None:
        user, done = _new_user(read), "created"
    elif _fill_user(user, read):
        done = "updated"
    account, is_new = Account.objects.get_or_create(user=user)
    changed = _fill_account(account, read, owners)
    return read.email, done if done != "unchanged" else ("updated" if is_new or changed else "unchanged")


def _new_user(read: imports.Person) -> User:
    wanted = (read.username or read.email.partition("@")[0]).lower()
    base = re.sub(r"[^a-z0-9_.-]", "_", wanted)[:50] or "user"
    name, number = base, 1
    while User.objects.filter(username=name).exists():
        number += 1
        name = f"{base}{number}"
    extra = {"uid": read.uid} if selectors.is_uid(read.uid) else {}
    user = User(username=name, email=read.email, first_name=read.first_name, last_name=read.last_name, **extra)
    user.is_validated = read.verified
    user.set_unusable_password()
    user.save()
    _keep_hash(user, read)
    user.addresses.filter(is_primary=True).update(is_verified=read.verified)
    return user


def _keep_hash(user: User, read: imports.Person) -> bool:
    """Store a hash unchanged behind the prefix of the hasher that verifies it."""
    if not read.password_hash:
        return False
    stored = f"bcrypt_sha256${read.password_hash}"
    if user.has_usable_password():
        return False
    User.objects.filter(pk=user.pk).update(password=stored)
    return True


def _fill_user(user: User, read: imports.Person) -> bool:
    changed = _keep_hash(user, read)
    if read.verified:
        unproven = user.addresses.filter(address__iexact=read.email, is_verified=False)
        changed = bool(unproven.update(is_verified=True)) or changed
    empty = {name: getattr(read, name) for name in ("first_name", "last_name") if not getattr(user, name)}
    return _changed(user, {name: value for name, value in empty.items() if value}) == "updated" or changed


def _fill_account(account: Account, read: imports.Person, owners: list[Organization]) -> bool:
    fields = {
        "approved": account.approved or read.approved,
        "is_registry_admin": account.is_registry_admin or read.is_admin,
        "poc_name": account.poc_name or read.poc_name,
        "poc_email": account.poc_email or read.poc_email,
    }
    changed = _changed(account, fields) == "updated"
    missing = {owner.pk for owner in owners} - set(account.organizations.values_list("pk", flat=True))
    account.organizations.add(*missing)
    return changed or bool(missing)


# --- values -----------------------------------------------------------------------------------------------------


def _text(values: dict[str, Any], key: str, *, longest: int) -> str:
    value = values.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise errors.Invalid(f"must be text of at most {longest} characters", field=key)
    return value.strip()


def _required(values: dict[str, Any], key: str, *, longest: int) -> str:
    text = _text(values, key, longest=longest)
    if not text:
        raise errors.Invalid("is required", field=key)
    return text


def _changed(found: Any, fields: dict[str, Any]) -> str:
    different = [name for name, value in fields.items() if getattr(found, name) != value]
    if not different:
        return "unchanged"
    for name in different:
        setattr(found, name, fields[name])
    found.save()
    return "updated"


@dataclass(frozen=True, slots=True)
class Importer:
    """`apply` returns (key, created|updated|unchanged) of a row or raises `Invalid`; `keys`: columns of its key."""

    apply: Apply
    keys: tuple[str, ...]


IMPORTERS: Final = {
    "organizations": Importer(organization, ("name",)),
    "harvests": Importer(harvest, ("_id", "url")),
    "users": Importer(person, ("email", "_id")),
}
