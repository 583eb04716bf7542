"""Organizations and people on the API."""

from typing import Any

from core.models import User
from exports.formats import stamps
from exports.models import Organization, Profile
from exports.selectors import owners

Json = dict[str, Any]


def organization(found: Organization, *, detail: bool = True) -> Json:
    """22 keys, or the four of a list."""
    if not detail:
        return {"id": found.mnemonic, "name": found.name, "url": found.url, "type": "Organization"}
    counts = owners.counted(found)
    return {
        "type": "Organization",
        "uuid": str(found.uuid),
        "id": found.mnemonic,
        "public_access": found.public_access,
        "name": found.name,
        "company": found.company,
        "website": found.website,
        "location": found.location,
        "members": counts.n_members,
        "created_on": stamps.iso(found.created_at),
        "updated_on": stamps.iso(found.updated_at),
        "url": found.url,
        "extras": found.extras,
        "created_by": found.created_by,
        "updated_by": found.updated_by,
        "sources_url": f"{found.url}sources/",
        "public_sources": counts.n_sources,
        "collections_url": f"{found.url}collections/",
        "public_collections": counts.n_collections,
        "logo_url": found.logo_url,
        "description": found.description,
        "text": found.text,
    }


def user(found: User, *, viewer: User | None, detail: bool = True) -> Json:
    """An account; its address only for itself and staff."""
    url = f"/users/{found.username}/"
    if not detail:
        return {"username": found.username, "name": found.get_full_name() or found.username, "url": url, "type": "User"}
    counts = owners.counted(found)
    profile = getattr(counts, "exports_profile", None) or Profile(user=found)
    may_see = viewer is not None and (viewer.is_staff or viewer.pk == found.pk)
    joined = stamps.iso(found.date_joined)
    return {
        "type": "User",
        "uuid": found.uid,
        "username": found.username,
        "name": found.get_full_name() or found.username,
        "email": found.email if may_see else None,
        "company": profile.company,
        "location": profile.location,
        "preferred_locale": profile.preferred_locale,
        "orgs": counts.n_orgs,
        "public_collections": counts.n_collections,
        "public_sources": counts.n_sources,
        "created_on": joined,
        "updated_on": stamps.iso(profile.updated_at) or joined,
        "created_by": found.username,
        "updated_by": found.username,
        "url": url,
        "organizations_url": f"{url}orgs/",
        "extras": profile.extras,
        "sources_url": f"{url}sources/",
        "collections_url": f"{url}collections/",
        "website": profile.website,
        "is_superuser": found.is_superuser,
        "is_staff": found.is_staff,
    }
