"""Stored rows as the plain values the documents are made from."""

from exports.formats import documents
from exports.models import CollectionReference, Repo


def home(of: Repo) -> documents.Home:
    return documents.Home(
        mnemonic=of.mnemonic,
        url=of.uri,
        owner=of.owner,
        owner_type=of.owner_type,
        owner_url=of.owner_url,
        default_locale=of.default_locale,
    )


def repo(of: Repo) -> documents.RepoState:
    return documents.RepoState(
        kind=of.kind,
        mnemonic=of.mnemonic,
        uuid=str(of.uuid),
        name=of.name,
        full_name=of.full_name,
        description=of.description,
        repo_type=of.repo_type,
        custom_validation_schema=of.custom_validation_schema,
        public_access=of.public_access,
        default_locale=of.default_locale,
        supported_locales=of.supported_locales,
        website=of.website,
        url=of.uri,
        owner=of.owner,
        owner_type=of.owner_type,
        owner_url=of.owner_url,
        created_at=of.created_at,
        updated_at=of.updated_at,
        created_by=of.created_by,
        updated_by=of.updated_by,
        extras=of.extras,
        external_id=of.external_id,
        details=of.details,
    )


def reference(of: CollectionReference) -> documents.Json:
    """The finished document of a reference; its collection should be loaded."""
    return documents.reference(
        pk=of.pk,
        uuid=str(of.uuid),
        repo_url=of.collection.uri,
        expression=of.expression,
        created_at=of.created_at,
        created_by=of.created_by,
        resolved_at=of.resolved_at,
        concepts=of.concepts,
        mappings=of.mappings,
        cascade=of.cascade,
    )
