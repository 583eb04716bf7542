"""What operators see and do (contract §3): repositories, versions, exports, tokens, imports, organizations."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from core import errors
from core.admin import Acting, ReadOnly, counted
from core.models import ApiToken, User
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
from exports.models.repos import HEAD
from exports.serializers import imports as import_serializer
from exports.services import exports, extras, imports, repos, tokens, webhooks


def done(view: admin.ModelAdmin[Any], request: HttpRequest, rows: Any, act: Callable[[Any], object], word: str) -> None:
    """Do something to each row, count what worked, say why the rest did not."""
    count = 0
    for row in rows:
        try:
            act(row)
            count += 1
        except errors.Fact as fact:
            view.message_user(request, f"{row}: {fact.message or fact.code}", messages.WARNING)
    view.message_user(request, f"{count} {word}.")


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
        done(
            self, request, queryset, lambda one: repos.edit_version(one, data={"released": True}, user=user), "released"
        )

    @admin.action(description="Export now", permissions=["act"])
    def export_now(self, request: HttpRequest, queryset: QuerySet[RepoVersion]) -> None:
        user = _operator(request)
        done(self, request, queryset, lambda one: exports.request(one, user=user), "asked for")


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
        return f"{build.job.progress.get('percent', 0)}% {build.job.progress.get('stage', '')}" if build.job else ""

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
        done(self, request, _of_each(queryset), lambda one: exports.rebuild(one, user=user), "are being rebuilt")

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[ExportBuild]) -> None:
        done(self, request, queryset, exports.cancel, "cancelled")

    @admin.action(description="Delete the exports of these versions", permissions=["act"])
    def delete_export(self, request: HttpRequest, queryset: QuerySet[ExportBuild]) -> None:
        done(self, request, _of_each(queryset), exports.delete_of, "deleted")


def _of_each(builds: QuerySet[ExportBuild]) -> QuerySet[ExportBuild]:
    """One build of each export among these."""
    newest = builds.filter(version__isnull=False).order_by("version_id", "variant", "-created_at", "-uuid")
    return ExportBuild.objects.select_related("version__repo").filter(
        pk__in=newest.distinct("version_id", "variant").values("pk")
    )


class NewToken(forms.ModelForm[ExportsToken]):
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
        done(self, request, queryset, extras.delete, "deleted")


class NewWebhook(forms.ModelForm[Webhook]):
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
    list_display = ("uuid", "name", "user", "state", "summary", "created_at")
    list_filter = ("created_at",)
    search_fields = ("uuid", "name", "user__username")
    list_select_related = ("job", "user")
    actions = ("retry",)

    @admin.display(description="state")
    def state(self, importing: ImportJob) -> str:
        return str(importing.job.state) if importing.job else ""

    @admin.display(description="counters")
    def summary(self, importing: ImportJob) -> str:
        return import_serializer.summary(import_serializer.counted(importing))

    @admin.action(description="Retry", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[ImportJob]) -> None:
        done(self, request, queryset, imports.retry, "started again")


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
