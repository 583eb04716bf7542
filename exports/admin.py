"""What operators see and do (contract §3): repositories, versions, exports, tokens, imports, organizations."""

from typing import Any
from uuid import UUID

from django import forms as django_forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from core import errors, jobs
from core.admin import ONE_BUTTON, Acting, ReadOnly, act_on_each, counted
from core.models import ApiToken, User
from exports import forms
from exports.formats import text
from exports.models import (
    ExportBuild,
    ExportsToken,
    ExtraFile,
    ImportJob,
    Membership,
    Organization,
    Repo,
    RepoVersion,
    Webhook,
)
from exports.models.builds import BuildState
from exports.models.repos import HEAD
from exports.serializers import imports as import_serializer
from exports.services import exports, extras, imports, repos, tokens, webhooks

#: how many records an import's page shows of each kind
_NOTES = 50


class OwnerType(admin.SimpleListFilter):
    title = "owner type"
    parameter_name = "owner_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("org", "organization"), ("user", "user")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("org", "user"):
            return queryset
        return queryset.filter(organization__isnull=self.value() == "user")


@admin.register(Repo)
class Repos(ReadOnly):
    list_display = ("uri", "kind", "mnemonic", "public_access", "concept_count", "mapping_count", "updated_at")
    list_filter = ("kind", "public_access", OwnerType)
    search_fields = ("uri", "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        held = super().get_queryset(request)
        counted: QuerySet[Any] = held.annotate(
            n_concepts=Count("concepts", distinct=True), n_mappings=Count("mappings", distinct=True)
        )
        return counted

    @admin.display(description="concepts")
    def concept_count(self, repo: Any) -> int:
        return int(repo.n_concepts)

    @admin.display(description="mappings")
    def mapping_count(self, repo: Any) -> int:
        return int(repo.n_mappings)


@admin.register(RepoVersion)
class Versions(ReadOnly):
    list_display = ("__str__", "released", "created_at", "concepts", "mappings", "export_state")
    list_filter = ("released", "created_at")
    search_fields = ("repo__uri", "name")
    list_select_related = ("repo", "current_build")
    actions = ("release", "export_now")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).exclude(name=HEAD)

    @admin.display(description="export")
    def export_state(self, version: RepoVersion) -> str:
        return version.current_build.state if version.current_build else "none"

    @admin.action(description="Release", permissions=["act"])
    def release(self, request: HttpRequest, queryset: QuerySet[RepoVersion]) -> None:
        user = _operator(request)
        act_on_each(
            self, request, queryset, lambda one: repos.edit_version(one, data={"released": True}, user=user), "released"
        )

    @admin.action(description="Export now", permissions=["act"])
    def export_now(self, request: HttpRequest, queryset: QuerySet[RepoVersion]) -> None:
        user = _operator(request)
        act_on_each(self, request, queryset, lambda one: exports.request(one, user=user), "asked for")


def _operator(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise errors.Unauthenticated
    return request.user


@admin.register(ExportBuild)
class Builds(ReadOnly):
    list_display = (
        "__str__",
        "variant",
        "state",
        "progress",
        "size",
        "tgz_sha256",
        "duration",
        "requested_by",
        "error_code",
    )
    list_filter = ("state", "created_at")
    search_fields = ("repo_name", "version_name", "uuid")
    list_select_related = ("job", "requested_by", "version__repo")
    actions = ("rebuild", "cancel", "delete_export")

    @admin.display(description="progress")
    def progress(self, build: ExportBuild) -> str:
        if build.state == BuildState.READY or not build.job:
            return ""
        return f"{build.job.progress.get('percent', 0)}% {build.job.progress.get('stage', '')}"

    @admin.display(description="size")
    def size(self, build: ExportBuild) -> str:
        return filesizeformat(build.tgz_size) if build.tgz_size else ""

    @admin.display(description="seconds")
    def duration(self, build: ExportBuild) -> str:
        if not build.job or not build.job.started_at:
            return ""
        return f"{((build.finished_at or timezone.now()) - build.job.started_at).total_seconds():.1f}"

    @admin.action(description="Rebuild", permissions=["act"])
    def rebuild(self, request: HttpRequest, queryset: QuerySet[ExportBuild]) -> None:
        user = _operator(request)
        act_on_each(self, request, _of_each(queryset), lambda one: exports.rebuild(one, user=user), "are being rebuilt")

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[ExportBuild]) -> None:
        act_on_each(self, request, queryset, exports.cancel, "cancelled")

    @admin.action(description="Delete the exports of these versions", permissions=["act"])
    def delete_export(self, request: HttpRequest, queryset: QuerySet[ExportBuild]) -> None:
        act_on_each(self, request, _of_each(queryset), exports.delete_of, "deleted")


def _of_each(builds: QuerySet[ExportBuild]) -> QuerySet[ExportBuild]:
    """One build of each export among these."""
    newest = builds.filter(version__isnull=False).order_by("version_id", "variant", "-created_at", "-uuid")
    return ExportBuild.objects.select_related("version__repo").filter(
        pk__in=newest.distinct("version_id", "variant").values("pk")
    )


class NewToken(django_forms.ModelForm[ExportsToken]):
    class Meta:
        model = ExportsToken
        fields = ("user", "label")


@admin.register(ExportsToken)
class Tokens(Acting, admin.ModelAdmin[ExportsToken]):
    """Issue a token: its secret is shown once, right after."""

    form = NewToken
    list_display = ("user", "shown", "label", "created_at", "last_used_at", "expires_at", "revoked_at")
    search_fields = ("user__username", "label", "prefix")
    list_select_related = ("user",)
    autocomplete_fields = ("user",)
    actions = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExportsToken]:
        return super().get_queryset(request).filter(audience=tokens.AUDIENCE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="token")
    def shown(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        token, secret = tokens.issue(obj.user, label=obj.label)
        obj.pk = token.pk
        self.message_user(request, f"The token is {secret} – it is shown only now.", messages.WARNING)

    @admin.action(description="Revoke the selected tokens", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ExportsToken]) -> None:
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"{counted(count, 'token was', 'tokens were')} revoked.")


@admin.register(ExtraFile)
class ExtraFiles(ReadOnly):
    list_display = ("name", "version", "content_type", "size", "sha256", "updated_at", "updated_by")
    search_fields = ("name", "version__repo__uri")
    list_select_related = ("version__repo",)
    actions = ("remove",)

    @admin.action(description="Delete the selected files", permissions=["act"])
    def remove(self, request: HttpRequest, queryset: QuerySet[ExtraFile]) -> None:
        act_on_each(self, request, queryset, extras.delete, "deleted")


class NewWebhook(django_forms.ModelForm[Webhook]):
    class Meta:
        model = Webhook
        fields = ("repo", "url", "on_ready", "on_failed")

    def clean(self) -> dict[str, Any] | None:
        """The rules of the API, in its words; the webhook itself is made when the form is saved."""
        cleaned = super().clean()
        if url := self.cleaned_data.get("url"):
            try:
                webhooks.check_url(url)
            except errors.Invalid as fact:
                self.add_error("url", fact.message)
        if not (self.cleaned_data.get("on_ready") or self.cleaned_data.get("on_failed")):
            self.add_error("on_ready", "A webhook needs at least one event.")
        return cleaned


@admin.register(Webhook)
class Webhooks(admin.ModelAdmin[Webhook]):
    """Register a webhook: its secret is shown once, right after. Deliveries are in the core's list."""

    form = NewWebhook
    list_display = ("repo", "url", "on_ready", "on_failed", "created_at", "created_by")
    search_fields = ("repo__uri", "url")
    list_select_related = ("repo",)
    autocomplete_fields = ("repo",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        wanted = form.cleaned_data
        events = [word for word in webhooks.EVENTS if wanted[f"on_{word}"]]
        made, secret = webhooks.register(wanted["repo"], url=wanted["url"], events=events, user=_operator(request))
        obj.pk = made.pk
        self.message_user(request, f"The secret is {secret} – it is shown only now.", messages.WARNING)


@admin.register(ImportJob)
class Imports(ReadOnly):
    """Files brought in; a new one is uploaded here, by the code of the API."""

    list_display = ("name", "user", "state", "summary", "created_at", "uuid")
    list_filter = ("created_at",)
    search_fields = ("uuid", "name", "user__username")
    list_select_related = ("job", "user")
    actions = ("retry",)
    asked = ("file", "owner", "update_if_exists", "atomic")
    shown = ("name", "user", "state", "error", "summary", "troubles", "brought", "report", "options", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exports.add_importjob")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else forms.ImportForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown if obj else self.asked

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown if obj else ()

    def get_urls(self) -> list[URLPattern]:
        own = path("<uuid:key>/report/", self.admin_site.admin_view(self.whole_report), name="exports_import_report")
        return [own, *super().get_urls()]

    def whole_report(self, request: HttpRequest, key: UUID) -> HttpResponseBase:
        """What became of every record, as JSON."""
        importing = self.get_object(request, str(key)) if self.has_view_permission(request) else None
        if importing is None:
            raise Http404
        return StreamingHttpResponse(import_serializer.report(importing), content_type="application/json")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**ONE_BUTTON, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        file = form.cleaned_data["file"]
        made = imports.request(file.chunks(), user=_operator(request), name=file.name, options=form.options())
        obj.pk = made.pk
        obj.refresh_from_db()

    def response_add(self, request: HttpRequest, obj: ImportJob, post_url_continue: Any = None) -> HttpResponse:
        """To the page of the import, which follows it."""
        self.message_user(request, "The file is being read; this page looks again by itself until that is done.")
        return redirect("admin:exports_importjob_change", obj.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        importing = (getattr(response, "context_data", None) or {}).get("original")
        if importing is not None and importing.job is not None and importing.job.state in jobs.ACTIVE:
            response["Refresh"] = "3"
        return response

    @admin.display(description="state")
    def state(self, importing: ImportJob) -> str:
        return str(importing.job.state) if importing.job else ""

    @admin.display(description="error")
    def error(self, importing: ImportJob) -> str:
        return (importing.job.error_message if importing.job else "") or "-"

    @admin.display(description="counters")
    def summary(self, importing: ImportJob) -> str:
        return import_serializer.summary(import_serializer.counted(importing))

    @admin.display(description="not taken")
    def troubles(self, importing: ImportJob) -> str:
        """The first records that were not taken, with the reason; the report has all."""
        notes = importing.notes.exclude(outcome__in=import_serializer.TAKEN).order_by("id")[:_NOTES]
        lines = ((note.line, note.type, note.url, note.outcome, text.dumps(note.errors)) for note in notes)
        return format_html_join("", "<div>line {}: {} {} {} {}</div>", lines) or "-"

    @admin.display(description="repositories")
    def brought(self, importing: ImportJob) -> str:
        """The pages of the repositories that were brought in, where their exports are built."""
        notes = importing.notes.filter(outcome__in=import_serializer.TAKEN, type__in=("Source", "Collection"))
        lines = ((note.url, note.url) for note in notes.order_by("id")[:_NOTES])
        return format_html_join("", '<div><a href="/exports{}">{}</a></div>', lines) or "-"

    @admin.display(description="report")
    def report(self, importing: ImportJob) -> str:
        return format_html(
            '<a href="{}">all records (JSON)</a>', reverse("admin:exports_import_report", args=[importing.pk])
        )

    @admin.action(description="Retry", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[ImportJob]) -> None:
        act_on_each(self, request, queryset, imports.retry, "started again")


class Members(admin.TabularInline[Membership, Organization]):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Organization)
class Organizations(admin.ModelAdmin[Organization]):
    list_display = ("mnemonic", "name", "public_access", "sources", "updated_at")
    list_filter = ("public_access",)
    search_fields = ("mnemonic", "name")
    readonly_fields = ("mnemonic", "uuid", "created_at", "updated_at", "created_by", "updated_by")
    inlines = (Members,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(n_sources=Count("repos", filter=Q(repos__kind="source")))

    @admin.display(description="sources")
    def sources(self, organization: Any) -> int:
        return int(organization.n_sources)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
