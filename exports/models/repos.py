"""Repositories (sources and collections) and their versions. HEAD, the editable state, is a version row too."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from exports.models import fields
from exports.models.owners import Access, Organization

HEAD = "HEAD"


class Kind(models.TextChoices):
    SOURCE = "source"
    COLLECTION = "collection"


class Repo(models.Model):
    kind = models.CharField(max_length=10, choices=Kind.choices)
    organization = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT, related_name="repos")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="exports_repos"
    )
    mnemonic = models.CharField(max_length=100)
    uri = models.CharField(max_length=330, unique=True)
    uuid = models.CharField(max_length=36, default=uuid.uuid4)
    name = models.TextField()
    full_name = models.TextField(null=True, blank=True)
    description = models.TextField(null=True, blank=True)
    repo_type = models.TextField(null=True, blank=True)
    custom_validation_schema = models.TextField(null=True, blank=True)
    public_access = models.CharField(max_length=4, choices=Access.choices, default=Access.VIEW)
    default_locale = models.CharField(max_length=50, default="en")
    supported_locales = fields.JsonText(default=list, blank=True)
    website = models.TextField(null=True, blank=True)
    external_id = models.TextField(null=True, blank=True)
    extras = fields.JsonText(default=dict, blank=True)
    details = fields.JsonText(default=dict, blank=True)
    next_mapping = models.BigIntegerField(default=1)
    #: the greatest timestamp handed out under this row's lock; the next one is later (contract §2.6)
    write_clock = models.DateTimeField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    updated_by = models.CharField(max_length=150)

    class Meta:
        ordering = ("uri",)
        constraints = (
            models.CheckConstraint(
                condition=Q(organization__isnull=True) ^ Q(user__isnull=True), name="exports_repo_one_owner"
            ),
            models.UniqueConstraint(fields=("organization", "kind", "mnemonic"), name="exports_repo_org_unique"),
            models.UniqueConstraint(fields=("user", "kind", "mnemonic"), name="exports_repo_user_unique"),
        )

    def __str__(self) -> str:
        return self.uri

    @property
    def is_source(self) -> bool:
        return self.kind == Kind.SOURCE

    @property
    def is_private(self) -> bool:
        return self.public_access == Access.NONE

    @property
    def owner(self) -> str:
        return self.uri.split("/")[2]

    @property
    def owner_url(self) -> str:
        return "/".join(self.uri.split("/")[:3]) + "/"

    @property
    def owner_type(self) -> str:
        return "Organization" if self.organization_id else "User"


class RepoVersion(models.Model):
    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="versions")
    name = models.CharField(max_length=100)
    uuid = models.CharField(max_length=36, default=uuid.uuid4)
    released = models.BooleanField(default=False)
    retired = models.BooleanField(default=False)
    description = models.TextField(null=True, blank=True)
    extras = fields.JsonText(default=dict, blank=True)
    external_id = models.TextField(null=True, blank=True)
    #: the document's header, frozen at the cut; null for HEAD, whose header is the repository's of the moment
    header = fields.JsonText(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    updated_by = models.CharField(max_length=150)
    concepts = models.BigIntegerField(default=0)
    mappings = models.BigIntegerField(default=0)
    references_count = models.BigIntegerField(default=0)
    retired_concepts = models.BigIntegerField(default=0)
    retired_mappings = models.BigIntegerField(default=0)
    concepts_bytes = models.BigIntegerField(default=0)
    mappings_bytes = models.BigIntegerField(default=0)
    references_bytes = models.BigIntegerField(default=0)
    last_child_update = models.DateTimeField(null=True)
    current_build = models.ForeignKey("ExportBuild", null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("repo", "name"), name="exports_version_unique"),)
        indexes = (models.Index("repo", "released", models.F("created_at").desc(), name="exports_version_latest"),)

    def __str__(self) -> str:
        return f"{self.repo.uri}{self.name}/"

    @property
    def is_head(self) -> bool:
        return self.name == HEAD

    @property
    def uri(self) -> str:
        return f"{self.repo.uri}{self.name}/"
