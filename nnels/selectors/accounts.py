"""Who is asking: accounts by user name or by access token, each in one statement."""

import dataclasses
import datetime
import uuid as uuids
from typing import Any

from django.db import connection
from django.utils import timezone

from core import auth
from nnels import models
from nnels.selectors import conditions, listing, reads

USES = auth.Uses()
_ACCOUNT = "u.id, u.username, u.email, u.is_staff, r.print_disability_verified, r.verified_until, l.name"
_JOINS = "LEFT JOIN nnels_reader r ON r.user_id = u.id LEFT JOIN nnels_library l ON l.id = r.home_library_id"


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """An account as this API sees it."""

    id: int
    username: str
    mail: str
    is_staff: bool
    is_verified: bool
    home_library: str | None

    @property
    def is_entitled(self) -> bool:
        """Whether restricted titles are for them: the one rule for API, OPDS and admin (contract 2.8)."""
        return self.is_verified or self.is_staff


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """The stored half of a token pair."""

    id: uuids.UUID
    password_mark: str
    key_id: str
    nonce: bytes
    expires_at: datetime.datetime


def _account(row: tuple[Any, ...]) -> Account:
    number, username, mail, is_staff, verified, until, library = row
    current = bool(verified) and (until is None or until >= models.today())
    return Account(number, username, mail or "", is_staff, current, library)


_BY_DIGEST = f"""
SELECT p.id AS pair, p.password_mark, p.key_id, p.nonce, p.expires_at, p.last_used_at, u.password, {_ACCOUNT}
FROM nnels_tokenpair p JOIN core_user u ON u.id = p.user_id {_JOINS}
WHERE p.access_digest = %(digest)s AND p.revoked_at IS NULL AND p.expires_at > now() AND u.is_active
"""
_BY_DIGEST_AND_NOTE = f"""
WITH found AS ({_BY_DIGEST}), noted AS (
    UPDATE nnels_tokenpair p SET last_used_at = %(now)s FROM found
    WHERE p.id = found.pair AND (p.last_used_at IS NULL OR p.last_used_at < %(stale)s)
)
SELECT * FROM found
"""


def by_access_digest(digest: bytes) -> tuple[Account, Pair, str] | None:
    """Account, live pair and stored password of an access token's digest; None when dead, expired or blocked.

    One statement, which also notes the use, at most every five minutes; so too of a pair that a new password ended,
    which only its mark tells the caller.
    """
    now = timezone.now()
    is_due = USES.is_due(digest, now)
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"digest": digest, "now": now, "stale": now - USES.every}
        cursor.execute(_BY_DIGEST_AND_NOTE if is_due else _BY_DIGEST, values)
        row = cursor.fetchone()
    if row is None:
        return None
    if is_due:
        USES.noted(digest, now, last=row[5])
    pair = Pair(row[0], row[1], row[2], bytes(row[3]), row[4])
    return _account(row[7:]), pair, row[6]


def by_username(username: str) -> tuple[Account, str, bool] | None:
    """Account, stored password and whether it is active; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT u.password, u.is_active, {_ACCOUNT} FROM core_user u {_JOINS} WHERE u.username = %s",
            [username.lower()],
        )
        row = cursor.fetchone()
    return (_account(row[2:]), row[0], row[1]) if row else None


def by_ids(ids: list[int]) -> dict[int, Account]:
    """Accounts by id; unknown ids are absent."""
    found = reads.rows(f"SELECT {_ACCOUNT} FROM core_user u {_JOINS} WHERE u.id = ANY(%s)", [ids])
    return {row[0]: _account(row) for row in found}


def by_field(field: str, value: str) -> Account | None:
    """The account with the lowest id whose `label` or `mail` is this, whatever the letter case."""
    column = {"label": "u.username", "mail": "lower(u.email)"}[field]
    found = reads.rows(
        f"SELECT {_ACCOUNT} FROM core_user u {_JOINS} WHERE {column} = %s ORDER BY u.id LIMIT 1", [value.lower()]
    )
    return _account(found[0]) if found else None


def page(asked: listing.Listing) -> tuple[list[Account], int]:
    """One page of all accounts, and how many there are."""
    where, values = conditions.where(asked.conditions, conditions.USER_FIELDS)
    count = reads.rows(f"SELECT count(*) FROM core_user u WHERE true{where}", values)[0][0]
    order = conditions.order(asked.sort, conditions.USER_SORTS, last="u.id")
    found = reads.rows(
        f"SELECT {_ACCOUNT} FROM core_user u {_JOINS} WHERE true{where} ORDER BY {order} LIMIT %s OFFSET %s",
        [*values, asked.range, asked.offset],
    )
    return [_account(row) for row in found], count
