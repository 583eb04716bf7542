"""Partial dates `YYYY[-MM[-DD]]` and the period each names."""

import calendar
import dataclasses
import datetime
import re

_PARTIAL = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?")


@dataclasses.dataclass(frozen=True)
class Period:
    """First and last day (both inside) of a partial date."""

    first: datetime.date
    last: datetime.date


def period(text: str) -> Period | None:
    """The period of a partial date, or None if it is malformed or does not exist (`1851-02-30`)."""
    match = _PARTIAL.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match["year"]), int(match["month"] or 0), int(match["day"] or 0)
    try:
        if match["day"]:
            only = datetime.date(year, month, day)
            return Period(only, only)
        if match["month"]:
            return Period(
                datetime.date(year, month, 1), datetime.date(year, month, calendar.monthrange(year, month)[1])
            )
        return Period(datetime.date(year, 1, 1), datetime.date(year, 12, 31))
    except (ValueError, calendar.IllegalMonthError):
        return None


def find(text: str) -> str | None:
    """The partial date in a catalogue's or package's date text (`c1851.`, `2004-05-06T…Z`, `[1997]`), or None."""
    match = re.match(r"\s*([0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?)(?![0-9])", text) or re.search(
        r"(?<![0-9])([0-9]{4})(?![0-9])", text
    )
    if match is None:
        return None
    found = match[1]
    while found and period(found) is None:
        found = found.rpartition("-")[0]
    return found or None


def iso_duration(seconds: int | None) -> str | None:
    """ISO 8601 duration: 3723 → `PT1H2M3S`."""
    if seconds is None:
        return None
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else "", f"{left}S" if left else ""]
    return "PT" + ("".join(parts) or "0S")


def seconds(text: str) -> int | None:
    """Seconds of a clock value (SMIL `1:02:03.5`, `02:03`, `95.2s`, `3h`, `PT1H2M3S`, plain seconds), or None."""
    value = text.strip()
    iso = re.fullmatch(r"PT(?=.)(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:\.[0-9]+)?S)?", value)
    if iso:
        return sum(int(part or 0) * unit for part, unit in zip(iso.groups(), (3600, 60, 1), strict=True))
    clock = re.fullmatch(r"(?:([0-9]{1,6}):)?([0-9]{1,2}):([0-9]{1,2})(?:\.[0-9]+)?", value)
    if clock:
        return sum(int(part or 0) * unit for part, unit in zip(clock.groups(), (3600, 60, 1), strict=True))
    count = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)(h|min|s|ms)?", value)
    if count:
        return int(float(count[1]) * {"h": 3600, "min": 60, "s": 1, "ms": 0.001, None: 1}[count[2]])
    return None
