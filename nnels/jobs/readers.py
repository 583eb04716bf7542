"""Importing who may have restricted titles (contract section 6)."""

import csv
import dataclasses
import datetime
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.models import User
from nnels import models
from nnels.formats import metadata, report, sidecar

COLUMNS = ("username", "print_disability_verified", "verified_until", "home_library")
_YES = frozenset({"1", "true", "yes", "y", "oui"})
_NO = frozenset({"0", "false", "no", "n", "non", ""})


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the report."""

    username: str
    outcome: str
    reason: str = ""


def run(raw: bytes) -> list[Line]:
    """Import a table; each row on its own. A column the table lacks leaves values alone.

    Raises `sidecar.Unreadable`.
    """
    try:
        table = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise sidecar.Unreadable(str(error)) from None
    columns = [name for name in COLUMNS if name in (table.fieldnames or ())]
    if "username" not in columns:
        raise sidecar.Unreadable("the first line does not name the column username")
    return [_row(row, columns) for row in rows]


def _row(row: dict[str, str], columns: list[str]) -> Line:
    cells = {name: metadata.clean(row[name]) for name in columns}
    # A line cut short must not withdraw anybody's verification.
    if None in row or None in row.values():
        return Line(cells["username"], "rejected", "bad_row")
    said = cells.get("print_disability_verified", "").lower()
    if said not in _YES | _NO:
        return Line(cells["username"], "rejected", "bad_flag")
    typed = cells.get("verified_until")
    try:
        until = datetime.date.fromisoformat(typed) if typed else None
    except ValueError:
        return Line(cells["username"], "rejected", "bad_date")
    user = User.objects.filter(username=cells["username"].lower()).first()
    if user is None:
        return Line(cells["username"], "rejected", "unknown_account")
    values: dict[str, Any] = {
        "print_disability_verified": said in _YES, "verified_until": until, "home_library": None,
    }  # fmt: skip
    library = cells.get("home_library", "")[:255]
    return Line(user.username, _store(user, {name: values[name] for name in columns if name in values}, library))


def _store(user: User, values: dict[str, Any], library: str) -> str:
    with transaction.atomic():
        if library:
            values = {**values, "home_library": models.Library.objects.get_or_create(name=library)[0]}
        reader, is_new = models.Reader.objects.select_for_update().get_or_create(user=user, defaults=values)
        different = [name for name, value in values.items() if getattr(reader, name) != value]
        if not is_new and not different:
            return "unchanged"
        for name, value in values.items():
            setattr(reader, name, value)
        if values.get("print_disability_verified") and (is_new or "print_disability_verified" in different):
            reader.verified_at = timezone.now()
        reader.save()
    return "created" if is_new else "updated"


def csv_lines(lines: list[Line]) -> Iterator[str]:
    """The report."""
    yield report.row(("username", "outcome", "reason"))
    for line in lines:
        yield report.row((line.username, line.outcome, line.reason))


def counts(lines: list[Line]) -> Counter[str]:
    """How many rows had which outcome."""
    return Counter(line.outcome for line in lines)
