"""Writing many new people at once: COPY instead of a model instance each, which costs three times the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection

from core import db, names
from core.models import new_uid

USER_COLUMNS = (
    "id",
    "uid",
    "username",
    "first_name",
    "last_name",
    "email",
    "institution",
    "position",
    "is_validated",
    "is_active",
    "is_staff",
    "is_superuser",
    "hide_from_directory",
    "date_joined",
    "password",
    "username_n",
    "first_n",
    "last_n",
    "name_n",
)
ADDRESS_COLUMNS = ("user_id", "address", "is_primary", "is_verified", "address_n", "created_at")
Row = list[Any]


def user_row(pk: int, username: str, *, now: datetime, **given: Any) -> Row:
    """An account in the order of `USER_COLUMNS`; what is not given is as in a new account, search columns follow."""
    first_name, last_name = given.get("first_name", ""), given.get("last_name", "")
    columns = names.search_columns(username, first_name, last_name)
    return [
        pk,
        given.get("uid") or new_uid(),
        username,
        first_name,
        last_name,
        given["email"],
        given.get("institution"),
        given.get("position"),
        given.get("is_validated", True),
        given.get("is_active", True),
        False,
        False,
        False,
        now.isoformat(),
        given["password"],
        columns["username_n"],
        columns["first_n"],
        columns["last_n"],
        columns["name_n"],
    ]


def address_row(user_id: int, address: str, *, is_primary: bool, now: datetime) -> Row:
    """A verified address in the order of `ADDRESS_COLUMNS`."""
    return [user_id, address, is_primary, True, names.search_address(address), now.isoformat()]


def insert(users: Iterable[Row], addresses: Iterable[Row]) -> None:
    """Write new accounts, then their addresses."""
    db.copy_rows("core_user", USER_COLUMNS, users)
    db.copy_rows("core_emailaddress", ADDRESS_COLUMNS, addresses)


def new_ids(count: int) -> list[int]:
    """So many fresh ids of accounts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('core_user', 'id')) FROM generate_series(1, %s)", [count])
        return [number for (number,) in cursor.fetchall()]


def move_sequence() -> None:
    """Put the sequence of ids past the highest one in use."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT setval(s, greatest(m, coalesce(pg_sequence_last_value(s::regclass), 1)))
               FROM (SELECT pg_get_serial_sequence('core_user', 'id') AS s, max(id) AS m FROM core_user) t"""
        )


def settle() -> None:
    """After many inserts: new statistics, and the trigram indexes' pending lists, which searches read whole, merged."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE core_user, core_emailaddress")
        for index in ("core_user_username_trgm", "core_user_name_trgm", "core_email_trgm"):
            cursor.execute("SELECT gin_clean_pending_list(%s::regclass)", [index])
