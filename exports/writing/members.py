"""What a collection holds: resolving reference expressions to members, adding and removing them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from exports.formats import addresses
from exports.models import (
    CollectionReference,
    Concept,
    ConceptVersion,
    HeadMember,
    Mapping,
    MappingVersion,
    Repo,
    RepoVersion,
    VersionConcept,
    VersionMapping,
)
from exports.selectors import access
from exports.writing import clock, departures, store

MayRead = Callable[[Repo], bool]
_MODELS = {
    "concepts": (Concept, ConceptVersion, VersionConcept, "concept"),
    "mappings": (Mapping, MappingVersion, VersionMapping, "mapping"),
}


@dataclass
class Resolved:
    """An expression and the rows it names: (row id, pinned version id or None)."""

    text: str
    parsed: addresses.Expression | None
    found: list[tuple[int, int | None]] = field(default_factory=list)
    message: str = ""

    @property
    def kind(self) -> str:
        return self.parsed.rows if self.parsed else "concepts"


def sources_of(expressions: Iterable[Any]) -> list[str]:
    """URLs of the sources expressions speak of, to be locked before their rows join a collection."""
    found = (addresses.expression(one) for one in expressions if isinstance(one, str))
    return sorted({one.place.repo_url for one in found if one})


def resolve(collection: Repo, expressions: Sequence[str], *, may_read: MayRead) -> list[Resolved]:
    """Resolve expressions for a collection; what cannot or must not be resolved has a message and no rows."""
    resolved = [Resolved(text, addresses.expression(text)) for text in expressions]
    urls = {one.parsed.place.repo_url for one in resolved if one.parsed}
    sources = {repo.uri: repo for repo in Repo.objects.filter(uri__in=urls)}
    readable = {uri: may_read(repo) and access.may_hold(collection, repo) for uri, repo in sources.items()}
    open_ones = []
    for one in resolved:
        if one.parsed is None:
            one.message = "Expression specified is not valid."
        elif not readable.get(one.parsed.place.repo_url):
            # a forbidden source must not be told from one that is not there
            one.message = "Could not resolve the expression."
        else:
            open_ones.append(one)
    _find_rows(open_ones, sources)
    for one in open_ones:
        one.message = "" if one.found else "Could not resolve the expression."
    return resolved


def _find_rows(open_ones: Sequence[Resolved], sources: dict[str, Repo]) -> None:
    for kind in ("concepts", "mappings"):
        mine = [one for one in open_ones if one.kind == kind]
        singles = [one for one in mine if one.parsed and one.parsed.row_id]
        _find_latest([one for one in singles if one.parsed and not one.parsed.is_static], kind)
        _find_pinned([one for one in singles if one.parsed and one.parsed.row_version], kind)
        _find_frozen(
            [one for one in singles if one.parsed and one.parsed.repo_version and not one.parsed.row_version], kind
        )
        for one in mine:
            if one.parsed and not one.parsed.row_id:
                one.found = _all_rows(one.parsed, sources[one.parsed.place.repo_url], kind)


def _find_latest(singles: Sequence[Resolved], kind: str) -> None:
    if not singles:
        return
    row_model = _MODELS[kind][0]
    urls = [one.parsed.row_url for one in singles if one.parsed]
    pks = dict(store.rows(f"SELECT uri, id FROM {store.table(row_model)} WHERE uri = ANY(%s)", [urls]))
    for one in singles:
        pk = pks.get(one.parsed.row_url) if one.parsed else None
        one.found = [(pk, None)] if pk else []


def _find_pinned(singles: Sequence[Resolved], kind: str) -> None:
    if not singles:
        return
    row_model, version_model, _, key = _MODELS[kind]
    found = store.rows(
        f"SELECT t.uri, v.version, t.id, v.id FROM {store.table(row_model)} t JOIN {store.table(version_model)} v"
        f" ON v.{key}_id = t.id WHERE t.uri = ANY(%s) AND v.version = ANY(%s)",
        [
            [one.parsed.row_url for one in singles if one.parsed],
            [one.parsed.row_version for one in singles if one.parsed],
        ],
    )
    pins = {(uri, version): (row, pin) for uri, version, row, pin in found}
    for one in singles:
        pin = pins.get((one.parsed.row_url, one.parsed.row_version)) if one.parsed else None
        one.found = [pin] if pin else []


def _find_frozen(singles: Sequence[Resolved], kind: str) -> None:
    if not singles:
        return
    row_model, version_model, held_model, key = _MODELS[kind]
    names = {one.parsed.repo_version for one in singles if one.parsed}
    found = store.rows(
        f"SELECT t.uri, n.name, t.id, v.id FROM {store.table(row_model)} t"
        f" JOIN {store.table(version_model)} v ON v.{key}_id = t.id JOIN {store.table(held_model)} h ON h.row_id = v.id"
        f" JOIN {store.table(RepoVersion)} n ON n.id = h.version_id AND n.repo_id = t.source_id"
        " WHERE t.uri = ANY(%s) AND n.name = ANY(%s)",
        [[one.parsed.row_url for one in singles if one.parsed], sorted(filter(None, names))],
    )
    pins = {(uri, name): (row, pin) for uri, name, row, pin in found}
    for one in singles:
        pin = pins.get((one.parsed.row_url, one.parsed.repo_version or "")) if one.parsed else None
        one.found = [pin] if pin else []


def _all_rows(parsed: addresses.Expression, source: Repo, kind: str) -> list[tuple[int, int | None]]:
    row_model, version_model, held_model, key = _MODELS[kind]
    if parsed.repo_version is None:
        found = store.rows(f"SELECT id FROM {store.table(row_model)} WHERE source_id = %s ORDER BY id", [source.pk])
        return [(row, None) for (row,) in found]
    found = store.rows(
        f"SELECT v.{key}_id, v.id FROM {store.table(held_model)} h"
        f" JOIN {store.table(version_model)} v ON v.id = h.row_id"
        f" JOIN {store.table(RepoVersion)} n ON n.id = h.version_id"
        " WHERE n.repo_id = %s AND n.name = %s ORDER BY h.position",
        [source.pk, parsed.repo_version],
    )
    return [(row, pin) for row, pin in found]


def save(lock: clock.Clock, found: Sequence[Resolved], *, cascade: str, username: str) -> list[dict[str, Any]]:
    """Save references to what was resolved; for each whether it was added, and why not."""
    texts = [one.text for one in found]
    there = set(
        CollectionReference.objects.filter(collection=lock.repo, expression__in=texts).values_list(
            "expression", flat=True
        )
    )
    fresh = [one for one in found if one.found and one.text not in there]
    moment = lock.tick()
    CollectionReference.objects.bulk_create(
        CollectionReference(
            collection=lock.repo,
            expression=one.text,
            cascade=None if cascade == "none" else cascade,
            created_at=moment,
            created_by=username,
            resolved_at=moment,
            **{one.kind: len(one.found)},
        )
        for one in fresh
    )
    admit(lock, fresh)
    return [_result(one, there) for one in found]


def _result(one: Resolved, there: set[str]) -> dict[str, Any]:
    if one.message:
        return {"added": False, "expression": one.text, "message": one.message}
    if one.text in there:
        return {"added": False, "expression": one.text, "message": "The reference is in the collection already."}
    name = one.parsed.row_id if one.parsed and one.parsed.row_id else one.kind
    return {"added": True, "expression": one.text, "message": f"Added {name} to the collection."}


def admit(lock: clock.Clock, found: Sequence[Resolved]) -> None:
    """Make resolved rows members from now on; who is a member already stays as it is. ``found`` is gone through
    more than once."""
    pairs_of = {kind: [pair for one in found if one.kind == kind for pair in one.found] for kind in _MODELS}
    for kind, pairs in pairs_of.items():
        _, version_model, _, key = _MODELS[kind]
        if pairs:
            # a membership begins after everything a reader of the rows can have seen of them
            ((newest,),) = store.rows(
                f"SELECT max(updated_at) FROM {store.table(version_model)} WHERE is_latest AND {key}_id = ANY(%s)",
                [[row for row, _ in pairs]],
            )
            lock.witness(newest)
    moment = lock.tick()
    for kind, pairs in pairs_of.items():
        key = _MODELS[kind][3]
        if not pairs:
            continue
        store.execute(
            f"INSERT INTO {store.table(HeadMember)} (collection_id, {key}_id, {key}_version_id, since)"
            " SELECT %s, n.row, n.pin, %s FROM unnest(%s::bigint[], %s::bigint[]) AS n(row, pin)"
            " ON CONFLICT DO NOTHING",
            [lock.repo.pk, moment, [row for row, _ in pairs], [pin for _, pin in pairs]],
        )


def whole_sources(collection: Repo) -> list[CollectionReference]:
    """The references of a collection that follow whole sources."""
    found = CollectionReference.objects.filter(collection=collection, expression__regex="/(concepts|mappings)/?$")
    parsed = ((reference, addresses.expression(reference.expression)) for reference in found)
    return [reference for reference, one in parsed if one and not one.is_static and not one.row_id]


def lock_for_cut(collection: Repo) -> clock.Clock:
    """The write lock a version is cut under: rows of whole sources join then, so those hold still too."""
    following = () if collection.is_source else whole_sources(collection)
    return clock.lock(collection.pk, sources=sources_of(one.expression for one in following))


def renew_whole_sources(lock: clock.Clock) -> None:
    """Resolve again the references that follow whole sources: new rows join at a cut."""
    dynamic = whole_sources(lock.repo)
    if not dynamic:
        return
    found = resolve(lock.repo, [one.expression for one in dynamic], may_read=lambda _: True)
    admit(lock, found)
    moment = lock.tick()
    for reference, one in zip(dynamic, found, strict=True):
        setattr(reference, one.kind, len(one.found))
        reference.resolved_at = moment
    CollectionReference.objects.bulk_update(dynamic, ["concepts", "mappings", "resolved_at"])


def remove(lock: clock.Clock, found: QuerySet[CollectionReference]) -> int:
    """Remove references of a collection with the members only they name; how many there were."""
    departures.of_references(found, moment=lock.tick())
    count, _ = found.delete()
    _drop_uncovered(lock)
    return count


def _drop_uncovered(lock: clock.Clock) -> None:
    """After references were removed: members no remaining reference names leave, and a member pinned by one that is
    gone is pinned (or follows) as the oldest remaining one says."""
    remaining = CollectionReference.objects.filter(collection=lock.repo).order_by("id")
    found = resolve(lock.repo, list(remaining.values_list("expression", flat=True)), may_read=lambda _: True)
    moment = lock.tick()
    for kind, (_, _, _, key) in _MODELS.items():
        pins: dict[int, int | None] = {}
        for row, pin in (pair for one in found if one.kind == kind for pair in one.found):
            pins.setdefault(row, pin)
        uncovered = f"m.collection_id = %s AND m.{key}_id IS NOT NULL AND NOT m.{key}_id = ANY(%s::bigint[])"
        departures.of_members(key, uncovered, lock.repo.pk, list(pins), moment=moment)
        store.execute(f"DELETE FROM {store.table(HeadMember)} m WHERE {uncovered}", [lock.repo.pk, list(pins)])
        # another version shown is a change of the collection: the member counts as new
        store.execute(
            f"UPDATE {store.table(HeadMember)} m SET {key}_version_id = n.pin, since = %s"
            " FROM unnest(%s::bigint[], %s::bigint[]) AS n(row, pin)"
            f" WHERE m.collection_id = %s AND m.{key}_id = n.row AND m.{key}_version_id IS DISTINCT FROM n.pin",
            [moment, list(pins), list(pins.values()), lock.repo.pk],
        )


def cascaded(found: Sequence[Resolved], cascade: str) -> list[str]:
    """Expressions that follow from concepts: their mappings within the source, and with ``sourcetoconcepts`` those
    mappings' targets there as well."""
    concepts = [row for one in found if one.kind == "concepts" for row, _ in one.found]
    if cascade not in ("sourcemappings", "sourcetoconcepts") or not concepts:
        return []
    pairs = store.rows(
        f"SELECT m.uri, c.uri FROM {store.table(Mapping)} m JOIN {store.table(Concept)} o ON o.id = m.from_concept_id"
        f" AND o.source_id = m.source_id LEFT JOIN {store.table(Concept)} c ON c.id = m.to_concept_id"
        " AND c.source_id = m.source_id WHERE m.from_concept_id = ANY(%s) ORDER BY m.id",
        [concepts],
    )
    wanted = [uri for uri, _ in pairs]
    if cascade == "sourcetoconcepts":
        wanted += [uri for _, uri in pairs if uri]
    return list(dict.fromkeys(wanted))
