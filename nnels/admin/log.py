"""Issued links, their totals, imports."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from core import errors
from core.admin import ONE_BUTTON
from nnels import forms as own_forms
from nnels import models
from nnels.admin import staff
from nnels.services import files, uses

#: digits that a 64-bit id can always hold
LONGEST_ID = 18


class Chosen(admin.SimpleListFilter):
    """Rows of one account or title, chosen by the links in the list: a menu of all would have no end."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = self.value()
        return [(chosen, chosen)] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if not chosen:
            return queryset
        if not (chosen.isascii() and chosen.isdigit() and len(chosen) <= LONGEST_ID):
            return queryset.none()
        return queryset.filter(**{self.parameter_name or "": int(chosen)})


class ChosenTitle(Chosen):
    title = "item"
    parameter_name = "item_id"


class ChosenAccount(Chosen):
    title = "account"
    parameter_name = "user_id"


@admin.register(models.UrlIssue)
class UrlIssueAdmin(staff.ReadOnly, admin.ModelAdmin[models.UrlIssue]):
    """Who was handed links to what."""

    list_display = ("at", "account", "title", "purpose", "expires_at", "ip_prefix")
    list_filter = ("at", ChosenTitle, ChosenAccount, "purpose")
    list_select_related = ("user", "item")
    search_fields = ("user__username", "item__label", "=item__id")
    date_hierarchy = "at"
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.UrlIssue]:
        return super().get_queryset(request).defer("item__search_wide", "item__doc")

    @admin.display(description="item", ordering="item_id")
    def title(self, issue: models.UrlIssue) -> str:
        """The title, or the nid of one that is gone; leads to its rows."""
        words = str(issue.item) if issue.item else f"{issue.item_id} (deleted)"
        return format_html('<a href="?item_id={}">{}</a>', str(issue.item_id), words)

    @admin.display(description="account", ordering="user__username")
    def account(self, issue: models.UrlIssue) -> str:
        """Who asked; leads to their rows."""
        if issue.user is None:
            return "(deleted)"
        return format_html('<a href="?user_id={}">{}</a>', str(issue.user_id), issue.user)


@admin.register(models.IssueTotal)
class IssueTotalAdmin(staff.ReadOnly, admin.ModelAdmin[models.IssueTotal]):
    """What remains of the log, and the use report."""

    list_display = ("day", "title", "purpose", "issues")
    list_filter = ("day", "purpose")
    list_select_related = ("item",)
    search_fields = ("item__label", "=item__id")
    date_hierarchy = "day"
    show_full_result_count = False
    change_list_template = "admin/nnels/issuetotal/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.IssueTotal]:
        return super().get_queryset(request).defer("item__search_wide", "item__doc")

    @admin.display(description="item", ordering="item_id")
    def title(self, total: models.IssueTotal) -> str:
        """The title, or the nid of one that is gone."""
        return str(total.item) if total.item else f"{total.item_id} (deleted)"

    def get_urls(self) -> list[URLPattern]:
        own = path("report/", self.admin_site.admin_view(self.report), name="nnels_use_report")
        return [own, *super().get_urls()]

    def report(self, request: HttpRequest) -> HttpResponseBase:
        """The use report of the asked months as a file."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        first, last = request.GET.get("from", ""), request.GET.get("to", "")
        try:
            begin = uses.month(first, field="from") if first else None
            end = uses.month(last, field="to") if last else None
        except errors.Invalid as fact:
            self.message_user(request, fact.message, messages.ERROR)
            return redirect("admin:nnels_issuetotal_changelist")
        response = StreamingHttpResponse(uses.csv_lines(begin, end), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="uses.csv"'
        response["Cache-Control"] = "private, no-store"
        return response


@admin.register(models.ImportRun)
class ImportRunAdmin(staff.ReadOnly, admin.ModelAdmin[models.ImportRun]):
    """Imports; a new one is asked for by naming a folder below the import root."""

    list_display = (
        "started_at", "who", "folder", "state", "created_count", "updated_count", "unchanged_count", "rejected_count",
        "report",
    )  # fmt: skip
    list_filter = ("started_at", "state")
    list_select_related = ("who",)
    search_fields = ("folder", "who__username")
    actions = ("cancel",)
    shown = (
        "folder", "who", "state", "error", "started_at", "finished_at", "created_count", "updated_count",
        "unchanged_count", "rejected_count", "report", "job_id",
    )  # fmt: skip

    @admin.display(description="report")
    def report(self, run: models.ImportRun) -> str:
        """The way to the report, while it is kept."""
        if not run.report_key:
            return "-"
        return format_html('<a href="{}">report.csv</a>', reverse("admin:nnels_import_report", args=[run.pk]))

    def get_urls(self) -> list[URLPattern]:
        own = path("<int:run_id>/report/", self.admin_site.admin_view(self.follow), name="nnels_import_report")
        return [own, *super().get_urls()]

    def follow(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Redirect to a fresh link to a run's report."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        try:
            return redirect(files.report_url(run_id))
        except errors.NotFound as fact:
            self.message_user(request, fact.message, messages.ERROR)
            return redirect("admin:nnels_importrun_changelist")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whoever may ask for imports may stop them; nobody edits their rows."""
        return self.has_add_permission(request)

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[models.ImportRun]) -> None:
        """Stop imports; what was stored stays."""
        runs = [run for run in queryset if run.job_id is not None]
        stopped = [run for run in runs if run.job_id and files.cancel_import(run.job_id)]
        staff.note_actions(request, stopped, "Cancelled.")
        self.message_user(request, f"{len(stopped)} cancelled.")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("nnels.add_importrun"))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else own_forms.ImportForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.shown if obj else ("folder", "rights", "is_published")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.shown if obj else ()

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**ONE_BUTTON, **(extra_context or {})})

    def response_add(self, request: HttpRequest, obj: models.ImportRun, post_url_continue: Any = None) -> HttpResponse:
        """Where to see how far it is, instead of Django's words for a row that was filled in."""
        self.message_user(request, f"The import of {obj.folder} was asked for. Load this list again to see its state.")
        return redirect("admin:nnels_importrun_changelist")

    def save_model(self, request: HttpRequest, obj: models.ImportRun, form: Any, change: bool) -> None:
        run = files.request_import(
            form.cleaned_data["folder"],
            requested_by=staff.user_of(request),
            rights=form.cleaned_data["rights"] or None,
            is_published=form.cleaned_data["is_published"],
        )
        obj.pk = run.pk
        obj.refresh_from_db()
