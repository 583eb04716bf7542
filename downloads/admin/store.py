"""The specimen store: recordsets to describe, show and hide; records and media to look at."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join

from core.admin import ReadOnly
from downloads import services
from downloads.admin import uploads
from downloads.admin.lists import BigList, acted
from downloads.formats import terms
from downloads.jobs import ingest
from downloads.models import MediaRecord, Record, Recordset, StoreVersion


@admin.register(Recordset)
class Recordsets(admin.ModelAdmin[Recordset]):
    list_display = ("name", "institution_code", "is_public", "licence", "record_count", "media_count", "modified_at")
    list_filter = ("is_public",)
    search_fields = ("uuid__exact", "name", "institution_code")
    readonly_fields = ("uuid", "is_public", "record_count", "media_count", "created_at", "modified_at")
    actions = ("reingest", "withdraw", "show")
    change_list_template = "downloads/admin/recordsets.html"

    class Media:
        css = {"all": ["core/admin.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # withdrawing hides the rows; versions still needed keep them

    def get_urls(self) -> list[URLPattern]:
        upload = self.admin_site.admin_view(self.upload)
        return [path("upload/", upload, name="downloads_upload"), *super().get_urls()]

    def upload(self, request: HttpRequest) -> HttpResponse:
        """The page behind the button Upload archive; an archive brings new rows and replaces others."""
        if not (self.has_add_permission(request) and self.has_change_permission(request)):
            raise PermissionDenied
        return uploads.page(self, request)

    @admin.action(description="Ingest again from the source URL", permissions=["change"])
    def reingest(self, request: HttpRequest, queryset: QuerySet[Recordset]) -> None:
        user: Any = request.user

        def again(recordset: Recordset) -> bool:
            if not recordset.source_url:
                self.message_user(request, f"{recordset} has no source URL.", messages.WARNING)
                return False
            services.upload_archive(recordset.source_url, ingest.Options(recordset=recordset.uuid), user=user)
            return True

        acted(self, request, queryset, again, "being ingested again")

    @admin.action(description="Withdraw: hide the rows from new downloads", permissions=["change"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Recordset]) -> None:
        acted(self, request, queryset, lambda each: services.set_public(each, is_public=False), "withdrawn")

    @admin.action(description="Show the rows again", permissions=["change"])
    def show(self, request: HttpRequest, queryset: QuerySet[Recordset]) -> None:
        acted(self, request, queryset, lambda each: services.set_public(each, is_public=True), "shown")


class Rows(BigList):
    """A row version: the provider's words beside the index terms made from them."""

    table: tuple[terms.Term, ...] = ()
    list_display: tuple[str, ...] = ("uuid", "recordset", "v_from", "v_to")
    list_select_related = ("recordset",)
    search_fields = ("uuid__exact",)
    search_help_text = "uuid"
    ordering = ("id",)
    fields = ("uuid", "recordset", "v_from", "v_to", "etag", "side_by_side")
    readonly_fields = fields

    @admin.display(description="raw and index")
    def side_by_side(self, row: Any) -> str:
        raw = format_html_join("", "<tr><th>{}</th><td>{}</td></tr>", ((k, _text(v)) for k, v in row.raw.items()))
        found = ((term.name, getattr(row, term.shown, None)) for term in self.table)
        index = format_html_join(
            "", "<tr><th>{}</th><td>{}</td></tr>", ((k, _text(v)) for k, v in found if v is not None)
        )
        return format_html("<table>{}</table><table>{}</table>", raw, index)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@admin.register(Record)
class Records(Rows):
    table = terms.RECORD_TERMS
    list_display = ("uuid", "t_scientificname", "t_country", "recordset", "v_from", "v_to")


@admin.register(MediaRecord)
class Media(Rows):
    table = terms.MEDIA_TERMS
    list_display = ("uuid", "s_accessuri", "recordset", "v_from", "v_to")


@admin.register(StoreVersion)
class StoreVersions(ReadOnly):
    list_display = ("number", "reason", "created_at", "pruned")
