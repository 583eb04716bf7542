"""The books: calls per client and day, and which searches were made, without their terms."""

from __future__ import annotations

from django.db import models

from usermgmt.models.clients import ApiClient


class ClientDailyUsage(models.Model):
    """How often a client called, by day (UTC), credential scheme and endpoint."""

    client = models.ForeignKey(ApiClient, on_delete=models.CASCADE, related_name="usage")
    day = models.DateField()
    scheme = models.CharField(max_length=6)
    endpoint = models.CharField(max_length=7)
    ok = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "client", "scheme", "endpoint"]
        verbose_name_plural = "client daily usage"
        constraints = [
            models.UniqueConstraint(fields=["client", "day", "scheme", "endpoint"], name="usermgmt_usage_once"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.scheme} {self.endpoint}: {self.ok} + {self.failed}"


class SearchAudit(models.Model):
    """One search: who, when, what kind, how many rows. `term` is a keyed hash: equal terms are equal, no more."""

    at = models.DateTimeField()
    client = models.ForeignKey(ApiClient, on_delete=models.CASCADE, related_name="+")
    type = models.CharField(max_length=8)
    term = models.CharField(max_length=32)
    rows = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "search audit"
        indexes = [models.Index(fields=["at"], name="usermgmt_audit_age")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.type} {self.status}"
