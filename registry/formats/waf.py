"""The web-accessible folder we serve: file names and listing pages that CKAN's scrapers read (contract 5)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import unquote, urlsplit

_OUTSIDE = re.compile(r"[^A-Za-z0-9._-]")
_OUTSIDE_RUN = re.compile(r"[^A-Za-z0-9._-]+")
MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
NAME_LENGTH: Final = 80
HASH_LENGTH: Final = 10


def file_name(*, harvest_uid: str, identity: str) -> str:
    """A document's name in our folder: readable, stable, and never shared by two sources."""
    path = unquote(urlsplit(identity).path) if "://" in identity else identity
    last = path.rstrip("/").rpartition("/")[2]
    stem = last[:-4] if last.lower().endswith(".xml") else last
    readable = _OUTSIDE.sub("_", stem).lstrip("_.")[:NAME_LENGTH]
    mark = hashlib.sha256(f"{harvest_uid}\n{identity}".encode()).hexdigest()[:HASH_LENGTH]
    return f"{readable}-{mark}.xml"


def slug_of(name: str, *, number: int) -> str:
    """An organisation's folder name. `index` is refused because CKAN takes it for a page."""
    slug = _OUTSIDE_RUN.sub("-", name).lstrip("_.").strip("-")[:NAME_LENGTH]
    return slug if slug and slug.lower() != "index" else f"org-{number}"


def _line(*, href: str, name: str, moment: datetime, size: int | None) -> str:
    moment = moment.astimezone(UTC)
    day = f"{moment.day:02d}-{MONTHS[moment.month - 1]}-{moment.year} {moment:%H:%M:%S}"
    return f'<a href="{escape(href)}">{escape(name)}</a>            {day}    {"-" if size is None else size}\n'


def _head(path: str) -> str:
    title = escape(path)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<title>Index of {title}</title><base href="{title}"></head>\n'
        f'<body><h1>Index of {title}</h1><hr><pre><a href="../">../</a>\n'
    )


_FOOT: Final = "</pre><hr></body></html>\n"


def folder_listing(*, slug: str, files: Iterable[tuple[str, datetime, int]]) -> Iterator[bytes]:
    """The page of one folder in blocks; `files` are (name, changed, size in bytes), sorted by name.

    Links are absolute paths, so that the slash-less address works too.
    """
    path = f"/waf/{slug}/"
    block = [_head(path)]
    for name, changed, size in files:
        block.append(_line(href=path + name, name=name, moment=changed, size=size))
        if len(block) >= 500:
            yield "".join(block).encode()
            block = []
    yield ("".join(block) + _FOOT).encode()


def root_listing(folders: Iterable[tuple[str, datetime]]) -> bytes:
    """The page of `/waf/`; `folders` are (slug, changed), sorted. Links are relative: CKAN drops absolute ones."""
    lines = [_line(href=f"{slug}/", name=f"{slug}/", moment=changed, size=None) for slug, changed in folders]
    return "".join([_head("/waf/"), *lines, _FOOT]).encode()
