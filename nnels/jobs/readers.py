"""Importing who may have restricted titles (contract section 6)."""

import csv
import dataclasses
import datetime
import io
from collections import Counter
from collections.abc import Iterator

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
    """Import a table; each row on its own. Raises `sidecar.Unreadable`."""
    try:
        rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise sidecar.Unreadable(str(error)) from None
    if rows and "username" not in rows[0]:
        raise sidecar.Unreadable("the first line does not name the column username")
    return [_row({name: metadata.clean(row.get(name)) for name in COLUMNS}) for row in rows]


def _row(cells: dict[str, str]) -> Line:
    said = cells["print_disability_verified"].lower()
    if said not in _YES | _NO:
        return Line(cells["username"], "rejected", "bad_flag")
    try:
        until = datetime.date.fromisoformat(cells["verified_until"]) if cells["verified_until"] else None
    except ValueError:
        return Line(cells["username"], "rejected", "bad_date")
    user = User.objects.filter(username=cells["username"].lower()).first()
    if user is None:
        return Line(cells["username"], "rejected", "unknown_account")
    return Line(user.username, _store(user, is_verified=said in _YES, until=until, library=cells["home_library"][:255]))


def _store(user: User, *, is_verified: bool, until: datetime.date | None, library: str) -> str:
    with transaction.atomic():
        home = models.Library.objects.get_or_create(name=library)[0] if library else None
        values = {"print_disability_verified": is_verified, "verified_until": until, "home_library": home}
        reader, is_new = models.Reader.objects.select_for_update().get_or_create(user=user, defaults=values)
        different = [name for name, value in values.items() if getattr(reader, name) != value]
        if not is_new and not different:
            return "unchanged"
        for name, value in values.items():
            setattr(reader, name, value)
        if is_verified and (is_new or "print_disability_verified" in different):
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
