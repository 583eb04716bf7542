"""Read the files the importers take, in each of the forms other services export (contract 6). Pure: no ORM.

Every reader yields `Row`s with the line (or element) number, so that rejected ones can be found again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

MAX_BYTES: Final = 50 * 1_048_576
MAX_ROWS: Final = 100_000
DEEPEST: Final = 50
HARVEST_COLUMNS: Final = (
    "_id",
    "name",
    "url",
    "harvest_type",
    "organization",
    "publish",
    "harvest_interval",
    "harvest_contact",
    "ckan_harvest_url",
)
# CKAN's source types and the registry's.
CKAN_TYPES: Final = {
    "waf": "WAF",
    "csw": "CSW",
    "doc": "DOCUMENT",
    "erddap-waf": "ERDDAP-WAF",
    "waf-collection": "WAF",
    "thredds": "THREDDS",
}
CKAN_FREQUENCIES: Final = {"MANUAL": 0, "ALWAYS": 1, "DAILY": 1, "WEEKLY": 7, "BIWEEKLY": 14, "MONTHLY": 30}


class UnreadableFileError(ValueError):
    """The file is not in any form we read; nothing was written."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file with where it stood; `problem` says why it is no object at all."""

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read(data: bytes, *, name: str) -> list[Row]:
    """The rows of a CSV, JSON or MongoDB extended-JSON-lines file."""
    if len(data) > MAX_BYTES:
        raise UnreadableFileError(f"the file is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError("the file is not UTF-8") from error
    if "\0" in text:
        raise UnreadableFileError("the file holds NUL")
    rows = list(_csv_rows(text) if name.lower().endswith(".csv") else _json_rows(text))
    if len(rows) > MAX_ROWS:
        raise UnreadableFileError(f"the file has more than {MAX_ROWS} rows")
    return rows


def _csv_rows(text: str) -> Iterator[Row]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if not reader.fieldnames or not any((name or "").strip() for name in reader.fieldnames):
            raise UnreadableFileError("the file has no header")
        for values in reader:
            if None in values or None in values.values():
                yield Row(reader.line_num, problem="the number of cells differs from the header's")
                continue
            yield Row(reader.line_num, {str(name).strip(): _unguarded(value) for name, value in values.items()})
    except csv.Error as error:
        raise UnreadableFileError(f"the file is no CSV: {error}") from error


def _unguarded(cell: str) -> str:
    """Undo the guard our own export puts before formula signs."""
    return cell[1:] if re.match(r"'[=+\-@\t]", cell) else cell


def _json_rows(text: str) -> Iterator[Row]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        yield from _line_rows(text)
        return
    yield from _element_rows(value)


def _element_rows(value: Any) -> Iterator[Row]:
    """A bare array, an answer of our API (`data`), of CKAN (`result`), or one MongoDB document."""
    if isinstance(value, dict):
        for key in ("data", "result"):
            if isinstance(value.get(key), list):
                value = value[key]
                break
        else:
            value = [value]
    if not isinstance(value, list):
        raise UnreadableFileError("the file holds no list")
    for number, element in enumerate(value, start=1):
        yield _row(number, element)


def _line_rows(text: str) -> Iterator[Row]:
    """One JSON object per line, as mongoexport writes."""
    good = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            element = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not good:
                raise UnreadableFileError(f"line {number} is no JSON") from error
            yield Row(number, problem="the line is no JSON")
            continue
        good += 1
        yield _row(number, element)
    if not good:
        raise UnreadableFileError("the file is empty")


def _row(number: int, element: Any) -> Row:
    if not isinstance(element, dict):
        return Row(number, problem="the row is no object")
    if _is_deep(element):
        return Row(number, problem=f"a value is nested deeper than {DEEPEST} levels")
    if _holds_nul(element):
        return Row(number, problem="a value holds NUL")
    return Row(number, {name: plain(value) for name, value in element.items()})


def _is_deep(value: Any) -> bool:
    """Whether a JSON value has more levels than anything we read; looked at level by level."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _holds_nul(value: Any) -> bool:
    """Whether a text in a JSON value spells the one character the database has no room for."""
    if isinstance(value, (dict, list)):
        return any(map(_holds_nul, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and "\0" in value


def plain(value: Any) -> Any:
    """MongoDB's extended JSON as plain values: dates as aware datetimes, numbers as numbers, ids as text."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, inner),) = value.items()
        if kind == "$date":
            return moment(inner)
        if kind in ("$numberInt", "$numberLong", "$numberDouble"):
            return _number(inner)
        if kind == "$oid":
            return str(inner)
    return {name: plain(item) for name, item in value.items()}


def _number(value: Any) -> int | float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else number


def moment(value: Any) -> datetime | None:
    """A date as ISO text or as milliseconds; `None` for anything else (`pending`, say)."""
    if isinstance(value, dict):
        value = plain(value)
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
        if not isinstance(value, str):
            return None
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):  # what the calendar has no room for
        return None


def harvest_values(values: dict[str, Any]) -> dict[str, Any]:
    """A harvest row under our names, whichever service wrote it."""
    if "harvest_type" in values or ("organization" in values and "type" not in values):
        return values
    organization = values.get("publisher_title") or values.get("organization") or ""
    if isinstance(organization, dict):
        organization = organization.get("title") or organization.get("name") or ""
    kind = str(values.get("type") or "waf").lower()
    return {
        "name": values.get("title") or values.get("name") or "",
        "url": values.get("url") or "",
        "harvest_type": CKAN_TYPES.get(kind, kind),
        "organization": organization,
        "publish": bool(values.get("active", True)),
        "harvest_interval": CKAN_FREQUENCIES.get(str(values.get("frequency") or "MANUAL").upper(), 0),
    }


@dataclass(frozen=True, slots=True)
class Person:
    """A person of an import file, from CSV columns or from a MongoDB account document."""

    email: str
    verified: bool
    username: str
    first_name: str
    last_name: str
    uid: str
    organizations: tuple[str, ...]
    approved: bool
    is_admin: bool
    password_hash: str
    poc_name: str
    poc_email: str


def person(values: dict[str, Any]) -> Person:
    """Read a person; login tokens are never looked at."""
    return _mongo_person(values) if "emails" in values or "services" in values else _csv_person(values)


def _mongo_person(values: dict[str, Any]) -> Person:
    emails = [entry for entry in _list(values.get("emails")) if isinstance(entry, dict)]
    first = emails[0] if emails else {}
    profile = _dict(values.get("profile"))
    roles = _roles(values.get("roles"))
    password = _dict(_dict(values.get("services")).get("password")).get("bcrypt")
    name = _text(profile.get("name"))
    organizations = profile.get("organizations") or profile.get("organization") or ()
    return Person(
        email=_text(first.get("address")),
        verified=first.get("verified") is True,
        username=_text(values.get("username")),
        first_name=_text(profile.get("firstName")) or name.partition(" ")[0],
        last_name=_text(profile.get("lastName")) or name.partition(" ")[2],
        uid=_text(values.get("_id")),
        organizations=_names(organizations),
        approved=bool(roles & {"approved", "admin"}),
        is_admin="admin" in roles,
        password_hash=_text(password),
        poc_name=_text(profile.get("pocName") or profile.get("poc_name")),
        poc_email=_text(profile.get("pocEmail") or profile.get("poc_email")),
    )


def _csv_person(values: dict[str, Any]) -> Person:
    name = _text(values.get("name"))
    return Person(
        email=_text(values.get("email")),
        verified=_truth(values.get("verified")),
        username=_text(values.get("username")),
        first_name=_text(values.get("first_name")) or name.partition(" ")[0],
        last_name=_text(values.get("last_name")) or name.partition(" ")[2],
        uid=_text(values.get("_id")),
        organizations=_names(values.get("organizations") or values.get("organization") or ()),
        approved=_truth(values.get("approved")),
        is_admin=_truth(values.get("admin")),
        password_hash=_text(values.get("bcrypt")),
        poc_name=_text(values.get("poc_name")),
        poc_email=_text(values.get("poc_email")),
    )


def _roles(value: Any) -> set[str]:
    """Roles as a list, or by group as newer versions of the roles package store them."""
    if isinstance(value, dict):
        return {str(role) for group in value.values() for role in _list(group)}
    return {str(role) for role in _list(value)}


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(";") if isinstance(value, str) else _list(value)
    return tuple(dict.fromkeys(text for text in (_text(part) for part in parts) if text))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _truth(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() in ("true", "1", "yes"))
