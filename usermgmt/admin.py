"""What staff see and decide (contract 3, Admin). Every decision is a POST through the same services as the portal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from core.admin import ReadOnlyRows, act_on_each
from core.models import User
from usermgmt.formats import networks, workdays
from usermgmt.forms import ReasonForm
from usermgmt.models import (
    Api,
    ApiClient,
    ApiLink,
    ClientChangeRequest,
    ClientDailyUsage,
    ClientEvent,
    Maintainer,
    SearchAudit,
    Service,
    ServiceRequest,
    ServiceRequestEvent,
    UserService,
)
from usermgmt.selectors import reviews
from usermgmt.services import clients, provision

Decision = Callable[[Any], None]
_CHANGED = {"url": "URL", "data_use": "Use of the data", "networks": "IP addresses"}


def _words(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(networks.shown(cidr) for cidr in value)


class StaffOnly(admin.ModelAdmin[Any]):
    """Every member of staff reviews; nothing that was decided can be deleted."""

    show_full_result_count = False
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}

    class Media:
        css = {"all": ["core/admin.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_staff)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def decide(self, request: HttpRequest, rows: QuerySet[Any], verb: str, decision: Decision) -> None:
        """Put each row through the domain; say which changed, and which were decided by somebody else first."""
        act_on_each(self, request, rows.order_by("pk"), decision, verb)

    def ask(
        self, request: HttpRequest, rows: QuerySet[Any], *, title: str, action: str, form: forms.Form
    ) -> HttpResponse:
        """A page that asks what a decision needs, and sends it back to the same action."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "rows": rows,
            "form": form,
            "action": action,
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "usermgmt/admin/ask.html", context)


class Decided(StaffOnly):
    """What waits for a decision: the page of a row offers what may be done to it."""

    change_form_template = "usermgmt/admin/decided.html"
    decisions: ClassVar[dict[str, tuple[str, ...]]] = {}
    """State of a row → the actions that its page offers."""

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        offered = self.decisions.get(obj.state, ()) if obj is not None else ()
        known: dict[str, Any] = self.get_actions(request)
        context["decisions"] = [(name, known[name][2]) for name in offered]
        return super().render_change_form(request, context, add, change, form_url, obj)


class ReadOnlyTable(StaffOnly):
    """Books to look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Age(admin.SimpleListFilter):
    title = "waiting for"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "1 business day or more"), ("2", "2 business days or more")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("1", "2"):
            return queryset
        border = workdays.before(timezone.now(), float(str(self.value())))
        return queryset.filter(state=ApiClient.State.PENDING, submitted_at__lte=border)


class NarrowForm(forms.Form):
    """What a client may use, and until when."""

    scopes = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    all_services = forms.BooleanField(required=False, initial=True)
    services = forms.ModelMultipleChoiceField(Service.objects.all(), required=False)
    expires_at = forms.DateTimeField(required=False, help_text="YYYY-MM-DD HH:MM, UTC; empty: never.")

    def __init__(self, *args: Any, scopes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["scopes"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - declared above
        field.choices = [(scope, scope) for scope in scopes]
        self.initial.setdefault("scopes", scopes)


@admin.register(ApiClient)
class ApiClients(Decided):
    """The review queue."""

    list_display = (
        "name",
        "api",
        "owner",
        "owner_name",
        "owner_email",
        "position",
        "institution",
        "submitted_at",
        "waiting",
        "state",
    )
    list_filter = ("state", "api", Age, ("decided_by", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("api", "owner", "decided_by")
    search_fields = ("name", "owner__username", "owner__email", "url", "credentials__key")
    ordering = ("submitted_at", "id")
    actions = ["approve", "deny", "suspend", "reinstate", "revoke", "narrow"]
    decisions: ClassVar = {
        ApiClient.State.PENDING: ("approve", "deny", "narrow"),
        ApiClient.State.DENIED: ("narrow",),
        ApiClient.State.APPROVED: ("suspend", "revoke", "narrow"),
        ApiClient.State.SUSPENDED: ("reinstate", "revoke", "narrow"),
    }
    change_list_template = "usermgmt/admin/clients.html"
    fieldsets = (
        (None, {"fields": ("name", "api", "state", "description", "url", "data_use", "shown_networks")}),
        ("Requester", {"fields": ("owner", "owner_name", "owner_email", "position", "institution", "owner_standing")}),
        ("Rights", {"fields": ("scopes", "shown_services", "expires_at", "keys", "please_rotate")}),
        ("Decision", {"fields": ("submitted_at", "waiting", "decided_by", "decided_at", "decision_reason")}),
        ("Use", {"fields": ("last_used_at", "last_used_ip", "history")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "times": reviews.times()})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return tuple(str(name) for _, options in self.fieldsets for name in options["fields"])

    @admin.display(description="owner's name", ordering="owner__last_name")
    def owner_name(self, client: ApiClient) -> str:
        return client.owner.get_full_name()

    @admin.display(description="e-mail")
    def owner_email(self, client: ApiClient) -> str:
        return client.owner.email

    @admin.display
    def position(self, client: ApiClient) -> str:
        return client.owner.position or "-"

    @admin.display
    def institution(self, client: ApiClient) -> str:
        return client.owner.institution or "-"

    @admin.display(description="business days waiting")
    def waiting(self, client: ApiClient) -> str:
        if client.state != ApiClient.State.PENDING:
            return "-"
        return f"{workdays.between(client.submitted_at, timezone.now()):.1f}"

    @admin.display(description="account")
    def owner_standing(self, client: ApiClient) -> str:
        words = ["validated" if client.owner.is_validated else "NOT validated"]
        words.append("active" if client.owner.is_active else "NOT active")
        return ", ".join(words)

    @admin.display(description="networks")
    def shown_networks(self, client: ApiClient) -> str:
        def line(cidr: str) -> tuple[str, str]:
            return networks.shown(cidr), " – warning: a wide network" if networks.is_wide(cidr) else ""

        return format_html_join("", "<div>{}{}</div>", (line(network.cidr) for network in client.networks.all()))

    @admin.display(description="services")
    def shown_services(self, client: ApiClient) -> str:
        if not client.is_limited_to_services:
            return "all"
        return ", ".join(client.services.values_list("slug", flat=True)) or "none"

    @admin.display
    def keys(self, client: ApiClient) -> str:
        return ", ".join(client.credentials.filter(revoked_at=None).values_list("key", flat=True)) or "-"

    @admin.display
    def history(self, client: ApiClient) -> str:
        rows = (
            (f"{event.at:%Y-%m-%d %H:%M}", event.action, event.actor or "-", event.reason, event.address or "")
            for event in client.events.select_related("actor")
        )
        return format_html_join("", "<div>{} · {} · {} · {} {}</div>", rows)

    @admin.action(description="Approve")
    def approve(self, request: HttpRequest, rows: QuerySet[ApiClient]) -> None:
        self.decide(request, rows, "approved", lambda row: clients.approve(row, actor=_staff(request)))

    @admin.action(description="Deny…")
    def deny(self, request: HttpRequest, rows: QuerySet[ApiClient]) -> HttpResponse | None:
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if not form.is_valid():
            return self.ask(request, rows, title="Deny", action="deny", form=form)
        reason = form.cleaned_data["reason"]
        self.decide(request, rows, "denied", lambda row: clients.deny(row, actor=_staff(request), reason=reason))
        return None

    @admin.action(description="Suspend")
    def suspend(self, request: HttpRequest, rows: QuerySet[ApiClient]) -> None:
        self.decide(request, rows, "suspended", lambda row: clients.suspend(row, actor=_staff(request)))

    @admin.action(description="Reinstate")
    def reinstate(self, request: HttpRequest, rows: QuerySet[ApiClient]) -> None:
        self.decide(request, rows, "reinstated", lambda row: clients.reinstate(row, actor=_staff(request)))

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiClient]) -> None:
        self.decide(request, rows, "revoked", lambda row: clients.revoke(row, actor=_staff(request)))

    @admin.action(description="Narrow scopes…")
    def narrow(self, request: HttpRequest, rows: QuerySet[ApiClient]) -> HttpResponse | None:
        scopes = sorted({scope for row in rows.select_related("api") for scope in row.api.scopes}, reverse=True)
        form = NarrowForm(request.POST if "narrowed" in request.POST else None, scopes=scopes, initial=_rights(rows))
        if not form.is_valid():
            return self.ask(request, rows, title="Narrow scopes", action="narrow", form=form)
        values = form.cleaned_data
        self.decide(
            request,
            rows,
            "narrowed",
            lambda row: clients.narrow(
                row,
                actor=_staff(request),
                scopes=[scope for scope in values["scopes"] if scope in row.api.scopes],
                services=None if values["all_services"] else list(values["services"]),
                expires_at=values["expires_at"],
            ),
        )
        return None


@admin.register(ClientChangeRequest)
class ChangeRequests(Decided):
    """Changes of approved clients that wait for staff."""

    list_display = ("client", "proposed", "state", "created_at", "decided_by")
    list_filter = ("state",)
    list_select_related = ("client", "decided_by")
    readonly_fields = ("client", "proposed", "state", "reason", "created_at", "decided_by", "decided_at")
    exclude = ("values",)
    actions = ["accept", "refuse"]
    decisions: ClassVar = {ClientChangeRequest.State.OPEN: ("accept", "refuse")}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display
    def proposed(self, change: ClientChangeRequest) -> str:
        """The new values; while they wait, beside those in force."""
        client, is_open = change.client, change.state == ClientChangeRequest.State.OPEN
        cidrs = client.networks.values_list("cidr", flat=True)
        present = {"url": client.url, "data_use": client.data_use, "networks": list(cidrs)}
        lines = (
            (_CHANGED[name], _words(value), f" (now: {_words(present[name])})" if is_open else "")
            for name, value in sorted(change.values.items())
        )
        return format_html_join("", "<div>{}: {}{}</div>", lines)

    @admin.action(description="Accept")
    def accept(self, request: HttpRequest, rows: QuerySet[ClientChangeRequest]) -> None:
        actor = _staff(request)
        self.decide(request, rows, "accepted", lambda row: clients.decide_change(row, actor=actor, accept=True))

    @admin.action(description="Refuse…")
    def refuse(self, request: HttpRequest, rows: QuerySet[ClientChangeRequest]) -> HttpResponse | None:
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if not form.is_valid():
            return self.ask(request, rows, title="Refuse", action="refuse", form=form)
        actor, reason = _staff(request), form.cleaned_data["reason"]
        self.decide(
            request,
            rows,
            "refused",
            lambda row: clients.decide_change(row, actor=actor, accept=False, reason=reason),
        )
        return None


class RequestEvents(ReadOnlyRows):
    model = ServiceRequestEvent
    readonly_fields = ("at", "actor", "from_state", "to_state", "reason")


@admin.register(ServiceRequest)
class ServiceRequests(Decided):
    """Requests for services that wait for staff."""

    list_display = ("service", "user", "source", "client", "state", "created_at")
    list_filter = ("state", "service", "source")
    list_select_related = ("service", "user", "client")
    search_fields = ("user__username",)
    readonly_fields = ("user", "service", "source", "client", "state", "address", "reason", "created_at", "decided_at")
    inlines = (RequestEvents,)
    actions = ["approve", "grant", "deny"]
    decisions: ClassVar = {
        ServiceRequest.State.PENDING: ("approve", "grant", "deny"),
        ServiceRequest.State.APPROVED: ("grant", "deny"),
        ServiceRequest.State.FAILED: ("approve", "grant", "deny"),
    }

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Approve")
    def approve(self, request: HttpRequest, rows: QuerySet[ServiceRequest]) -> None:
        self.decide(request, rows, "approved", lambda row: provision.approve(row, actor=_staff(request)))

    @admin.action(description="Grant access")
    def grant(self, request: HttpRequest, rows: QuerySet[ServiceRequest]) -> None:
        self.decide(request, rows, "granted", lambda row: provision.grant(row, actor=_staff(request)))

    @admin.action(description="Deny…")
    def deny(self, request: HttpRequest, rows: QuerySet[ServiceRequest]) -> HttpResponse | None:
        form = ReasonForm(request.POST if "reason" in request.POST else None)
        if not form.is_valid():
            return self.ask(request, rows, title="Deny", action="deny", form=form)
        reason = form.cleaned_data["reason"]
        self.decide(request, rows, "denied", lambda row: provision.deny(row, actor=_staff(request), reason=reason))
        return None


class Links(admin.TabularInline[ApiLink, Api]):
    model = ApiLink
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_staff)

    has_change_permission = has_delete_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_staff)


@admin.register(Api)
class Apis(StaffOnly):
    list_display = ("name", "slug", "maintainer", "is_open", "clients_link")
    prepopulated_fields = {"slug": ("name",)}
    inlines = (Links,)

    @admin.display(description="clients")
    def clients_link(self, api: Api) -> str:
        address = f"{reverse('admin:usermgmt_apiclient_changelist')}?api__id__exact={api.pk}"
        return format_html('<a href="{}">clients of {}</a>', address, api.name)


@admin.register(Maintainer)
class Maintainers(StaffOnly):
    list_display = ("name", "email", "url")


@admin.register(Service)
class Services(StaffOnly):
    list_display = ("name", "slug", "maintainer", "is_enabled", "approval_policy", "grant_mode")
    list_filter = ("is_enabled", "approval_policy", "grant_mode")


@admin.register(UserService)
class UserServices(ReadOnlyTable):
    list_display = ("user", "service", "granted_at")
    list_select_related = ("user", "service")
    search_fields = ("user__username",)


@admin.register(ClientEvent)
class Events(ReadOnlyTable):
    list_display = ("at", "client", "action", "actor", "from_state", "to_state", "reason")
    list_select_related = ("client", "actor")


@admin.register(ClientDailyUsage)
class Usage(ReadOnlyTable):
    list_display = ("day", "client", "scheme", "endpoint", "ok", "failed")
    list_filter = ("scheme", "endpoint")
    list_select_related = ("client",)


@admin.register(SearchAudit)
class Audit(ReadOnlyTable):
    list_display = ("at", "client", "type", "term", "rows", "status")
    list_filter = ("type",)
    list_select_related = ("client",)


def _rights(rows: QuerySet[ApiClient]) -> dict[str, Any]:
    """What the one chosen client may use now: who narrows the scopes must not widen the rest by the way."""
    chosen = list(rows[:2])
    if len(chosen) != 1:
        return {}
    (client,) = chosen
    return {
        "scopes": client.scopes,
        "all_services": not client.is_limited_to_services,
        "services": client.services.all(),
        "expires_at": client.expires_at,
    }


def _staff(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - the admin let them in
    return request.user
