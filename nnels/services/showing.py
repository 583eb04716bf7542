"""What the catalogue's pages show: search, a title, and the way to a file (contract 10.7)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from core import errors
from core.models import User
from nnels import models
from nnels.formats import text
from nnels.jobs import catalogue
from nnels.selectors import accounts, facets, items, listing, search, suggestions
from nnels.services import links

ROWS = 20
SUGGESTED = 5


@dataclasses.dataclass(frozen=True)
class Asked:
    """A search as a form asks it; empty texts ask for nothing."""

    words: str = ""
    language: str = ""
    format: str = ""
    page: int = 1

    @property
    def conditions(self) -> tuple[listing.Condition, ...]:
        """Language and format as filters."""
        chosen = (("languages", self.language), ("formats", self.format))
        return tuple(listing.Condition(field, "=", (value,)) for field, value in chosen if value)


@dataclasses.dataclass(frozen=True)
class Found:
    """A page of rows (stored documents as dicts), how many there are, and suggestions when there are none."""

    rows: Sequence[dict[str, Any]]
    count: int
    suggested: Sequence[suggestions.Suggestion] = ()

    @property
    def pages(self) -> int:
        """Number of pages, at least one."""
        return max(1, -(-self.count // ROWS))


@dataclasses.dataclass(frozen=True)
class Shown:
    """A title, its files, and whether the account (if any) may have them."""

    row: dict[str, Any]
    files: Sequence[items.FileRow]
    is_entitled: bool


def find(asked: Asked) -> Found:
    """Titles by keyword, best first, or all of them by title. `Invalid` when there are too many words."""
    order = (("relevance", True),) if asked.words else (("label", False),)
    page = listing.Listing(range=ROWS, page=asked.page, sort=order, conditions=asked.conditions)
    if not asked.words:
        titles, count = items.page(page)
        return Found([catalogue.as_row(title.doc) for title in titles], count)
    hits, count = search.find(text.query(asked.words), page)
    suggested = suggestions.find(asked.words, most=SUGGESTED) if count == 0 else []
    return Found([catalogue.as_row(hit.doc) for hit in hits], count, suggested)


def choices() -> tuple[list[str], list[str]]:
    """Languages and formats there are titles in, the commonest first."""
    counted = facets.count(["languages", "formats"], ())
    return [one.value for one in counted["languages"]], [one.value for one in counted["formats"]]


def _published(nid: int) -> items.Title:
    title = items.by_ids([nid]).get(nid)
    if title is None or not title.is_published:
        raise errors.NotFound("There is no such title.")
    return title


def account_of(user: User | None) -> accounts.Account | None:
    """The account behind a session, as this API sees it."""
    return accounts.by_ids([user.pk]).get(user.pk) if user else None


def title(nid: int, *, account: accounts.Account | None) -> Shown:
    """A published title; `NotFound` for any other."""
    found = _published(nid)
    files = items.files([nid]).get(nid, [])
    is_entitled = account is not None and links.may_have(account, found.rights)
    return Shown(catalogue.as_row(found.doc), files, is_entitled)


def file(nid: int, code: str, *, part: str, asked: links.Asked) -> str:
    """A fresh link to a file, logged; `NotFound` when there is none, `Denied` for who may not have it."""
    by_page = dataclasses.replace(asked, purpose=models.Purpose.PAGE.value)
    return links.by_format(_published(nid), code, part=part, asked=by_page)
