"""Paths of things: who owns what, percent-encoding of concept ids, reading an expression back."""

import re
from dataclasses import dataclass
from urllib import parse

MNEMONIC = re.compile(r"[A-Za-z0-9._@-]{1,100}", re.ASCII)
_OUTSIDE = re.compile(r"[^A-Za-z0-9._@+ -]", re.ASCII)
RESERVED_VERSIONS = frozenset(
    ("HEAD", "latest", "versions", "concepts", "mappings", "references", "expansions", "export", "processing",
     "extras", "summary", "webhooks")
)  # fmt: skip
#: names longer than any of ours are nobody's, and would not fit into an index
_REPO = re.compile(r"/(orgs|users)/([^/]{1,150})/(sources|collections)/([^/]{1,100})/(.*)", re.DOTALL)


def is_mnemonic(text: str) -> bool:
    """Whether a text may name an org, user, repository or version; the two dot segments are no names."""
    return bool(MNEMONIC.fullmatch(text)) and text not in (".", "..")


def is_owner(path: str) -> bool:
    """Whether a path such as ``orgs/MyOrg`` or ``users/me`` names an owner."""
    kind, _, name = path.partition("/")
    return kind in ("orgs", "users") and is_mnemonic(name)


def is_row_id(text: str) -> bool:
    """Whether a text may name a concept or mapping: up to 255 characters, none of them a control character."""
    return 0 < len(text) <= 255 and text not in (".", "..") and not any(c < " " or "\x7f" <= c <= "\x9f" for c in text)


def quoted(row_id: str) -> str:
    """A concept id as it stands in its URL: ``x/y%z w`` is ``x%2Fy%25z w``."""
    return _OUTSIDE.sub(lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), row_id)


def unquoted(segment: str) -> str | None:
    """A URL segment (already decoded once, by the server) back to the id; None when it is not UTF-8."""
    try:
        return parse.unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return None


def wire(path: str) -> str:
    """A path of ours as it goes into a header or onto a request line: ASCII, its percent signs encoded again."""
    return parse.quote(path, safe="/._@+-~:")


def owner_url(*, kind: str, owner: str) -> str:
    """``/orgs/CIEL/`` or ``/users/jadams/``; kind is ``orgs`` or ``users``."""
    return f"/{kind}/{owner}/"


@dataclass(frozen=True)
class Place:
    """A repository read from a URL, with what follows it."""

    owner_kind: str  # orgs | users
    owner: str
    kind: str  # sources | collections
    repo: str
    rest: str  # what follows the repository, without a slash in front

    @property
    def repo_url(self) -> str:
        return f"/{self.owner_kind}/{self.owner}/{self.kind}/{self.repo}/"

    @property
    def owner_url(self) -> str:
        return f"/{self.owner_kind}/{self.owner}/"

    @property
    def owner_type(self) -> str:
        return "Organization" if self.owner_kind == "orgs" else "User"


def place(url: str | None) -> Place | None:
    """Read ``/orgs/O/sources/S/…`` (with or without a host in front, or a slash behind the repository)."""
    if not url:
        return None
    try:
        path = parse.urlsplit(url).path if "://" in url else url
    except ValueError:  # http://[
        return None
    found = _REPO.fullmatch(path if path.endswith("/") else path + "/")
    return Place(*found.groups()) if found else None


@dataclass(frozen=True)
class Expression:
    """A reference expression (contract §2.7)."""

    place: Place
    repo_version: str | None
    rows: str  # concepts | mappings
    row_id: str | None  # None: all of them
    row_version: str | None

    @property
    def row_url(self) -> str:
        return f"{self.place.repo_url}{self.rows}/{quoted(self.row_id or '')}/"

    @property
    def is_static(self) -> bool:
        return self.repo_version is not None or self.row_version is not None


def expression(text: str) -> Expression | None:
    """Read a reference expression, None when it is not one we resolve."""
    found = place(text)
    if not found or found.kind != "sources" or "?" in text:
        return None
    parts = [part for part in found.rest.split("/") if part]
    version = None
    if parts and parts[0] not in ("concepts", "mappings"):
        version = parts.pop(0)
    if not parts or parts[0] not in ("concepts", "mappings") or len(parts) > 3:
        return None
    rows, row_id, row_version = [*parts, None, None][:3]
    plain = unquoted(row_id) if row_id else None
    if row_id and (plain is None or not is_row_id(plain)):
        return None
    return Expression(found, None if version == "HEAD" else version, rows or "", plain, row_version)
