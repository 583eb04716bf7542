"""What operators see of the registry; every action goes through the services (contract 3, Admin)."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core import auth, errors
from core.admin import ReadOnly, act_on_each, counted
from registry import forms, selectors
from registry.admin import errands
from registry.formats import imports, report
from registry.jobs import edit
from registry.models import Account, Harvest, HarvestRun, Organization, Record, Subscription
from registry.services import accounts, harvests


def progress(run: HarvestRun) -> str:
    """How far a run is, or was when it ended."""
    done, total = run.job.progress.get("done"), run.job.progress.get("total")
    return f"{done} of {total}" if total else ""


class Importing(admin.ModelAdmin[Any]):
    """A table that takes files: `what` of them, with a button above the list."""

    what: ClassVar[str]
    change_list_template = "registry/admin/change_list.html"

    class Media:
        css = {"all": ["core/admin.css"]}

    @property
    def tools(self) -> list[tuple[str, str]]:
        """Buttons above the list: name of the address, words."""
        return [(f"admin:registry_import_{self.what}", errands.TITLES[self.what])]

    def get_urls(self) -> list[URLPattern]:
        bring_in = self.admin_site.admin_view(self.bring_in)
        return [path("import/", bring_in, name=f"registry_import_{self.what}"), *super().get_urls()]

    def bring_in(self, request: HttpRequest) -> HttpResponse:
        """The page behind the button; people may log in and own things, so who imports them may do both."""
        if not self.has_add_permission(request) or not self.has_change_permission(request):
            raise PermissionDenied
        return errands.import_page(self, request, self.what)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        tools = self.tools if self.has_add_permission(request) else []
        return super().changelist_view(request, {"tools": tools, **(extra_context or {})})


@admin.register(Organization)
class Organizations(Importing):
    what = "organizations"
    list_display = ["name", "slug", "url"]
    search_fields = ["name", "slug"]
    readonly_fields = ["slug", "waf_version", "waf_changed_at"]

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        """A new organisation gets its folder name here, once."""
        if change:
            super().save_model(request, obj, form, change)
            return
        fields = ("description", "url", "logo_url", "ckan_harvest_url")
        made = edit.create_organization(obj.name, **{name: getattr(obj, name) for name in fields})
        obj.pk, obj.slug = made.pk, made.slug

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        """Not while it has harvests."""
        return super().has_delete_permission(request, obj) and not (obj and obj.harvests.exists())


@admin.register(Harvest)
class Harvests(Importing):
    what = "harvests"
    form = forms.HarvestForm
    change_form_template = "registry/admin/harvest.html"
    list_display = [
        "name",
        "organization",
        "harvest_type",
        "publish",
        "paused",
        "last_record_count",
        "last_bad_count",
        "last_finished",
        "last_status",
        "next_due",
        "active_run",
    ]
    list_filter = ["organization", "harvest_type", "last_status", "publish", "paused"]
    search_fields = ["name", "url", "uid"]
    list_select_related = ["organization"]
    readonly_fields = [
        "uid",
        "last_finished",
        "last_status",
        "last_record_count",
        "last_good_count",
        "last_bad_count",
        "next_due",
        "active_run",
        "history",
        "good_and_bad",
    ]
    actions = ["harvest_now", "cancel", "pause", "resume", "accept_shrink", "revalidate", "export_csv", "remove"]

    @property
    def tools(self) -> list[tuple[str, str]]:
        return [*super().tools, ("admin:registry_check", "Check documents or a source")]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("check/", view(self.check_documents), name="registry_check"),
            path("errands/<uuid:number>/", view(self.errand), name="registry_errand"),
            path("errands/<uuid:number>/report.csv", view(self.report), name="registry_report"),
            path("<int:pk>/documents/", view(self.documents), name="registry_documents"),
            path("<int:pk>/act/<slug:name>/", view(self.act), name="registry_act"),
            *super().get_urls(),
        ]

    def check_documents(self, request: HttpRequest) -> HttpResponse:
        """The page behind the button Check."""
        self._refuse_strangers(request)
        return errands.check_page(self, request)

    def errand(self, request: HttpRequest, number: UUID) -> HttpResponse:
        """What became of an import or check."""
        self._refuse_strangers(request)
        return errands.errand_page(self, request, number)

    def report(self, request: HttpRequest, number: UUID) -> HttpResponseBase:
        """The whole report of an import or check."""
        self._refuse_strangers(request)
        return errands.report_file(number)

    def documents(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page behind the button Import documents."""
        self._refuse_strangers(request)
        return errands.documents_page(self, request, pk)

    def act(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """One of the buttons of a harvest's page."""
        self._refuse_strangers(request)
        if request.method != "POST" or name not in self.acts:
            raise Http404
        getattr(self, name)(request, self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(reverse("admin:registry_harvest_change", args=[pk]))

    def _refuse_strangers(self, request: HttpRequest) -> None:
        if not self.has_change_permission(request):
            raise PermissionDenied

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        acts = list(self.acts.items()) if self.has_change_permission(request) else []
        return super().change_view(request, object_id, form_url, {"acts": acts, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Harvest]:
        return selectors.with_active_run(super().get_queryset(request))

    acts: ClassVar = {
        "harvest_now": "Harvest now",
        "cancel": "Cancel the run",
        "pause": "Pause",
        "resume": "Resume",
        "accept_shrink": "Accept shrink and re-run",
    }

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Deleting is asynchronous, so Django's own action is not offered."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def has_delete_permission(self, request: HttpRequest, obj: Harvest | None = None) -> bool:
        return False

    @admin.display(description="Active run")
    def active_run(self, harvest: Harvest) -> str:
        return "deleting" if harvest.deleting else getattr(harvest, "active_state", None) or ""

    @admin.display(description="Last runs")
    def history(self, harvest: Harvest) -> SafeString:
        """The newest runs with how far they are, each leading to its page."""
        line = '<tr><td><a href="{}">{}</a></td><td>{}</td><td>{}</td><td>{} good</td><td>{} bad</td><td>{}</td></tr>'
        rows = (
            (
                reverse("admin:registry_harvestrun_change", args=[run.pk]),
                f"{run.created_at:%Y-%m-%d %H:%M}",
                run.trigger,
                run.state,
                run.good,
                run.bad,
                run.failure_code or progress(run),
            )
            for run in harvest.runs.select_related("job").order_by("-id")[:10]
        )
        return format_html("<table>{}</table>", format_html_join("", line, rows)) if harvest.pk else SafeString("")

    @admin.display(description="Good and bad over time")
    def good_and_bad(self, harvest: Harvest) -> SafeString:
        """A chart of the last good runs that needs no script."""
        runs = list(harvest.runs.filter(state=HarvestRun.State.OK).order_by("-id")[:30])
        rows = ((f"{r.finished_at:%Y-%m-%d %H:%M}", r.good, r.bad, max(r.done, 1), r.good) for r in reversed(runs))
        bar = '<meter max="{}" value="{}"></meter>'
        line = "<tr><td>{}</td><td>{} good</td><td>{} bad</td><td>" + bar + "</td></tr>"
        return format_html("<table>{}</table>", format_html_join("", line, rows))

    def save_model(self, request: HttpRequest, obj: Harvest, form: Any, change: bool) -> None:
        """Through the services, so that guards, folders and first runs follow."""
        access = selectors.Access(errands.person(request), is_admin=True)
        if change:
            changed = {*form.changed_data, "credentials"}
            values = {name: value for name, value in form.cleaned_data.items() if name in changed}
            edit.save(selectors.harvest(obj.uid), values, access=access)
        else:
            harvests.add(obj, access=access)

    @admin.action(description="Harvest now", permissions=["change"])
    def harvest_now(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        user = errands.person(request)
        act_on_each(
            self, request, queryset, lambda h: harvests.run_now(h, user=user, via=HarvestRun.Trigger.ADMIN), "queued"
        )

    @admin.action(description="Cancel the active run", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        runs, done = HarvestRun.objects.filter(harvest__in=queryset, state__in=HarvestRun.ACTIVE), 0
        for run in runs:
            try:
                harvests.cancel(run)
                done += 1
            except errors.Conflict:
                self.message_user(request, f"{run} has just ended.", messages.WARNING)
        self.message_user(request, f"{counted(done, 'run is', 'runs are')} being cancelled.")

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        act_on_each(self, request, queryset, lambda h: harvests.pause(h, paused=True), "paused")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        act_on_each(self, request, queryset, lambda h: harvests.pause(h, paused=False), "resumed")

    @admin.action(description="Accept shrink and re-run", permissions=["change"])
    def accept_shrink(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        user = errands.person(request)
        act_on_each(
            self,
            request,
            queryset,
            lambda h: harvests.accept_shrink(h, user=user, via=HarvestRun.Trigger.ADMIN),
            "queued",
        )

    @admin.action(description="Re-validate stored documents", permissions=["change"])
    def revalidate(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        user, via = errands.person(request), HarvestRun.Trigger.ADMIN
        act_on_each(self, request, queryset, lambda h: harvests.run_now(h, user=user, via=via, mode="stored"), "queued")

    @admin.action(description="Export CSV")
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> StreamingHttpResponse:
        names = [name.replace("_id", "uid") if name == "_id" else name for name in imports.HARVEST_COLUMNS]
        fields = ["organization__name" if name == "organization" else name for name in names]
        rows = queryset.order_by("id").values_list(*fields)
        response = StreamingHttpResponse(report.csv_blocks(imports.HARVEST_COLUMNS, rows), content_type="text/csv")
        response["Content-Disposition"] = 'attachment; filename="harvests.csv"'
        return response

    @admin.action(description="Delete (asynchronous)", permissions=["change"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Harvest]) -> None:
        act_on_each(
            self, request, queryset, lambda h: harvests.delete(h, user=errands.person(request)), "being deleted"
        )


@admin.register(HarvestRun)
class Runs(ReadOnly):
    list_display = [
        "harvest",
        "trigger",
        "state",
        "duration",
        "good",
        "bad",
        "added",
        "changed",
        "removed",
        "failure_code",
    ]
    list_filter = ["state", "failure_code", "harvest__organization", "created_at"]
    list_select_related = ["harvest", "job"]
    search_fields = ["harvest__name"]
    readonly_fields = ["progress"]
    actions = ["undo"]

    @admin.action(description="Undo the swap (the last one of a harvest, within 7 days)")
    def undo(self, request: HttpRequest, queryset: QuerySet[HarvestRun]) -> None:
        """Whoever may change harvests may bring their records back."""
        if not request.user.has_perm("registry.change_harvest"):
            raise PermissionDenied
        for run in queryset:
            try:
                harvests.undo(run)
                self.message_user(request, f"{run} was undone; the source is paused.")
            except errors.Conflict as fact:
                self.message_user(request, f"{run}: {fact.message}", messages.ERROR)

    @admin.display
    def duration(self, run: HarvestRun) -> str:
        return str(run.finished_at - run.started_at).split(".")[0] if run.finished_at and run.started_at else ""

    @admin.display
    def progress(self, run: HarvestRun) -> str:
        return progress(run)


@admin.register(Account)
class Accounts(Importing):
    what = "users"
    list_display = ["user", "approved", "is_registry_admin", "email_verified"]
    list_filter = ["approved", "is_registry_admin", "organizations"]
    search_fields = ["user__username", "user__email"]
    autocomplete_fields = ["user"]
    filter_horizontal = ["organizations"]
    actions = ["approve", "revoke_tokens", "deactivate"]

    @admin.display(boolean=True)
    def email_verified(self, account: Account) -> bool:
        return account.user.addresses.filter(is_primary=True, is_verified=True).exists()

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        """Nobody disapproves or demotes themselves, and the last administrator stays (up)."""
        if obj is not None and (obj.user_id == request.user.pk or accounts.last_admin(obj)):
            return ["user", "approved", "is_registry_admin"]
        return ["user"] if obj is not None else []

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False

    @admin.action(description="Approve", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        self.message_user(request, f"{accounts.approve(queryset.select_related('user'))} approved.")

    @admin.action(description="Revoke tokens", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        revoked = sum(auth.revoke_tokens(account.user, audience="registry") for account in queryset)
        self.message_user(request, f"{counted(revoked, 'token', 'tokens')} revoked.")

    @admin.action(description="Deactivate", permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Not oneself, not the last administrator."""
        done = 0
        for account in queryset.select_related("user"):
            if account.user_id == request.user.pk or accounts.last_admin(account):
                self.message_user(request, f"{account} stays.", messages.ERROR)
                continue
            accounts.deactivate(account)
            done += 1
        self.message_user(request, f"{done} deactivated.")


@admin.register(Record)
class Records(ReadOnly):
    list_display = ["title", "harvest", "standard", "kind", "valid", "error_count", "warning_count", "stale_since"]
    list_filter = ["harvest__organization", "valid", "standard", "kind"]
    search_fields = ["title", "url", "file_id"]
    list_select_related = ["harvest"]
    readonly_fields = ["original"]

    @admin.display(description="Original XML")
    def original(self, record: Record) -> str:
        if not record.content_sha256:
            return ""
        return format_html('<a href="{}">XML</a>', reverse("registry-original", args=[record.pk]))


@admin.register(Subscription)
class Subscriptions(admin.ModelAdmin[Subscription]):
    form = forms.AdminSubscriptionForm
    list_display = ["user", "harvest", "event", "webhook_url"]
    autocomplete_fields = ["user", "harvest"]
