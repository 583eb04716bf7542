"""Which variant of a version's export a request names."""

from __future__ import annotations

from core import errors
from exports.formats import stamps, variants
from exports.models import RepoVersion
from exports.models.repos import HEAD


def delta(version: RepoVersion, since: str | None) -> variants.Variant:
    """The delta since a version of the same repository or an instant; a version's name wins over a date that reads
    the same. Raises ``errors.Invalid``."""
    if not since:
        raise errors.Invalid("This field is required.", field="since")
    versions = RepoVersion.objects.filter(repo=version.repo_id).exclude(name=HEAD)
    if since == "latest":
        found = versions.filter(released=True).order_by("-created_at", "-id").first()
    else:
        found = versions.filter(name=since).first() if "\0" not in since else None
    if found is not None:
        return variants.delta_of(found.pk, found.name)
    moment = stamps.parse(since)
    if moment is None:
        raise errors.Invalid(f'"{since}" is neither a version of this repository nor a timestamp.', field="since")
    return variants.delta_since(moment)
