"""Cutting versions: what HEAD holds now is frozen, set-based, under the write lock."""

import dataclasses
import datetime as dt
from typing import Any

from core import errors
from exports.formats import documents, text
from exports.models import (
    CollectionReference,
    Concept,
    ConceptEdge,
    ConceptVersion,
    Fragment,
    HeadMember,
    Mapping,
    MappingVersion,
    Repo,
    RepoVersion,
    VersionConcept,
    VersionMapping,
    VersionReference,
)
from exports.models.repos import HEAD
from exports.selectors import repos, rows, states
from exports.writing import departures, members, renewal, store
from exports.writing.clock import Clock


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A version to cut. Times and authors are given only by imports."""

    name: str
    user: str
    description: str | None = None
    released: bool = False
    retired: bool = False
    extras: dict[str, Any] = dataclasses.field(default_factory=dict)
    external_id: str | None = None
    uuid: str | None = None
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    created_by: str | None = None
    updated_by: str | None = None
    #: keep the order of the imported file rather than newest first
    in_file_order: bool = False


def create_head(repo: Repo) -> RepoVersion:
    """The editable state's own version row."""
    return RepoVersion.objects.create(
        repo=repo,
        name=HEAD,
        created_at=repo.created_at,
        updated_at=repo.updated_at,
        created_by=repo.created_by,
        updated_by=repo.updated_by,
    )


def cut(clock: Clock, wanted: Wanted) -> RepoVersion:
    """Freeze HEAD under a name. The number of statements does not depend on the number of rows."""
    repo = clock.repo
    store.execute("SET LOCAL statement_timeout = 0")
    moment = clock.tick()
    if not repo.is_source:
        members.renew_whole_sources(clock)
    version = RepoVersion(
        repo=repo,
        name=wanted.name,
        released=wanted.released,
        retired=wanted.retired,
        description=wanted.description,
        extras=wanted.extras,
        external_id=wanted.external_id,
        created_at=wanted.created_at or moment,
        updated_at=wanted.updated_at or moment,
        created_by=wanted.created_by or wanted.user,
        updated_by=wanted.updated_by or wanted.user,
    )
    version.uuid = wanted.uuid or version.uuid
    version.header = documents.version_header(states.repo(repo), state(version, previous=repos.previous_name(repo)))
    version.save(force_insert=True)
    _hold(version, in_file_order=wanted.in_file_order)
    _count(version)
    return version


def state(version: RepoVersion, *, previous: str | None) -> documents.VersionState:
    """A version as its header needs it."""
    return documents.VersionState(
        name=version.name,
        uuid=str(version.uuid),
        released=version.released,
        retired=version.retired,
        description=version.description,
        extras=version.extras,
        external_id=version.external_id,
        created_at=version.created_at,
        updated_at=version.updated_at,
        created_by=version.created_by,
        updated_by=version.updated_by,
        previous=previous,
    )


def _hold(version: RepoVersion, *, in_file_order: bool) -> None:
    head = repos.head(version.repo)
    for model, kind in ((VersionConcept, "concepts"), (VersionMapping, "mappings")):
        found = rows.of(head, kind)  # type: ignore[arg-type]
        order = "h.rank DESC, h.id DESC" if in_file_order else found.order
        sql, params = found.sql(
            f"%s::bigint, row_number() OVER (ORDER BY {order}), {found.row}, h.fragment_id, h.retired, h.updated_at,"
            f" {found.since}",
            ordered=False,
        )
        store.execute(
            f"INSERT INTO {store.table(model)}"
            f" (version_id, position, row_id, fragment_id, retired, updated_at, since) {sql}",
            [version.pk, *params],
        )
    if not version.repo.is_source:
        _hold_references(version)


def _hold_references(version: RepoVersion) -> None:
    found = CollectionReference.objects.filter(collection=version.repo).select_related("collection").order_by("-id")
    store.copy(
        VersionReference,
        ("version_id", "position", "body", "updated_at"),
        # read before the COPY begins: a connection does one thing at a time
        [
            (version.pk, place, text.dumps(states.reference(reference)), reference.resolved_at)
            for place, reference in enumerate(found, start=1)
        ],
    )


def _count(version: RepoVersion) -> None:
    """Counts, bytes and newest change, worked out once: a build then reads nothing but the rows themselves."""
    newest = []
    for model, kind in ((VersionConcept, "concepts"), (VersionMapping, "mappings")):
        count, retired, size, changed = store.rows(
            "SELECT count(*), count(*) FILTER (WHERE h.retired), coalesce(sum(f.length), 0), max(h.updated_at)"
            f" FROM {store.table(model)} h JOIN {store.table(Fragment)} f ON f.id = h.fragment_id"
            " WHERE h.version_id = %s",
            [version.pk],
        )[0]
        setattr(version, kind, count)
        setattr(version, f"retired_{kind}", retired)
        setattr(version, f"{kind}_bytes", int(size))
        newest.append(changed)
    count, size = store.rows(
        f"SELECT count(*), coalesce(sum(length(body)), 0) FROM {store.table(VersionReference)} WHERE version_id = %s",
        [version.pk],
    )[0]
    version.references_count, version.references_bytes = count, int(size)
    version.last_child_update = max((moment for moment in newest if moment), default=None)
    version.save()


def erase_version(version: RepoVersion) -> None:
    """Remove a version and what it holds; three statements, however many rows."""
    for model in (VersionConcept, VersionMapping, VersionReference):
        store.execute(f"DELETE FROM {store.table(model)} WHERE version_id = %s", [version.pk])
    version.delete()


def erase(lock: Clock) -> None:
    """Remove a locked repository with all its rows. Refused while another repository's version holds them."""
    repo = lock.repo
    # nothing may come to refer to it any more
    store.rows(f"SELECT id FROM {store.table(Repo)} WHERE id = %s FOR UPDATE", [repo.pk])
    store.execute("SET LOCAL statement_timeout = 0")
    for version in repo.versions.all():
        erase_version(version)
    for held, row in ((VersionConcept, ConceptVersion), (VersionMapping, MappingVersion)):
        if store.rows(
            f"SELECT 1 FROM {store.table(held)} h JOIN {store.table(row)} r ON r.id = h.row_id"
            " WHERE r.source_id = %s LIMIT 1",
            [repo.pk],
        ):
            raise errors.Conflict("Versions of collections hold content of this source.")
    names = {model: store.table(model) for model in (ConceptVersion, MappingVersion, Concept, Mapping, Fragment)}
    edge = store.table(ConceptEdge)
    if repo.is_source:
        _leave_collections(lock)
        renewal.hold_mappings(repo)
    concepts = f"SELECT id FROM {names[Concept]} WHERE source_id = %s"
    store.execute(f"DELETE FROM {edge} WHERE child_id IN ({concepts})", [repo.pk])
    for side in ("from", "to"):
        store.execute(
            f"UPDATE {names[Mapping]} SET {side}_concept_id = NULL WHERE {side}_concept_id IN ({concepts})", [repo.pk]
        )
    for version_model, row_model in ((ConceptVersion, Concept), (MappingVersion, Mapping)):
        store.execute(
            f"WITH gone AS (DELETE FROM {names[version_model]} WHERE source_id = %s RETURNING fragment_id)"
            f" UPDATE {names[Fragment]} f SET replaced_at = now() FROM gone WHERE f.id = gone.fragment_id",
            [repo.pk],
        )
        store.execute(f"DELETE FROM {names[row_model]} WHERE source_id = %s", [repo.pk])
    repo.delete()
    renewal.renew_about(repo)


def _leave_collections(lock: Clock) -> None:
    """The rows of a source that is going leave the collections that show them."""
    lock.hold_all_collections()
    moment = lock.tick()
    for key, model in (("concept", Concept), ("mapping", Mapping)):
        mine = f"m.{key}_id IN (SELECT id FROM {store.table(model)} WHERE source_id = %s)"
        departures.of_members(key, mine, lock.repo.pk, moment=moment)
        store.execute(f"DELETE FROM {store.table(HeadMember)} m WHERE {mine}", [lock.repo.pk])
    lock.save()
