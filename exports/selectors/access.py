"""Who may do what. One function decides, by (owner type, owner id): comparing ids alone would let a member of
organization 7 into the things of user 7."""

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q, QuerySet

from core import errors
from core.models import User
from exports.models import Membership, Organization, Repo
from exports.models.owners import Access


@dataclass(frozen=True)
class Rights:
    """What a caller may do with an organization or a repository."""

    read: bool
    write: bool  # change content
    admin: bool  # change the thing itself, delete exports

    def demand(self, what: str, user: User | None) -> None:
        """Raise Unauthenticated or Denied unless the right is there."""
        if getattr(self, what):
            return
        raise errors.Unauthenticated() if user is None else errors.Denied()


def decide(user: User | None, *, owner: tuple[str, int], access: str, member_of: frozenset[int]) -> Rights:
    """Rights over something owned by ``owner``, ("Organization", its id) or ("User", their id).

    ``member_of``: ids of the organizations the user belongs to.
    """
    kind, pk = owner
    if user is None:
        return Rights(access != Access.NONE and not settings.EXPORTS_REQUIRE_AUTH, write=False, admin=False)
    is_owner = pk in member_of if kind == "Organization" else pk == user.pk
    admin = user.is_staff or is_owner
    return Rights(admin or access != Access.NONE, write=admin or access == Access.EDIT, admin=admin)


def owner_key(repo: Repo) -> tuple[str, int]:
    """(owner type, owner id) of a repository."""
    if repo.organization_id is not None:
        return "Organization", repo.organization_id
    return "User", repo.user_id or 0


def over_repo(user: User | None, repo: Repo, *, member_of: frozenset[int] | None = None) -> Rights:
    """Rights over a repository, by its current access, whatever it was at a version's cut."""
    known = organizations_of(user, among=repo.organization_id) if member_of is None else member_of
    return decide(user, owner=owner_key(repo), access=repo.public_access, member_of=known)


def over_organization(
    user: User | None, organization: Organization, *, member_of: frozenset[int] | None = None
) -> Rights:
    known = organizations_of(user, among=organization.pk) if member_of is None else member_of
    owner = ("Organization", organization.pk)
    return decide(user, owner=owner, access=organization.public_access, member_of=known)


def organizations_of(user: User | None, *, among: int | None = None) -> frozenset[int]:
    """Ids of the organizations a user belongs to; ``among`` narrows the question to one."""
    if user is None:
        return frozenset()
    mine = Membership.objects.filter(user=user)
    if among is not None:
        mine = mine.filter(organization=among)
    return frozenset(mine.values_list("organization_id", flat=True))


def _memberships(user: User | None) -> QuerySet[Membership, int]:
    """The same as part of another statement."""
    return Membership.objects.filter(user=user).values_list("organization_id", flat=True)


def readable_repos(user: User | None, repos: QuerySet[Repo]) -> QuerySet[Repo]:
    """Those a caller may read; private content is left out of lists."""
    if user is not None and user.is_staff:
        return repos
    if user is None:
        return repos.none() if settings.EXPORTS_REQUIRE_AUTH else repos.exclude(public_access=Access.NONE)
    mine = Q(user=user) | Q(organization__in=_memberships(user))
    return repos.filter(~Q(public_access=Access.NONE) | mine)


def readable_organizations(user: User | None, found: QuerySet[Organization]) -> QuerySet[Organization]:
    if user is not None and user.is_staff:
        return found
    return found.filter(~Q(public_access=Access.NONE) | Q(pk__in=_memberships(user)))


def may_hold(collection: Repo, source: Repo) -> bool:
    """Whether a collection may show a source's content: private content only to its own owner, or in private."""
    return not source.is_private or collection.is_private or owner_key(collection) == owner_key(source)


def check_api_access(user: User | None) -> None:
    """With EXPORTS_REQUIRE_AUTH nobody reads anonymously."""
    if user is None and settings.EXPORTS_REQUIRE_AUTH:
        raise errors.Unauthenticated
