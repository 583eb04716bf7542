"""Organizations and people: lists and counts."""

from typing import Any

from django.db.models import Count, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from core.models import User
from exports.models import Membership, Organization, Repo
from exports.models.owners import Access
from exports.selectors import access


def _count(found: QuerySet[Any, Any], key: str) -> Coalesce:
    """How many of these have the outer row under ``key``."""
    of_outer = found.filter(**{key: OuterRef("pk")}).order_by().values(key)
    return Coalesce(Subquery(of_outer.annotate(n=Count("pk")).values("n")), 0, output_field=IntegerField())


def _public(kind: str) -> QuerySet[Repo]:
    return Repo.objects.exclude(public_access=Access.NONE).filter(kind=kind)


def with_organization_counts(found: QuerySet[Organization]) -> QuerySet[Organization]:
    """Each with ``n_members``, ``n_sources`` and ``n_collections``; the latter two count what is public."""
    return found.annotate(
        n_members=_count(Membership.objects.all(), "organization"),
        n_sources=_count(_public("source"), "organization"),
        n_collections=_count(_public("collection"), "organization"),
    )


def with_user_counts(found: QuerySet[User]) -> QuerySet[User]:
    """Each with ``n_orgs``, ``n_sources`` and ``n_collections``, and the profile beside."""
    return found.select_related("exports_profile").annotate(
        n_orgs=_count(Membership.objects.all(), "user"),
        n_sources=_count(_public("source"), "user"),
        n_collections=_count(_public("collection"), "user"),
    )


def counted(found: Model) -> Any:
    """An organization or person with the counts its detail shows; asked for unless a list has brought them."""
    if hasattr(found, "n_sources"):
        return found
    if isinstance(found, Organization):
        return with_organization_counts(Organization.objects.filter(pk=found.pk)).get()
    return with_user_counts(User.objects.filter(pk=found.pk)).get()


def organizations(viewer: User | None, *, of: User | None = None) -> QuerySet[Organization]:
    """Those a caller may see, of one person or all."""
    found = access.readable_organizations(viewer, Organization.objects.order_by("mnemonic"))
    return found if of is None else found.filter(members=of)


def users() -> QuerySet[User]:
    return User.objects.filter(is_active=True, hide_from_directory=False).order_by("username")
