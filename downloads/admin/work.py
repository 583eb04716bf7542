"""Downloads with their builds and parts, notifications, quotas."""

from __future__ import annotations

import json

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from core.admin import ReadOnlyRows
from downloads import services
from downloads.admin.lists import BigList, acted, one_of
from downloads.jobs import status
from downloads.models import Build, BuildPart, Claim, Download, Notification, Quota
from downloads.selectors import request as asking

_PARTS_SHOWN = 500
_OF_BUILD = (
    "state",
    "lane",
    "rows_done",
    "rows_total",
    "size",
    "sha256",
    "crashes",
    "error",
    "started_at",
    "finished_at",
)


class Claims(ReadOnlyRows):
    model = Claim
    fields = readonly_fields = ("created_at", "address", "user", "source", "withdrawn_at")


class Told(ReadOnlyRows):
    model = Notification
    fields = readonly_fields = ("channel", "address", "state", "attempts", "queued_at")


class Parts(ReadOnlyRows):
    model = BuildPart
    fields = readonly_fields = ("member", "number", "low", "high", "state", "rows", "size", "compressed")


@admin.register(Download)
class Downloads(BigList):
    list_display = (
        "uuid",
        "query",
        "state",
        "stage",
        "percent",
        "rows",
        "size",
        "requests",
        "created_at",
        "duration",
        "expires_at",
        "data_version",
    )
    list_filter = (
        "state",
        one_of("form", asking.FORMS),
        one_of("core_type", asking.CORE_TYPES),
        "face",
        "is_pinned",
        "created_at",
    )
    search_fields = ("uuid__exact", "hash__exact", "query_hash__exact")
    search_help_text = "uuid or hash"
    list_select_related = ("build__job",)
    inlines = (Claims, Told)
    readonly_fields = ("build_itself", "parts")
    actions = ("cancel", "retry_failed", "expire", "pin", "unpin", "resend")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Download]:
        claims = Claim.objects.filter(download=OuterRef("pk")).order_by().values("download").annotate(n=Count("pk"))
        asked = Coalesce(Subquery(claims.values("n"), output_field=IntegerField()), 0)  # for the rows of a page only
        found: QuerySet[Download] = super().get_queryset(request).annotate(asked=asked)
        return found

    @admin.display(description="query")
    def query(self, download: Download) -> str:
        """What was asked for, without the options: these have columns and filters of their own."""
        asked = status.asked(download)
        if asked is None:
            return status.UNREADABLE
        given = {name: query for name, query in (("", asked.rq), ("media: ", asked.mq)) if query is not None}
        return " ".join(name + json.dumps(query, ensure_ascii=False) for name, query in given.items())[:120]

    @admin.display(description="stage")
    def stage(self, download: Download) -> str:
        return status.progress(download).stage

    @admin.display(description="%")
    def percent(self, download: Download) -> float | None:
        return status.progress(download).percent

    @admin.display(description="rows")
    def rows(self, download: Download) -> int | None:
        return download.build.rows_total if download.build else None

    @admin.display(description="size")
    def size(self, download: Download) -> str:
        return filesizeformat(download.build.size) if download.build and download.build.size else ""

    @admin.display(description="requests")
    def requests(self, download: Download) -> int:
        return int(getattr(download, "asked", 0))

    @admin.display(description="duration")
    def duration(self, download: Download) -> str:
        if download.finished_at is None:
            return ""
        return f"{(download.finished_at - download.created_at).total_seconds():.1f} s"

    @admin.display(description="the build")
    def build_itself(self, download: Download) -> str:
        build = download.build
        if build is None:
            return ""
        facts = ((name, getattr(build, name)) for name in _OF_BUILD)
        shown = format_html_join("", "<tr><th>{}</th><td>{}</td></tr>", facts)
        link = reverse("admin:downloads_build_change", args=[build.pk])
        return format_html('<a href="{}">{}</a><table>{}</table>', link, build.pk, shown)

    @admin.display(description="its parts")
    def parts(self, download: Download) -> str:
        """A build is shared by downloads, so its parts cannot be an inline of theirs."""
        found = BuildPart.objects.filter(build=download.build_id).order_by("id").values_list(*Parts.fields)
        cells = [format_html_join("", "<td>{}</td>", ((value,) for value in row)) for row in found[:_PARTS_SHOWN]]
        if not cells:
            return ""
        names = format_html_join("", "<th>{}</th>", ((name,) for name in Parts.fields))
        rows = format_html_join("", "<tr>{}</tr>", ((each,) for each in cells))
        return format_html("<table><tr>{}</tr>{}</table>", names, rows)

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Download]) -> None:
        acted(self, request, queryset, services.cancel_all, "cancelled")

    @admin.action(description="Retry failed", permissions=["act"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[Download]) -> None:
        acted(self, request, queryset, services.retry_failed, "retried")

    @admin.action(description="Expire now", permissions=["act"])
    def expire(self, request: HttpRequest, queryset: QuerySet[Download]) -> None:
        acted(self, request, queryset, services.expire_now, "expired")

    @admin.action(description="Pin", permissions=["act"])
    def pin(self, request: HttpRequest, queryset: QuerySet[Download]) -> None:
        acted(self, request, queryset, lambda each: services.pin(each, is_pinned=True), "pinned")

    @admin.action(description="Unpin", permissions=["act"])
    def unpin(self, request: HttpRequest, queryset: QuerySet[Download]) -> None:
        acted(self, request, queryset, lambda each: services.pin(each, is_pinned=False), "unpinned")

    @admin.action(description="Send mails and webhooks again", permissions=["act"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Download]) -> None:
        acted(self, request, queryset, _resend_all, "told again")


def _resend_all(download: Download) -> bool:
    told = [services.resend(notification) for notification in download.notifications.all()]  # each, not until one is
    return any(told)


@admin.register(Build)
class Builds(BigList):
    list_display = ("uuid", "state", "lane", "caller", "rows_done", "rows_total", "size", "crashes", "created_at")
    list_filter = ("state", "lane", "created_at")
    search_fields = ("uuid__exact", "build_key__exact", "caller")
    inlines = (Parts,)


@admin.register(Notification)
class Notifications(BigList):
    list_display = ("address", "channel", "told_of", "state", "attempts", "created_at", "queued_at")
    list_filter = ("channel", "created_at")
    list_select_related = ("mail", "delivery")
    search_fields = ("address", "download__uuid__exact")
    ordering = ("-id",)
    actions = ("retry",)

    @admin.display(description="download")
    def told_of(self, notification: Notification) -> str:
        return str(notification.download_id)

    @admin.action(description="Retry", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Notification]) -> None:
        acted(self, request, queryset, services.resend, "retried")


@admin.register(Quota)
class Quotas(admin.ModelAdmin[Quota]):
    """How much the holder of an API key may have at once."""

    list_display = ("user", "running", "queued")
    autocomplete_fields = ("user",)
