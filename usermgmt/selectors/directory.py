"""Finding people (contract 2.3 and 9): one statement a search, served by indexes in every script.

Each search is three tiers, best first: equality, prefix, any other substring. A tier is limited to the page's end and
only evaluated while the better ones have not filled the page, so the work follows the page and not the popularity of
the term; each excludes the better ones, so consecutive pages give every match once.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connections

from core import errors, names

MIN_LENGTH = 3
MAX_SPLIT_TOKENS = 8
LONGEST = {"username": 64, "name": 513, "email": 254}
Row = tuple[Any, ...]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_VISIBLE = "u.is_validated AND u.is_active AND NOT u.hide_from_directory"


@dataclass(frozen=True)
class Found:
    """Rows in the order of `wire.USER_KEYS`, and whether more follow."""

    rows: list[Row]
    has_more: bool


@dataclass(frozen=True)
class Statement:
    sql: str
    params: dict[str, Any]


def check_length(term: str) -> None:
    """Refuse a term of fewer than three code points besides spaces, as typed (NFC) or after normalisation."""
    shortest = min(_length(names.collapse(term)), _length(names.normalise(term)))
    if shortest < MIN_LENGTH:
        raise errors.Invalid(f"Search terms must have at least {MIN_LENGTH} characters", code="too_short", field="term")


def can_match(kind: str, term: str) -> bool:
    """Tell whether any stored value could hold the term: no control characters, not longer than the column."""
    if _CONTROL.search(term) or len(term) > LONGEST[kind]:
        return False
    return not (kind == "email" and names.has_reserved_letter(term))


def search(kind: str, term: str, *, start: int, rows: int) -> Found:
    """Return up to `rows` people from offset `start`, best matches first, ties by id.

    `kind` is a key of `STATEMENTS`; `term` passed `check_length` and `can_match`. One SQL statement on the search
    connection, whose statement timeout surfaces as Django's OperationalError.
    """
    statement = STATEMENTS[kind](term, start, rows)
    with connections[settings.USERMGMT_SEARCH_DATABASE].cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        found = cursor.fetchall()
    return Found(rows=found[:rows], has_more=len(found) > rows)


def _length(text: str) -> int:
    return sum(not unicodedata.category(char).startswith("Z") for char in text)


def _page(start: int, rows: int) -> dict[str, int]:
    return {"start": start, "fetch": rows + 1, "reach": start + rows + 1}


# `m` holds the ids of the page; the primary address is looked up for those rows only.
_PEOPLE = """
SELECT u.id, u.username, u.first_name, u.last_name,
       (SELECT e.address FROM core_emailaddress e WHERE e.user_id = u.id AND e.is_primary), u.institution, u.position
FROM m JOIN core_user u ON u.id = m.id
ORDER BY m.tier, m.id
"""


def _exact(ids: str, *conditions: str) -> str:
    """The first tier: each condition in the order of ids, so that an index ending in the id gives the page alone."""
    each = " UNION ".join(f"({ids} {condition} ORDER BY id LIMIT %(reach)s)" for condition in conditions)
    return f"SELECT id FROM ({each}) e"


def _tiers(exact: str, ids: str, prefix: str, rest: str) -> str:
    """Three tiers, `exact` and two of `ids` (a query ending in AND), then the page as `m`.

    The conditions on counts are constant within the statement: PostgreSQL skips a tier that is not needed. The limits
    are plain numbers because the planner guesses badly at computed ones.
    """
    return f"""
t1 AS MATERIALIZED ({exact} ORDER BY id LIMIT %(reach)s),
t2 AS MATERIALIZED ({ids} {prefix} AND (SELECT count(*) FROM t1) < %(reach)s ORDER BY id LIMIT %(reach)s),
t3 AS MATERIALIZED ({ids} {rest} AND (SELECT count(*) FROM t1) + (SELECT count(*) FROM t2) < %(reach)s
    ORDER BY id LIMIT %(reach)s),
m AS (
    SELECT 1 AS tier, id FROM t1 UNION ALL SELECT 2, id FROM t2 UNION ALL SELECT 3, id FROM t3
    ORDER BY tier, id OFFSET %(start)s LIMIT %(fetch)s
)"""


_ACCOUNTS = f"SELECT u.id FROM core_user u WHERE {_VISIBLE} AND"
_BY_USERNAME = (
    "WITH"
    + _tiers(
        _exact(_ACCOUNTS, "u.username_n = %(plain)s"),
        _ACCOUNTS,
        "u.username_n LIKE %(prefix)s AND u.username_n <> %(plain)s",
        "u.username_n LIKE %(inside)s AND u.username_n NOT LIKE %(prefix)s",
    )
    + _PEOPLE
)
_BY_ONE_NAME = (
    "WITH"
    + _tiers(
        _exact(_ACCOUNTS, "u.first_n = %(plain)s", "u.last_n = %(plain)s"),
        _ACCOUNTS,
        # `longer` rather than `prefix`: the planner must not count those who have just this name, or it expects many
        # where there are none and walks the primary key to its end.
        "(u.first_n LIKE %(longer)s OR u.last_n LIKE %(longer)s) AND u.first_n <> %(plain)s AND u.last_n <> %(plain)s",
        "u.name_n LIKE %(inside)s AND u.first_n NOT LIKE %(prefix)s AND u.last_n NOT LIKE %(prefix)s",
    )
    + _PEOPLE
)
# OFFSET 0 keeps this a look-up a person: as a join the planner may read every address before its first row.
_BETTER = """NOT EXISTS (
    SELECT FROM core_emailaddress b WHERE b.user_id = u.id AND b.is_verified AND b.address_n {} OFFSET 0)"""
_OWNERS = f"""SELECT DISTINCT u.id FROM core_emailaddress e JOIN core_user u ON u.id = e.user_id
    WHERE {_VISIBLE} AND e.is_verified AND"""
_BY_EMAIL = (
    "WITH"
    + _tiers(
        _exact(_OWNERS, "e.address_n = %(plain)s"),
        _OWNERS,
        "e.address_n LIKE %(prefix)s AND " + _BETTER.format("= %(plain)s"),
        "e.address_n LIKE %(inside)s AND " + _BETTER.format("LIKE %(prefix)s"),
    )
    + """
SELECT u.id, u.username, u.first_name, u.last_name, best.address, u.institution, u.position
FROM m JOIN core_user u ON u.id = m.id
CROSS JOIN LATERAL (
    SELECT e.address FROM core_emailaddress e
    WHERE e.user_id = u.id AND e.is_verified AND e.address_n LIKE %(inside)s
    ORDER BY e.address_n = %(plain)s DESC, e.address_n LIKE %(prefix)s DESC, e.is_primary DESC, e.created_at, e.id
    LIMIT 1
) best
ORDER BY m.tier, m.id
"""
)


def _by_username(term: str, start: int, rows: int) -> Statement:
    plain = names.normalise(term)
    return Statement(_BY_USERNAME, _patterns(plain, plain) | _page(start, rows))


def _by_email(term: str, start: int, rows: int) -> Statement:
    plain = names.search_address(term)
    return Statement(_BY_EMAIL, _patterns(plain, plain) | _page(start, rows))


def _by_name(term: str, start: int, rows: int) -> Statement:
    plain = names.normalise(term)
    tokens = plain.split(" ")
    if 2 <= len(tokens) <= MAX_SPLIT_TOKENS:
        return _by_both_names(plain, tokens, start, rows)
    return Statement(_BY_ONE_NAME, _patterns(plain, names.name_part(plain)) | _page(start, rows))


def _patterns(plain: str, inside: str) -> dict[str, str]:
    return {
        "plain": plain,
        "prefix": names.like_literal(plain) + "%",
        "longer": names.like_literal(plain) + "_%",
        "inside": "%" + names.like_literal(inside) + "%",
    }


def _by_both_names(plain: str, tokens: list[str], start: int, rows: int) -> Statement:
    """A phrase in one name, or its words split between given and family name.

    The matches are collected first (MATERIALIZED), or the planner may walk the primary key for its `ORDER BY id LIMIT`.
    """
    params: dict[str, Any] = _patterns(plain, names.name_part(plain)) | _page(start, rows)
    inside = ["u.name_n LIKE %(inside)s"]
    prefix = ["first_n LIKE %(prefix)s", "last_n LIKE %(prefix)s"]
    exact = ["first_n = %(plain)s", "last_n = %(plain)s"]
    for name, (first, last) in zip(_split_names(), _splits(tokens), strict=False):
        params |= {
            f"{name}_inside": _both_inside(first, last),
            f"{name}_first": first,
            f"{name}_last": last,
            f"{name}_first_prefix": names.like_literal(first) + "%",
            f"{name}_last_prefix": names.like_literal(last) + "%",
        }
        inside.append(f"u.name_n LIKE %({name}_inside)s")
        prefix.append(f"(first_n LIKE %({name}_first_prefix)s AND last_n LIKE %({name}_last_prefix)s)")
        exact.append(f"(first_n = %({name}_first)s AND last_n = %({name}_last)s)")
    sql = f"""
WITH found AS MATERIALIZED (
    SELECT u.id, u.first_n, u.last_n FROM core_user u WHERE {_VISIBLE} AND ({" OR ".join(inside)})
), m AS (
    SELECT CASE WHEN {" OR ".join(exact)} THEN 1 WHEN {" OR ".join(prefix)} THEN 2 ELSE 3 END AS tier, id
    FROM found ORDER BY tier, id OFFSET %(start)s LIMIT %(fetch)s
){_PEOPLE}"""
    return Statement(sql, params)


def _split_names() -> Iterator[str]:
    return (f"s{number}" for number in itertools.count(1))


def _splits(tokens: list[str]) -> Iterator[tuple[str, str]]:
    return ((" ".join(tokens[:cut]), " ".join(tokens[cut:])) for cut in range(1, len(tokens)))


def _both_inside(first: str, last: str) -> str:
    parts = (names.like_literal(names.name_part(part)) for part in (first, last))
    return "%" + f"%{names.NAME_JOINER}%".join(parts) + "%"


STATEMENTS: dict[str, Callable[[str, int, int], Statement]] = {
    "username": _by_username,
    "name": _by_name,
    "email": _by_email,
}
