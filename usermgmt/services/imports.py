"""Bringing people in from files (contract 6): in batches, safe to run twice, rejects never blocking good rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import hashers
from django.db import connection, transaction
from django.utils import timezone

from core import names
from core.models import EmailAddress, User
from usermgmt.formats import users_file
from usermgmt.services import bulk

BATCH = 2_000
FIELDS = {
    "firstname": "first_name",
    "lastname": "last_name",
    "institution": "institution",
    "position": "position",
    "is_validated": "is_validated",
    "is_active": "is_active",
    "password_hash": "password",
}
# Which user names the file had so far: in the database, because a file may have more than memory holds.
_SEEN = "usermgmt_import_seen"


class Refused(Exception):
    """The import was ended and rolled back as asked; the message says why."""


@dataclass
class Outcome:
    """What an import did, or in a dry run would have done."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deactivated: int = 0
    rejected: int = 0

    @property
    def rows(self) -> int:
        return self.created + self.updated + self.unchanged + self.rejected


def run(
    rows: Iterable[users_file.Person | users_file.Reject],
    *,
    is_dry: bool = False,
    is_strict: bool = False,
    deactivate_missing: bool = False,
    progress: Callable[[Outcome], None] = lambda _: None,
    reject: Callable[[users_file.Reject], None] = lambda _: None,
) -> Outcome:
    """Store people in batches of 2,000, each a transaction (one for all when strict or dry).

    `reject` is told of each row that is not stored, in the order of lines; nothing here keeps them, for there may be
    more than memory holds.

    Raises `Refused` when `is_strict` meets a reject or `deactivate_missing` follows one; `users_file.Aborted` passes
    through, with the batches before it stored unless all is one transaction.
    """
    outcome = Outcome()
    _forget_seen()
    if not (is_strict or is_dry):
        _batches(rows, outcome, progress, reject)
        _finish(outcome, is_strict=False, deactivate_missing=deactivate_missing)
        _settle(outcome)
        return outcome
    with transaction.atomic():
        _batches(rows, outcome, progress, reject)
        _finish(outcome, is_strict=is_strict, deactivate_missing=deactivate_missing)
        transaction.set_rollback(is_dry)
    if not is_dry:
        _settle(outcome)
    return outcome


def _settle(outcome: Outcome) -> None:
    if outcome.created >= BATCH:
        bulk.settle()


def _batches(
    rows: Iterable[users_file.Person | users_file.Reject],
    outcome: Outcome,
    progress: Callable[[Outcome], None],
    reject: Callable[[users_file.Reject], None],
) -> None:
    source = iter(rows)
    while batch := _fill(source):
        with transaction.atomic():
            rejects = _store(batch, outcome)
        for each in sorted(rejects, key=lambda found: found.line):
            reject(each)
        outcome.rejected += len(rejects)
        progress(outcome)


def _fill(source: Iterator[users_file.Person | users_file.Reject]) -> list[users_file.Person | users_file.Reject]:
    return list(itertools.islice(source, BATCH))


def _finish(outcome: Outcome, *, is_strict: bool, deactivate_missing: bool) -> None:
    if is_strict and outcome.rejected:
        raise Refused(f"{outcome.rejected} rows were rejected; nothing was written (--strict)")
    if not deactivate_missing:
        return
    if outcome.rejected:
        raise Refused("--deactivate-missing is refused because rows were rejected")
    # Staff keep the portal running; a directory export that lacks them must not lock them out.
    missing = f"SELECT FROM {_SEEN} s WHERE s.username = u.username"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE core_user u SET is_active = false WHERE u.is_active AND NOT u.is_staff AND NOT EXISTS ({missing})"
        )
        outcome.deactivated = cursor.rowcount


# -- one batch ------------------------------------------------------------------------------------------------------


@dataclass
class _Known:
    """What the database has of a batch's user names, ids and addresses."""

    users: dict[str, User]
    ids: set[int]
    owners: dict[str, int]
    addresses: dict[int, list[EmailAddress]]


def _store(batch: list[users_file.Person | users_file.Reject], outcome: Outcome) -> list[users_file.Reject]:
    """Store what is good of a batch; the rejects."""
    people = [row for row in batch if isinstance(row, users_file.Person)]
    rejects = [row for row in batch if isinstance(row, users_file.Reject)]
    known = _known(people)
    created: list[tuple[users_file.Person, int | None]] = []
    for person in _first_of_each(people, rejects):
        problem = _problem(person, known)
        if problem is not None:
            rejects.append(problem)
            continue
        user = known.users.get(person.username)
        if user is None:
            created.append((person, _wanted_id(person, known)))
        elif _update(person, user, known):
            outcome.updated += 1
        else:
            outcome.unchanged += 1
        # Within a batch too an address belongs to one person.
        known.owners.update({address.lower(): user.pk if user else -person.line for address in person.emails})
    _create(created)
    outcome.created += len(created)
    return rejects


def _first_of_each(people: list[users_file.Person], rejects: list[users_file.Reject]) -> list[users_file.Person]:
    """The people whose user name was not in the file before; the others are added to `rejects`."""
    if not people:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO {_SEEN} (username, line) SELECT DISTINCT ON (n) n, l FROM unnest(%s::text[], %s::bigint[])
                AS t (n, l) ORDER BY n, l ON CONFLICT DO NOTHING RETURNING line""",
            [[person.username for person in people], [person.line for person in people]],
        )
        fresh = {line for (line,) in cursor.fetchall()}
    for person in people:
        if person.line not in fresh:
            message = "repeated in the file"
            rejects.append(users_file.Reject(person.line, person.username, "username", message))
    return [person for person in people if person.line in fresh]


def _known(people: list[users_file.Person]) -> _Known:
    users = {user.username: user for user in User.objects.filter(username__in=[p.username for p in people])}
    ids = [person.given["id"] for person in people if "id" in person.given]
    taken = set(User.objects.filter(pk__in=ids).values_list("pk", flat=True))
    lowered = [address.lower() for person in people for address in person.emails]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lower(address), user_id FROM core_emailaddress WHERE lower(address) = ANY(%s)", [lowered]
        )
        owners = dict(cursor.fetchall())
    addresses: dict[int, list[EmailAddress]] = {}
    for address in EmailAddress.objects.filter(user__in=users.values()).order_by("id"):
        addresses.setdefault(address.user_id, []).append(address)
    return _Known(users, taken, owners, addresses)


def _problem(person: users_file.Person, known: _Known) -> users_file.Reject | None:
    user = known.users.get(person.username)
    if user is not None and person.given.get("id", user.pk) != user.pk:
        return users_file.Reject(person.line, person.username, "id", f"the user name is known under id {user.pk}")
    for address in person.emails:
        owner = known.owners.get(address.lower())
        if owner is not None and (user is None or owner != user.pk):
            name = "email" if address == person.given.get("email") else "emails"
            return users_file.Reject(person.line, person.username, name, "held by another user")
    if "password_hash" in person.given and not _is_usable(person.given["password_hash"]):
        return users_file.Reject(person.line, person.username, "password_hash", "not a format of a configured hasher")
    return None


def _is_usable(encoded: str) -> bool:
    try:
        hashers.identify_hasher(encoded)
    except ValueError:
        return False
    return True


def _wanted_id(person: users_file.Person, known: _Known) -> int | None:
    """The id the file gives a new person, if it is free; it is taken then."""
    wanted: int | None = person.given.get("id")
    if wanted is None or wanted in known.ids:
        return None
    known.ids.add(wanted)
    return wanted


# One unusable value for all: it only has to be one that no password matches.
_UNUSABLE = hashers.UNUSABLE_PASSWORD_PREFIX + "imported"


def _primary(person: users_file.Person) -> str:
    return str(person.given.get("email") or (person.emails[0] if person.emails else ""))


def _fill_columns(user: User) -> None:
    for column, value in names.search_columns(user.username, user.first_name, user.last_name).items():
        setattr(user, column, value)


def _create(created: list[tuple[users_file.Person, int | None]]) -> None:
    """Store new people, those with an id of the file's first, so that the sequence gives the others fresh ones."""
    if not created:
        return
    chosen = [(person, pk) for person, pk in created if pk is not None]
    if chosen:
        _insert(chosen)
        bulk.move_sequence()
    numbered = [person for person, pk in created if pk is None]
    _insert(list(zip(numbered, bulk.new_ids(len(numbered)), strict=True)))


def _insert(people: list[tuple[users_file.Person, int]]) -> None:
    now = timezone.now()
    bulk.insert(
        (
            bulk.user_row(pk, person.username, now=now, email=_primary(person), **_given(person))
            for person, pk in people
        ),
        (
            bulk.address_row(pk, address, is_primary=address.lower() == _primary(person).lower(), now=now)
            for person, pk in people
            for address in person.emails
        ),
    )


def _given(person: users_file.Person) -> dict[str, Any]:
    return {"password": _UNUSABLE, **{FIELDS[name]: value for name, value in person.given.items() if name in FIELDS}}


def _address(user: User, address: str) -> EmailAddress:
    return EmailAddress(user=user, address=address, is_verified=True, address_n=names.search_address(address))


def _update(person: users_file.Person, user: User, known: _Known) -> bool:
    changed = {
        FIELDS[name]: value
        for name, value in person.given.items()
        if name in FIELDS and getattr(user, FIELDS[name]) != value
    }
    for name, value in changed.items():
        setattr(user, name, value)
    held = known.addresses.get(user.pk, [])
    has_new = _update_addresses(person, user, held)
    if changed or has_new:
        _fill_columns(user)
        columns = {*changed, *names.columns_following(changed), "email"}
        User.objects.filter(pk=user.pk).update(**{name: getattr(user, name) for name in columns})
    if "password" in changed:
        user.api_tokens.filter(revoked_at=None).update(revoked_at=timezone.now())
    return bool(changed) or has_new


def _update_addresses(person: users_file.Person, user: User, held: list[EmailAddress]) -> bool:
    """Add the addresses a person lacks, make the file's one the primary; True when anything changed."""
    before = [(row.address, row.is_primary, row.is_verified) for row in held]
    by_name = {row.address.lower(): row for row in held}
    wanted = str(person.given.get("email", "")) or (user.email or _primary(person))
    for address in person.emails:
        if address.lower() not in by_name:
            by_name[address.lower()] = _address(user, address)
    for row in by_name.values():
        if row.address.lower() == wanted.lower():
            row.address = wanted
        row.is_primary = row.address == wanted
        row.is_verified = row.is_verified or row.address.lower() in {item.lower() for item in person.emails}
    if [(row.address, row.is_primary, row.is_verified) for row in by_name.values()] == before:
        return False
    EmailAddress.objects.filter(user=user).update(is_primary=False)
    for row in sorted(by_name.values(), key=lambda row: row.is_primary):
        row.save()
    user.email = wanted
    return True


def _forget_seen() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {_SEEN} (username text PRIMARY KEY, line bigint)")
        cursor.execute(f"TRUNCATE {_SEEN}")


def rebuild_search(progress: Callable[[int], None] = lambda _: None) -> int:
    """Fill the search columns of every person and address anew, after a change of the normalisation; how many."""
    total = 0
    for model, fill in ((User, _fill_columns), (EmailAddress, _fill_address)):
        rows: Any = model._default_manager.order_by("pk")
        columns = ["username_n", "first_n", "last_n", "name_n"] if model is User else ["address_n"]
        last = 0
        while batch := list(rows.filter(pk__gt=last)[:BATCH]):
            before = {row.pk: [getattr(row, column) for column in columns] for row in batch}
            for row in batch:
                fill(row)
            changed = [row for row in batch if before[row.pk] != [getattr(row, column) for column in columns]]
            model._default_manager.bulk_update(changed, columns)
            last = batch[-1].pk
            total += len(changed)
            progress(total)
    return total


def _fill_address(address: EmailAddress) -> None:
    address.address_n = names.search_address(address.address)
