"""The JSON of this API, as the original's PHP encoder wrote it (contract 2.4): ASCII, compact, `/` unescaped."""

import json
from collections.abc import Iterable, Mapping

USER_KEYS = ("id", "username", "firstname", "lastname", "email", "institution", "position")


def encode(value: object) -> bytes:
    r"""Return compact ASCII JSON; other characters as lower-case `\uXXXX`, astral ones as surrogate pairs."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def users(rows: Iterable[tuple[object, ...]]) -> bytes:
    """Return `{"users":[…]}` of rows in the order of `USER_KEYS`."""
    return encode({"users": [user(row) for row in rows]})


def user(row: tuple[object, ...]) -> Mapping[str, str | None]:
    """Return one result object of a row in the order of `USER_KEYS`."""
    # CyVerse: every value is a string or null, the id too.
    return {key: None if value is None else str(value) for key, value in zip(USER_KEYS, row, strict=True)}


NO_USERS = users([])
