"""Registration, mail verification and the registry's side of an account (contract 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils import timezone

from core import auth, errors, mail
from core.models import ApiToken, EmailAddress, User
from registry.models import Account, Harvest, Organization, Subscription

SALT: Final = "registry.verify"
LINK_SECONDS: Final = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Registration:
    """What the form asks for."""

    email: str
    name: str
    password: str
    organizations: tuple[int, ...]
    poc_name: str
    poc_email: str


def register(wanted: Registration) -> None:
    """Make an account that owns nothing until its mail is verified and an administrator approves it.

    Whether the address had an account is told only to the address.
    """
    with transaction.atomic():
        known = EmailAddress.objects.filter(address__iexact=wanted.email).first()
        if known is not None:
            body = "You (or somebody else) registered with this address, which has an account already.\n"
            mail.queue("registry.known", known.address, "Your registry account", body)
            return
        first, _, last = wanted.name.partition(" ")
        user = User.objects.create_user(
            _free_username(wanted.email), wanted.email, wanted.password, first_name=first, last_name=last
        )
        account = Account.objects.create(user=user, poc_name=wanted.poc_name, poc_email=wanted.poc_email)
        account.organizations.set(Organization.objects.filter(pk__in=wanted.organizations))
        send_verification(user)


def _free_username(email: str) -> str:
    base = re.sub(r"[^a-z0-9_.-]", "_", email.partition("@")[0].lower())[:50] or "user"
    taken = set(User.objects.filter(username__startswith=base).values_list("username", flat=True))
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}{number}"
    return name


def send_verification(user: User) -> None:
    """Mail a link that proves the address."""
    link = f"{settings.PUBLIC_BASE_URL}/registry/verify?key={signing.dumps(user.email, salt=SALT)}"
    body = f"Open this link to confirm your address:\n\n{link}\n\nAn administrator will then approve your account.\n"
    mail.queue("registry.verify", user.email, "Confirm your e-mail address", body)


def verify(key: str) -> User:
    """The account whose address a link proves, now verified; `Invalid` for a bad or old link."""
    try:
        address = signing.loads(key, salt=SALT, max_age=LINK_SECONDS)
    except signing.BadSignature as error:
        raise errors.Invalid("The link is not valid any more.") from error
    found = EmailAddress.objects.select_related("user").filter(address=address).first()
    if found is None:
        raise errors.Invalid("The link is not valid any more.")
    EmailAddress.objects.filter(pk=found.pk).update(is_verified=True)
    return found.user


def approve(accounts: Iterable[Account]) -> int:
    """Let people act for their organisations, and tell them; how many were not approved before."""
    count = 0
    for account in accounts:
        with transaction.atomic():
            if Account.objects.filter(pk=account.pk, approved=False).update(approved=True):
                count += 1
                if account.user.email:
                    text = "Your registry account was approved. You can now manage your organisations' sources.\n"
                    mail.queue("registry.approved", account.user.email, "Your registry account was approved", text)
    return count


def revoke_token(user: User, number: int) -> None:
    """Revoke one of a person's own tokens."""
    ApiToken.objects.filter(pk=number, user=user, revoked_at=None).update(revoked_at=timezone.now())


def subscribe(user: User, harvest: Harvest, *, event: str) -> Subscription:
    """Tell a person of a harvest's runs by mail; webhooks are set up in the admin."""
    found, _ = Subscription.objects.update_or_create(
        user=user, harvest=harvest, webhook_url="", defaults={"event": event}
    )
    return found


def unsubscribe(user: User, harvest: Harvest) -> None:
    """Mail them no more; webhooks stay, which are set up in the admin."""
    Subscription.objects.filter(user=user, harvest=harvest, webhook_url="").delete()


def last_admin(account: Account) -> bool:
    """Whether the registry would be without an administrator if this one ceased to be one (up)."""
    if not account.is_registry_admin:
        return False
    others = Account.objects.filter(is_registry_admin=True, approved=True, user__is_active=True)
    return not others.exclude(pk=account.pk).exists()


def deactivate(account: Account) -> None:
    """Close an account: no login, and every token dies."""
    with transaction.atomic():
        User.objects.filter(pk=account.user_id).update(is_active=False)
        auth.revoke_tokens(account.user)
