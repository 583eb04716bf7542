"""Who calls: the client behind a key or an access token, in one statement on the search connection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from core import db


@dataclass(frozen=True)
class Caller:
    """A registered client as a request meets it. `networks` are canonical CIDRs; `scopes` what may be used now."""

    client_id: int
    client_name: str
    credential_id: int
    key: str
    secret_hmac: str | None
    pepper_id: str
    scopes: tuple[str, ...]
    networks: list[str]
    is_pair_live: bool
    is_approved: bool
    is_limited_to_services: bool
    owner_id: int
    token_scopes: tuple[str, ...] = ()
    token_issued_at: datetime | None = None
    token_expires_at: datetime | None = None


_COLUMNS = """
SELECT c.id, c.name, k.id, k.key, k.secret_hmac, k.pepper_id,
       ARRAY(SELECT unnest(c.scopes) INTERSECT SELECT unnest(a.scopes)),
       ARRAY(SELECT n.cidr FROM usermgmt_clientnetwork n WHERE n.client_id = c.id ORDER BY n.id),
       k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > statement_timestamp()),
       c.state = 'approved' AND (c.expires_at IS NULL OR c.expires_at > statement_timestamp())
           AND o.is_active AND o.is_validated,
       c.is_limited_to_services, c.owner_id"""
_JOINS = """
JOIN usermgmt_apiclient c ON c.id = k.client_id
JOIN usermgmt_api a ON a.id = c.api_id
JOIN core_user o ON o.id = c.owner_id"""
_BY_KEY = f"{_COLUMNS} FROM usermgmt_clientcredential k {_JOINS} WHERE k.key = $1"
_BY_TOKEN = f"""{_COLUMNS}, t.scopes, t.issued_at, t.expires_at
FROM usermgmt_accesstoken t JOIN usermgmt_clientcredential k ON k.id = t.credential_id {_JOINS}
WHERE t.sha256 = $1 AND t.expires_at > statement_timestamp()"""


_BY_TOKEN_LENGTH = 15


def by_key(key: str) -> Caller | None:
    """The client that has this key, whatever its state; None for a key nobody has."""
    return _caller(_BY_KEY, key) if key and "\0" not in key else None


def by_token(digest: str) -> Caller | None:
    """The client an unexpired access token was issued to, by the token's digest."""
    return _caller(_BY_TOKEN, digest)


def _caller(sql: str, value: str) -> Caller | None:
    rows = db.prepared(sql, [value], using=settings.USERMGMT_SEARCH_DATABASE)
    return _from_row(rows[0]) if rows else None


def _from_row(row: tuple[Any, ...]) -> Caller:
    row = (*row[:6], tuple(sorted(row[6], reverse=True)), *row[7:])
    if len(row) == _BY_TOKEN_LENGTH:
        row = (*row[:-3], tuple(row[-3]), *row[-2:])
    return Caller(*row)
