"""What an operator sees: titles with their files, readers, tokens, issued links, imports. Plain forms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from core import errors, net
from core.models import User
from nnels import forms as own_forms
from nnels import models
from nnels.services import editing, files, links, tokens


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
    fields = ("format", "part", "upload", "name", "bytes", "sha256", "missing", "signed_link")
    readonly_fields = ("name", "bytes", "sha256", "missing", "signed_link")

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
            asked = editing.asked_by(_user(request), address=net.caller_address(request))
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
            note_actions(request, changed, f"Set {', '.join(f'{name} to {value}' for name, value in values.items())}.")
        self.message_user(request, f"{len(changed)} changed.")


def note_actions(request: HttpRequest, objects: Iterable[Any], message: str) -> None:
    """Keep an action in the admin history of every object it changed."""
    LogEntry.objects.bulk_create(
        [
            LogEntry(
                user_id=_user(request).pk,
                content_type=ContentType.objects.get_for_model(one),
                object_id=str(one.pk),
                object_repr=str(one)[:200],
                action_flag=CHANGE,
                change_message=message,
            )
            for one in objects
        ]
    )


def _user(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise TypeError("the admin site serves accounts only")
    return request.user


@admin.register(models.Library)
class LibraryAdmin(admin.ModelAdmin[models.Library]):
    """Home libraries."""

    list_display = ("name", "code")
    search_fields = ("name", "code")


class ExpiryForm(helpers.ActionForm):
    """The date of the action "set expiry"."""

    until = forms.DateField(required=False, label="verified until")


@admin.register(models.Reader)
class ReaderAdmin(admin.ModelAdmin[models.Reader]):
    """Who may have restricted titles."""

    list_display = ("user", "print_disability_verified", "verified_by", "verified_until", "home_library")
    list_filter = ("print_disability_verified", "verified_until", "home_library")
    list_select_related = ("user", "verified_by", "home_library")
    search_fields = ("user__username", "user__email")
    autocomplete_fields = ("user", "home_library")
    readonly_fields = ("verified_at", "verified_by")
    actions = ("verify", "withdraw", "set_expiry")
    action_form = ExpiryForm

    def save_model(self, request: HttpRequest, obj: models.Reader, form: Any, change: bool) -> None:
        if obj.print_disability_verified and "print_disability_verified" in form.changed_data:
            editing.mark_verified(obj, by=_user(request))
        super().save_model(request, obj, form, change)

    @admin.action(description="Verify", permissions=["change"])
    def verify(self, request: HttpRequest, queryset: QuerySet[models.Reader]) -> None:
        self._change(request, queryset, "Verified.", is_verified=True)

    @admin.action(description="Withdraw", permissions=["change"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[models.Reader]) -> None:
        self._change(request, queryset, "Withdrawn.", is_verified=False)

    @admin.action(description="Set expiry", permissions=["change"])
    def set_expiry(self, request: HttpRequest, queryset: QuerySet[models.Reader]) -> None:
        # The action form has refused what is no date.
        day = forms.DateField(required=False).clean(request.POST.get("until", ""))
        changed = list(queryset.select_related("user"))
        with transaction.atomic():
            queryset.update(verified_until=day)
            note_actions(request, changed, f"Verified until {day}.")
        self.message_user(request, f"{len(changed)} changed.")

    def _change(
        self, request: HttpRequest, queryset: QuerySet[models.Reader], message: str, *, is_verified: bool
    ) -> None:
        with transaction.atomic():
            changed = editing.set_verified(list(queryset), is_verified=is_verified, by=_user(request))
            note_actions(request, changed, message)
        self.message_user(request, f"{len(changed)} changed.")


class _ReadOnly:
    """Rows that only the service writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.TokenPair)
class TokenPairAdmin(_ReadOnly, admin.ModelAdmin[models.TokenPair]):
    """Token pairs, never a value."""

    list_display = ("user", "issued_at", "expires_at", "last_used_at", "state")
    list_filter = ("issued_at", "revoked_why")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    fields = ("user", "issued_at", "expires_at", "refresh_expires_at", "last_used_at", "reused_at", "state")
    readonly_fields = ("state",)
    actions = ("revoke",)

    @admin.display(description="state")
    def state(self, pair: models.TokenPair) -> str:
        return tokens.state(pair)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may change pairs may revoke them; nobody edits them."""
        return bool(request.user.has_perm("nnels.change_tokenpair"))

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[models.TokenPair]) -> None:
        pairs = list(queryset.select_related("user"))
        with transaction.atomic():
            count = tokens.revoke([pair.pk for pair in pairs], why="by staff")
            note_actions(request, pairs, "Revoked.")
        self.message_user(request, f"{count} revoked.")


@admin.register(models.UrlIssue)
class UrlIssueAdmin(_ReadOnly, admin.ModelAdmin[models.UrlIssue]):
    """Who was handed links to what."""

    list_display = ("at", "user", "title", "purpose", "expires_at", "ip_prefix")
    list_filter = ("at", "purpose")
    list_select_related = ("user", "item")
    search_fields = ("user__username", "item__label", "=item__id")
    date_hierarchy = "at"
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.UrlIssue]:
        return super().get_queryset(request).defer("item__search_wide", "item__doc")

    @admin.display(description="item", ordering="item_id")
    def title(self, issue: models.UrlIssue) -> str:
        """The title, or the nid of one that is gone."""
        return str(issue.item) if issue.item else f"{issue.item_id} (deleted)"


@admin.register(models.ImportRun)
class ImportRunAdmin(_ReadOnly, admin.ModelAdmin[models.ImportRun]):
    """Imports; a new one is asked for by naming a folder below the import root."""

    list_display = (
        "started_at", "who", "folder", "state", "created_count", "updated_count", "unchanged_count", "rejected_count",
    )  # fmt: skip
    list_filter = ("started_at", "state")
    list_select_related = ("who",)
    search_fields = ("folder", "who__username")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("nnels.add_importrun"))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else own_forms.ImportForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_fields(request, obj) if obj else ("folder", "rights", "is_published")

    def save_model(self, request: HttpRequest, obj: models.ImportRun, form: Any, change: bool) -> None:
        run = files.request_import(
            form.cleaned_data["folder"],
            requested_by=_user(request),
            rights=form.cleaned_data["rights"] or None,
            is_published=form.cleaned_data["is_published"],
        )
        obj.pk = run.pk
        obj.refresh_from_db()
