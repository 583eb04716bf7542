"""What is stored: accessible titles, their files, readers, token pairs and the log of issued links.

Derived columns (`label_sort`, `…_n`, `formats`, `access_*`, `search_wide`, `doc`) and search entries are written by
`nnels.jobs.catalogue.refresh` only, in the transaction of the change they follow.
"""

import datetime
import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone


def _strings(**options: object) -> "ArrayField[list[str], list[str]]":
    return ArrayField(models.TextField(), default=list, blank=True, **options)  # type: ignore[arg-type]


class Library(models.Model):
    """A reader's home library."""

    name = models.CharField(max_length=255, unique=True)
    code = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["name", "id"]
        verbose_name_plural = "libraries"

    def __str__(self) -> str:
        return self.name


class Reader(models.Model):
    """What only this API knows of an account: whether it may have restricted titles, and for how long."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="nnels_reader"
    )
    print_disability_verified = models.BooleanField(default=False)
    verified_at = models.DateTimeField(null=True, blank=True)
    verified_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    verified_until = models.DateField(null=True, blank=True)
    home_library = models.ForeignKey(Library, on_delete=models.SET_NULL, null=True, blank=True)
    notes = models.TextField(blank=True)

    class Meta:
        ordering = ["user_id"]

    def __str__(self) -> str:
        return f"reader {self.user_id}"


class Rights(models.TextChoices):
    OPEN = "open"
    RESTRICTED = "restricted"


class Narration(models.TextChoices):
    HUMAN = "human"
    SYNTHETIC = "synthetic"


def english() -> list[str]:
    """Default of `Item.languages`, as the published structure says."""
    return ["eng"]


class Item(models.Model):
    """One title. Lists are text arrays; `id` is the node id (nid)."""

    id = models.BigAutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid.uuid4)
    label = models.CharField(max_length=255)
    creators = _strings()
    languages = ArrayField(models.TextField(), default=english, blank=True)
    isbn = _strings()
    published_date = models.CharField(max_length=10, null=True, blank=True)
    published_from = models.DateField(null=True, blank=True, editable=False)
    published_to = models.DateField(null=True, blank=True, editable=False)
    subjects = _strings()
    description = models.TextField(blank=True)
    publisher = models.CharField(max_length=255, blank=True)
    publisher_place = models.CharField(max_length=255, blank=True)
    narrators = _strings()
    narration = models.CharField(max_length=16, choices=Narration.choices, null=True, blank=True)
    duration = models.PositiveIntegerField(null=True, blank=True, help_text="seconds")
    series = models.CharField(max_length=255, blank=True)
    edition = models.CharField(max_length=255, blank=True)
    audience = models.CharField(max_length=255, blank=True)
    rights = models.CharField(max_length=16, choices=Rights.choices, default=Rights.RESTRICTED)
    accessibility = models.JSONField(default=dict, blank=True)
    published = models.BooleanField(default=True)
    source = models.CharField(max_length=255, blank=True)
    created = models.DateTimeField(default=timezone.now, editable=False)
    changed = models.DateTimeField(default=timezone.now, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)

    label_sort = models.TextField(default="", editable=False)
    creators_n = _strings(editable=False)
    creators_flat = models.TextField(default="", editable=False)
    subjects_n = _strings(editable=False)
    narrators_n = _strings(editable=False)
    publisher_n = models.TextField(default="", editable=False)
    series_n = models.TextField(default="", editable=False)
    formats = _strings(editable=False)
    access_modes = _strings(editable=False)
    access_features = _strings(editable=False)
    access_hazards = _strings(editable=False)
    search_wide = SearchVectorField(null=True, editable=False)
    doc = models.TextField(default="", editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(label=""), name="nnels_item_label"),
            models.CheckConstraint(condition=Q(rights__in=Rights.values), name="nnels_item_rights"),
            models.CheckConstraint(
                condition=Q(narration__isnull=True) | Q(narration__in=Narration.values), name="nnels_item_narration"
            ),
            models.CheckConstraint(
                condition=Q(published_date__isnull=True)
                | Q(published_date__regex=r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$"),
                name="nnels_item_date",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(published=True), name="nnels_item_pub_id"),
            models.Index(fields=["label_sort", "id"], condition=Q(published=True), name="nnels_item_pub_label"),
            models.Index(
                F("published_from").asc(nulls_last=True),
                F("id").asc(),
                condition=Q(published=True),
                name="nnels_item_pub_date",
            ),
            models.Index(fields=["changed", "id"], condition=Q(published=True), name="nnels_item_pub_changed"),
            GinIndex(fields=["isbn"], name="nnels_item_isbn", fastupdate=False),
            GinIndex(fields=["languages"], name="nnels_item_languages", fastupdate=False),
            GinIndex(fields=["creators_n"], name="nnels_item_creators", fastupdate=False),
            GinIndex(fields=["subjects_n"], name="nnels_item_subjects", fastupdate=False),
            GinIndex(fields=["formats"], name="nnels_item_formats", fastupdate=False),
            GinIndex(fields=["search_wide"], name="nnels_item_search_wide", fastupdate=False),
            GinIndex(OpClass("label_sort", "gin_trgm_ops"), name="nnels_item_label_trgm", fastupdate=False),
            GinIndex(OpClass("creators_flat", "gin_trgm_ops"), name="nnels_item_creators_trgm", fastupdate=False),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.label}"


class SearchEntry(models.Model):
    """What keyword search reads of a published title: words of title, creators, ISBN and subjects.

    Apart from the item, whose rows are ten times as long: a search for a common word reads every hit's row.
    """

    item = models.OneToOneField(Item, on_delete=models.CASCADE, primary_key=True, related_name="+")
    title = models.TextField()
    search = SearchVectorField()

    class Meta:
        ordering = ["item_id"]
        indexes = [GinIndex(fields=["search"], name="nnels_searchentry_search", fastupdate=False)]

    def __str__(self) -> str:
        return f"words of {self.item_id}"


class Format(models.TextChoices):
    """Formats in the order in which an item's links are listed."""

    DAISY202 = "daisy202"
    DAISY3 = "daisy3"
    EPUB = "epub"
    DOCX = "docx"
    RTF = "rtf"
    PDF = "pdf"
    MP3 = "mp3"
    BRF = "brf"
    TXT = "txt"
    HTML = "html"


class File(models.Model):
    """One file of an item in the blob store. `missing` is set by the weekly check and hides the file."""

    id = models.BigAutoField(primary_key=True)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="files")
    format = models.CharField(max_length=16, choices=Format.choices)
    part = models.PositiveIntegerField(default=1)
    media_type = models.CharField(max_length=127)
    name = models.CharField(max_length=255)
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    blob_key = models.CharField(max_length=255)
    missing = models.BooleanField(default=False)
    verified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["item_id", "format", "part"]
        constraints = [
            models.UniqueConstraint(fields=["item", "format", "part"], name="nnels_file_place"),
            # Synthetic titles of measurements share a few blobs; every real file has its own.
            models.UniqueConstraint(
                fields=["blob_key"], condition=~Q(blob_key__startswith="nnels/bulk/"), name="nnels_file_blob"
            ),
            models.CheckConstraint(condition=Q(bytes__gt=0), name="nnels_file_bytes"),
            models.CheckConstraint(condition=Q(format__in=Format.values), name="nnels_file_format"),
        ]
        indexes = [models.Index(fields=["blob_key"], name="nnels_file_blob_key")]

    def __str__(self) -> str:
        return f"{self.item_id} {self.format} {self.part}"


class TokenPair(models.Model):
    """An access token and the refresh token it came with. Neither is stored: see `nnels.services.tokens`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    nonce = models.BinaryField(max_length=16)
    key_id = models.CharField(max_length=16)
    password_mark = models.CharField(max_length=64)
    access_digest = models.BinaryField(max_length=32, unique=True)
    refresh_digest = models.BinaryField(max_length=32, unique=True)
    issued_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    refresh_expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_why = models.CharField(max_length=32, blank=True)
    reused_at = models.DateTimeField(null=True, blank=True, help_text="last use of the refresh token after its end")

    class Meta:
        ordering = ["-issued_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=Q(revoked_at__isnull=True), name="nnels_pair_live"),
        ]

    def __str__(self) -> str:
        return f"pair of account {self.user_id}"


class Purpose(models.TextChoices):
    API = "api"
    OPDS = "opds"
    ADMIN = "admin"
    PAGE = "page"


class UrlIssue(models.Model):
    """One row per item and answer that held signed links. Reading history: admin only, kept a limited time."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    # What was lent stays known when the title is deleted: the nid is kept and may point at nothing.
    item = models.ForeignKey(Item, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    files = ArrayField(models.BigIntegerField())
    expires_at = models.DateTimeField()
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    request_id = models.CharField(max_length=64, blank=True)
    ip_prefix = models.CharField(max_length=43, blank=True)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name = "issued link"
        indexes = [
            models.Index(fields=["item", "at"], name="nnels_issue_item"),
            models.Index(fields=["user", "at"], name="nnels_issue_user"),
            models.Index(fields=["at"], name="nnels_issue_at"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} item {self.item_id}"


class IssueTotal(models.Model):
    """Issues per item and day, kept when the log rows are purged; no personal data."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    item = models.ForeignKey(Item, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    issues = models.PositiveIntegerField()

    class Meta:
        ordering = ["day", "item_id", "purpose"]
        verbose_name = "use total"
        constraints = [models.UniqueConstraint(fields=["day", "item", "purpose"], name="nnels_total_day")]

    def __str__(self) -> str:
        return f"{self.day} item {self.item_id}: {self.issues}"


class RetiredBlob(models.Model):
    """A blob whose file was replaced or deleted; deleted for good when no issued link can still need it."""

    blob_key = models.CharField(max_length=255, unique=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return self.blob_key


class Catalogue(models.Model):
    """One row: the version of the published set, bumped in the transaction of any change to it."""

    version = models.BigIntegerField(default=1)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="nnels_catalogue_one")]

    def __str__(self) -> str:
        return f"version {self.version}"


class Tombstone(models.Model):
    """A title that left the published set (deleted or unpublished), for clients that harvest by `changed`."""

    item_id = models.BigIntegerField(primary_key=True)
    uuid = models.UUIDField()
    changed = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["item_id"]
        indexes = [models.Index(fields=["changed", "item_id"], name="nnels_tombstone_changed")]

    def __str__(self) -> str:
        return f"{self.item_id} gone"


class ImportRun(models.Model):
    """One run of `import_items`, from the command line or the admin (then `job_id` names its job)."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.UUIDField(null=True, blank=True, unique=True)
    who = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    folder = models.CharField(max_length=1024)
    state = models.CharField(max_length=16, default="queued")
    created_count = models.PositiveIntegerField(default=0)
    updated_count = models.PositiveIntegerField(default=0)
    unchanged_count = models.PositiveIntegerField(default=0)
    rejected_count = models.PositiveIntegerField(default=0)
    report_key = models.CharField(max_length=255, blank=True)
    error = models.CharField(max_length=255, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-started_at", "-id"]

    def __str__(self) -> str:
        return f"{self.folder} {self.state}"


def today() -> datetime.date:
    """Today in the service's time zone: the day `verified_until` is compared with."""
    return timezone.localdate()
