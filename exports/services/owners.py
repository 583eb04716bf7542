"""Organizations, their members, people."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from core import errors, people, throttle
from core.models import User
from exports.formats import records
from exports.models import Membership, Organization, Profile
from exports.writing import places

Json = dict[str, Any]
# How many other addresses a person may ask for in so many seconds: each is sent a mail.
ADDRESSES, ADDRESS_WINDOW = 20, 3_600
_PROFILE: dict[str, tuple[str, records.Reader]] = {
    **{key: (key, records.text) for key in ("company", "location", "preferred_locale", "website")},
    "extras": ("extras", records.mapping),
}


def _address(value: Any) -> str | None:
    found = records.at_most(254, records.text)(value)
    if found:
        try:
            validate_email(found)
        except ValidationError:
            raise records.Fault("Enter a valid email address.") from None
    return str(found) if found else None


_PERSON: dict[str, tuple[str, records.Reader]] = {
    "name": ("name", records.at_most(256, records.text)),
    "email": ("email", _address),
}


def create_organization(*, data: Json, user: User) -> Organization:
    """A new organization whose creator is its first member."""
    mnemonic = records.identity(data, records.mnemonic)
    changes = records.organization(data)
    return places.create_organization(mnemonic, changes, user=user)


def edit_organization(organization: Organization, *, data: Json, user: User) -> Organization:
    return places.edit_organization(organization, records.organization(data), user=user.username)


def delete_organization(organization: Organization) -> None:
    """Only while it owns nothing."""
    with transaction.atomic():
        if not Organization.objects.select_for_update().filter(pk=organization.pk).values_list("pk"):
            raise errors.NotFound
        if organization.repos.exists():
            raise errors.Conflict("The organization still owns repositories.")
        organization.delete()


def add_member(organization: Organization, user: User) -> None:
    Membership.objects.get_or_create(organization=organization, user=user)


def remove_member(organization: Organization, user: User) -> None:
    Membership.objects.filter(organization=organization, user=user).delete()


def create_user(*, data: Json) -> User:
    """A new account, by staff."""
    username = records.identity(data, records.mnemonic, field="username").lower()
    person = records.read(data, {**_PERSON, "password": ("password", records.text)})
    if User.objects.filter(username=username).exists():
        raise errors.Conflict("User with this username already exists.", code="duplicate")
    first, last = _split(person.get("name") or "")
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                username, person.get("email"), person.get("password"), first_name=first, last_name=last
            )
            _save_profile(user, data)
    except IntegrityError:
        raise errors.Invalid("This address is taken.", fields={"email": ["This address is taken."]}) from None
    return user


def edit_user(user: User, *, data: Json) -> User:
    """A person's own account: what the data mention. Another address is the account's once it is proven."""
    person = records.read(data, _PERSON)
    if "name" in person:
        user.first_name, user.last_name = _split(person["name"] or "")
    with transaction.atomic():
        user.save()
        if "email" in person:
            _change_address(user, person["email"] or "")
        _save_profile(user, data)
    return user


def keeps_username(user: User) -> str:
    """Why an account cannot have another user name; empty if it can."""
    if user.exports_repos.exists():
        return "The user name stands in the addresses of repositories, so it cannot be changed."
    return ""


def _change_address(user: User, address: str) -> None:
    """No address at once; another one by the link that is mailed there, so many times an hour."""
    if address == user.email:
        return
    if not address:
        user.email = ""
        user.save(update_fields=["email"])
        return
    wait = throttle.hit("exports.address", str(user.pk), limit=ADDRESSES, window=ADDRESS_WINDOW)
    if wait:
        raise errors.Throttled(retry_after=wait)
    people.change_address(user, address)


def _save_profile(user: User, data: Json) -> None:
    changes = records.read(data, _PROFILE)
    if "extras" in changes:
        changes["extras"] = changes["extras"] or {}
    Profile.objects.update_or_create(user=user, defaults=changes)


def _split(name: str) -> tuple[str, str]:
    first, _, last = name.strip().partition(" ")
    return first, last.strip()
