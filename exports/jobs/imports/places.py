"""Finding what a record speaks of: its owner, its repository."""

import contextlib
from collections.abc import Iterator
from typing import Any

from core import errors
from core.models import User
from exports.formats import addresses, feeds, legacy
from exports.jobs.imports import rows
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


class Names:
    """What the items of a file, given in its order, speak of, as far as it can be told without writing them."""

    def __init__(self, forced: str) -> None:
        self._forced = forced
        #: the root of a document's own rows, and where they go instead
        self._old = self._new = ""

    def of(self, item: feeds.Item) -> set[str]:
        """URLs of the repositories an item speaks of, and of an organization that it may make."""
        value = item.value
        if item.problem:
            return set()
        if item.kind == "header":
            return self._header(legacy.modern(value))
        if item.kind == "record":
            return {*self._record(value), *members.sources_of(_expressions(value))}
        # as they are written: a row under the document's root moves with it, any other stays where it is
        urls = (url for url in (value.get("url"), *_expressions(value)) if isinstance(url, str))
        moved = (legacy.rerooted({"url": url}, old=self._old, new=self._new)["url"] for url in urls)
        return {place.repo_url for place in map(addresses.place, moved) if place}

    def ends_of(self, item: feeds.Item) -> set[str]:
        """URLs of the sources that a mapping points to."""
        if item.problem or not (item.kind == "mappings" or item.value.get("type") == "Mapping"):
            return set()
        value = legacy.rerooted(legacy.modern(item.value), old=self._old, new=self._new)
        return rows.ends([value])

    def _header(self, header: Json) -> set[str]:
        place = legacy.place_of(header)
        if place is None:
            return set()
        path = self._forced.strip("/") or f"{place.owner_kind}/{place.owner}"
        self._old, self._new = place.repo_url, f"/{path}/{legacy.kind_of(header)}s/{place.repo}/"
        kind, _, name = path.partition("/")
        is_new = kind == "orgs" and owner(kind, name) is None
        return {self._new, f"/{path}/"} if is_new else {self._new}

    def _record(self, value: Json) -> Iterator[str]:
        if value.get("type") == "Organization":
            yield f"/orgs/{value.get('id')}/"
        if isinstance(value.get("collection_url"), str):
            yield value["collection_url"]
        kind, key = _NAMED.get(str(value.get("type", "")), ("", ""))
        with contextlib.suppress(errors.Fact):
            yield repo_uri(value, self._forced, kind=kind, key=key)


def _expressions(value: Json) -> Iterator[str]:
    """The reference expressions of a record."""
    data = value.get("data")
    given = data if isinstance(data, dict) else value
    many = given.get("expressions")
    for one in (*(many if isinstance(many, list) else ()), value.get("expression")):
        if isinstance(one, str):
            yield one
