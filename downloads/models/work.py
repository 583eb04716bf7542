"""Downloads (what callers see), builds (the work, shared by equal downloads) and who asked for what.

Both are found through key tables claimed by insert-or-lock, so that equal requests at the same moment meet.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class Build(models.Model):
    """One archive made, or to be made, from one version of the store. Its core job carries lease and progress."""

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"
        DELETED = "deleted"

    class Lane(models.TextChoices):
        SHORT = "short"
        LONG = "long"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    build_key = models.CharField(max_length=64, db_index=True)
    request = models.TextField()
    data_version = models.PositiveBigIntegerField()
    snapshot_at = models.DateTimeField()
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    stage = models.CharField(max_length=20, default="queued")
    lane = models.CharField(max_length=5, choices=Lane.choices, default=Lane.SHORT)
    caller = models.CharField(max_length=100)
    running_limit = models.PositiveIntegerField(default=3)
    job = models.OneToOneField("core.Job", on_delete=models.SET_NULL, null=True, blank=True, related_name="build")
    rows_done = models.PositiveBigIntegerField(default=0)
    rows_total = models.PositiveBigIntegerField(null=True, blank=True)
    rows = models.JSONField(default=dict)
    plan = models.JSONField(default=dict)
    parts_done = models.PositiveIntegerField(default=0)
    crashes = models.PositiveIntegerField(default=0)
    is_underway = models.BooleanField(default=False)
    storage_away_since = models.DateTimeField(null=True, blank=True)
    blob_key = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    etag = models.CharField(max_length=200, blank=True, default="")
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    ahead: int | None = None
    """Not kept: how many builds are to begin before this one, where whoever fetched it asked along the way."""

    class Meta:
        ordering = ["-created_at", "uuid"]
        indexes = [
            models.Index(
                fields=["caller", "state"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="downloads_build_active",
            ),
            models.Index(fields=["data_version"], name="downloads_build_version"),
            models.Index(fields=["-created_at", "uuid"], name="downloads_build_newest"),
        ]

    def __str__(self) -> str:
        return str(self.uuid)


class BuildPart(models.Model):
    """One stretch of one member: the rows whose uuid lies from `low` up to but without `high` (null: no bound).

    The first also holds the header. `size` and `crc` are of its plain bytes, `compressed` and `packed_crc` of its blob.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        CLAIMED = "claimed"
        DONE = "done"

    build = models.ForeignKey(Build, on_delete=models.CASCADE, related_name="parts")
    member = models.CharField(max_length=40)
    number = models.PositiveIntegerField()
    low = models.UUIDField(null=True)
    high = models.UUIDField(null=True)
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    owner = models.UUIDField(null=True)
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    rows = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)
    compressed = models.PositiveBigIntegerField(default=0)
    crc = models.PositiveBigIntegerField(default=0)
    packed_crc = models.PositiveBigIntegerField(default=0)
    blob_key = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["build", "id"]
        constraints = [
            models.UniqueConstraint(fields=["build", "member", "number"], name="downloads_part_number"),
        ]

    def __str__(self) -> str:
        return f"{self.member} {self.number}"


class Delta(models.Model):
    """A core id whose rows differ from those of the data version a build counts from (`since`)."""

    build = models.ForeignKey(Build, on_delete=models.CASCADE, related_name="deltas", db_index=False)
    coreid = models.UUIDField()
    is_deleted = models.BooleanField()

    class Meta:
        ordering = ["build", "coreid"]
        constraints = [models.UniqueConstraint(fields=["build", "coreid"], name="downloads_delta_once")]

    def __str__(self) -> str:
        return str(self.coreid)


class Download(models.Model):
    """The job a caller sees: its uuid is in every link."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"
        EXPIRED = "expired"

    class Face(models.TextChoices):
        SEED = "seed"
        V2 = "v2"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    request_key = models.CharField(max_length=64, db_index=True)
    request = models.TextField()
    face = models.CharField(max_length=4, choices=Face.choices)
    form = models.CharField(max_length=10)
    core_type = models.CharField(max_length=14)
    query_hash = models.CharField(max_length=40, db_index=True)
    hash = models.CharField(max_length=40, db_index=True)
    build = models.ForeignKey(Build, on_delete=models.PROTECT, related_name="downloads", null=True)
    data_version = models.PositiveBigIntegerField()
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    reuse_until = models.DateTimeField()
    expires_at = models.DateTimeField()
    expired_at = models.DateTimeField(null=True, blank=True)
    is_pinned = models.BooleanField(default=False)

    OVER: ClassVar[models.Q] = models.Q(state=State.EXPIRED) | (
        models.Q(is_pinned=False, expires_at__lte=Now()) & ~models.Q(state=State.WAITING)
    )
    """Downloads whose time is over, whether or not a sweep has marked them yet."""

    class Meta:
        ordering = ["-created_at", "uuid"]
        indexes = [
            models.Index(fields=["state", "expires_at"], name="downloads_download_expiry"),
            models.Index(fields=["-created_at", "uuid"], name="downloads_download_newest"),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

    @property
    def is_over(self) -> bool:
        """The same as `OVER`, of this one."""
        if self.state == self.State.EXPIRED:
            return True
        return self.state != self.State.WAITING and not self.is_pinned and self.expires_at <= timezone.now()


class RequestKey(models.Model):
    """Insert-or-lock: whoever holds this row decides which download equal requests get."""

    key = models.CharField(primary_key=True, max_length=64)
    download = models.ForeignKey(Download, on_delete=models.CASCADE, null=True)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class BuildKey(models.Model):
    """Insert-or-lock: whoever holds this row decides which build equivalent requests share."""

    key = models.CharField(primary_key=True, max_length=64)
    build = models.ForeignKey(Build, on_delete=models.CASCADE, null=True)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Claim(models.Model):
    """One accepted request's stake in a download (the contract's JobRequest): who asked, and the hash of the token
    that withdraws it."""

    download = models.ForeignKey(Download, on_delete=models.CASCADE, related_name="claims")
    created_at = models.DateTimeField(default=timezone.now)
    address = models.GenericIPAddressField(null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="download_claims"
    )
    source = models.CharField(max_length=200, blank=True)
    token_hash = models.CharField(max_length=64, unique=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(address__isnull=False), name="downloads_claim_erase")
        ]

    def __str__(self) -> str:
        return f"{self.download_id} {self.created_at:%Y-%m-%d %H:%M}"


class Quota(models.Model):
    """How much the holder of an API key may have at once; without a row, what the settings say for keys."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="download_quota")
    running = models.PositiveIntegerField(default=6)
    queued = models.PositiveIntegerField(default=20)

    class Meta:
        ordering = ["user"]

    def __str__(self) -> str:
        return f"{self.user}: {self.running} running, {self.queued} queued"


class Notification(models.Model):
    """Somebody to be told of a download's end, once per channel and address."""

    class Channel(models.TextChoices):
        MAIL = "mail"
        WEBHOOK = "webhook"

    download = models.ForeignKey(Download, on_delete=models.CASCADE, related_name="notifications")
    channel = models.CharField(max_length=7, choices=Channel.choices)
    address = models.CharField(max_length=2000)
    key = models.CharField(max_length=64, blank=True, editable=False)
    base_url = models.CharField(max_length=300, editable=False)
    mail = models.ForeignKey("core.Mail", on_delete=models.SET_NULL, null=True, blank=True)
    delivery = models.ForeignKey("core.WebhookDelivery", on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    queued_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["download", "channel", "address"], name="downloads_notification_once")
        ]
        indexes = [
            models.Index(fields=["download"], condition=models.Q(queued_at=None), name="downloads_notification_new")
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.address}"

    @property
    def state(self) -> str:
        sent = self.mail or self.delivery
        return sent.state if sent else "waiting"

    @property
    def attempts(self) -> int:
        sent = self.mail or self.delivery
        return sent.attempts if sent else 0
