"""Rows of items, search hits and accounts under the wire's names (contract 2.7, 2.8, 2.10)."""

import datetime
from collections.abc import Sequence
from typing import Any

from core import api
from nnels.jobs import catalogue
from nnels.selectors import accounts, items
from nnels.services import links

ITEM_KEYS = (
    "id", "label", "self", "creators", "languages", "isbn", "uuid", "published_date", "file_resources", "subjects",
    "description", "publisher", "formats", "narrators", "narration", "duration", "series", "edition", "audience",
    "rights", "accessibility", "files", "changed",
)  # fmt: skip
LINKED_KEYS = frozenset({"file_resources", "files"})
_HIT_KEYS = ("label", "creators", "languages", "isbn", "uuid", "published_date", "formats")


def item_href(base: str, nid: int) -> str:
    """Where an item is."""
    return f"{base}/api/v1.0/repo_items/{nid}"


def item(title: items.Title, opened: links.Opened, *, base: str) -> bytes:
    """A whole row: the stored document with `self`, `file_resources` and `files` spliced in."""
    head, first, middle, tail = title.doc.encode().split(b"\n")
    files = opened.files.get(title.id, [])
    urls = [opened.urls[file.id] for file in files if file.id in opened.urls]
    return b'%b"self":"%b",%b"file_resources":%b,%b"files":%b,%b' % (
        head,
        item_href(base, title.id).encode(),
        first,
        api.json_bytes(urls),
        middle,
        api.json_bytes(_files(files, opened)),
        tail,
    )


def _files(files: Sequence[items.FileRow], opened: links.Opened) -> list[dict[str, Any]]:
    until = _expiry(opened.expires_at)
    return [
        {
            "format": file.format,
            "media_type": file.media_type,
            "name": file.name,
            "bytes": file.bytes,
            "sha256": file.sha256,
            "url": opened.urls.get(file.id),
            "expires_at": until if file.id in opened.urls else None,
        }
        for file in files
    ]


def _expiry(at: datetime.datetime | None) -> str | None:
    return catalogue.instant(at) if at else None


def chosen(row: bytes | dict[str, Any], fields: Sequence[str] | None) -> bytes | dict[str, Any]:
    """The row with only the asked keys, in the row's order."""
    if fields is None:
        return row
    whole = catalogue.as_row(row) if isinstance(row, bytes) else row
    return {name: value for name, value in whole.items() if name in fields}


def plain_item(title: items.Title, *, base: str, fields: Sequence[str]) -> dict[str, Any]:
    """A row without links, cut to the asked keys, in the row's order."""
    whole = {**catalogue.as_row(title.doc), "self": item_href(base, title.id)}
    return {name: whole[name] for name in ITEM_KEYS if name in fields and name in whole}


def tombstone(gone: items.Gone, *, base: str) -> dict[str, Any]:
    """The row of a title that left the published set."""
    return {
        "id": gone.id,
        "self": item_href(base, gone.id),
        "uuid": str(gone.uuid),
        "deleted": True,
        "changed": catalogue.instant(gone.changed),
    }


def hit(doc: str, relevance: float, *, base: str) -> dict[str, Any]:
    """A flat search row."""
    whole = catalogue.as_row(doc)
    return {
        "id": whole["id"],
        "entity_id": whole["id"],
        **{name: whole[name] for name in _HIT_KEYS},
        "relevance": relevance,
        "self": item_href(base, whole["id"]),
    }


def user_href(base: str, number: int, version: tuple[int, int]) -> str:
    """Where an account is; v1.0 unless the path said v1.1."""
    return f"{base}/api/v{version[0]}.{version[1]}/users/{number}"


def user(account: accounts.Account, *, base: str, version: tuple[int, int]) -> dict[str, Any]:
    """An account's row."""
    return {
        "id": account.id,
        "label": account.username,
        "self": user_href(base, account.id, version),
        "mail": account.mail,
        "roles": ["authenticated", "administrator"] if account.is_staff else ["authenticated"],
        "print_disability_verified": account.is_verified,
        "home_library": account.home_library,
    }


def anonymous(*, base: str, version: tuple[int, int]) -> dict[str, Any]:
    """The row of nobody: uid 0 tells a client that its token has expired."""
    return {"id": 0, "label": "Anonymous", "self": user_href(base, 0, version), "mail": ""}
