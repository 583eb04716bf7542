"""Who is told when an export has ended."""

import uuid

from django.db import models
from django.utils import timezone

from exports.models.repos import Repo


class Webhook(models.Model):
    """An address that gets a signed notice of every export of a repository that is ready or has failed."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=2000)
    #: SHA-256 of the secret in hex; the secret itself was shown once
    key = models.CharField(max_length=64, editable=False)
    on_ready = models.BooleanField(default=True)
    on_failed = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, editable=False)

    class Meta:
        ordering = ("created_at", "uuid")
        constraints = (models.UniqueConstraint(fields=("repo", "url"), name="exports_webhook_unique"),)

    def __str__(self) -> str:
        return f"{self.repo_id} → {self.url}"

    @property
    def events(self) -> list[str]:
        return [word for word, is_wanted in (("ready", self.on_ready), ("failed", self.on_failed)) if is_wanted]
