"""Use reports: CSV per title and month, without personal data (contract 10.8)."""

import datetime
import re
from collections.abc import Iterator

from django.utils import timezone

from core import errors
from nnels.formats import report
from nnels.selectors import uses

COLUMNS = ("month", "nid", "uuid", "isbn", "title", "api", "opds", "page", "total", "admin")


def month(text: str, *, field: str) -> datetime.date:
    """The first day of `YYYY-MM`; `Invalid` for anything else."""
    found = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text.strip())
    if found is None or not (int(found[1]) >= 1900 and 1 <= int(found[2]) <= 12):
        raise errors.Invalid("A month is YYYY-MM.", field=field)
    return datetime.date(int(found[1]), int(found[2]), 1)


def csv_lines(first: datetime.date | None = None, last: datetime.date | None = None) -> Iterator[str]:
    """The report from the first to the last month, by default all; `total` leaves out what staff looked at."""
    yield report.row(COLUMNS)
    today = timezone.now().date()
    begin = first or uses.first_month() or today
    for use in uses.by_month(begin, min(last or today, today)):
        total = use.api + use.opds + use.page
        yield report.row(
            (
                f"{use.month:%Y-%m}",
                use.nid,
                use.uuid,
                use.isbn,
                use.label,
                use.api,
                use.opds,
                use.page,
                total,
                use.admin,
            )
        )
