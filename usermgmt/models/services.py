"""Services that can be added to an account, requests for them, and what was granted."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from usermgmt.models.clients import ApiClient, Maintainer


class Service(models.Model):
    """Something an account can be given access to."""

    class Approval(models.TextChoices):
        AUTO = "auto", "Requests are approved at once"
        STAFF = "staff", "Staff approve requests"

    class Grant(models.TextChoices):
        MANUAL = "manual", "Staff grant access"
        WEBHOOK = "webhook", "The operator's URL grants access"

    slug = models.SlugField(max_length=64)
    name = models.CharField(max_length=128)
    description = models.TextField(blank=True)
    maintainer = models.ForeignKey(Maintainer, on_delete=models.PROTECT, null=True, blank=True, related_name="services")
    help_url = models.URLField(blank=True)
    access_url = models.URLField(blank=True)
    is_enabled = models.BooleanField(default=True)
    approval_policy = models.CharField(max_length=5, choices=Approval.choices, default=Approval.STAFF)
    grant_mode = models.CharField(max_length=7, choices=Grant.choices, default=Grant.MANUAL)
    webhook_url = models.CharField(max_length=2000, blank=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(Lower("slug"), name="usermgmt_service_slug"),
            models.CheckConstraint(
                condition=Q(grant_mode="manual") | ~Q(webhook_url=""), name="usermgmt_webhook_has_url"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ServiceRequest(models.Model):
    """A wish for a service on an account; one that is not denied per account and service."""

    class Source(models.TextChoices):
        PORTAL = "portal"
        API = "api"

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        GRANTED = "granted"
        FAILED = "failed"
        DENIED = "denied"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="service_requests")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="requests")
    source = models.CharField(max_length=6, choices=Source.choices)
    client = models.ForeignKey(ApiClient, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=8, choices=State.choices, editable=False)
    address = models.GenericIPAddressField(null=True, blank=True)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "service"], condition=~Q(state="denied"), name="usermgmt_one_live_request"
            ),
        ]
        indexes = [models.Index(fields=["state", "created_at"], name="usermgmt_request_queue")]

    def __str__(self) -> str:
        return f"{self.service} for {self.user}"


class ServiceRequestEvent(models.Model):
    """One move of a service request."""

    request = models.ForeignKey(ServiceRequest, on_delete=models.CASCADE, related_name="events")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    from_state = models.CharField(max_length=8, blank=True)
    to_state = models.CharField(max_length=8)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.from_state or 'new'} → {self.to_state}"


class UserService(models.Model):
    """Access that was granted."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="services")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="holders")
    request = models.ForeignKey(ServiceRequest, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    granted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["service", "user"]
        constraints = [models.UniqueConstraint(fields=["user", "service"], name="usermgmt_service_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.service}"
