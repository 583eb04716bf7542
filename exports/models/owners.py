"""Who owns repositories: organizations and people."""

import uuid

from django.conf import settings
from django.db import models

from core.models import ApiToken
from exports.models import fields


class Access(models.TextChoices):
    VIEW = "View"
    EDIT = "Edit"
    NONE = "None"


class Organization(models.Model):
    mnemonic = models.CharField(max_length=100, unique=True)
    uuid = models.CharField(max_length=36, default=uuid.uuid4)
    name = models.CharField(max_length=255)
    public_access = models.CharField(max_length=4, choices=Access.choices, default=Access.VIEW)
    company = models.TextField(null=True, blank=True)
    website = models.TextField(null=True, blank=True)
    location = models.TextField(null=True, blank=True)
    logo_url = models.TextField(null=True, blank=True)
    description = models.TextField(null=True, blank=True)
    text = models.TextField(null=True, blank=True)
    extras = fields.JsonText(default=dict, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    updated_by = models.CharField(max_length=150)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="exports_orgs")

    class Meta:
        ordering = ("mnemonic",)

    def __str__(self) -> str:
        return self.mnemonic

    @property
    def url(self) -> str:
        return f"/orgs/{self.mnemonic}/"


class Membership(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "user"), name="exports_membership_unique"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"


class Profile(models.Model):
    """What only this API knows about a person."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="exports_profile"
    )
    company = models.TextField(null=True, blank=True)
    location = models.TextField(null=True, blank=True)
    preferred_locale = models.TextField(null=True, blank=True)
    website = models.TextField(null=True, blank=True)
    extras = fields.JsonText(default=dict, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"profile {self.pk}"


class ExportsToken(ApiToken):
    """The shared tokens that open this API, for its own admin list."""

    class Meta:
        proxy = True
        verbose_name = "exports token"
