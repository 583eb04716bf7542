"""Finding owners, repositories and versions by the path's words. Letter case counts."""

from typing import TypeVar

from django.db.models import BooleanField, Exists, ExpressionWrapper, Model, OuterRef, Q, QuerySet

from core import errors
from core.models import User
from exports.models import Concept, Mapping, Membership, Organization, Repo, RepoVersion
from exports.models.repos import HEAD

M = TypeVar("M", bound=Model)


def organization(mnemonic: str, *, viewer: User | None = None) -> Organization:
    """An organization; see ``version`` for ``viewer``."""
    found = _told(Organization.objects.filter(mnemonic=mnemonic), "pk", viewer).first()
    if found is None:
        raise errors.NotFound
    return found


def _told(found: QuerySet[M], organization: str, viewer: User | None) -> QuerySet[M]:
    """The rows, each telling whether the viewer is a member of the organization under that name."""
    if viewer is None:
        return found
    mine = Membership.objects.filter(organization=OuterRef(organization), user=viewer)
    told: QuerySet[M] = found.annotate(viewer_is_member=Exists(mine))  # type: ignore[assignment]
    return told


def user(username: str) -> User:
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise errors.NotFound
    return found


def repo(uri: str, *, viewer: User | None = None) -> Repo:
    """The repository at a path such as ``/orgs/CIEL/sources/CIEL/``; see ``version`` for ``viewer``."""
    found = _told(Repo.objects.filter(uri=uri), "organization", viewer).first()
    if found is None:
        raise errors.NotFound
    return found


def version(uri: str, name: str, *, viewer: User | None = None) -> RepoVersion:
    """A version with its repository and its export; ``latest`` is the newest released one. One query, which also
    tells whether ``viewer`` is a member of the owning organization (see ``membership_of``)."""
    versions = RepoVersion.objects.select_related("repo", "current_build__job").filter(repo__uri=uri)
    versions = _told(versions, "repo__organization", viewer)
    if name == "latest":
        found = versions.filter(released=True).exclude(name=HEAD).order_by("-created_at", "-id").first()
    else:
        found = versions.filter(name=name).first()
    if found is None:
        raise errors.NotFound
    return found


def row(uri: str, kind: str, mnemonic: str, *, viewer: User | None = None) -> Concept | Mapping | None:
    """A concept or mapping of the source at a path, with its source, in one query; see ``version`` for ``viewer``."""
    wanted = {"source__uri": uri, "mnemonic": mnemonic}
    found: Concept | Mapping | None
    if kind == "concepts":
        concepts = Concept.objects.select_related("source").filter(**wanted)
        found = _told(concepts, "source__organization", viewer).first()
    else:
        mappings = Mapping.objects.select_related("source").filter(**wanted)
        found = _told(mappings, "source__organization", viewer).first()
    if found is not None:
        vars(found.source)["viewer_is_member"] = getattr(found, "viewer_is_member", False)
    return found


def membership_of(found: Organization | Repo | RepoVersion) -> frozenset[int]:
    """The owning organization's id when the viewer the thing was asked for belongs to it."""
    if isinstance(found, Organization):
        owner: int | None = found.pk
    else:
        owner = found.organization_id if isinstance(found, Repo) else found.repo.organization_id
    return frozenset({owner}) if owner is not None and getattr(found, "viewer_is_member", False) else frozenset()


def rows_head(of: Repo) -> RepoVersion:
    """HEAD as far as its rows are concerned, without a query."""
    return RepoVersion(repo=of, name=HEAD)


def head(of: Repo) -> RepoVersion:
    found = of.versions.filter(name=HEAD).first()
    if found is None:
        raise errors.NotFound  # the repository has been deleted meanwhile
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
