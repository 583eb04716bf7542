"""How often each title was handed out, by month: totals and what the log still holds, without any person."""

import dataclasses
import datetime
from collections.abc import Iterator

from nnels.selectors import reads

_COUNTED = (
    "SELECT month, item_id, uuid, isbn[1], label, sum(issues) FILTER (WHERE purpose = 'api'), "
    "sum(issues) FILTER (WHERE purpose = 'opds'), sum(issues) FILTER (WHERE purpose = 'page'), "
    "sum(issues) FILTER (WHERE purpose = 'admin') FROM ("
    "SELECT item_id, purpose, issues::bigint FROM nnels_issuetotal WHERE day >= %s AND day < %s UNION ALL "
    "SELECT item_id, purpose, count(*) FROM nnels_urlissue WHERE at >= %s AND at < %s GROUP BY 1, 2"
    ") AS used LEFT JOIN nnels_item i ON i.id = item_id CROSS JOIN (SELECT %s::date AS month) AS of_month "
    "GROUP BY month, item_id, i.id ORDER BY item_id"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """Times a title was handed out in a month (its first day), by way. A deleted title has only its nid."""

    month: datetime.date
    nid: int
    uuid: str
    isbn: str
    label: str
    api: int
    opds: int
    page: int
    admin: int


def by_month(first: datetime.date, last: datetime.date) -> Iterator[Use]:
    """Every title that was handed out in the months from `first` to `last`; one statement per month."""
    month = first.replace(day=1)
    while month <= last:
        after = following(month)
        start, end = (datetime.datetime.combine(day, datetime.time(), datetime.UTC) for day in (month, after))
        for row in reads.rows(_COUNTED, [month, after, start, end, month]):
            yield Use(row[0], row[1], str(row[2] or ""), row[3] or "", row[4] or "", *(int(n or 0) for n in row[5:]))
        month = after


def following(month: datetime.date) -> datetime.date:
    """The first day of the next month."""
    return (month.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)


def first_month() -> datetime.date | None:
    """The month of the first use that is known."""
    found = reads.rows(
        "SELECT least((SELECT min(day) FROM nnels_issuetotal), "
        "(SELECT (min(at) AT TIME ZONE 'UTC')::date FROM nnels_urlissue))"
    )[0][0]
    return found.replace(day=1) if found else None
