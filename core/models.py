"""What all five APIs store in common: people, tokens, jobs, and what leaves by mail or webhook."""

from __future__ import annotations

import secrets
import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres import indexes
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from core import names

UID_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz"


def new_uid() -> str:
    """A 17-character identifier in the registry's alphabet (contract registry 2.1)."""
    # One draw and 17 digits of it: a choice for each takes four times as long, which an import feels.
    rest, digits = secrets.randbelow(len(UID_ALPHABET) ** 17), ""
    for _ in range(17):
        rest, digit = divmod(rest, len(UID_ALPHABET))
        digits += UID_ALPHABET[digit]
    return digits


class UserManager(BaseUserManager["User"]):
    """Creates accounts; user names are stored lower-case."""

    def create_user(self, username: str, email: str | None = None, password: str | None = None, **fields: Any) -> User:
        user = self.model(username=username, email=email or "", **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        fields = {"is_staff": True, "is_superuser": True, "is_validated": True, **fields}
        return self.create_user(username, email, password, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(username=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """The one account of a person for all five APIs."""

    id = models.BigAutoField(primary_key=True)
    uid = models.CharField(max_length=17, unique=True, default=new_uid, editable=False)
    username = models.CharField(max_length=64, unique=True)
    first_name = models.CharField(max_length=256, blank=True)
    last_name = models.CharField(max_length=256, blank=True)
    # A copy of the primary address, so that Django's own forms find it; EmailAddress is the truth.
    email = models.CharField(max_length=254, blank=True)
    institution = models.CharField(max_length=256, null=True, blank=True)
    position = models.CharField(max_length=256, null=True, blank=True)
    is_validated = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    hide_from_directory = models.BooleanField(default=False)
    date_joined = models.DateTimeField(default=timezone.now)
    # Search columns (contract usermgmt 9), filled by save() and by bulk imports through core.names.
    username_n = models.TextField(editable=False, default="")
    first_n = models.TextField(editable=False, default="")
    last_n = models.TextField(editable=False, default="")
    name_n = models.TextField(editable=False, default="")

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["email"]

    class Meta:
        ordering = ["username"]
        constraints = [
            models.CheckConstraint(condition=models.Q(username=Lower("username")), name="core_user_username_lower"),
        ]
        indexes = [
            indexes.GinIndex(fields=["username_n"], opclasses=["gin_trgm_ops"], name="core_user_username_trgm"),
            indexes.GinIndex(fields=["name_n"], opclasses=["gin_trgm_ops"], name="core_user_name_trgm"),
            models.Index(fields=["username_n"], opclasses=["text_pattern_ops"], name="core_user_username_start"),
            # With the id, so that the people of one name come in order; a popular name's page is its first entries.
            models.Index(
                fields=["first_n", "id"], opclasses=["text_pattern_ops", "int8_ops"], name="core_user_first_start"
            ),
            models.Index(
                fields=["last_n", "id"], opclasses=["text_pattern_ops", "int8_ops"], name="core_user_last_start"
            ),
        ]

    def __str__(self) -> str:
        return self.username

    def get_full_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    def get_short_name(self) -> str:
        return self.first_name or self.username

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """User names are NFKC and lower-case wherever they come from."""
        return str(super().normalize_username(username)).lower()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the account; the search columns and the primary address row follow it."""
        self.username = self.normalize_username(self.username)
        self.institution = self.institution or None
        self.position = self.position or None
        for column, value in names.search_columns(self.username, self.first_name, self.last_name).items():
            setattr(self, column, value)
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], *names.columns_following(kwargs["update_fields"])}
        # Django re-hashes silently with _password unset, so this is true only when somebody chose a new password.
        password_chosen = getattr(self, "_password", None) is not None and not self._state.adding
        with transaction.atomic(using=kwargs.get("using")):
            super().save(*args, **kwargs)
            EmailAddress.objects.follow(self)
            if password_chosen:
                self.api_tokens.filter(revoked_at=None).update(revoked_at=timezone.now())

    def follow_addresses(self) -> None:
        """Make ``email`` equal the primary address row, after that was changed or deleted by itself."""
        primary = EmailAddress.objects.filter(user=self, is_primary=True).first()
        self.email = primary.address if primary else ""
        super().save(update_fields=["email"])


class EmailAddressManager(models.Manager["EmailAddress"]):
    def follow(self, user: User) -> None:
        """Make the primary address row equal ``user.email``."""
        primary = self.filter(user=user, is_primary=True).first()
        current = primary.address if primary else ""
        if user.email == current:
            return
        self.filter(user=user, is_primary=True).update(is_primary=False)
        if not user.email:
            return
        address, created = self.get_or_create(
            user=user,
            address__iexact=user.email,
            defaults={"address": user.email, "is_primary": True, "is_verified": user.is_validated},
        )
        if not created:
            address.address, address.is_primary = user.email, True
            address.save()


class EmailAddress(models.Model):
    """An e-mail address of a person; no two people share one, whatever the letter case."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="addresses")
    address = models.CharField(max_length=254)
    is_primary = models.BooleanField(default=False)
    is_verified = models.BooleanField(default=False)
    address_n = models.TextField(editable=False, default="")
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[EmailAddressManager] = EmailAddressManager()

    class Meta:
        ordering = ["user", "-is_primary", "id"]
        verbose_name_plural = "e-mail addresses"
        constraints = [
            models.UniqueConstraint(Lower("address"), name="core_email_unique"),
            models.UniqueConstraint(
                fields=["user"], condition=models.Q(is_primary=True), name="core_email_one_primary"
            ),
        ]
        indexes = [
            indexes.GinIndex(fields=["address_n"], opclasses=["gin_trgm_ops"], name="core_email_trgm"),
            models.Index(fields=["address_n"], opclasses=["text_pattern_ops"], name="core_email_start"),
        ]

    def __str__(self) -> str:
        return self.address

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.address_n = names.search_address(self.address)
        super().save(*args, **kwargs)


class ApiToken(models.Model):
    """A secret that stands for an account at one API (its ``audience``); only its SHA-256 is stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    audience = models.CharField(max_length=20)
    label = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=6)
    sha256 = models.CharField(max_length=64, unique=True)
    user_agent = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = "API token"
        indexes = [models.Index(fields=["user", "audience", "-created_at"], name="core_token_owner")]

    def __str__(self) -> str:
        return f"{self.audience}:{self.prefix}…"


class Job(models.Model):
    """One piece of long work. Its moves are in ``core.jobs``; nothing else may change ``state``."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        CANCELLING = "cancelling"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=60)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    params = models.JSONField(default=dict)
    fingerprint = models.CharField(max_length=200, null=True, blank=True)
    requested_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs")
    attempt = models.PositiveIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    progress = models.JSONField(default=dict)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)
    result = models.JSONField(default=dict)
    available_at = models.DateTimeField(default=timezone.now)
    announced_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "fingerprint"],
                condition=models.Q(state__in=["queued", "running", "cancelling"]),
                name="core_job_one_active",
            ),
        ]
        indexes = [
            models.Index(fields=["available_at"], condition=models.Q(state="queued"), name="core_job_queued"),
            models.Index(
                fields=["lease_until"], condition=models.Q(state__in=["running", "cancelling"]), name="core_job_leases"
            ),
            models.Index(fields=["kind", "-created_at"], name="core_job_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def is_final(self) -> bool:
        return self.state in (Job.State.SUCCEEDED, Job.State.FAILED, Job.State.CANCELLED)


class Mail(models.Model):
    """A mail to be sent, written in the transaction that causes it; see ``core.mail``."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"
        FAILED = "failed"

    kind = models.CharField(max_length=60)
    to = models.CharField(max_length=254)
    subject = models.CharField(max_length=500)
    body = models.TextField()
    headers = models.JSONField(default=dict)
    dedupe = models.CharField(max_length=200, null=True, blank=True, unique=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(state="queued"), name="core_mail_due")]

    def __str__(self) -> str:
        return f"{self.kind} → {self.to}"


class WebhookDelivery(models.Model):
    """A signed notice to somebody's URL; see ``core.webhooks``. ``key`` is the caller's signing key, hashed once."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"
        FAILED = "failed"

    event = models.CharField(max_length=60)
    url = models.CharField(max_length=2000)
    header = models.CharField(max_length=60, default="Webhook-Signature")
    body = models.TextField()
    key = models.CharField(max_length=200)
    dedupe = models.CharField(max_length=200, null=True, blank=True, unique=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    last_status = models.PositiveIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "webhook deliveries"
        indexes = [models.Index(fields=["next_at"], condition=models.Q(state="queued"), name="core_webhook_due")]

    def __str__(self) -> str:
        return f"{self.event} → {self.url}"
