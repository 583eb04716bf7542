"""Pairs of key and secret, the links that reveal them, and access tokens. None of them holds a secret in clear."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from usermgmt.models import links
from usermgmt.models.clients import ApiClient


class ClientCredential(models.Model):
    """A key, and the HMAC of its secret once that was shown or mailed.

    `slot`: 1 or 2 while the pair lives; the constraint on it allows a client two live pairs and no third.
    """

    client = models.ForeignKey(ApiClient, on_delete=models.PROTECT, related_name="credentials")
    key = models.CharField(max_length=255, unique=True)
    slot = models.PositiveSmallIntegerField(default=1)
    secret_hmac = models.CharField(max_length=64, null=True, blank=True)
    pepper_id = models.CharField(max_length=40, blank=True)
    secret_prefix = models.CharField(max_length=8, blank=True)
    secret_last4 = models.CharField(max_length=4, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["client", "slot"], condition=Q(revoked_at=None), name="usermgmt_two_live_pairs"
            ),
            models.CheckConstraint(condition=Q(slot__in=[1, 2]), name="usermgmt_slot_one_or_two"),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def ends_at(self) -> datetime | None:
        """When the pair stops working by itself: its own end or its client's, whichever comes first."""
        return min(filter(None, (self.expires_at, self.client.expires_at)), default=None)


class RevealTicket(links.SingleUse):
    """A link that shows the secret of a pair once, to the owner."""

    credential = models.ForeignKey(ClientCredential, on_delete=models.CASCADE, related_name="tickets")

    def __str__(self) -> str:
        return f"ticket {self.pk}"


class AccessToken(models.Model):
    """A bearer token; to revoke it is to delete it."""

    client = models.ForeignKey(ApiClient, on_delete=models.CASCADE, related_name="tokens")
    credential = models.ForeignKey(ClientCredential, on_delete=models.CASCADE, related_name="tokens")
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=40))
    issued_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-issued_at", "-id"]
        indexes = [models.Index(fields=["expires_at"], name="usermgmt_token_expiry")]

    def __str__(self) -> str:
        return f"token {self.pk}"
