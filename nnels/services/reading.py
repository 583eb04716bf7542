"""Reading items the way a caller may: one, several, or a page (contract 2.8, 2.9)."""

from collections.abc import Mapping

from django.conf import settings

from core import errors
from nnels.selectors import accounts, conditions, items, listing

MAX_IDS = 50


def one(segment: str, *, account: accounts.Account, field: str | None = None) -> items.Title:
    """The item behind a path segment; facts carry the original framework's sentences."""
    if field not in (None, *items.LOAD_FIELDS):
        raise errors.Invalid(f'Cannot load an entity using the field "{field}"', field="loadByFieldName")
    if field is None or field == "id":
        title = items.by_ids([number]).get(number) if (number := _nid(segment)) else None
    else:
        title = items.by_field(field, segment)
    if title is None:
        raise unknown(segment, field=field)
    if not title.is_published and not account.is_staff:
        raise hidden(title.id)
    return title


def several(segment: str, *, account: accounts.Account) -> list[items.Title]:
    """Items of a comma list in the order asked, without repeats; one unknown fails all, hidden ones are left out."""
    pieces = list(dict.fromkeys(piece for piece in segment.split(",") if piece))
    if len(pieces) > MAX_IDS:
        raise errors.Invalid(f"At most {MAX_IDS} entities can be requested at once.")
    numbers = {piece: _nid(piece) for piece in pieces}
    found = items.by_ids([number for number in numbers.values() if number])
    for piece, number in numbers.items():
        if number not in found:
            raise unknown(piece)
    unique = list(dict.fromkeys(number for number in numbers.values() if number))
    return [found[number] for number in unique if found[number].is_published or account.is_staff]


def parse_listing(params: Mapping[str, str]) -> listing.Listing:
    """What a listing of items is asked for."""
    return listing.parse(
        params, sortable=conditions.ITEM_SORTS, filterable=conditions.ITEM_FIELDS, cap=settings.NNELS_RANGE
    )


def parse_harvest(params: Mapping[str, str]) -> listing.Listing:
    """What a listing with tombstones is asked for: they know `id`, `uuid` and `changed` only."""
    known = conditions.TOMBSTONE_FIELDS
    return listing.parse(params, sortable=conditions.HARVEST_SORTS, filterable=known, cap=settings.NNELS_RANGE)


def _nid(segment: str) -> int | None:
    """A node id as the original takes it: decimal digits without leading zero."""
    if segment.isascii() and segment.isdigit() and len(segment) < 19 and not segment.startswith("0"):
        return int(segment)
    return None


class Unprocessable(errors.Invalid):
    """The request is well-formed, what it names does not exist (the original answers 422)."""

    code = "unprocessable"


def unknown(segment: str, *, field: str | None = None) -> Unprocessable:
    """The refusal of an entity that is not there."""
    if field is None:
        return Unprocessable(f"The entity ID {segment} does not exist.")
    return Unprocessable(f"The entity ID {segment} by {field} cannot be loaded.")


def hidden(number: int) -> errors.Fact:
    """The refusal of an unpublished item: it does not exist, unless the setting shows that it does."""
    if settings.NNELS_SHOW_ACCESS_DENIED:
        return no_access(number)
    return errors.NotFound("Page not found.")


def no_access(number: object) -> errors.Denied:
    """The refusal of an entity that exists for others."""
    return errors.Denied(f"You do not have access to entity ID {number}.")
