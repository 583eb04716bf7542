"""Dates in HTTP headers, whoever sent them (RFC 9110, 5.6.7)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def date(value: str) -> datetime | None:
    """The moment a date header names, in UTC where it names no zone; `None` for what is no date."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for numbers no calendar has room for
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
