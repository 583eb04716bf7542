"""Finding what a record speaks of: its owner, its repository."""

import contextlib
from collections.abc import Iterator
from typing import Any

from core import errors
from core.models import User
from exports.formats import addresses, feeds, legacy
from exports.models import Organization, Repo
from exports.writing import members

Json = dict[str, Any]


def owner(kind: str, name: str) -> Organization | User | None:
    """``kind`` is orgs or users."""
    if kind == "orgs":
        return Organization.objects.filter(mnemonic=name).first()
    return User.objects.filter(username=name, is_active=True).first()


def owner_path(record: Json, forced: str) -> str:
    """``orgs/MyOrg`` as a record (or the option) names its owner."""
    if forced:
        return forced.strip("/")
    kind = "users" if str(record.get("owner_type", "Organization")).lower().startswith("user") else "orgs"
    name = record.get("owner")
    if not isinstance(name, str) or not addresses.is_mnemonic(name):
        raise errors.Invalid("This field is required.", field="owner")
    return f"{kind}/{name}"


def repo_uri(record: Json, forced: str, *, kind: str, key: str) -> str:
    """URL of the repository a record names under ``key`` (source or collection)."""
    name = record.get(key)
    if not isinstance(name, str) or not addresses.is_mnemonic(name):
        raise errors.Invalid("This field is required.", field=key)
    return f"/{owner_path(record, forced)}/{kind}s/{name}/"


def repo(uri: str) -> Repo:
    found = Repo.objects.filter(uri=uri).first()
    if found is None:
        raise errors.Invalid(f"{uri} does not exist.", field="detail")
    return found


#: under which key a record names the repository it is about, and of what kind that is
_NAMED = {
    "Concept": ("source", "source"),
    "Mapping": ("source", "source"),
    "Source": ("source", "id"),
    "Source Version": ("source", "source"),
    "Collection": ("collection", "id"),
    "Collection Version": ("collection", "collection"),
    "Reference": ("collection", "collection"),
}


def named(item: feeds.Item, forced: str) -> set[str]:
    """URLs of the repositories an item speaks of, as far as it can be told without writing it."""
    value = item.value
    found: set[str] = set(members.sources_of(_expressions(value)))
    if item.kind == "record":
        kind, key = _NAMED.get(str(value.get("type", "")), ("", ""))
        if isinstance(value.get("collection_url"), str):
            found.add(value["collection_url"])
        with contextlib.suppress(errors.Fact):
            found.add(repo_uri(value, forced, kind=kind, key=key))
        return found
    place = legacy.place_of(value)
    if place is not None:
        found.add(f"/{forced.strip('/')}/{place.kind}/{place.repo}/" if forced else place.repo_url)
    return found


def _expressions(value: Json) -> Iterator[str]:
    """The reference expressions of a record."""
    data = value.get("data")
    given = data if isinstance(data, dict) else value
    many = given.get("expressions")
    for one in (*(many if isinstance(many, list) else ()), value.get("expression")):
        if isinstance(one, str):
            yield one
