"""Sources and collections, their versions, and the whole document of either (contract §2.6, §2.7)."""

from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from core import errors
from exports import dialect
from exports.formats import archives, stamps
from exports.models import Organization, RepoVersion
from exports.selectors import access, documents, repos
from exports.serializers import repos as serializer
from exports.services import repos as services
from exports.views import base, lists

DEFAULT_LIMIT = 30


class Document(base.View):
    """A repository or version, with as many of its rows as asked for."""

    def document(self, version: RepoVersion, top: documents.Top) -> HttpResponseBase:
        zipped = self.zipped
        wanted, told = self.wanted(version, unlimited=zipped)
        if zipped:
            return self.streamed(version, top, wanted, told, zipped=True)
        if not wanted.arrays(version):
            return dialect.json_response(top(version), headers=told)
        for kind in ("concepts", "mappings") if wanted.limit else ():
            if getattr(wanted, kind):
                told[f"X-Total-{kind.capitalize()}"] = str(documents.rows_of(version, kind, wanted).count())
        if not 0 < wanted.limit <= lists.MOST:
            # any number of rows is honoured, but not held in memory
            return self.streamed(version, top, wanted, told)
        body = documents.page(version, top, wanted)
        return HttpResponse(body, content_type="application/json", headers=told)

    def wanted(self, version: RepoVersion, *, unlimited: bool) -> tuple[documents.Wanted, dict[str, str]]:
        concepts, mappings = self.flag("includeConcepts"), self.flag("includeMappings")
        limit, since = self.whole_number("limit"), self.updated_since()
        wanted = documents.Wanted(
            concepts=concepts,
            references=self.flag("includeReferences", default=concepts and mappings),
            mappings=mappings,
            retired=self.flag("includeRetired"),
            since=since,
            limit=0 if unlimited else (DEFAULT_LIMIT if limit is None else limit),
            offset=0 if unlimited else self.whole_number("offset") or 0,
        )
        return wanted, {"X-Updated-Since": stamps.offset_iso(since)} if since else {}

    def streamed(self, version: RepoVersion, top: documents.Top, wanted: documents.Wanted, told: dict[str, str], *,
                 zipped: bool = False) -> HttpResponseBase:  # fmt: skip
        kind = "application/zip" if zipped else "application/json"
        if self.request.method == "HEAD":
            return base.headers_only(kind, told)
        slot = documents.Slot()
        blocks = documents.stream(version, top, wanted)
        if zipped:
            blocks = archives.zip_of(blocks, modified=version.last_child_update or timezone.now())
        return StreamingHttpResponse(lists.Streamed(blocks, slot), content_type=kind, headers=told)


class Owned(base.View):
    """``[{owner}]/sources/`` and ``[{owner}]/collections/``."""

    def initial(self, request: Request, *args: Any, kind: str, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.kind = kind.removesuffix("s")
        self.owner = self._owner(**kwargs)

    def _owner(self, *, org: str = "", **_: Any) -> Any:
        if self.owner_url is None:
            return None
        if not org:
            return repos.user(self.owner_url.split("/")[2])
        found = repos.organization(org, viewer=self.user)
        access.over_organization(self.user, found, member_of=repos.membership_of(found)).demand("read", self.user)
        return found

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = access.readable_repos(self.user, repos.owned(self.owner_url, self.kind))
        if words := self.word("q"):
            found = found.filter(mnemonic__icontains=words) | found.filter(name__icontains=words)
        verbose = self.flag("verbose")
        return lists.of_query(self, found, lambda one: serializer.repo(one, detail=verbose))

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        if isinstance(self.owner, Organization):
            access.over_organization(user, self.owner).demand("admin", user)
        elif not (user.is_staff or user.pk == self.owner.pk):
            raise errors.Denied
        repo = services.create(self.owner, kind=self.kind, data=self.data(), user=user)
        return self.created(serializer.repo(repo), repo.uri)


class All(Owned):
    """The lists of all owners; nothing is created without one."""

    http_method_names = ["get", "head", "options"]


class OneRepo(Document):
    finds = "repo"

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        return self.document(repos.head(self.repo), lambda seen: serializer.repo(seen.repo))

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        self.demand("admin")
        return dialect.json_response(serializer.repo(services.edit(self.repo, data=self.data(), user=user)))

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        self.signed_in()
        self.demand("admin")
        services.delete(self.repo)
        return HttpResponse(status=204)


class Versions(base.View):
    finds = "repo"

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = repos.versions(self.repo)
        if "released" in request.query_params:
            found = found.filter(released=self.flag("released"))
        verbose = self.flag("verbose")
        return lists.of_query(self, found, lambda one: self.render(one, verbose=verbose))

    def render(self, version: RepoVersion, *, verbose: bool) -> dict[str, Any]:
        version.repo = self.repo
        return serializer.version(version, detail=verbose)

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        self.demand("admin")
        version = services.cut(self.repo, data=self.data(), user=user)
        return self.created(serializer.version(version), version.uri)


class OneVersion(Document):
    finds = "version"

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        return self.document(self.version, serializer.version)

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.changes()
        return dialect.json_response(
            serializer.version(services.edit_version(self.version, data=self.data(), user=user))
        )

    def post(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        return self.put(request, **kwargs)

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        self.changes()
        services.delete_version(self.version)
        return HttpResponse(status=204)

    def changes(self) -> Any:
        """HEAD is edited through its repository."""
        if self.version.is_head:
            self.http_method_not_allowed(self.request._request)
        user = self.signed_in()
        self.demand("admin")
        return user

    @property
    def allowed_methods(self) -> list[str]:
        if getattr(self, "version", None) is not None and self.version.is_head:
            return ["GET", "HEAD", "OPTIONS"]
        return super().allowed_methods
