"""APIs people can write programs for, and the programs: API clients, their networks, wishes and history."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

SEARCH_SCOPE = "users:search"
ADD_SCOPE = "services:add"
SCOPES = (SEARCH_SCOPE, ADD_SCOPE)


def all_scopes() -> list[str]:
    return list(SCOPES)


class Maintainer(models.Model):
    """Who answers for an API or a service."""

    name = models.CharField(max_length=128)
    email = models.EmailField()
    url = models.URLField(blank=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Api(models.Model):
    """An API that clients are registered for; `is_open` when new registrations are taken."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=128)
    description = models.TextField(blank=True)
    icon = models.CharField(max_length=8, blank=True, help_text="One or two letters or a symbol.")
    maintainer = models.ForeignKey(Maintainer, on_delete=models.PROTECT, related_name="apis")
    scopes = ArrayField(models.CharField(max_length=40), default=all_scopes)
    is_open = models.BooleanField(default=True)

    class Meta:
        ordering = ["name", "id"]
        verbose_name = "API"
        verbose_name_plural = "APIs"

    def __str__(self) -> str:
        return self.name


class ApiLink(models.Model):
    """Where an API's manual, its maintainer or the API itself is found."""

    class Event(models.TextChoices):
        HELP = "help", "User manual"
        EMAIL = "email", "E-mail the maintainer"
        ACCESS = "access", "Access"

    api = models.ForeignKey(Api, on_delete=models.CASCADE, related_name="links")
    event = models.CharField(max_length=8, choices=Event.choices)
    url = models.CharField(max_length=254)

    class Meta:
        ordering = ["api", "event"]
        verbose_name = "API link"
        constraints = [models.UniqueConstraint(fields=["api", "event"], name="usermgmt_one_link_an_event")]

    def __str__(self) -> str:
        return f"{self.event}: {self.url}"


class ApiClient(models.Model):
    """A program that may call an API once staff approved it. `state` changes only through `services.clients`."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        SUSPENDED = "suspended"
        REVOKED = "revoked"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_clients")
    api = models.ForeignKey(Api, on_delete=models.PROTECT, related_name="clients", verbose_name="API")
    name = models.CharField(max_length=64)
    description = models.CharField(max_length=2000)
    url = models.CharField(max_length=254)
    data_use = models.CharField(max_length=4000)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING, editable=False)
    scopes = ArrayField(models.CharField(max_length=40), default=all_scopes)
    # Off: every service; on: only `services`, as staff narrowed it.
    is_limited_to_services = models.BooleanField(default=False)
    services = models.ManyToManyField("usermgmt.Service", blank=True, related_name="+")
    expires_at = models.DateTimeField(null=True, blank=True)
    please_rotate = models.BooleanField(default=False, help_text="Imported with a pair made elsewhere.")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    decided_at = models.DateTimeField(null=True, blank=True, editable=False)
    decision_reason = models.TextField(blank=True, editable=False)
    submitted_at = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    reminded_at = models.DateTimeField(null=True, blank=True, editable=False)
    escalated_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["submitted_at", "id"]
        verbose_name = "API client"
        constraints = [
            models.UniqueConstraint("owner", Lower("name"), name="usermgmt_client_name_an_owner"),
        ]
        indexes = [models.Index(fields=["state", "submitted_at"], name="usermgmt_client_queue")]

    def __str__(self) -> str:
        return self.name


class ClientNetwork(models.Model):
    """A network a client may call from; a client without any may call from nowhere."""

    client = models.ForeignKey(ApiClient, on_delete=models.CASCADE, related_name="networks")
    cidr = models.CharField(max_length=43, help_text="Canonical, see formats.networks.")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["client", "cidr"], name="usermgmt_network_once")]

    def __str__(self) -> str:
        return self.cidr


class ClientChangeRequest(models.Model):
    """New values an owner proposes for an approved client; the old ones live until staff accept."""

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    client = models.ForeignKey(ApiClient, on_delete=models.PROTECT, related_name="changes")
    values = models.JSONField(help_text="Any of url, data_use, networks (list of CIDRs).")
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["client"], condition=models.Q(state="open"), name="usermgmt_one_open_change"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client}: {', '.join(sorted(self.values))}"


class ClientEvent(models.Model):
    """One thing that happened to a client. Only ever added: a trigger refuses changes."""

    client = models.ForeignKey(ApiClient, on_delete=models.PROTECT, related_name="events")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    action = models.CharField(max_length=40)
    from_state = models.CharField(max_length=10, blank=True)
    to_state = models.CharField(max_length=10, blank=True)
    reason = models.TextField(blank=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["client", "at"], name="usermgmt_event_history")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.action}"
