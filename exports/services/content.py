"""Concepts and mappings, one at a time, as the API writes them."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

from django.db import transaction

from core import db, errors
from core.models import User
from exports.formats import records
from exports.models import Concept, Mapping, Repo
from exports.selectors import access, content
from exports.writing import clock, concepts, drafts, mappings, removal

Json = dict[str, Any]
Row = Concept | Mapping
Kind = Literal["concept", "mapping"]
_WRITERS: dict[str, Callable[[clock.Clock, Sequence[drafts.Draft]], list[drafts.Outcome]]] = {
    "concept": concepts.write,
    "mapping": mappings.write,
}


def _write(repo: Repo, kind: Kind, draft: drafts.Draft, *, ends: Sequence[str | None] = ()) -> str:
    """One draft in a transaction of its own; ``ends``: what a mapping will point to, as far as the draft says."""
    sources = mappings.sources_of(*ends)
    if kind == "mapping" and draft.mode == "update":
        sources |= mappings.stored_sources(repo.pk, [draft.id or ""])
    with transaction.atomic():
        lock = clock.lock(repo.pk, sources=sources - {repo.uri})
        outcome = _WRITERS[kind](lock, [draft])[0]
        if outcome.error:
            raise outcome.error
        lock.save()
    return outcome.url


@db.again_after_deadlock
def create_concept(repo: Repo, *, data: Json, user: User) -> str:
    """A new concept; its path."""
    mnemonic = records.identity(data, records.row_id)
    changes = records.concept(data, is_new=True)
    _check_parents(repo, changes)
    return _write(repo, "concept", drafts.Draft(mnemonic, _fresh(changes), user.username, mode="create", force=True))


@db.again_after_deadlock
def create_mapping(repo: Repo, *, data: Json, user: User) -> str:
    """A new mapping; without an id it gets the source's next number."""
    mnemonic = records.identity(data, records.row_id) if data.get("id") not in (None, "") else None
    changes = records.mapping_changes(data, is_new=True)
    _check_origin(changes, user)
    draft = drafts.Draft(mnemonic, changes, user.username, mode="create", force=True)
    return _write(repo, "mapping", draft, ends=_ends(changes))


def _ends(changes: Json) -> list[str | None]:
    return [changes.get("from_url"), changes.get("to_source_url")]


def _check_parents(repo: Repo, changes: Json) -> None:
    wanted = changes.get("parents") or []
    known = set(Concept.objects.filter(source=repo, uri__in=wanted).values_list("uri", flat=True))
    missing = [uri for uri in wanted if uri not in known]
    if missing:
        raise errors.Invalid(
            "Unknown parents.", fields={"parent_concept_urls": [f'"{missing[0]}" is not a concept here.']}
        )


def _check_origin(changes: Json, user: User) -> None:
    """The origin must be stored here; one the writer may not see counts as none."""
    origin = changes.get("from_url")
    if not origin:
        return
    found = Concept.objects.select_related("source").filter(uri=origin).first()
    if found is None or not access.over_repo(user, found.source).read:
        raise errors.Invalid("Unknown origin.", fields={"from_concept_url": [f'"{origin}" is not a concept here.']})


def _fresh(changes: Json) -> Json:
    """Checksums of names are worked out anew whatever the client sent along."""
    for key in ("names", "descriptions"):
        for item in changes.get(key, ()):
            item.pop("checksum", None)
    return changes


@db.again_after_deadlock
def edit(row: Row, *, data: Json, user: User) -> str:
    """A new version with what the data mention changed."""
    if isinstance(row, Concept):
        changes = _fresh(records.concept(data, is_new=False))
        _check_parents(row.source, changes)
        return _write(row.source, "concept", drafts.Draft(row.mnemonic, changes, user.username, "update", force=True))
    changes = records.mapping_changes(data, is_new=False)
    _check_origin(changes, user)
    draft = drafts.Draft(row.mnemonic, changes, user.username, "update", force=True)
    return _write(row.source, "mapping", draft, ends=_ends(changes))


@db.again_after_deadlock
def retire(row: Row, *, data: Json, user: User, retired: bool = True) -> None:
    """A new version that is retired, or in use again."""
    told = records.read(data, {key: (key, records.text) for key in ("update_comment", "retire_reason")})
    changes = {"retired": retired, "retire_reason": told.get("retire_reason") if retired else None}
    changes["update_comment"] = told.get("update_comment")
    kind: Kind = "concept" if isinstance(row, Concept) else "mapping"
    _write(row.source, kind, drafts.Draft(row.mnemonic, changes, user.username, "update", force=True))


@db.again_after_deadlock
def erase(row: Row) -> None:
    """Remove a row with all its versions; refused while a version of a repository holds one."""
    with transaction.atomic():
        lock = clock.lock(row.source_id)
        removal.erase(lock, copy.copy(row))  # deleting changes the object
        lock.tick()
        lock.save()


LABELS = {"names": "name", "descriptions": "description"}


@db.again_after_deadlock
def write_label(concept: Concept, labels: str, *, data: Json, user: User, uuid: str | None = None) -> Json:
    """Add a name or description, or change the one with ``uuid``; writes a concept version."""
    with transaction.atomic():
        lock = clock.lock(concept.source_id)
        current = content.latest_concept(concept)
        wanted = _checked(labels, data, _found(getattr(current, labels), uuid) if uuid else {})
        stay = [copy.deepcopy(item) for item in getattr(current, labels)]
        if uuid:
            stay = [wanted if item["uuid"] == uuid else item for item in stay]
        else:
            wanted.pop("uuid", None)
            stay.append(wanted)
        _write_labels(lock, concept, labels, stay, user)
        lock.save()
    return next(item for item in getattr(content.latest_concept(concept), labels) if item["uuid"] == wanted["uuid"])


@db.again_after_deadlock
def delete_label(concept: Concept, labels: str, *, uuid: str, user: User) -> None:
    """Take a name or description away; the last name stays."""
    with transaction.atomic():
        lock = clock.lock(concept.source_id)
        current = getattr(content.latest_concept(concept), labels)
        _found(current, uuid)
        stay = [copy.deepcopy(item) for item in current if item["uuid"] != uuid]
        if not stay and labels == "names":
            raise errors.Invalid("No names.", fields={"names": ["A concept must have at least one name."]})
        _write_labels(lock, concept, labels, stay, user)
        lock.save()


def _found(items: list[Json], uuid: str) -> Json:
    for item in items:
        if item["uuid"] == uuid:
            return item
    raise errors.NotFound


def _checked(labels: str, data: Json, base: Json) -> Json:
    merged = {**base, **data, **({"uuid": base["uuid"]} if base else {})}
    try:
        checked = records.label(LABELS[labels], merged)
    except records.Fault as fault:
        raise errors.Invalid(str(fault), field=LABELS[labels]) from None
    checked.pop("checksum", None)
    return checked


def _write_labels(lock: clock.Clock, concept: Concept, labels: str, stay: list[Json], user: User) -> None:
    draft = drafts.Draft(concept.mnemonic, {labels: stay}, user.username, "update", force=True)
    outcome = concepts.write(lock, [draft])[0]
    if outcome.error:
        raise outcome.error
