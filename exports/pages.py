"""Pages for people (contract §7): what is there, its versions and files, building and deleting, how to subscribe."""

from typing import Any

from django import shortcuts
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import re_path
from django.views import View

from core import errors
from core.models import User
from exports.formats import names
from exports.models import Repo, RepoVersion
from exports.models.repos import HEAD
from exports.selectors import access, builds, repos
from exports.services import exports as services
from exports.services import links

PAGE = 25


def visitor(request: HttpRequest) -> User | None:
    """Whoever is logged in, as the rights function wants them."""
    return request.user if isinstance(request.user, User) else None


class Page(View):
    """Facts become a page with their status; a private repository looks like none to those who may not see it."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except (errors.NotFound, errors.Unauthenticated, errors.Denied):
            return shortcuts.render(request, "exports/missing.html", status=404)
        except errors.Throttled as fact:
            response = shortcuts.render(request, "exports/busy.html", {"seconds": fact.retry_after}, status=429)
            response["Retry-After"] = str(fact.retry_after)
            return response


class Browse(Page):
    """Public repositories (and one's own), searched and paged."""

    def get(self, request: HttpRequest) -> HttpResponse:
        words = request.GET.get("q", "").replace("\0", "").strip()
        found = access.readable_repos(visitor(request), Repo.objects.order_by("uri"))
        if words:
            found = found.filter(Q(mnemonic__icontains=words) | Q(name__icontains=words) | Q(uri__icontains=words))
        page = Paginator(found, PAGE).get_page(request.GET.get("page"))
        lines = [_line(repo) for repo in page]
        return shortcuts.render(request, "exports/browse.html", {"lines": lines, "page": page, "words": words})


def _line(repo: Repo) -> dict[str, Any]:
    latest = repos.latest_released(repo)
    state = builds.state_of(latest) if latest else None
    return {"repo": repo, "latest": latest, "state": state, "path": f"/exports{repo.uri}"}


class OneRepo(Page):
    """A repository's versions with their files, sums and states; forms for those who may."""

    def get(self, request: HttpRequest, *, uri: str) -> HttpResponse:
        repo, rights = _repo(request, uri)
        versions = repo.versions.exclude(name=HEAD).select_related("current_build").order_by("-created_at", "-id")
        versions = versions.prefetch_related("extra_files")
        page = Paginator(versions, PAGE).get_page(request.GET.get("page"))
        lines = []
        for version in page:
            version.repo = repo
            lines.append({"version": version, "state": builds.state_of(version)})
        context = {"repo": repo, "rights": rights, "lines": lines, "page": page, "visitor": visitor(request)}
        return shortcuts.render(request, "exports/repo.html", {**context, "formats": names.FORMATS})


class Act(Page):
    """Build, rebuild or delete; the same rules as the API, with Django's CSRF check."""

    def post(self, request: HttpRequest, *, uri: str, version: str) -> HttpResponse:
        repo, rights = _repo(request, uri)
        user = visitor(request)
        if user is None:
            raise errors.Unauthenticated
        found = repos.version(repo.uri, version)
        if found.is_head:
            raise errors.NotFound
        messages.success(request, self._do(request.POST.get("do", ""), found, rights, user))
        return shortcuts.redirect(f"/exports{repo.uri}")

    def _do(self, what: str, version: RepoVersion, rights: access.Rights, user: User) -> str:
        if what == "build":
            outcome = services.request(version, user=user).outcome
            return {"created": "The export is being built.", "active": "It is being built already."}.get(
                outcome, "The export is there."
            )
        rights.demand("admin", user)
        if what == "rebuild":
            services.request(version, user=user, force=True)
            return "The export is being rebuilt; the old one is served meanwhile."
        if what == "delete":
            services.delete(version)
            return "The export was deleted."
        raise errors.NotFound


class Download(Page):
    """A click on a format: a fresh one-time link."""

    def get(self, request: HttpRequest, *, uri: str, version: str, form: str) -> HttpResponse:
        repo, _ = _repo(request, uri)
        found = repos.version(repo.uri, version)
        if form not in names.FORMATS or found.current_build is None or not services.is_ready(found):
            raise errors.NotFound
        response = shortcuts.redirect(links.path(found.current_build, form))
        response["Cache-Control"] = "no-store"
        return response


class Help(Page):
    def get(self, request: HttpRequest) -> HttpResponse:
        return shortcuts.render(request, "exports/help.html")


def _repo(request: HttpRequest, uri: str) -> tuple[Repo, access.Rights]:
    repo = repos.repo(f"/{uri}/")
    user = visitor(request)
    rights = access.over_repo(user, repo)
    rights.demand("read", user)
    return repo, rights


_ID = r"[A-Za-z0-9._@-]+"
_URI = rf"(?P<uri>(?:orgs|users)/{_ID}/(?:sources|collections)/{_ID})"
urlpatterns = [
    re_path(r"^exports/?$", Browse.as_view(), name="exports-browse"),
    re_path(r"^exports/help/?$", Help.as_view(), name="exports-help"),
    re_path(rf"^exports/{_URI}/?$", OneRepo.as_view(), name="exports-repo"),
    re_path(rf"^exports/{_URI}/(?P<version>{_ID})/?$", Act.as_view(), name="exports-act"),
    re_path(rf"^exports/{_URI}/(?P<version>{_ID})/(?P<form>[a-z]+)/?$", Download.as_view(), name="exports-file"),
]
