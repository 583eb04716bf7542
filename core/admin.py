"""What operators see of people, tokens, jobs and outgoing messages. Every action goes through the core's functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm, UsernameField
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat, pluralize
from django.utils import timezone
from django.utils.html import format_html

from core import errors, jobs, mail, people, webhooks
from core.models import ApiToken, EmailAddress, Job, Mail, User, WebhookDelivery

admin.site.site_header = "Quincunx"
admin.site.site_title = "Quincunx"
admin.site.index_title = "Operations"
# The lists are wide; the sidebar would take the place of their last columns, and every page leads home.
admin.site.enable_nav_sidebar = False

ONE_BUTTON = {"show_save_and_add_another": False, "show_save_and_continue": False}
"""For forms that start something: its page or list comes next, whatever was pressed."""


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun and whatever else depends on it: `1 token was`, `0 tokens were`."""
    return f"{count} {pluralize(count, f'{one},{many}')}"


def act_on_each(
    view: admin.ModelAdmin[Any], request: HttpRequest, rows: Iterable[Any], act: Callable[[Any], object], word: str
) -> None:
    """Do something to each row; say how many it worked for (`3 paused.`), and of every other one why it did not."""
    done, refused = 0, 0
    for row in rows:
        try:
            act(row)
            done += 1
        except errors.Fact as fact:
            refused += 1
            told = fact.message or fact.code
            view.message_user(request, told if told.startswith(str(row)) else f"{row}: {told}", messages.WARNING)
    if done or not refused:
        view.message_user(request, f"{done} {word}.", messages.SUCCESS)


class Acting:
    """For tables whose rows nobody edits, but whose actions change something: ``permissions=["act"]``."""

    opts: Any

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever holds the permission to change the rows may act on them; who may only look gets no such action."""
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}")


class ReadOnly(Acting, admin.ModelAdmin[Any]):
    """A table to look at: rows come and go by the service's own rules."""

    show_full_result_count = False

    class Media:
        css = {"all": ["core/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyRows(admin.TabularInline[Any, Any]):
    """Rows to look at on the page of what they belong to; set ``model`` and ``readonly_fields``."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AddressForm(forms.ModelForm[EmailAddress]):
    class Meta:
        model = EmailAddress
        fields = ["address", "is_verified"]
        field_classes = {"address": forms.EmailField}


class Addresses(admin.TabularInline[EmailAddress, User]):
    """All addresses of a person. Which is the primary one follows the person's own field `email`."""

    model = EmailAddress
    form = AddressForm
    extra = 0
    fields = ["address", "is_primary", "is_verified"]
    readonly_fields = ["is_primary"]


class PersonForm(forms.ModelForm[User]):
    """What can be said of an account by hand, so that nothing of it fails when it is stored."""

    def clean_email(self) -> str:
        address: str = self.cleaned_data["email"]
        others = EmailAddress.objects.exclude(user_id=self.instance.pk)
        if others.filter(address__iexact=address).exists():
            raise ValidationError("Somebody else has this address.")
        return address


class NewPerson(PersonForm, AdminUserCreationForm[User]):
    class Meta:
        model = User
        fields = ["username", "email"]
        field_classes = {"username": UsernameField, "email": forms.EmailField}


class ChangedPerson(PersonForm, UserChangeForm[User]):
    class Meta:
        model = User
        # Those with classes of their own; the page's fieldsets say which there are.
        fields = ["username", "email"]
        field_classes = {"username": UsernameField, "email": forms.EmailField}

    def clean_username(self) -> str:
        wanted = User.normalize_username(self.cleaned_data["username"])
        if wanted != self.initial["username"]:
            try:
                people.check_rename(self.instance)
            except errors.Invalid as fact:
                raise ValidationError(fact.message) from None
        return wanted


@admin.register(User)
class People(UserAdmin[User]):
    add_form = NewPerson
    form = ChangedPerson
    list_display = [
        "username",
        "first_name",
        "last_name",
        "email",
        "institution",
        "is_validated",
        "is_active",
        "is_staff",
    ]
    list_filter = ["is_validated", "is_active", "is_staff", "hide_from_directory"]
    search_fields = ["username_n", "name_n", "addresses__address_n"]
    show_full_result_count = False
    ordering = ["username"]
    readonly_fields = ["uid", "last_login", "date_joined"]
    inlines = [Addresses]
    fieldsets = [
        (None, {"fields": ["username", "uid", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email", "institution", "position"]}),
        ("State", {"fields": ["is_validated", "is_active", "hide_from_directory", "last_login", "date_joined"]}),
        ("Rights", {"fields": ["is_staff", "is_superuser", "groups", "user_permissions"], "classes": ["collapse"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "email", "usable_password", "password1", "password2"]})]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Store the addresses beside what the person's own field has just made of them."""
        for address in formset.save(commit=False):
            if address.pk:
                address.refresh_from_db(fields=["is_primary"])
            address.save()
        for address in formset.deleted_objects:
            address.delete()
        form.instance.follow_addresses()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """Search the normalised columns, so that letter case and accents do not matter and the index serves."""
        from core import names

        term = names.normalise(search_term)
        found = queryset
        if term:
            by_name = User.objects.filter(name_n__contains=names.name_part(term)).values("pk")
            by_username = User.objects.filter(username_n__contains=term).values("pk")
            by_address = EmailAddress.objects.filter(address_n__contains=names.search_address(term)).values("user_id")
            found = queryset.filter(pk__in=by_username.union(by_name, by_address))
        return found, False


@admin.register(ApiToken)
class Tokens(ReadOnly):
    list_display = ["user", "audience", "shown", "label", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_filter = ["audience", "created_at"]
    search_fields = ["user__username", "label", "prefix"]
    list_select_related = ["user"]
    exclude = ["sha256"]
    actions = ["revoke"]

    @admin.display(description="token")
    def shown(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @admin.action(description="Revoke the selected tokens", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, f"{counted(count, 'token was', 'tokens were')} revoked.")


@admin.register(Job)
class Jobs(ReadOnly):
    list_display = ["kind", "state", "bar", "attempt", "requested_by", "created_at", "duration", "error_code"]
    list_filter = ["state", "kind", "created_at"]
    search_fields = ["id", "fingerprint", "requested_by__username"]
    list_select_related = ["requested_by"]
    exclude = ["lease_token"]
    actions = ["cancel", "retry"]

    @admin.display(description="progress")
    def bar(self, job: Job) -> str:
        done, total = job.progress.get("done"), job.progress.get("total")
        stage = str(job.progress.get("stage", ""))
        if not (isinstance(done, int) and isinstance(total, int) and total):
            return stage
        return format_html('<progress value="{}" max="{}"></progress> {} {}/{}', done, total, stage, done, total)

    @admin.display(description="seconds")
    def duration(self, job: Job) -> str:
        if job.started_at is None:
            return ""
        return f"{((job.finished_at or timezone.now()) - job.started_at).total_seconds():.1f}"

    @admin.action(description="Cancel the selected jobs", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        stopped = sum(jobs.cancel(job.pk) for job in queryset)
        self.message_user(request, f"{counted(stopped, 'job was', 'jobs were')} asked to stop.")

    @admin.action(description="Start the selected jobs again", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in queryset:
            try:
                again = jobs.retry(job.pk)
                self.message_user(request, f"{job} was started again as {again.pk}.")
            except errors.Conflict:
                self.message_user(request, f"{job} is still active.", messages.WARNING)


class Outgoing(ReadOnly):
    """A queue of messages; failed and waiting ones can be sent again at once."""

    actions = ["send_again"]
    retry: Callable[[Any], bool]

    @admin.action(description="Send again", permissions=["act"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = sum(self.retry(row) for row in queryset)
        self.message_user(request, f"{counted(count, 'message was', 'messages were')} queued again.")


@admin.register(Mail)
class Mails(Outgoing):
    retry = staticmethod(mail.retry)
    list_display = ["kind", "to", "subject", "state", "attempts", "next_at", "sent_at", "last_error"]
    list_filter = ["state", "kind", "created_at"]
    search_fields = ["to", "subject"]


@admin.register(WebhookDelivery)
class WebhookDeliveries(Outgoing):
    retry = staticmethod(webhooks.retry)
    list_display = ["event", "url", "state", "size", "attempts", "next_at", "sent_at", "last_status", "last_error"]
    list_filter = ["state", "event", "created_at"]
    search_fields = ["url"]
    exclude = ["key"]

    @admin.display(description="body")
    def size(self, delivery: WebhookDelivery) -> str:
        return filesizeformat(len(delivery.body))
