"""People's own accounts in the portal: registering, proving an address, changing one's profile (contract 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import errors, people
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
    """Send a link to the new address; the old one stays until it is followed. Says nothing about other accounts.

    Another address of the account's own that is proven already needs no link: it is the primary one at once.
    """
    held = EmailAddress.objects.select_related("user").filter(address__iexact=address).first()
    with transaction.atomic():
        _withdraw_checks(user)
        if held is None or (held.user == user and not held.is_verified):
            mails.check_address(_check(user, address, AddressCheck.Purpose.CHANGE))
        elif held.user == user:
            _take_address(user, address)
        else:
            # Never mailed, so never followed; it is there because the profile shows what one waits for.
            _check(user, address, AddressCheck.Purpose.CHANGE)
            mails.taken_address(held.user, held.address)


def _withdraw_checks(user: User) -> None:
    """Earlier wishes for another address end, with the mails that have not gone out."""
    checks = AddressCheck.objects.filter(user=user, purpose=AddressCheck.Purpose.CHANGE, used_at=None)
    for check in checks:
        mails.withdraw_check(check)
    checks.delete()


def is_confirmable(token: str) -> bool:
    """Tell whether `confirm` would accept a link; looking changes nothing."""
    return _open_check(token) is not None


def confirm(token: str) -> AddressCheck:
    """Follow a mailed link: the address is its owner's. Raises `errors.NotFound` for a used, expired or unknown one."""
    try:
        with transaction.atomic():
            return _confirm(token)
    except IntegrityError:
        # Somebody else proved the address at the same moment.
        raise errors.NotFound(code="no_check") from None


def _confirm(token: str) -> AddressCheck:
    check = _open_check(token, lock=True)
    if check is None or _holder(check.address) not in (None, check.user):
        raise errors.NotFound(code="no_check")
    check.used_at = timezone.now()
    check.save(update_fields=["used_at"])
    if check.purpose == AddressCheck.Purpose.REGISTER:
        check.user.is_active = check.user.is_validated = True
        check.user.save(update_fields=["is_active", "is_validated"])
    # The old address was given up for this one; it may belong to somebody else tomorrow.
    EmailAddress.objects.filter(user=check.user, is_primary=True).delete()
    _take_address(check.user, check.address)
    return check


def _take_address(user: User, address: str) -> None:
    """Make a proven address the account's primary one; the one before is told."""
    old, user.email = user.email, address
    user.save(update_fields=["email"])
    EmailAddress.objects.filter(user=user, is_primary=True).update(is_verified=True)
    if old and old.lower() != address.lower():
        mails.address_changed(user, old=old, new=address)


def edit(
    user: User, *, first_name: str, last_name: str, institution: str, position: str, hide_from_directory: bool
) -> None:
    """Change what people change about themselves at once."""
    user.first_name, user.last_name = first_name, last_name
    user.institution, user.position = institution or None, position or None
    user.hide_from_directory = hide_from_directory
    user.save(update_fields=["first_name", "last_name", "institution", "position", "hide_from_directory"])


def rename(user: User, username: str) -> None:
    """Give an account another user name; `errors.Invalid` when it is refused or the old one must stay."""
    check_username(username, own=user.pk)
    people.check_rename(user)
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
