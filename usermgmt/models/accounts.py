"""What the portal knows about an account besides `core.User`."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from usermgmt.models import links


class AddressCheck(links.SingleUse):
    """An e-mail address waiting for its owner to follow the mailed link: at registration or when it changes."""

    class Purpose(models.TextChoices):
        REGISTER = "register"
        CHANGE = "change"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="address_checks")
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    address = models.CharField(max_length=254)

    def __str__(self) -> str:
        return f"{self.purpose} {self.address}"


class FoundCount(models.Model):
    """How often a person was found in the directory on a day (UTC)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="found_counts")
    day = models.DateField()
    times = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-day", "user"]
        constraints = [models.UniqueConstraint(fields=["user", "day"], name="usermgmt_found_once")]

    def __str__(self) -> str:
        return f"{self.day}: {self.times}"
