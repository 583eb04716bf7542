"""Dates as providers write them, to the one printed form (contract §3.3)."""

import datetime
import re
from typing import Final

_MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            ("jan", "january"),
            ("feb", "february"),
            ("mar", "march"),
            ("apr", "april"),
            ("may",),
            ("jun", "june"),
            ("jul", "july"),
            ("aug", "august"),
            ("sep", "sept", "september"),
            ("oct", "october"),
            ("nov", "november"),
            ("dec", "december"),
        ),
        start=1,
    )
    for name in names
}
_ISO = re.compile(
    r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})"
    r"(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_BASIC = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII)
_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})[ .-]+([a-z]{3,9})\.?,?[ .-]+(\d{4})", re.ASCII | re.IGNORECASE)
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.?[ -]+(\d{1,2})(?:st|nd|rd|th)?,?[ -]+(\d{4})", re.ASCII | re.IGNORECASE)
_MONTH_ONLY = re.compile(r"([a-z]{3,9})\.?,?[ -]+(\d{4})", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"(\d{1,4})(?:\.0*)?", re.ASCII)

EARLIEST: Final = "1500-01-02"
"""Dates before this one are flagged `datecollected_bounds`."""


def moment(text: str) -> str | None:
    """A date or time as ISO 8601 with offset (UTC if none is given); None if it is not one whole, existing date.

    A month or a year stands for its first day. Intervals, seasons and impossible dates are None.
    """
    text = text.strip()
    try:
        found = _ISO.fullmatch(text)
        parsed = _from_iso(found) if found else _from_words(text)
        if parsed is not None:
            parsed.astimezone(datetime.UTC)  # neither before the year 1 nor after 9999 anywhere
    except (ValueError, OverflowError):
        return None
    return None if parsed is None else parsed.isoformat()


def _from_iso(found: re.Match[str]) -> datetime.datetime:
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    return datetime.datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "0").ljust(6, "0")[:6]),
        _zone(offset),
    )


def _zone(offset: str | None) -> datetime.timezone:
    if not offset or offset in "Zz":
        return datetime.UTC
    digits = offset[1:].replace(":", "").ljust(4, "0")
    if int(digits[2:]) > 59 or int(digits[:2]) > 15:  # PostgreSQL knows none beyond 15:59 either
        raise ValueError("no such offset")
    delta = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return datetime.timezone(-delta if offset[0] == "-" else delta)


def _from_words(text: str) -> datetime.datetime | None:
    if found := _BASIC.fullmatch(text) or _SLASHED.fullmatch(text):
        return _utc(found[1], found[2], found[3])
    if found := _AMERICAN.fullmatch(text):
        month, day = (found[1], found[2]) if int(found[1]) <= 12 else (found[2], found[1])
        return _utc(found[3], month, day)
    if found := _DAY_FIRST.fullmatch(text):
        return _utc(found[3], _month(found[2]), found[1])
    if found := _MONTH_FIRST.fullmatch(text):
        return _utc(found[3], _month(found[1]), found[2])
    if found := _MONTH_ONLY.fullmatch(text):
        return _utc(found[2], _month(found[1]), 1)
    return None


def _month(name: str) -> int:
    return _MONTHS.get(name.lower(), 0)  # 0 is no month: the date is refused


def _utc(year: str, month: str | int, day: str | int) -> datetime.datetime:
    return datetime.datetime(int(year), int(month), int(day), tzinfo=datetime.UTC)


def from_parts(year: str, month: str = "", day: str = "") -> str | None:
    """A bare ISO date from year, month and day; missing ones are 1; None if a given one is impossible."""
    numbers = [_PART.fullmatch(part.strip() or "1") for part in (year, month, day if month.strip() else "")]
    if not year.strip() or not all(numbers):
        return None
    try:
        return datetime.date(*(int(number[1]) for number in numbers if number)).isoformat()
    except ValueError:
        return None


def day_of_year(iso: str) -> int:
    """1-366 of an ISO date or time, in its own offset."""
    return datetime.date.fromisoformat(iso[:10]).timetuple().tm_yday
