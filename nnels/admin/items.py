"""Titles with their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from core import errors, net
from nnels import forms as own_forms
from nnels import models
from nnels.admin import staff
from nnels.services import editing, links


class LanguageFilter(admin.SimpleListFilter):
    """Languages in use."""

    title = "language"
    parameter_name = "language"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(code, code) for code in editing.languages_in_use()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> QuerySet[models.Item]:
        return queryset.filter(languages__contains=[self.value()]) if self.value() else queryset


class FormatFilter(admin.SimpleListFilter):
    """Formats an item has."""

    title = "format"
    parameter_name = "format"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(code, code) for code in models.Format.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> QuerySet[models.Item]:
        return queryset.filter(formats__contains=[self.value()]) if self.value() else queryset


class MissingFilter(admin.SimpleListFilter):
    """Items without a file, or with one the store has lost."""

    title = "files"
    parameter_name = "file"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("missing", "missing"), ("none", "none")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> QuerySet[models.Item]:
        if self.value() == "missing":
            return queryset.filter(pk__in=models.File.objects.filter(missing=True).values("item"))
        return queryset.filter(formats=[]) if self.value() == "none" else queryset


class FeatureFilter(admin.SimpleListFilter):
    """Accessibility features in use."""

    title = "accessibility feature"
    parameter_name = "feature"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(name, name) for name in editing.features_in_use()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> QuerySet[models.Item]:
        return queryset.filter(access_features__contains=[self.value()]) if self.value() else queryset


class FileInline(admin.TabularInline[models.File, models.Item]):
    """Files of an item; an upload streams into the store and replaces what is at its place."""

    model = models.File
    form = own_forms.FileForm
    extra = 1
    fields = ("format", "part", "upload", "name", "bytes", "sha256", "in_store", "signed_link")
    readonly_fields = ("name", "bytes", "sha256", "in_store", "signed_link")

    @admin.display(description="in the store")
    def in_store(self, file: models.File) -> str:
        """In words: a mark for "not missing" would look like a fault, also on the row of a file yet to come."""
        if not file.pk:
            return ""
        return "missing or damaged" if file.missing else "yes"

    @admin.display(description="signed link")
    def signed_link(self, file: models.File) -> str:
        """A link whose following is logged."""
        if not file.pk:
            return ""
        return format_html('<a href="{}">signed link</a>', reverse("admin:nnels_item_link", args=[file.pk]))


@admin.register(models.Item)
class ItemAdmin(admin.ModelAdmin[models.Item]):
    """Titles."""

    form = own_forms.ItemForm
    inlines = [FileInline]
    list_display = ("id", "label", "first_creator", "all_languages", "all_formats", "rights", "published", "changed")
    list_display_links = ("id", "label")
    list_filter = ("published", "rights", LanguageFilter, FormatFilter, MissingFilter, FeatureFilter)
    search_fields = ("label",)
    search_help_text = "title, creator, ISBN or UUID"
    actions = ("publish", "unpublish", "open_rights", "restrict_rights")
    list_per_page = 50
    show_full_result_count = False
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Item]:
        return super().get_queryset(request).defer("search_wide", "doc")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[models.Item], search_term: str
    ) -> tuple[QuerySet[models.Item], bool]:
        return queryset.filter(editing.matching(search_term)) if search_term.strip() else queryset, False

    @admin.display(description="first creator")
    def first_creator(self, item: models.Item) -> str:
        return next(iter(item.creators), "")

    @admin.display(description="languages")
    def all_languages(self, item: models.Item) -> str:
        return " ".join(item.languages)

    @admin.display(description="formats")
    def all_formats(self, item: models.Item) -> str:
        return " ".join(item.formats)

    def save_model(self, request: HttpRequest, obj: models.Item, form: Any, change: bool) -> None:
        form.was_published = change and models.Item.objects.filter(pk=obj.pk, published=True).exists()
        editing.tidy(obj)
        super().save_model(request, obj, form, change)

    def save_formset(
        self, request: HttpRequest, form: Any, formset: BaseInlineFormSet[Any, Any, Any], change: bool
    ) -> None:
        for one in formset.forms:
            if one in formset.deleted_forms:
                if one.instance.pk:
                    editing.drop_file(one.instance)
            elif upload := one.cleaned_data.get("upload"):
                editing.put_file(
                    form.instance, upload, format_code=one.cleaned_data["format"], part=one.cleaned_data["part"]
                )
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        editing.settle(form.instance, was_published=form.was_published)

    def delete_model(self, request: HttpRequest, obj: models.Item) -> None:
        editing.delete([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> None:
        editing.delete(list(queryset))

    def get_urls(self) -> list[URLPattern]:
        own = path("link/<int:file_id>/", self.admin_site.admin_view(self.follow_link), name="nnels_item_link")
        return [own, *super().get_urls()]

    def follow_link(self, request: HttpRequest, file_id: int) -> HttpResponse:
        """Redirect to a fresh link, logged as `admin`."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        try:
            asked = editing.asked_by(staff.user_of(request), address=net.caller_address(request))
            return redirect(links.one_file(file_id, asked=asked))
        except errors.Fact as fact:
            self.message_user(request, fact.message or "There is no such file.", messages.ERROR)
            return redirect("admin:nnels_item_changelist")

    @admin.action(description="Publish", permissions=["change"])
    def publish(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> None:
        self._change(request, queryset, published=True)

    @admin.action(description="Unpublish", permissions=["change"])
    def unpublish(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> None:
        self._change(request, queryset, published=False)

    @admin.action(description="Rights: open", permissions=["change"])
    def open_rights(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> None:
        self._change(request, queryset, rights=models.Rights.OPEN.value)

    @admin.action(description="Rights: restricted", permissions=["change"])
    def restrict_rights(self, request: HttpRequest, queryset: QuerySet[models.Item]) -> None:
        self._change(request, queryset, rights=models.Rights.RESTRICTED.value)

    def _change(self, request: HttpRequest, queryset: QuerySet[models.Item], **values: Any) -> None:
        with transaction.atomic():
            changed = editing.change(list(queryset.values_list("pk", flat=True)), **values)
            staff.note_actions(
                request, changed, f"Set {', '.join(f'{name} to {value}' for name, value in values.items())}."
            )
        self.message_user(request, f"{len(changed)} changed.")
