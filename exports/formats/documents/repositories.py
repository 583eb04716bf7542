"""The documents of repositories, their versions (headers of exports) and references (24 keys), contract §5."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from exports.formats import addresses, stamps, text
from exports.formats.documents.rows import Json

_CANONICAL = ("canonical_url", "identifier", "publisher", "contact", "jurisdiction", "purpose", "copyright",
              "content_type", "revision_date")  # fmt: skip
_SEMANTICS = ("experimental", "case_sensitive", "collection_reference", "hierarchy_meaning", "compositional",
              "version_needed", "hierarchy_root_url")  # fmt: skip
AUTOID = tuple(
    f"autoid_{name}"
    for name in (
        *("concept_mnemonic", "concept_external_id", "concept_name_external_id", "concept_description_external_id"),
        *("mapping_mnemonic", "mapping_external_id"),
        *(f"{name}_start_from" for name in ("concept_mnemonic", "concept_external_id", "mapping_mnemonic",
                                            "mapping_external_id")),
    )
)  # fmt: skip
_COLLECTION_CANONICAL = (*_CANONICAL[:-2], "meta", "immutable", "revision_date")

#: what a repository carries beyond its own columns, with the value it has when nobody set it
DETAILS: dict[str, dict[str, Any]] = {
    "source": {
        **dict.fromkeys((*_CANONICAL, "text", "logo_url", "meta", *_SEMANTICS, *AUTOID)),
        "identifier": {},
        "contact": [],
        "jurisdiction": [],
        "properties": [],
        "filters": [],
        "match_algorithms": [],
    },
    "collection": {
        **dict.fromkeys(
            (*_COLLECTION_CANONICAL, "text", "logo_url", "experimental", "locked_date", "preferred_source")
        ),
        "custom_resources_linked_source": None,
        "identifier": {},
        "contact": [],
        "jurisdiction": [],
        "autoexpand_head": True,
    },
}


@dataclass(frozen=True)
class RepoState:
    """A repository as its documents need it."""

    kind: str  # source | collection
    mnemonic: str
    uuid: str
    name: str
    full_name: str | None
    description: str | None
    repo_type: str | None
    custom_validation_schema: str | None
    public_access: str
    default_locale: str
    supported_locales: list[str]
    website: str | None
    url: str
    owner: str
    owner_type: str
    owner_url: str
    created_at: dt.datetime
    updated_at: dt.datetime
    created_by: str
    updated_by: str
    extras: Json
    external_id: str | None
    details: Json

    @property
    def is_source(self) -> bool:
        return self.kind == "source"

    @property
    def type(self) -> str:
        return self.kind.capitalize()

    def detail(self, key: str) -> Any:
        return self.details.get(key, DETAILS[self.kind].get(key))


def repo_checksums(state: RepoState) -> Json:
    """Checksums over a repository's own content."""
    smart = {
        "name": state.name,
        "default_locale": state.default_locale,
        f"{state.kind}_type": state.repo_type,
        **{key: state.detail(key) for key in ("canonical_url",)},
    }
    standard = {
        **smart,
        "full_name": state.full_name,
        "description": state.description,
        "website": state.website,
        "external_id": state.external_id,
        "extras": state.extras,
        "public_access": state.public_access,
        "supported_locales": state.supported_locales,
        **{key: state.detail(key) for key in DETAILS[state.kind]},
    }
    return {"smart": text.digest(smart), "standard": text.digest(standard)}


def _top(state: RepoState) -> Json:
    locales = [state.default_locale, *(one for one in state.supported_locales if one != state.default_locale)]
    return {
        "short_code": state.mnemonic,
        "name": state.name,
        "full_name": state.full_name,
        "description": state.description,
        f"{state.kind}_type": state.repo_type,
        "custom_validation_schema": state.custom_validation_schema,
        "public_access": state.public_access,
        "default_locale": state.default_locale,
        "supported_locales": locales,
        "website": state.website,
        "url": state.url,
        "owner": state.owner,
        "owner_type": state.owner_type,
        "owner_url": state.owner_url,
    }


def _touched(state: RepoState) -> Json:
    return {
        "created_on": stamps.iso(state.created_at),
        "updated_on": stamps.iso(state.updated_at),
        "created_by": state.created_by,
        "updated_by": state.updated_by,
        "extras": state.extras,
        "external_id": state.external_id,
    }


def _some(state: RepoState, *keys: str) -> Json:
    return {key: state.detail(key) for key in keys}


def repository(state: RepoState) -> Json:
    """The repository object: 60 keys for a source, 47 for a collection."""
    head = {
        "type": state.type,
        "uuid": state.uuid,
        "id": state.mnemonic,
        **_top(state),
        **_touched(state),
        "versions_url": f"{state.url}versions/",
        "version": "HEAD",
        "concepts_url": f"{state.url}concepts/",
        "mappings_url": f"{state.url}mappings/",
    }
    if state.is_source:
        return {
            **head,
            **_some(state, *_CANONICAL, "logo_url", "text", *_SEMANTICS, "meta", *AUTOID),
            "checksums": repo_checksums(state),
            **_some(state, "properties", "filters", "match_algorithms"),
        }
    return {
        **head,
        "expansions_url": f"{state.url}expansions/",
        **_some(state, "custom_resources_linked_source", "preferred_source", *_COLLECTION_CANONICAL),
        **_some(state, "logo_url", "text", "experimental", "locked_date", "autoexpand_head"),
        "expansion_url": f"{state.url}expansions/autoexpand-HEAD/",
        "checksums": repo_checksums(state),
    }


@dataclass(frozen=True)
class VersionState:
    """What a version adds to its repository."""

    name: str
    uuid: str
    released: bool
    retired: bool
    description: str | None
    extras: Json
    external_id: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
    created_by: str
    updated_by: str
    previous: str | None  # name of the version before


def version_header(state: RepoState, version: VersionState) -> Json:
    """The header of a version, everything before the arrays: 55 keys for a source, 50 for a collection."""
    top = {
        "type": f"{state.type} Version",
        "uuid": version.uuid,
        "id": version.name,
        **_top(state),
        "description": version.description if version.description is not None else state.description,
    }
    url = state.url if version.name == "HEAD" else f"{state.url}{version.name}/"
    links = {
        "version_url": f"{state.url}{version.name}/",
        "previous_version_url": f"{state.url}{version.previous}/" if version.previous else None,
    }
    touched = {
        "created_on": stamps.iso(version.created_at),
        "updated_on": stamps.iso(version.updated_at),
        "created_by": version.created_by,
        "updated_by": version.updated_by,
        "extras": version.extras,
        "external_id": version.external_id,
        "version": version.name,
        "concepts_url": f"{url}concepts/",
        "mappings_url": f"{url}mappings/",
    }
    checksums = {"checksums": version_checksums(state, version)}
    if state.is_source:
        return {
            **top,
            "retired": version.retired,
            **links,
            **touched,
            "is_processing": False,
            "released": version.released,
            **_some(state, *_CANONICAL, "text", "meta", *_SEMANTICS),
            **checksums,
            **_some(state, "properties", "filters", "match_algorithms"),
            "external_exports": [],
            "source": repository(state),
        }
    return {
        **top,
        **links,
        **touched,
        "expansions_url": f"{url}expansions/",
        "is_processing": False,
        "released": version.released,
        "retired": version.retired,
        **_some(state, *_COLLECTION_CANONICAL, "text", "experimental", "locked_date"),
        "autoexpand": True,
        "expansion_url": f"{url}expansions/autoexpand-{version.name}/",
        **checksums,
        "external_exports": [],
        "collection": repository(state),
    }


def version_checksums(state: RepoState, version: VersionState) -> Json:
    """Checksums of a version: the repository's content with the version's own."""
    base = repo_checksums(state)
    own = {"released": version.released, "retired": version.retired, "extras": version.extras,
           "description": version.description, "version": version.name}  # fmt: skip
    return {key: text.digest({**own, "repository": value}) for key, value in base.items()}


def amended(header: Json, *, updated_at: dt.datetime, updated_by: str, **changes: Any) -> Json:
    """A frozen header after an edit of the version's own metadata; what was frozen of the repository stays."""
    new = {**header, **changes, "updated_on": stamps.iso(updated_at), "updated_by": updated_by}
    own = {key: new[key] for key in ("released", "retired", "extras", "description", "version")}
    return {**new, "checksums": {key: text.digest({**own, "was": was}) for key, was in header["checksums"].items()}}


REFERENCE_FIELDS = ("expression", "reference_type", "id", "last_resolved_at", "uri", "uuid", "include", "type", "code",
                    "resource_version", "namespace", "system", "version", "valueset", "cascade", "filter", "display",
                    "created_at", "updated_at", "concepts", "mappings", "translation", "transform",
                    "created_by")  # fmt: skip


def reference(*, pk: int, uuid: str, repo_url: str, expression: str, created_at: dt.datetime, created_by: str,
              resolved_at: dt.datetime, concepts: int, mappings: int, cascade: str | None = None,
              ) -> Json:  # fmt: skip
    """A collection reference in full, 24 keys. Only its expression, kind and counts say something; the rest is null
    because references here are made from expressions alone."""
    found = addresses.expression(expression)
    values = {
        "expression": expression,
        "reference_type": found.rows if found else "concepts",
        "id": pk,
        "last_resolved_at": stamps.iso(resolved_at),
        "uri": f"{repo_url}references/{pk}/",
        "uuid": uuid,
        "include": True,
        "type": "CollectionReference",
        "code": found.row_id if found else None,
        "resource_version": found.row_version if found else None,
        "system": found.place.repo_url if found else None,
        "version": found.repo_version if found else None,
        "cascade": cascade,
        "created_at": stamps.iso(created_at),
        "updated_at": stamps.iso(resolved_at),
        "concepts": concepts,
        "mappings": mappings,
        "created_by": created_by,
    }
    return {key: values.get(key) for key in REFERENCE_FIELDS}
