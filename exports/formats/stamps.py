"""Times on the wire: how we write them, and every spelling a client may send."""

import datetime as dt
import re
from email import utils

_ZERO = dt.timedelta(0)
_REPAIRED_PLUS = re.compile(r" (\d\d:?\d\d)$")
_DIGITS14 = re.compile(r"\d{14}", re.ASCII)
_UNDERSCORED = re.compile(r"\d{4}-\d\d-\d\d_\d{6}", re.ASCII)
_EPOCH = re.compile(r"\d{9,10}", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII)


def iso(moment: dt.datetime | None) -> str | None:
    """``2026-11-22T03:51:10.060440Z``; the fraction is left out only when it is zero, as the original did."""
    if moment is None:
        return None
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def offset_iso(moment: dt.datetime) -> str:
    """``2016-08-22T10:11:12.668000+00:00``, the form of ``Last-Updated``."""
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")


def digits(moment: dt.datetime) -> str:
    """14 digits, UTC, cut to the second: never later than the instant, so safe as ``updatedSince``."""
    return moment.astimezone(dt.UTC).strftime("%Y%m%d%H%M%S")


def http_date(moment: dt.datetime) -> str:
    """RFC 9110 §5.6.7 date."""
    return utils.format_datetime(moment.astimezone(dt.UTC).replace(microsecond=0), usegmt=True)


def parse(text: str) -> dt.datetime | None:
    """Read any accepted spelling (contract §2.6); None when it is none of them or no real date. Naive means UTC."""
    text = _REPAIRED_PLUS.sub(r"+\1", text.strip()) if text.count(":") > 1 else text.strip()
    try:
        return _read(text)
    except (ValueError, OverflowError, OSError):
        return None


def _read(text: str) -> dt.datetime | None:
    if _DIGITS14.fullmatch(text):
        return dt.datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
    if _UNDERSCORED.fullmatch(text):
        return dt.datetime.strptime(text, "%Y-%m-%d_%H%M%S").replace(tzinfo=dt.UTC)
    if _EPOCH.fullmatch(text):
        return dt.datetime.fromtimestamp(int(text), tz=dt.UTC)
    if not _ISO.fullmatch(text):
        return None
    moment = dt.datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC) if abs(moment.utcoffset() or _ZERO) < dt.timedelta(hours=24) else None
