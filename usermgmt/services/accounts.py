"""People's own accounts in the portal: registering, proving an address, changing one's profile (contract 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import errors
from core.models import EmailAddress, User
from usermgmt.formats import secrets
from usermgmt.jobs import mails
from usermgmt.models import AddressCheck

USERNAME = re.compile(r"[a-z][a-z0-9_-]{2,63}", re.ASCII)
RESERVED = frozenset(
    [
        "abuse",
        "admin",
        "administrator",
        "anonymous",
        "api",
        "cyverse",
        "guest",
        "help",
        "hostmaster",
        "info",
        "iplant",
        "mail",
        "me",
        "none",
        "nobody",
        "null",
        "operator",
        "postmaster",
        "root",
        "security",
        "staff",
        "support",
        "system",
        "test",
        "undefined",
        "user",
        "users",
        "webmaster",
        "www",
    ]
)
LINK_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Registration:
    """What a newcomer fills in."""

    username: str
    first_name: str
    last_name: str
    email: str
    institution: str
    position: str
    password: str


def check_username(username: str, *, own: int | None = None) -> None:
    """Raise `errors.Invalid` for a malformed, reserved or taken user name (`own`: the account that may have it)."""
    if not USERNAME.fullmatch(username):
        message = "Use 3 to 64 lower-case letters, digits, hyphens and underscores, a letter first."
        raise errors.Invalid(message, field="username")
    if username in RESERVED:
        raise errors.Invalid("This user name is reserved.", field="username")
    others = User.objects.all() if own is None else User.objects.exclude(pk=own)
    if others.filter(username=username).exists():
        raise errors.Invalid("This user name is taken.", field="username")


def register(registration: Registration) -> None:
    """A new account that waits for its owner to follow the mailed link.

    With an address somebody has already the same happens to see, but the mail tells that somebody; whether an address
    has an account cannot be learned here. The account becomes active, and the address its own, with the link.
    """
    check_username(registration.username)
    holder = _holder(registration.email)
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                registration.username,
                None,
                registration.password,
                first_name=registration.first_name,
                last_name=registration.last_name,
                institution=registration.institution,
                position=registration.position,
                is_active=False,
            )
            check = _check(user, registration.email, AddressCheck.Purpose.REGISTER)
            if holder is None:
                mails.check_address(check)
            else:
                mails.taken_address(holder, registration.email)
    except IntegrityError:
        raise errors.Invalid("This user name is taken.", field="username") from None


def ask_to_change_address(user: User, address: str) -> None:
    """Send a link to the new address; the old one stays until it is followed. Says nothing about other accounts."""
    holder = _holder(address)
    with transaction.atomic():
        AddressCheck.objects.filter(user=user, purpose=AddressCheck.Purpose.CHANGE, used_at=None).delete()
        check = _check(user, address, AddressCheck.Purpose.CHANGE)
        if holder is None:
            mails.check_address(check)
        else:
            mails.taken_address(holder, address)


def is_confirmable(token: str) -> bool:
    """Tell whether `confirm` would accept a link; looking changes nothing."""
    return _open_check(token) is not None


def confirm(token: str) -> AddressCheck:
    """Follow a mailed link: the address is its owner's. Raises `errors.NotFound` for a used, expired or unknown one."""
    with transaction.atomic():
        check = _open_check(token, lock=True)
        if check is None or _holder(check.address) is not None:
            raise errors.NotFound(code="no_check")
        check.used_at = timezone.now()
        check.save(update_fields=["used_at"])
        user, old = check.user, check.user.email
        if check.purpose == AddressCheck.Purpose.REGISTER:
            user.is_active = user.is_validated = True
        EmailAddress.objects.filter(user=user, is_primary=True).delete()
        user.email = check.address
        user.save()
        EmailAddress.objects.filter(user=user, is_primary=True).update(is_verified=True)
        if check.purpose == AddressCheck.Purpose.CHANGE and old:
            mails.address_changed(user, old=old, new=check.address)
        return check


def edit(
    user: User, *, first_name: str, last_name: str, institution: str, position: str, hide_from_directory: bool
) -> None:
    """Change what people change about themselves at once."""
    user.first_name, user.last_name = first_name, last_name
    user.institution, user.position = institution or None, position or None
    user.hide_from_directory = hide_from_directory
    user.save(update_fields=["first_name", "last_name", "institution", "position", "hide_from_directory"])


def rename(user: User, username: str) -> None:
    """Give an account another user name."""
    check_username(username, own=user.pk)
    user.username = username
    try:
        with transaction.atomic():
            user.save(update_fields=["username"])
    except IntegrityError:
        raise errors.Invalid("This user name is taken.", field="username") from None


def send_username(address: str) -> None:
    """Mail the user name to an address that has an account; nothing happens for any other."""
    holder = _holder(address)
    if holder is not None and holder.is_active:
        mails.usernames(holder, address)


def _holder(address: str) -> User | None:
    found = EmailAddress.objects.select_related("user").filter(address__iexact=address).first()
    return found.user if found else None


def _check(user: User, address: str, purpose: str) -> AddressCheck:
    # The digest of a token nobody has; the mail makes the real one when it goes out.
    placeholder = secrets.token_digest(secrets.new_ticket())
    return AddressCheck.objects.create(
        user=user,
        purpose=purpose,
        address=address,
        token_sha256=placeholder,
        expires_at=timezone.now() + LINK_LIFE,
    )


def _open_check(token: str, *, lock: bool = False) -> AddressCheck | None:
    checks = AddressCheck.objects.select_related("user")
    if lock:
        checks = checks.select_for_update(of=("self",))
    digest = secrets.token_digest(token)
    return checks.filter(token_sha256=digest, used_at=None, expires_at__gt=timezone.now()).first()
