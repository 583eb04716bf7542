"""Home libraries, readers, token pairs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from nnels import models
from nnels.admin import staff
from nnels.services import editing, tokens


@admin.register(models.Library)
class LibraryAdmin(admin.ModelAdmin[models.Library]):
    """Home libraries."""

    list_display = ("name", "code")
    search_fields = ("name", "code")


class ExpiryForm(helpers.ActionForm):
    """The date of the action "set expiry"."""

    # Text, since for a fault of this form Django's word is "No action selected."
    until = forms.CharField(
        required=False, label="verified until", widget=forms.TextInput(attrs={"placeholder": "YYYY-MM-DD"})
    )


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
            editing.mark_verified(obj, by=staff.user_of(request))
        super().save_model(request, obj, form, change)

    @admin.action(description="Verify", permissions=["change"])
    def verify(self, request: HttpRequest, queryset: QuerySet[models.Reader]) -> None:
        self._change(request, queryset, "Verified.", is_verified=True)

    @admin.action(description="Withdraw", permissions=["change"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[models.Reader]) -> None:
        self._change(request, queryset, "Withdrawn.", is_verified=False)

    @admin.action(description="Set expiry", permissions=["change"])
    def set_expiry(self, request: HttpRequest, queryset: QuerySet[models.Reader]) -> None:
        try:
            day = forms.DateField(required=False).clean(request.POST.get("until", ""))
        except forms.ValidationError:
            self.message_user(request, "That is no date; write YYYY-MM-DD. Nothing was changed.", messages.ERROR)
            return
        changed = list(queryset.select_related("user"))
        with transaction.atomic():
            queryset.update(verified_until=day)
            staff.note_actions(request, changed, f"Verified until {day}.")
        self.message_user(request, f"{len(changed)} changed.")

    def _change(
        self, request: HttpRequest, queryset: QuerySet[models.Reader], message: str, *, is_verified: bool
    ) -> None:
        with transaction.atomic():
            changed = editing.set_verified(list(queryset), is_verified=is_verified, by=staff.user_of(request))
            staff.note_actions(request, changed, message)
        self.message_user(request, f"{len(changed)} changed.")


@admin.register(models.TokenPair)
class TokenPairAdmin(staff.ReadOnly, admin.ModelAdmin[models.TokenPair]):
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
            staff.note_actions(request, pairs, "Revoked.")
        self.message_user(request, f"{count} revoked.")
