"""Records of JSON lines, one type at a time: owners, repositories, versions, references; rows go in batches."""

from collections.abc import Callable
from typing import Any

from core import errors
from core.models import User
from exports.formats import records
from exports.jobs import build
from exports.jobs.imports import places
from exports.jobs.imports.rights import Importer
from exports.models import CollectionReference, Organization, Repo, RepoVersion
from exports.writing import clock, members, versions
from exports.writing import places as writing

Json = dict[str, Any]
Result = tuple[str, str]  # outcome, url
_CASCADES = {"sourcemappings": "sourcemappings", "sourcetoconcepts": "sourcetoconcepts"}


def apply(kind: str, record: Json, importer: Importer, *, owner: str, updates: bool) -> Result:
    """Do what one record says, in the caller's transaction; raises a fact when it cannot be done."""
    action = str(record.get("__action", "CREATE_OR_UPDATE"))
    if action not in ("CREATE_OR_UPDATE", "CREATE", "UPDATE", "DELETE"):
        raise errors.Invalid(f'"{action}" is not an action.', field="__action")
    if action == "CREATE_OR_UPDATE" and not updates:
        action = "CREATE"
    return _KINDS[kind](record, action, importer, owner)


def _organization(record: Json, action: str, importer: Importer, _: str) -> Result:
    mnemonic = records.identity(record, records.mnemonic)
    found = Organization.objects.filter(mnemonic=mnemonic).first()
    _refuse(action, exists=found is not None)
    changes = records.organization(record)
    if found is None:
        made = writing.create_organization(mnemonic, changes, user=importer.user)
        importer.refresh()
        return "created", made.url
    importer.demand_owner(found)
    if action == "DELETE":
        if found.repos.exists():
            raise errors.Conflict("The organization still owns repositories.")
        found.delete()
        return "deleted", f"/orgs/{mnemonic}/"
    if all(getattr(found, key) == value for key, value in changes.items()):
        return "unchanged", found.url
    writing.edit_organization(found, changes, user=importer.name)
    return "updated", found.url


def _refuse(action: str, *, exists: bool) -> None:
    if action == "CREATE" and exists:
        raise errors.Conflict("It exists already.", code="duplicate")
    if action in ("UPDATE", "DELETE") and not exists:
        raise errors.NotFound


def repository(record: Json, action: str, importer: Importer, forced: str, *, kind: str) -> Result:
    """Create or update a source or collection."""
    mnemonic = records.identity(record, records.mnemonic)
    path = places.owner_path(record, forced)
    owner: Organization | User | None = places.owner(*path.split("/", 1))
    if owner is None:
        raise errors.Invalid(f"/{path}/ does not exist.", field="owner")
    uri = f"/{path}/{kind}s/{mnemonic}/"
    found = Repo.objects.filter(uri=uri).first()
    _refuse(action, exists=found is not None)
    changes = records.repo(record, kind=kind, is_new=found is None)
    if found is None:
        importer.demand_owner(owner)
        writing.create_repo(owner, kind=kind, mnemonic=mnemonic, changes=changes, user=importer.name)
        return "created", uri
    importer.demand("admin", found)
    lock = clock.lock(found.pk)
    if action == "DELETE":
        build.end_all(found.versions.all())
        versions.erase(lock)
        return "deleted", uri
    before = {**found.details}
    same = all(
        {**before, **value} == before if key == "details" else getattr(found, key) == value
        for key, value in changes.items()
    )
    if same:
        return "unchanged", uri
    writing.edit_repo(lock, changes, user=importer.name)
    lock.save()
    return "updated", uri


def _source(record: Json, action: str, importer: Importer, forced: str) -> Result:
    return repository(record, action, importer, forced, kind="source")


def _collection(record: Json, action: str, importer: Importer, forced: str) -> Result:
    return repository(record, action, importer, forced, kind="collection")


def _version(record: Json, action: str, importer: Importer, forced: str, *, kind: str) -> Result:
    repo = places.repo(places.repo_uri(record, forced, kind=kind, key=kind))
    importer.demand("admin", repo)
    name = records.identity(record, records.version_name)
    url = f"{repo.uri}{name}/"
    lock = members.lock_for_cut(repo)
    found = RepoVersion.objects.filter(repo=repo, name=name).first()
    if action == "DELETE":
        _refuse(action, exists=found is not None)
        build.end_all(RepoVersion.objects.filter(repo=repo, name=name))
        versions.erase_version(RepoVersion.objects.get(repo=repo, name=name))
        return "deleted", url
    changes = records.version(record)
    if found is not None:
        if action == "CREATE" or any(getattr(found, key) != value for key, value in changes.items()):
            raise errors.Conflict(f"{kind.capitalize()} version '{name}' already exist.", code="duplicate")
        return "unchanged", url
    version = versions.cut(lock, versions.Wanted(name=name, user=importer.name, **changes))
    lock.save()
    build.automatic(version, user=importer.user)
    return "created", url


def _source_version(record: Json, action: str, importer: Importer, forced: str) -> Result:
    return _version(record, action, importer, forced, kind="source")


def _collection_version(record: Json, action: str, importer: Importer, forced: str) -> Result:
    return _version(record, action, importer, forced, kind="collection")


def _reference(record: Json, action: str, importer: Importer, forced: str) -> Result:
    uri = record.get("collection_url") or places.repo_uri(record, forced, kind="collection", key="collection")
    collection = places.repo(str(uri))
    if collection.is_source:
        raise errors.Invalid(f"{collection.uri} is not a collection.", field="collection_url")
    importer.demand("write", collection)
    expressions = _expressions(record)
    cascade = _CASCADES.get(str(record.get("__cascade", "none")).lower(), "none")
    lock = clock.lock(collection.pk, sources=members.sources_of(expressions))
    if action == "DELETE":
        found = CollectionReference.objects.filter(collection=collection, expression__in=expressions)
        count = members.remove(lock, found)
        lock.save()
        return ("deleted" if count else "unchanged"), collection.uri
    added = refer(lock, expressions, importer, cascade=cascade)
    return ("created" if added else "unchanged"), collection.uri


def refer(lock: clock.Clock, expressions: list[str], importer: Importer, *, cascade: str = "none") -> int:
    """Add references; how many were new. Fails when one cannot be resolved."""
    found = members.resolve(lock.repo, expressions, may_read=lambda repo: importer.may("read", repo))
    more = [one for one in members.cascaded(found, cascade) if one not in expressions]
    found += members.resolve(lock.repo, more, may_read=lambda repo: importer.may("read", repo))
    results = members.save(lock, found, cascade=cascade, username=importer.name)
    lock.save()
    lost = [one.text for one in found if one.message]
    if lost:
        raise errors.Conflict(f"Could not resolve {', '.join(lost[:5])}.")
    return sum(bool(one["added"]) for one in results)


def _expressions(record: Json) -> list[str]:
    data = record.get("data", record)
    found = data.get("expressions") if isinstance(data, dict) else None
    if found is None and isinstance(record.get("expression"), str):
        found = [record["expression"]]
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise errors.Invalid("Expected a list of expressions.", field="expressions")
    return list(dict.fromkeys(found))


_KINDS: dict[str, Callable[[Json, str, Importer, str], Result]] = {
    "Organization": _organization,
    "Source": _source,
    "Collection": _collection,
    "Source Version": _source_version,
    "Collection Version": _collection_version,
    "Reference": _reference,
}
KINDS = (*_KINDS, "Concept", "Mapping")
