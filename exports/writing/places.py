"""Making owners and repositories, for the API and for imports alike."""

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import errors
from core.models import User
from exports.models import Membership, Organization, Repo
from exports.writing import clock, renewal, versions

Json = dict[str, Any]


def create_organization(mnemonic: str, changes: Json, *, user: User | None) -> Organization:
    """A new organization; its creator is its first member."""
    now, name = timezone.now(), user.username if user else ""
    stamps = {"created_at": now, "updated_at": now, "created_by": name, "updated_by": name}
    try:
        with transaction.atomic():
            made = Organization.objects.create(mnemonic=mnemonic, **{"name": mnemonic, **stamps, **changes})
            if user is not None:
                Membership.objects.create(organization=made, user=user)
    except IntegrityError:
        raise errors.Conflict("Organization with this ID already exists.", code="duplicate") from None
    return made


def edit_organization(organization: Organization, changes: Json, *, user: str) -> Organization:
    for key, value in changes.items():
        setattr(organization, key, value)
    organization.updated_at, organization.updated_by = timezone.now(), user
    organization.save()
    return organization


def create_repo(owner: Organization | User, *, kind: str, mnemonic: str, changes: Json, user: str) -> Repo:
    """A new, empty source or collection with its HEAD."""
    now = timezone.now()
    base = f"/orgs/{owner.mnemonic}/" if isinstance(owner, Organization) else f"/users/{owner.username}/"
    values = {"name": mnemonic, "created_at": now, "updated_at": now, "created_by": user, "updated_by": user, **changes}
    repo = Repo(
        kind=kind,
        organization=owner if isinstance(owner, Organization) else None,
        user=None if isinstance(owner, Organization) else owner,
        mnemonic=mnemonic,
        uri=f"{base}{kind}s/{mnemonic}/",
        write_clock=values["updated_at"],
        **values,
    )
    try:
        with transaction.atomic():
            clock.reserve([repo.uri])
            repo.save(force_insert=True)
            versions.create_head(repo)
            renewal.renew_about(repo)
    except IntegrityError:
        raise errors.Conflict(f"{kind.capitalize()} with this ID already exists.", code="duplicate") from None
    return repo


def edit_repo(lock: clock.Clock, changes: Json, *, user: str) -> Repo:
    """Change a locked repository; ``details`` are merged key by key."""
    repo = lock.repo
    was = renewal.before(repo)
    for key, value in changes.items():
        setattr(repo, key, {**repo.details, **value} if key == "details" else value)
    repo.updated_at, repo.updated_by = lock.tick(), user
    repo.save()
    renewal.renew(lock, was)
    return repo
