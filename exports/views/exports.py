"""The export of a version: asked for, watched, fetched, deleted (contract §2.3, §2.4)."""

from typing import Any, ClassVar

from django import shortcuts
from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import errors
from exports import dialect
from exports.formats import names, stamps, variants
from exports.models import ExportBuild
from exports.selectors import asked, builds, files
from exports.serializers import exports as serializer
from exports.services import exports as services
from exports.services import links
from exports.views import base, delivery

_ACCEPTED = {kind: form for form, kind in names.CONTENT_TYPES.items()}


class _OfVersion(base.View):
    """What the export and its status have in common."""

    finds = "version"
    refuses_head = True
    #: whether this may be had of HEAD, by the repository's administrators
    has_head: ClassVar[bool] = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.words: dialect.Statuses = dialect.STATUSES[settings.EXPORTS_DIALECT]
        self.applied = ""
        self.request = request
        super().initial(request, *args, **kwargs)

    def takes_head(self) -> bool:
        return bool(self.has_head and settings.EXPORTS_HEAD_FOR_ADMINS and self.rights.admin)

    def known(self) -> builds.ExportState | None:
        """The state a refusal may tell of: only to who has been let as far as the version."""
        if getattr(self, "version", None) is None or not self.rights.read:
            return None
        if self.version.is_head and not self.takes_head():
            return builds.ExportState(self.version, None, None)
        try:
            return builds.state_of(self.version, self.variant())
        except errors.Invalid:
            return None  # which export was asked for is just what could not be read

    def choose_dialect(self) -> None:
        """``?dialect=`` wins over ``Prefer``, which wins over the setting; for this request only. A parameter like the
        others, so looked at after method and rights."""
        asked = self.request.query_params.get("dialect")
        if asked is not None:
            if asked not in dialect.STATUSES:
                known = ", ".join(dialect.STATUSES)
                raise errors.Invalid(f'"{asked}" is not one of {known}.', field="dialect")
            self.words = dialect.STATUSES[asked]
            return
        for preference in self.request.META.get("HTTP_PREFER", "").split(","):
            name, _, value = preference.strip().partition("=")
            if name.lower() == "ocl-dialect" and value.strip('"') in dialect.STATUSES:
                self.words = dialect.STATUSES[value.strip('"')]
                self.applied = f"ocl-dialect={value.strip(chr(34))}"

    def variant(self) -> variants.Variant:
        """Which export of the version this is about: the plain one, or the part of it that parameters ask for."""
        query = self.request.query_params
        return asked.part(self.version, query.get("locale"), retired=self.flag("includeRetired", default=True))

    def form(self, variant: variants.Variant) -> str:
        """The archive format asked for: ``?format=``, else ``Accept``, else the setting; never 406."""
        asked = self.request.query_params.get("format")
        if asked is not None:
            if asked not in variant.forms:
                raise errors.Invalid(f'"{asked}" is not one of {", ".join(variant.forms)}.', field="format")
            return asked
        for kind in self.request.META.get("HTTP_ACCEPT", "").split(","):
            form = _ACCEPTED.get(kind.split(";")[0].strip().lower())
            if form in variant.forms:
                return form
        default: str = settings.EXPORTS_DEFAULT_FORMAT
        return default if default in variant.forms else variant.forms[0]

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        if self.applied:
            response["Preference-Applied"] = self.applied
        if 400 <= response.status_code < 500 and (state := self.known()):
            for name, value in serializer.headers(state).items():
                response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Vary", "Accept, Authorization, Prefer")
        return super().finalize_response(request, response, *args, **kwargs)


class Export(_OfVersion):
    http_method_names = ["get", "post", "delete", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        self.choose_dialect()
        variant = self.variant()
        form, plain, streamed = self.form(variant), self.flag("noRedirect"), self.flag("stream")
        state = builds.state_of(self.version, variant)
        if state.ready is None:
            return self.answer(state, status=self.words.pending if state.active else 204)
        if streamed:
            return self.streamed(state, state.ready, form)
        if plain:
            return self.described(state, state.ready, form)
        return self.redirect(state, state.ready, form, status=self.words.ready)

    def head(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        return self.get(request, **kwargs)

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        force = self.flag("force")
        if force:
            self.demand("admin")
        self.choose_dialect()
        variant = self.variant()
        form, plain = self.form(variant), self.flag("noRedirect")
        requested = services.request(self.version, user=user, force=force, variant=variant)
        if requested.build is not None:
            state = builds.started(self.version, requested.build, variant)
            return self.answer(state, status=202, body=serializer.document(state))
        # the version was read before the archive was looked for
        state = builds.again(builds.ExportState(self.version, None, None, variant))
        if requested.outcome == "ready" and state.ready:
            return self.already_there(state, state.ready, form, plain=plain)
        body = {"detail": "An export of this version is already being created."}
        status = self.words.post_active
        return self.answer(state, status=status, body=body if status == 409 else None)

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        self.signed_in()
        self.demand("admin")
        self.choose_dialect()
        variant = self.variant()
        was_there = services.delete(self.version, variant)
        if variant == variants.PLAIN:
            self.version.current_build = None
        state = builds.state_of(self.version, variant)
        status = self.words.deleted if was_there else self.words.nothing_to_delete
        return self.answer(state, status=status, body={"detail": "The export was deleted."} if status == 200 else None)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        response = HttpResponse(b"", content_type="application/json")
        is_head = getattr(self, "version", None) is not None and self.version.is_head
        response["Allow"] = "OPTIONS" if is_head and not self.takes_head() else "GET, POST, DELETE, HEAD, OPTIONS"
        return response

    # -- answers ------------------------------------------------------------------------------------------------

    def answer(self, state: builds.ExportState, *, status: int, body: Any = None) -> HttpResponse:
        response = dialect.json_response(body, status=status) if body is not None else HttpResponse(status=status)
        if body is None:
            del response["Content-Type"]
        for name, value in serializer.headers(state).items():
            response[name] = value
        return response

    def beside_archive(
        self, response: HttpResponseBase, state: builds.ExportState, build: ExportBuild, form: str
    ) -> HttpResponseBase:
        told = serializer.archive_headers(state, build, form, size=files.size(build, form))
        for name, value in {**serializer.headers(state), **told}.items():
            response[name] = value
        return response

    def redirect(self, state: builds.ExportState, build: ExportBuild, form: str, *, status: int) -> HttpResponseBase:
        response = HttpResponse(status=status)
        del response["Content-Type"]
        response["Location"] = self.absolute(links.path(build, form))
        return self.beside_archive(response, state, build, form)

    def already_there(
        self, state: builds.ExportState, build: ExportBuild, form: str, *, plain: bool
    ) -> HttpResponseBase:
        response = HttpResponse(status=204 if plain else 303)
        del response["Content-Type"]
        if not plain:
            response["URL"] = serializer.url(state)
            if self.words.post_ready_location:
                response["Location"] = self.absolute(links.path(build, form))
        return self.beside_archive(response, state, build, form)

    def described(self, state: builds.ExportState, build: ExportBuild, form: str) -> HttpResponseBase:
        """``noRedirect=true``: the link in a body, for clients that cannot read a redirect."""
        sums = {"zip": build.zip_sha256, "tgz": build.tgz_sha256}
        body = {
            "url": self.absolute(links.path(build, form)),
            "lastUpdated": stamps.offset_iso(build.last_updated) if build.last_updated else None,
            "size": files.size(build, form),
            "sha256": sums.get(form),
        }
        return self.beside_archive(dialect.json_response(body), state, build, form)

    def streamed(self, state: builds.ExportState, build: ExportBuild, form: str) -> HttpResponseBase:
        """``stream=true``: the archive itself, for clients that follow nothing."""
        response = delivery.whole(build, form, head=self.request.method == "HEAD")
        kept = response["Cache-Control"]
        told = self.beside_archive(response, state, build, form)
        told["Cache-Control"] = kept  # it is no-store as well, and nobody on the way may repack the bytes
        return told


class Status(_OfVersion):
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        self.choose_dialect()
        state = builds.state_of(self.version, self.variant())
        if "text/html" in request.META.get("HTTP_ACCEPT", ""):
            response: HttpResponse = self.page(request, state)
        else:
            response = dialect.json_response(serializer.document(state))
        for name, value in serializer.headers(state).items():
            response[name] = value
        return response

    def page(self, request: Request, state: builds.ExportState) -> HttpResponse:
        """The same for people; it refreshes itself while something is being built, unless told to stand still."""
        refreshes = state.active is not None and not self.flag("still")
        query = request.query_params.copy()
        query["still"] = str(refreshes).lower()
        status = serializer.document(state)
        counts = {kind.replace("_", " "): count for kind, count in (status["counts"] or {}).items()}
        context = {"state": state, "status": status, "counts": counts, "version": self.version, "repo": self.repo}
        told = {**context, "refreshes": refreshes, "other": query.urlencode()}
        response = shortcuts.render(request._request, "exports/status.html", told)
        if refreshes:
            response["Refresh"] = "2"
        return response


class OfDelta(_OfVersion):
    has_head = False

    def variant(self) -> variants.Variant:
        return asked.delta(self.version, self.request.query_params.get("since"))


class Delta(OfDelta, Export):
    """What changed since another version or an instant, as an archive built like any export (contract §10.2)."""


class DeltaStatus(OfDelta, Status):
    """The state of one delta."""


class OfFhir(_OfVersion):
    has_head = False

    def variant(self) -> variants.Variant:
        return variants.FHIR


class Fhir(OfFhir, Export):
    """The version as a FHIR R4 package (contract §10.3)."""


class FhirStatus(OfFhir, Status):
    """The state of the FHIR package."""


class OfTables(_OfVersion):
    has_head = False

    def variant(self) -> variants.Variant:
        return variants.CSV


class Tables(OfTables, Export):
    """The version as CSV files in a zip (contract §10.4)."""


class TablesStatus(OfTables, Status):
    """The state of the CSV files."""


class Processing(base.View):
    """Whether a build runs, as the original's clients ask."""

    finds = "version"
    refuses_head = True
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        state = builds.state_of(self.version)
        return HttpResponse(str(state.active is not None), content_type="text/plain")
