"""Finding what a record speaks of: its owner, its repository."""

from typing import Any

from core import errors
from core.models import User
from exports.formats import addresses
from exports.models import Organization, Repo

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
