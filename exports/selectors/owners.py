"""Organizations and people: lists and counts."""

from django.db.models import Count, QuerySet

from core.models import User
from exports.models import Organization, Repo
from exports.models.owners import Access
from exports.selectors import access


def public_counts(*, organization: Organization | None = None, user: User | None = None) -> dict[str, int]:
    """How many public sources and collections an owner has."""
    found = Repo.objects.exclude(public_access=Access.NONE).filter(organization=organization, user=user)
    return dict(found.values_list("kind").annotate(Count("pk")).order_by("kind"))


def organizations(viewer: User | None, *, of: User | None = None) -> QuerySet[Organization]:
    """Those a caller may see, of one person or all."""
    found = access.readable_organizations(viewer, Organization.objects.order_by("mnemonic"))
    return found if of is None else found.filter(members=of)


def users() -> QuerySet[User]:
    return User.objects.filter(is_active=True, hide_from_directory=False).order_by("username")
