"""Export builds, the one-time links to them, and imports. Each points at its core job and keeps what is its own."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.models import Job
from exports.models import fields
from exports.models.repos import RepoVersion


class BuildState(models.TextChoices):
    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    REPLACED = "replaced"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


ACTIVE = (BuildState.QUEUED, BuildState.PROCESSING)
#: allowed moves; a move is one conditional UPDATE
MOVES = {
    BuildState.QUEUED: (BuildState.PROCESSING, BuildState.FAILED, BuildState.CANCELLED),
    BuildState.PROCESSING: (BuildState.READY, BuildState.QUEUED, BuildState.FAILED, BuildState.CANCELLED),
    BuildState.READY: (BuildState.REPLACED, BuildState.DELETED),
    BuildState.REPLACED: (BuildState.DELETED,),
    BuildState.FAILED: (),
    BuildState.CANCELLED: (),
    BuildState.DELETED: (),
}


class ExportBuild(models.Model):
    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    version = models.ForeignKey(RepoVersion, null=True, on_delete=models.SET_NULL, related_name="builds")
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=10, choices=BuildState.choices, default=BuildState.QUEUED)
    #: which of the version's exports this is, see ``formats.variants``; empty: the plain one
    variant = models.CharField(max_length=200, default="", blank=True)
    #: the variant's word in file names
    label = models.CharField(max_length=120, default="", blank=True)
    #: the version a delta starts from; the delta ends with it
    base = models.ForeignKey(RepoVersion, null=True, on_delete=models.SET_NULL, related_name="deltas")
    force = models.BooleanField(default=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="exports_builds"
    )
    repo_name = models.CharField(max_length=100)
    version_name = models.CharField(max_length=100)
    compressor = models.CharField(max_length=10)
    #: stamp of the archive: newest row of the version, else the version itself
    last_updated = models.DateTimeField(null=True)
    #: the version's own updated_at when it was read; a later one means the archive is stale
    built_from = models.DateTimeField(null=True)
    header = models.TextField(null=True)
    json_size = models.BigIntegerField(null=True)
    json_sha256 = models.CharField(max_length=64, default="")
    attempt = models.IntegerField(default=0)
    tgz_key = models.CharField(max_length=200, default="")
    tgz_size = models.BigIntegerField(null=True)
    tgz_sha256 = models.CharField(max_length=64, default="")
    zip_key = models.CharField(max_length=200, default="")
    zip_size = models.BigIntegerField(null=True)
    zip_sha256 = models.CharField(max_length=64, default="")
    counts = fields.JsonText(null=True)
    error_code = models.CharField(max_length=40, default="")
    error_message = models.CharField(max_length=200, default="")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)  # replaced or deleted

    class Meta:
        ordering = ("-created_at", "-uuid")
        constraints = (
            models.UniqueConstraint(
                fields=("version", "variant"),
                condition=Q(state__in=("queued", "processing")),
                name="exports_build_one_active",
            ),
        )
        indexes = (
            models.Index(fields=("version", "-created_at"), name="exports_build_of_version"),
            models.Index(fields=("requested_by", "-created_at"), name="exports_build_by"),
        )

    def __str__(self) -> str:
        return f"{self.repo_name}_{self.title} {self.uuid.hex}"

    @property
    def title(self) -> str:
        """The version as file names tell it, with the variant's word."""
        return f"{self.version_name}_{self.label}" if self.label else self.version_name

    def size_of(self, form: str) -> int | None:
        """Bytes of a stored format; derived ones are worked out elsewhere."""
        return self.zip_size if form == "zip" else self.tgz_size


class LinkUse(models.Model):
    """A one-time link somebody has begun to use; unused links are not stored."""

    nonce = models.CharField(max_length=32, unique=True)
    build = models.ForeignKey(ExportBuild, on_delete=models.CASCADE, related_name="links")
    form = models.CharField(max_length=6)
    first_byte_at = models.DateTimeField()
    starts = models.IntegerField(default=0)
    #: furthest byte an interrupted response from the start handed over
    reached = models.BigIntegerField(default=0)
    delivered = fields.Int8MultiRange(default="{}")
    is_spent = models.BooleanField(default=False)

    class Meta:
        indexes = (models.Index(fields=("first_byte_at",), name="exports_link_first"),)

    def __str__(self) -> str:
        return f"link {self.nonce[:6]} of {self.build_id}"


class ImportNote(models.Model):
    """What became of one record of an import; written with the batch that decided it."""

    importing = models.ForeignKey("ImportJob", on_delete=models.CASCADE, related_name="notes")
    outcome = models.CharField(max_length=20)
    line = models.BigIntegerField()
    type = models.CharField(max_length=40)
    url = models.TextField()
    errors = fields.JsonText(null=True)

    class Meta:
        indexes = (models.Index(fields=("importing", "outcome", "id"), name="exports_note_outcome"),)

    def __str__(self) -> str:
        return f"{self.line}: {self.outcome}"


class ImportJob(models.Model):
    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="exports_imports"
    )
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    key = models.CharField(max_length=200)
    name = models.CharField(max_length=255, default="")
    options = fields.JsonText(default=dict)
    #: records already committed, so that a restarted attempt goes on behind them
    done = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-created_at", "-uuid")

    def __str__(self) -> str:
        return f"import {self.uuid}"
