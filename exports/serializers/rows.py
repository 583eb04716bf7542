"""Concepts and mappings on the API's lists and details, made from their finished export documents (contract §5)."""

import json
from typing import Any

from exports.models import Concept, ConceptVersion, Mapping, MappingVersion, Repo
from exports.selectors import content

Json = dict[str, Any]

_CONCEPT_LIST = ("uuid", "checksums", "id", "external_id", "concept_class", "datatype", "url", "retired", "source",
                 "owner", "owner_type", "owner_url", "display_name", "display_locale", "version", "update_comment",
                 "locale", "version_created_by", "version_created_on", "is_latest_version", "versions_url",
                 "version_url", "type", "versioned_object_id", "version_updated_on", "version_updated_by",
                 "latest_source_version", "property", "retire_reason")  # fmt: skip
_CONCEPT_DETAIL = ("uuid", "extras", "checksums", "id", "external_id", "concept_class", "datatype", "url", "retired",
                   "source", "owner", "owner_type", "owner_url", "display_name", "display_locale", "names",
                   "descriptions", "created_on", "updated_on", "versions_url", "version", "type", "update_comment",
                   "version_url", "updated_by", "created_by", "public_can_view", "versioned_object_id",
                   "latest_source_version", "property", "retire_reason", "parent_concept_urls",
                   "child_concept_urls")  # fmt: skip
_MAPPING_NOT_LISTED = ("extras", "created_on", "updated_on", "created_by", "updated_by", "public_can_view")


def concept(found: content.Found, *, detail: bool) -> Json:
    """A concept in list (29 keys) or detail form (33)."""
    body: Json = json.loads(found.body)
    whole = {
        **body,
        "versions_url": f"{body['url']}versions/",
        "versioned_object_id": found.row,
        "latest_source_version": None,
        "property": [],
        "updated_by": body["version_updated_by"],
        "created_by": found.created_by,
        "public_can_view": found.is_public,
    }
    return {key: whole[key] for key in (_CONCEPT_DETAIL if detail else _CONCEPT_LIST)}


def mapping(found: content.Found, *, detail: bool) -> Json:
    """A mapping in list or detail form: the export keys without ``owner_url``, with ``latest_source_version``."""
    body: Json = json.loads(found.body)
    body.pop("owner_url")
    body["latest_source_version"] = None
    if not detail:
        for key in _MAPPING_NOT_LISTED:
            body.pop(key)
    return body


def render(kind: str, found: content.Found, *, detail: bool) -> Json:
    return concept(found, detail=detail) if kind == "concepts" else mapping(found, detail=detail)


def stored(row: Concept | Mapping, version: ConceptVersion | MappingVersion, source: Repo) -> Json:
    """The detail of one stored version."""
    found = content.Found(version.fragment.body, row.pk, row.created_by, not source.is_private)
    return concept(found, detail=True) if isinstance(row, Concept) else mapping(found, detail=True)
