"""Archives brought in: one run each, and the rows that could not be taken."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from downloads.models import store


class IngestRun(models.Model):
    """One attempt to bring an archive into the store; `report` holds the counts of contract 6.1."""

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    source = models.CharField(max_length=2000)
    options = models.JSONField(default=dict)
    recordset = models.ForeignKey(
        store.Recordset, on_delete=models.SET_NULL, null=True, blank=True, related_name="ingest_runs"
    )
    job = models.OneToOneField("core.Job", on_delete=models.SET_NULL, null=True, blank=True, related_name="ingest_run")
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    report = models.JSONField(default=dict)
    error = models.CharField(max_length=1000, blank=True)
    version = models.ForeignKey(store.StoreVersion, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.source} {self.created_at:%Y-%m-%d %H:%M}"


class RejectedRow(models.Model):
    """A row set aside: where it stood, why, and its beginning."""

    REASONS = (
        "no_record_id",
        "duplicate_row",
        "duplicate_identifier",
        "identifier_conflict",
        "wrong_column_count",
        "row_too_long",
        "orphan_extension",
    )

    run = models.ForeignKey(IngestRun, on_delete=models.CASCADE, related_name="rejects")
    file = models.CharField(max_length=300)
    line = models.PositiveBigIntegerField()
    reason = models.CharField(max_length=30)
    message = models.CharField(max_length=500)
    row = models.TextField(blank=True)

    class Meta:
        ordering = ["run", "file", "line", "id"]
        indexes = [models.Index(fields=["run", "reason"], name="downloads_reject_reason")]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.reason}"
