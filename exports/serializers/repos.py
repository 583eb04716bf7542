"""Repositories and versions on the API."""

from typing import Any

from exports.formats import documents
from exports.models import CollectionReference, Repo, RepoVersion
from exports.selectors import documents as whole
from exports.selectors import states

Json = dict[str, Any]

_SOURCE_LIST = ("short_code", "name", "url", "owner", "owner_type", "owner_url", "version", "created_at", "id",
                "source_type", "updated_at", "canonical_url", "type", "checksums")  # fmt: skip
_COLLECTION_LIST = ("short_code", "name", "url", "owner", "owner_type", "owner_url", "version", "created_at", "id",
                    "collection_type", "updated_at", "canonical_url", "autoexpand_head", "type",
                    "checksums")  # fmt: skip
_VERSION_LIST = ("type", "short_code", "name", "url", "canonical_url", "owner", "owner_type", "owner_url", "version",
                 "created_at", "id", "source_type", "updated_at", "released", "retired", "version_url",
                 "previous_version_url", "checksums")  # fmt: skip
REFERENCE_LIST = documents.REFERENCE_FIELDS[:8]


def repo(found: Repo, *, detail: bool = True) -> Json:
    """A repository: the object of 60 or 47 keys, or its line in a list."""
    body = documents.repository(states.repo(found))
    if detail:
        return body
    body |= {"created_at": body["created_on"], "updated_at": body["updated_on"]}
    return {key: body[key] for key in (_SOURCE_LIST if found.is_source else _COLLECTION_LIST)}


def version(found: RepoVersion, *, detail: bool = True) -> Json:
    """A version: its header, or its line in a list."""
    body = dict(whole.header(found))
    if detail:
        return body
    kind = "source_type" if found.repo.is_source else "collection_type"
    body |= {"created_at": body["created_on"], "updated_at": body["updated_on"]}
    keys = (kind if key == "source_type" else key for key in _VERSION_LIST)
    return {key: body[key] for key in keys}


def reference(found: CollectionReference, *, detail: bool = False) -> Json:
    body = states.reference(found)
    return body if detail else {key: body[key] for key in REFERENCE_LIST}


def expansion(found: RepoVersion, *, active_concepts: int, active_mappings: int) -> Json:
    """The one expansion a collection version has."""
    base = found.repo.uri if found.is_head else found.uri
    mnemonic = f"autoexpand-{found.name}"
    return {
        "mnemonic": mnemonic,
        "id": found.pk,
        "parameters": {"activeOnly": False},
        "canonical_url": found.repo.details.get("canonical_url"),
        "url": f"{base}expansions/{mnemonic}/",
        "summary": {"active_concepts": active_concepts, "active_mappings": active_mappings},
        "is_processing": False,
        "collection_version": found.name,
        "extras": {},
    }
