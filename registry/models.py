"""What the registry stores: organisations, people's rights, harvests, their records and the runs that made them.

Contract section 3. Passwords, tokens and jobs are the core's; a run points at its job and keeps what is the registry's.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core import egress
from core import models as core_models


def web_address(text: str) -> None:
    """Only http and https addresses without user info, as the guard of outgoing requests takes them."""
    try:
        egress.check_url(text)
    except egress.Blocked as error:
        raise ValidationError(error.message) from error


class HarvestType(models.TextChoices):
    WAF = "WAF", "WAF"
    ERDDAP_WAF = "ERDDAP-WAF", "ERDDAP-WAF"
    CSW = "CSW", "CSW"
    THREDDS = "THREDDS", "THREDDS"
    DOCUMENT = "DOCUMENT", "single document"
    SITEMAP = "SITEMAP", "sitemap"


class DocumentScope(models.TextChoices):
    HOST = "host", "the source's host"
    PREFIX = "prefix", "below the source's path"
    ANY = "any", "any host"


class Organization(models.Model):
    """A provider of sources; its slug is its folder below `/waf/` and never changes."""

    name = models.CharField(max_length=200, unique=True)
    slug = models.CharField(max_length=100, unique=True, editable=False)
    description = models.TextField(blank=True)
    url = models.CharField(max_length=2000, validators=[web_address], blank=True)
    logo_url = models.CharField(max_length=2000, validators=[web_address], blank=True)
    ckan_harvest_url = models.CharField(max_length=2000, validators=[web_address], blank=True)
    # Both validators of the folder's listing: they move when what it holds moves.
    waf_version = models.BigIntegerField(default=0, editable=False)
    waf_changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Account(models.Model):
    """What only the registry knows about a person: approval, role, organisations, point of contact."""

    user = models.OneToOneField(core_models.User, on_delete=models.CASCADE, related_name="registry_account")
    organizations = models.ManyToManyField(Organization, related_name="accounts", blank=True)
    is_registry_admin = models.BooleanField(default=False)
    approved = models.BooleanField(default=False)
    poc_name = models.CharField("contact person", max_length=200, blank=True)
    poc_email = models.EmailField("contact e-mail", blank=True)

    class Meta:
        ordering = ["user__username"]

    def __str__(self) -> str:
        return self.user.username


class Harvest(models.Model):
    """One source and what became of its last run."""

    uid = models.CharField(max_length=17, unique=True, default=core_models.new_uid, editable=False)
    name = models.CharField(max_length=200)
    url = models.CharField(max_length=2000, validators=[web_address], unique=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="harvests")
    harvest_type = models.CharField(max_length=10, choices=HarvestType.choices, default=HarvestType.WAF)
    harvest_interval = models.PositiveIntegerField(
        default=1, validators=[MaxValueValidator(365)], help_text="Days between runs; 0 runs on demand only."
    )
    publish = models.BooleanField(default=False)
    harvest_contact = models.EmailField(blank=True)
    ckan_harvest_url = models.CharField(max_length=2000, validators=[web_address], blank=True)

    last_finished = models.DateTimeField(null=True, blank=True, editable=False)
    last_status = models.CharField(max_length=4, blank=True, editable=False)
    last_record_count = models.PositiveIntegerField(null=True, blank=True, editable=False)
    last_good_count = models.PositiveIntegerField(null=True, blank=True, editable=False)
    last_bad_count = models.PositiveIntegerField(null=True, blank=True, editable=False)
    last_full_check = models.DateTimeField(null=True, blank=True, editable=False)
    next_due = models.DateTimeField(null=True, blank=True, editable=False)
    failures_in_row = models.PositiveIntegerField(default=0, editable=False)
    waive_guard_once = models.BooleanField(default=False, editable=False)
    paused = models.BooleanField(default=False)
    deleting = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    max_depth = models.PositiveIntegerField(default=2, validators=[MaxValueValidator(10)])
    document_scope = models.CharField(max_length=6, choices=DocumentScope.choices, default=DocumentScope.HOST)
    include = ArrayField(
        models.CharField(max_length=200), default=list, blank=True, help_text="Globs, comma separated."
    )
    exclude = ArrayField(
        models.CharField(max_length=200), default=list, blank=True, help_text="Globs, comma separated."
    )
    allow_empty = models.BooleanField(default=False)
    shrink_limit = models.PositiveIntegerField(
        default=50,
        validators=[MaxValueValidator(100)],
        help_text="A run that loses more than this percentage of the records fails.",
    )
    skip_broken_folders = models.BooleanField(default=False)
    serve_invalid = models.BooleanField(default=False)
    widen_points = models.BooleanField(
        default=False, help_text="Boxes without an area are widened by 0.00001° each side in the served copies."
    )
    max_connections = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(16)]
    )
    full_check_days = models.PositiveIntegerField(default=7, validators=[MaxValueValidator(365)])
    cql_filter = models.TextField(blank=True, help_text="CQL constraint sent to a CSW source.")
    obey_robots = models.BooleanField(default=False, help_text="Ask nothing that robots.txt of a host forbids.")
    # encrypted (jobs.credentials); never shown
    credentials = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(harvest_interval__lte=365), name="registry_harvest_interval"),
            models.CheckConstraint(
                condition=Q(last_record_count=models.F("last_good_count") + models.F("last_bad_count"))
                | Q(last_record_count=None),
                name="registry_harvest_counts",
            ),
        ]
        indexes = [models.Index(fields=["publish", "paused", "next_due"], name="registry_harvest_due")]

    def __str__(self) -> str:
        return self.name


class RecordColumns(models.Model):
    """The columns a stored record and its staged successor share."""

    identity = models.TextField()
    identity_sha256 = models.BinaryField(max_length=32)
    url = models.TextField(blank=True)
    file_id = models.CharField(max_length=500, blank=True)
    title = models.TextField(blank=True)
    titles = models.JSONField(default=list)
    description = models.TextField(blank=True)
    metadata_date = models.CharField(max_length=40, blank=True)
    standard = models.CharField(max_length=7, default="unknown")
    kind = models.CharField(max_length=7, default="other")
    services = models.JSONField(default=list)
    links = models.JSONField(default=list)
    bbox = ArrayField(models.FloatField(), size=4, null=True, blank=True)
    content_sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField(default=0)
    # of the copy with widened boxes, if the document has any to widen
    repaired_sha256 = models.CharField(max_length=64, blank=True)
    repaired_size = models.BigIntegerField(default=0)
    etag = models.TextField(blank=True)
    last_modified = models.CharField(max_length=60, blank=True)
    settled = models.BooleanField(default=False)
    listed_date = models.DateTimeField(null=True, blank=True)
    listed_size = models.BigIntegerField(null=True, blank=True)
    fetched_at = models.DateTimeField(null=True, blank=True)
    validator_version = models.CharField(max_length=20, blank=True)
    well_formed = models.BooleanField(default=False)
    valid = models.BooleanField(default=False)
    error_count = models.PositiveIntegerField(default=0)
    warning_count = models.PositiveIntegerField(default=0)
    issues = models.JSONField(default=list)
    waf_name = models.CharField(max_length=120, db_collation="C")

    class Meta:
        abstract = True


class Record(RecordColumns):
    """One document of a source: the bytes last fetched (by hash), what they say, and what is wrong with them.

    `stale_since` is set while a listed document cannot be fetched; the previous bytes stay served until it leaves the
    listing. `changed_at` is when these bytes last changed here.
    """

    harvest = models.ForeignKey(Harvest, on_delete=models.CASCADE, related_name="records")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="records")
    stale_since = models.DateTimeField(null=True, blank=True)
    fetch_issue = models.JSONField(null=True, blank=True)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["harvest", "identity_sha256"], name="registry_record_identity"),
            models.UniqueConstraint(fields=["organization", "waf_name"], name="registry_record_waf_name"),
        ]
        indexes = [
            models.Index(fields=["harvest", "title"], name="registry_record_title"),
            models.Index("harvest", models.F("error_count").desc(), name="registry_record_errors"),
            models.Index(fields=["file_id"], name="registry_record_file_id"),
            models.Index(fields=["content_sha256"], name="registry_record_content"),
            GinIndex(fields=["title"], name="registry_record_words", opclasses=["gin_trgm_ops"]),
        ]

    def __str__(self) -> str:
        return self.title or self.url or self.identity

    @property
    def is_repaired(self) -> bool:
        """Whether the folder serves a copy with widened boxes."""
        return self.harvest.widen_points and bool(self.repaired_sha256)


class HarvestRun(models.Model):
    """One attempt to bring a harvest up to date. Its lease, attempts and progress are those of its job."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        OK = "ok"
        FAIL = "fail"
        CANCELLED = "cancelled"

    class Trigger(models.TextChoices):
        API = "api"
        PAGE = "page"
        ADMIN = "admin"
        SCHEDULE = "schedule"
        CLI = "cli"
        IMPORT = "import"

    ACTIVE: ClassVar = (State.QUEUED, State.RUNNING)

    harvest = models.ForeignKey(Harvest, on_delete=models.CASCADE, related_name="runs")
    job = models.OneToOneField(core_models.Job, on_delete=models.PROTECT, related_name="harvest_run")
    trigger = models.CharField(max_length=8, choices=Trigger.choices)
    requester = models.ForeignKey(
        core_models.User, on_delete=models.SET_NULL, null=True, blank=True, related_name="harvest_runs"
    )
    coalesced = models.PositiveIntegerField(default=0, help_text="Further requests that joined this run.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    stage = models.CharField(max_length=10, blank=True)
    settings = models.JSONField(default=dict)
    resume = models.JSONField(default=dict)
    waived_guard = models.BooleanField(default=False)
    full_check = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    listed = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    good = models.PositiveIntegerField(default=0)
    bad = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    stale = models.PositiveIntegerField(default=0)
    requests = models.PositiveIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    failure_code = models.CharField(max_length=20, blank=True)
    failure_message = models.TextField(blank=True)
    ckan_outcome = models.CharField(max_length=200, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["harvest"], condition=Q(state__in=["queued", "running"]), name="registry_run_one_active"
            ),
        ]
        indexes = [models.Index(fields=["harvest", "-id"], name="registry_run_history")]

    def __str__(self) -> str:
        return f"{self.harvest} {self.created_at:%Y-%m-%d %H:%M}"


class RunIssue(models.Model):
    """One line of a run's report."""

    run = models.ForeignKey(HarvestRun, on_delete=models.CASCADE, related_name="issues")
    url = models.TextField(blank=True)
    identifier = models.CharField(max_length=500, blank=True)
    stage = models.CharField(max_length=6)
    severity = models.CharField(max_length=7)
    code = models.CharField(max_length=30)
    line = models.PositiveIntegerField(null=True, blank=True)
    column = models.PositiveIntegerField(null=True, blank=True)
    message = models.TextField()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["run", "id"], name="registry_issue_run")]

    def __str__(self) -> str:
        return f"{self.stage} {self.code}"


class RunChange(models.Model):
    """What a run did to one document: added, changed or removed, with the hashes before and after."""

    class Kind(models.TextChoices):
        ADDED = "added"
        CHANGED = "changed"
        REMOVED = "removed"

    run = models.ForeignKey(HarvestRun, on_delete=models.CASCADE, related_name="changes")
    identity = models.TextField()
    kind = models.CharField(max_length=7, choices=Kind.choices)
    title = models.TextField(blank=True)
    old_sha256 = models.CharField(max_length=64, blank=True)
    new_sha256 = models.CharField(max_length=64, blank=True)
    # the record's row as it was, for as long as the swap may be undone
    before = models.JSONField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["run", "id"], name="registry_change_run"),
            models.Index(fields=["old_sha256"], condition=Q(before__isnull=False), name="registry_change_before"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


class StagedRecord(RecordColumns):
    """A document of a run in progress; the swap moves it into `Record` and empties this table.

    `outcome`: empty while it waits, `fetched` (these columns are new), `unchanged` (the stored bytes stay, headers are
    refreshed), `carried` (nothing was asked, the stored row stays), `failed` (could not be fetched).
    """

    class Outcome(models.TextChoices):
        WAITING = ""
        FETCHED = "fetched"
        UNCHANGED = "unchanged"
        CARRIED = "carried"
        FAILED = "failed"

    run = models.ForeignKey(HarvestRun, on_delete=models.CASCADE, related_name="staged")
    outcome = models.CharField(max_length=9, blank=True, choices=Outcome.choices, default=Outcome.WAITING)
    fetch_issue = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "identity_sha256"], name="registry_staged_identity")]
        indexes = [
            models.Index(fields=["run", "id"], condition=Q(outcome=""), name="registry_staged_waiting"),
        ]

    def __str__(self) -> str:
        return self.identity


class Subscription(models.Model):
    """A person's wish to hear of a harvest's runs, by mail or signed webhook."""

    class Event(models.TextChoices):
        FAILURE = "failure"
        CHANGE = "change"
        ALWAYS = "always"

    user = models.ForeignKey(core_models.User, on_delete=models.CASCADE, related_name="registry_subscriptions")
    harvest = models.ForeignKey(Harvest, on_delete=models.CASCADE, related_name="subscriptions")
    event = models.CharField(max_length=7, choices=Event.choices, default=Event.FAILURE)
    webhook_url = models.CharField(max_length=2000, validators=[web_address], blank=True, help_text="Empty: by mail.")
    key = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "harvest", "webhook_url"], name="registry_subscription_once")
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.event} {self.harvest}"
