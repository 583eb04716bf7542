"""Repositories and their versions: created, edited, cut, deleted."""

from typing import Any

from django.db import transaction

from core import db, errors
from core.models import User
from exports.formats import documents, records
from exports.jobs import build
from exports.models import Organization, Repo, RepoVersion
from exports.models.repos import HEAD
from exports.writing import clock, members, places, versions

Json = dict[str, Any]


@db.again_after_deadlock
def create(owner: Organization | User, *, kind: str, data: Json, user: User) -> Repo:
    """A new, empty source or collection with its HEAD."""
    mnemonic = records.identity(data, records.mnemonic)
    changes = records.repo(data, kind=kind, is_new=True)
    return places.create_repo(owner, kind=kind, mnemonic=mnemonic, changes=changes, user=user.username)


@db.again_after_deadlock
def edit(repo: Repo, *, data: Json, user: User) -> Repo:
    """Change what the data mention; everything else stays."""
    changes = records.repo(data, kind=repo.kind, is_new=False)
    with transaction.atomic():
        lock = clock.lock(repo.pk)
        fresh = places.edit_repo(lock, changes, user=user.username)
        lock.save()
    return fresh


@db.again_after_deadlock
def delete(repo: Repo) -> None:
    """Delete a repository with its versions and exports; links end at once."""
    with transaction.atomic():
        lock = clock.lock(repo.pk)
        build.end_all(repo.versions.all())
        versions.erase(lock)


@db.again_after_deadlock
def cut(repo: Repo, *, data: Json, user: User) -> RepoVersion:
    """Freeze what HEAD holds now under a name."""
    name = records.identity(data, records.version_name)
    changes = records.version(data)
    with transaction.atomic():
        lock = members.lock_for_cut(repo)
        if repo.versions.filter(name=name).exists():
            # the original's words
            raise errors.Conflict(f"{repo.kind.capitalize()} version '{name}' already exist.", code="duplicate")
        version = versions.cut(lock, versions.Wanted(name=name, user=user.username, **changes))
        lock.save()
        build.automatic(version, user=user)
    return version


def edit_version(version: RepoVersion, *, data: Json, user: User) -> RepoVersion:
    """Change a version's own metadata. Its rows stay frozen; an archive of it is stale from now on."""
    changes = records.version(data)
    with transaction.atomic():
        lock = clock.lock(version.repo_id)
        fresh = RepoVersion.objects.select_related("repo").filter(pk=version.pk).first()
        if fresh is None:
            raise errors.NotFound
        was_released = fresh.released
        for key, value in changes.items():
            setattr(fresh, key, value)
        fresh.updated_at, fresh.updated_by = lock.tick(), user.username
        if fresh.header is not None:
            fresh.header = documents.amended(
                fresh.header, updated_at=fresh.updated_at, updated_by=fresh.updated_by, **changes
            )
        fresh.save()
        lock.save()
        if fresh.released and not was_released:
            build.automatic(fresh, user=user)
    return fresh


def delete_version(version: RepoVersion) -> None:
    """Delete a version with its archives."""
    with transaction.atomic():
        clock.lock(version.repo_id)
        if version.name == HEAD:
            raise errors.Conflict("HEAD cannot be deleted.")
        build.end_all(RepoVersion.objects.filter(pk=version.pk))
        versions.erase_version(version)
