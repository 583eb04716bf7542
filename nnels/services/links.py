"""Signed links to files: who may have them, making them, and logging them before they leave (contract 2.8)."""

import dataclasses
import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from core import blobs, errors
from nnels import models
from nnels.selectors import accounts, items
from nnels.services import callers

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Who asked for links, from where, in which request; `is_logged` is false when none will leave (HEAD)."""

    account: accounts.Account
    purpose: str = models.Purpose.API.value
    request_id: str = ""
    address: callers.Address = None
    is_logged: bool = True


@dataclasses.dataclass(frozen=True)
class Opened:
    """Titles with their files, and a link for each file the account may have."""

    titles: Sequence[items.Title]
    files: Mapping[int, list[items.FileRow]]
    urls: Mapping[int, str]
    expires_at: datetime.datetime | None = None


def may_have(account: accounts.Account, rights: str) -> bool:
    """The one entitlement rule: open titles are for any account, restricted ones for verified readers and staff."""
    return rights == models.Rights.OPEN.value or account.is_entitled


def open_titles(titles: Sequence[items.Title], *, asked: Asked, only: int | None = None) -> Opened:
    """Sign one link per file the account may have; one log statement for all of them, `Unavailable` if it fails.

    `only`: the id of the one file that is wanted.
    """
    files = items.files([title.id for title in titles])
    if only is not None:
        files = {item_id: [file for file in some if file.id == only] for item_id, some in files.items()}
    free = [title for title in titles if files.get(title.id) and may_have(asked.account, title.rights)]
    if not free:
        return Opened(titles, files, {})
    now = timezone.now()
    lifetime = settings.NNELS_URL_LIFETIME
    expires_at = now.replace(microsecond=0) + datetime.timedelta(seconds=lifetime)
    if asked.is_logged:
        _log({title.id: [file.id for file in files[title.id]] for title in free}, asked, now, expires_at)
    sign = blobs.signer().url
    instant = now.timestamp()
    urls = {
        file.id: sign(file.blob_key, lifetime, filename=file.name, content_type=_content_type(file), now=instant)
        for title in free
        for file in files[title.id]
    }
    return Opened(titles, files, urls, expires_at)


def one_file(file_id: int, *, asked: Asked) -> str:
    """A fresh link to one file, logged; `NotFound` when there is none, `Denied` for who may not have it."""
    item_id = items.item_of(file_id)
    title = items.by_ids([item_id]).get(item_id) if item_id else None
    if title is None:
        raise errors.NotFound("There is no such file.")
    if not may_have(asked.account, title.rights):
        raise errors.Denied("This title is for verified readers.")
    opened = open_titles([title], asked=asked, only=file_id)
    if file_id not in opened.urls:
        raise errors.NotFound("There is no such file.")
    return opened.urls[file_id]


def by_format(title: items.Title, code: str, *, part: str, asked: Asked) -> str:
    """A fresh link to the file of a format, logged; `NotFound` when there is none, `Denied` for who may not have it."""
    same = [file for file in items.files([title.id]).get(title.id, []) if file.format == code]
    place = int(part) - 1 if part.isascii() and part.isdigit() and len(part) < 6 else -1
    if not 0 <= place < len(same):
        raise errors.NotFound("There is no such file.")
    return one_file(same[place].id, asked=asked)


def _content_type(file: items.FileRow) -> str:
    return f"{file.media_type}; charset=utf-8" if file.media_type in ("text/plain", "text/html") else file.media_type


def _log(issued: Mapping[int, list[int]], asked: Asked, now: datetime.datetime, expires_at: datetime.datetime) -> None:
    values: list[Any] = []
    for item_id, file_ids in issued.items():
        values += [
            now, asked.account.id, item_id, file_ids, expires_at, asked.purpose, asked.request_id, prefix(asked.address)
        ]  # fmt: skip
    places = ", ".join(["(%s, %s, %s, %s::bigint[], %s, %s, %s, %s)"] * len(issued))
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO nnels_urlissue (at, user_id, item_id, files, expires_at, purpose, request_id, ip_prefix) "
                f"VALUES {places}",
                values,
            )
    except DatabaseError as error:
        log.warning("issue_log_failed", error=str(error))
        raise errors.Unavailable("The issue of links could not be logged.", retry_after=30) from error


def prefix(address: callers.Address) -> str:
    """The part of an address that is kept: /24 of IPv4, /48 of IPv6."""
    if address is None:
        return ""
    bits = 24 if isinstance(address, ipaddress.IPv4Address) else 48
    return str(ipaddress.ip_network((address, bits), strict=False))
