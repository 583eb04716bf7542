"""Business days, as reviewers count them: Monday to Friday."""

from datetime import datetime, timedelta


def between(start: datetime, end: datetime) -> float:
    """How many business days lie between two moments; a weekend counts nothing, half a Tuesday one half."""
    total = timedelta(0)
    at = start
    while at < end:
        midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        until = min(midnight, end)
        if at.weekday() < 5:
            total += until - at
        at = until
    return total / timedelta(days=1)


def before(end: datetime, days: float) -> datetime:
    """The latest moment from which `days` business days have passed at `end`."""
    left, at = timedelta(days=days), end
    while True:
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight == at:
            midnight -= timedelta(days=1)
        if midnight.weekday() < 5:
            if at - midnight >= left:
                return at - left
            left -= at - midnight
        at = midnight
