"""Finding owners, repositories and versions by the path's words. Letter case counts."""

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from core import errors
from core.models import User
from exports.models import Membership, Organization, Repo, RepoVersion
from exports.models.repos import HEAD


def organization(mnemonic: str) -> Organization:
    found = Organization.objects.filter(mnemonic=mnemonic).first()
    if found is None:
        raise errors.NotFound
    return found


def user(username: str) -> User:
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise errors.NotFound
    return found


def repo(uri: str, *, viewer: User | None = None) -> Repo:
    """The repository at a path such as ``/orgs/CIEL/sources/CIEL/``; see ``version`` for ``viewer``."""
    repos = Repo.objects.filter(uri=uri)
    if viewer is not None:
        mine = Membership.objects.filter(organization=OuterRef("organization"), user=viewer)
        repos = repos.annotate(viewer_is_member=Exists(mine))
    found = repos.first()
    if found is None:
        raise errors.NotFound
    return found


def version(uri: str, name: str, *, viewer: User | None = None) -> RepoVersion:
    """A version with its repository and its export; ``latest`` is the newest released one. One query, which also
    tells whether ``viewer`` is a member of the owning organization (see ``membership_of``)."""
    versions = RepoVersion.objects.select_related("repo", "current_build__job").filter(repo__uri=uri)
    if viewer is not None:
        mine = Membership.objects.filter(organization=OuterRef("repo__organization"), user=viewer)
        versions = versions.annotate(viewer_is_member=Exists(mine))
    if name == "latest":
        found = versions.filter(released=True).exclude(name=HEAD).order_by("-created_at", "-id").first()
    else:
        found = versions.filter(name=name).first()
    if found is None:
        raise errors.NotFound
    return found


def membership_of(found: Repo | RepoVersion) -> frozenset[int]:
    """The owning organization's id when the viewer the repository or version was asked for belongs to it."""
    owner = found.organization_id if isinstance(found, Repo) else found.repo.organization_id
    return frozenset({owner}) if owner is not None and getattr(found, "viewer_is_member", False) else frozenset()


def rows_head(of: Repo) -> RepoVersion:
    """HEAD as far as its rows are concerned, without a query."""
    return RepoVersion(repo=of, name=HEAD)


def head(of: Repo) -> RepoVersion:
    found = of.versions.get(name=HEAD)
    found.repo = of
    return found


def owned(owner_url: str | None, kind: str) -> QuerySet[Repo]:
    """Repositories of a kind, of one owner or of all."""
    found = Repo.objects.filter(kind=kind).order_by("uri")
    return found if owner_url is None else found.filter(uri__startswith=f"{owner_url}{kind}s/")


def versions(of: Repo) -> QuerySet[RepoVersion]:
    """Versions, newest first, HEAD before all."""
    return of.versions.select_related("repo").order_by(
        ExpressionWrapper(Q(name=HEAD), BooleanField()).desc(), "-created_at", "-id"
    )


def latest_released(of: Repo) -> RepoVersion | None:
    return of.versions.filter(released=True).exclude(name=HEAD).order_by("-created_at", "-id").first()


def previous_name(of: Repo) -> str | None:
    """Name of the newest version cut so far."""
    return of.versions.exclude(name=HEAD).order_by("-created_at", "-id").values_list("name", flat=True).first()
