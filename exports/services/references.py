"""References of a collection: added with their cascades, removed with what only they named."""

from typing import Any

from django.db import transaction

from core import db, errors
from core.models import User
from exports.models import CollectionReference, Repo
from exports.selectors import access
from exports.writing import clock, members

Json = dict[str, Any]
CASCADES = ("none", "sourcemappings", "sourcetoconcepts")


@db.again_after_deadlock
def add(collection: Repo, *, expressions: list[Any], cascade: str = "none", user: User) -> list[Json]:
    """Add references; for each expression whether it was added, and why not."""
    if cascade not in CASCADES:
        raise errors.Invalid(f'"{cascade}" is not one of {", ".join(CASCADES)}.', field="cascade")
    if not all(isinstance(one, str) for one in expressions):
        raise errors.Invalid("Expected a list of expressions.", field="expressions")
    mine = access.organizations_of(user)

    def may_read(repo: Repo) -> bool:
        return access.over_repo(user, repo, member_of=mine).read

    with transaction.atomic():
        lock = clock.lock(collection.pk, sources=members.sources_of(expressions))
        wanted = list(dict.fromkeys(expressions))
        found = members.resolve(lock.repo, wanted, may_read=may_read)
        more = [one for one in members.cascaded(found, cascade) if one not in wanted]
        found += members.resolve(lock.repo, more, may_read=may_read)
        results = members.save(lock, found, cascade=cascade, username=user.username)
        lock.save()
    return results


@db.again_after_deadlock
def remove(collection: Repo, *, expressions: list[Any] | str) -> int:
    """Remove references, all with ``"*"``; how many there were."""
    with transaction.atomic():
        lock = clock.lock(collection.pk)
        found = CollectionReference.objects.filter(collection=collection)
        if expressions != "*":
            if not isinstance(expressions, list) or not all(isinstance(one, str) for one in expressions):
                raise errors.Invalid("Expected a list of expressions.", field="references")
            found = found.filter(expression__in=expressions)
        count = members.remove(lock, found)
        lock.tick()
        lock.save()
    return count
