"""Reading accounts the way a caller may (the table of contract 2.7)."""

from collections.abc import Mapping

from django.conf import settings

from core import errors
from nnels.selectors import accounts, conditions, listing
from nnels.services import reading

LOAD_FIELDS = ("id", "label", "mail")
_BEYOND = 2**63 - 1


def one(segment: str, *, caller: accounts.Account, field: str | None = None) -> accounts.Account:
    """The account behind a path segment: oneself, or anybody for staff."""
    if field not in (None, *LOAD_FIELDS):
        raise errors.Invalid(f'Cannot load an entity using the field "{field}"', field="loadByFieldName")
    number = _uid(segment) if field in (None, "id") else None
    if field in (None, "id"):
        if number is None:
            raise reading.unknown(segment, field=field)
        found = caller if number == caller.id else accounts.by_ids([number]).get(number) if caller.is_staff else None
    elif _is_own(caller, field, segment):
        found = caller
    else:
        found = accounts.by_field(str(field), segment) if caller.is_staff and "\0" not in segment else None
    if found is not None:
        return found
    # Others' accounts answer alike whether they exist or not.
    raise reading.unknown(segment, field=field) if caller.is_staff else reading.no_access(segment)


def _is_own(caller: accounts.Account, field: str | None, value: str) -> bool:
    own = {"label": caller.username, "mail": caller.mail.lower()}[str(field)]
    return bool(own) and value.lower() == own


def several(segment: str, *, caller: accounts.Account) -> list[accounts.Account]:
    """Accounts of a comma list: anybody's for staff, else only one's own."""
    pieces = list(dict.fromkeys(piece for piece in segment.split(",") if piece))
    if len(pieces) > reading.MAX_IDS:
        raise errors.Invalid(f"At most {reading.MAX_IDS} entities can be requested at once.")
    return [one(piece, caller=caller) for piece in pieces] if not caller.is_staff else _for_staff(pieces)


def _for_staff(pieces: list[str]) -> list[accounts.Account]:
    numbers = {piece: _uid(piece) for piece in pieces}
    found = accounts.by_ids([number for number in numbers.values() if number is not None])
    for piece, number in numbers.items():
        if number not in found:
            raise reading.unknown(piece)
    return [found[number] for number in numbers.values() if number is not None]


def page(params: Mapping[str, str], *, caller: accounts.Account) -> tuple[listing.Listing, list[accounts.Account], int]:
    """One page of all accounts, for staff."""
    if not caller.is_staff:
        raise errors.Denied("You do not have access to listing of users.")
    asked = listing.parse(
        params, sortable=conditions.USER_SORTS, filterable=conditions.USER_FIELDS, cap=settings.NNELS_RANGE
    )
    found, count = accounts.page(asked)
    return asked, found, count


def _uid(segment: str) -> int | None:
    """The number of a well-formed id, None for what is none. Nobody has 0, nor the one that stands for longer ones."""
    if not segment.isascii() or not segment.isdigit() or (segment.startswith("0") and segment != "0"):
        return None
    return int(segment) if len(segment) < 19 else _BEYOND
