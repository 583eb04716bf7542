"""Pages for people (contract §7): what is there, its versions and files, building and deleting, how to subscribe."""

from collections.abc import Callable
from typing import Any
from urllib import parse

from django import shortcuts
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import re_path
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from core import errors
from core.models import User
from exports.formats import names, variants
from exports.models import Repo, RepoVersion
from exports.models.repos import HEAD
from exports.selectors import access, asked, builds, files, repos
from exports.services import exports as services
from exports.services import links

PAGE = 25
#: how many versions are offered to tell the changes since
MOST_VERSIONS = 200


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
        context = {"repo": repo, "rights": rights, "lines": lines, "page": page, "visitor": visitor(request),
                   "formats": names.FORMATS, "head": repos.head(repo) if _takes_head(rights) else None,
                   # where the API answers only to a token, which no browser sends
                   "needs_token": repo.is_private or settings.EXPORTS_REQUIRE_AUTH}  # fmt: skip
        return shortcuts.render(request, "exports/repo.html", context)


class OneVersion(Page):
    """All exports of a version, with forms that build, rebuild or delete them: the same rules as the API, with Django's
    CSRF check."""

    def get(self, request: HttpRequest, *, uri: str, version: str) -> HttpResponse:
        found, rights = _version(request, uri, version)
        return self._shown(request, found, rights)

    def post(self, request: HttpRequest, *, uri: str, version: str) -> HttpResponse:
        found, rights = _version(request, uri, version)
        user = visitor(request)
        if user is None:
            raise errors.Unauthenticated
        try:
            variant = asked.named(found, request.POST.dict())
        except errors.Invalid as fault:
            return self._shown(request, found, rights, fault=fault)
        messages.success(request, self._do(request.POST.get("do", ""), found, variant, rights, user))
        # a form says which export it is about unless it stands among the repository's versions
        back = f"{found.name}/" if "export" in request.POST else ""
        return shortcuts.redirect(f"/exports{found.repo.uri}{back}")

    def _do(self, what: str, version: RepoVersion, variant: variants.Variant, rights: access.Rights, user: User) -> str:
        if what == "build":
            outcome = services.request(version, user=user, variant=variant).outcome
            return {"created": "The export is being built.", "active": "It is being built already."}.get(
                outcome, "The export is there."
            )
        rights.demand("admin", user)
        if what == "rebuild":
            services.request(version, user=user, force=True, variant=variant)
            return "The export is being rebuilt; the old one is served meanwhile."
        if what == "delete":
            services.delete(version, variant)
            return "The export was deleted."
        raise errors.NotFound

    def _shown(
        self, request: HttpRequest, version: RepoVersion, rights: access.Rights, *, fault: errors.Invalid | None = None
    ) -> HttpResponse:
        lines = [_export(state) for state in builds.states_of(version)]
        is_busy = any(line["state"].active for line in lines)
        watches = is_busy and request.GET.get("watch") == "true"
        others = repos.versions(version.repo).exclude(name__in=(HEAD, version.name)).values_list("name", flat=True)
        context = {"repo": version.repo, "version": version, "rights": rights, "visitor": visitor(request),
                   "lines": lines, "is_busy": is_busy, "watches": watches, "fault": fault, "told": request.POST,
                   "others": others[:MOST_VERSIONS]}  # fmt: skip
        response = shortcuts.render(request, "exports/version.html", context, status=400 if fault else 200)
        if watches:
            response["Refresh"] = "2"
        response["Cache-Control"] = "no-store"
        return response


def _export(state: builds.ExportState) -> dict[str, Any]:
    """What the page of a version says of one of its exports."""
    words = asked.words(state.variant)
    path = f"/exports{state.version.uri}"
    files_of = [
        {
            "form": form,
            "href": f"{path}{form}/{'?' if words else ''}{parse.urlencode(words)}",
            "size": files.size(state.ready, form),
            "sha256": getattr(state.ready, f"{form}_sha256", ""),
        }
        for form in (state.variant.forms if state.ready else ())
        if state.ready
    ]
    title, about = _told(state.variant)
    return {"state": state, "words": {"export": "", **words}, "files": files_of, "title": title, "about": about}


def _told(variant: variants.Variant) -> tuple[str, str]:
    """An export in words: its title, and what is in it."""
    if variant in (variants.FHIR, variants.CSV):
        return _PACKAGES[variant.key]
    told = dict(parse.parse_qsl(variant.query))
    if variant.place:
        return f"Changes since {told.get('since', '')}", "Rows added, changed, retired or removed since then."
    left_out = []
    if "locale" in told:
        left_out.append(f"names in {told['locale'].replace(',', ', ')} only")
    if "includeRetired" in told:
        left_out.append("without retired rows")
    if not left_out:
        return "Everything", "All concepts and mappings, one export.json."
    return f"Part: {'; '.join(left_out)}", "As everything, with the rest left out."


_PACKAGES = {
    variants.FHIR.key: ("FHIR package", "CodeSystem, ValueSet and ConceptMap of FHIR R4."),
    variants.CSV.key: ("Tables", "Concepts, names, descriptions and mappings as CSV files."),
}


class Download(Page):
    """A click on a format: a fresh one-time link."""

    def get(self, request: HttpRequest, *, uri: str, version: str, form: str) -> HttpResponse:
        found, _ = _version(request, uri, version)
        try:
            variant = asked.named(found, request.GET.dict())
        except errors.Invalid:
            raise errors.NotFound from None
        ready = builds.ready_build(found, variant)
        if form not in variant.forms or ready is None:
            raise errors.NotFound
        response = shortcuts.redirect(links.path(ready, form))
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


def _version(request: HttpRequest, uri: str, name: str) -> tuple[RepoVersion, access.Rights]:
    """A version the visitor may see exports of; HEAD only for those who may have them."""
    repo, rights = _repo(request, uri)
    found = repos.version(repo.uri, name)
    if found.is_head and not _takes_head(rights):
        raise errors.NotFound
    return found, rights


def _takes_head(rights: access.Rights) -> bool:
    return bool(settings.EXPORTS_HEAD_FOR_ADMINS and rights.admin)


def nowhere(said: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Whatever else is asked for among the pages: a page for browsers, what the API says for everybody else."""

    @csrf_exempt
    def page(request: HttpRequest) -> HttpResponseBase:
        if "text/html" not in request.headers.get("Accept", ""):
            return said(request)
        return shortcuts.render(request, "exports/missing.html", status=404)

    return page


_ID = r"[A-Za-z0-9._@-]+"
_URI = rf"(?P<uri>(?:orgs|users)/{_ID}/(?:sources|collections)/{_ID})"
urlpatterns = [
    re_path(r"^exports/?$", Browse.as_view(), name="exports-browse"),
    re_path(r"^exports/help/?$", Help.as_view(), name="exports-help"),
    re_path(rf"^exports/{_URI}/?$", OneRepo.as_view(), name="exports-repo"),
    re_path(rf"^exports/{_URI}/(?P<version>{_ID})/?$", OneVersion.as_view(), name="exports-version"),
    re_path(rf"^exports/{_URI}/(?P<version>{_ID})/(?P<form>[a-z]+)/?$", Download.as_view(), name="exports-file"),
]
