"""Links that work once."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class SingleUse(models.Model):
    """What a mailed link leaves behind: the digest of its token, until when it works, and when it was used."""

    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        ordering = ["-created_at", "-id"]
