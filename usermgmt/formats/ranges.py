"""`Range: records=S-E` and `Content-Range: records S-L/*` (contract 2.3)."""

import re
from dataclasses import dataclass

from core import errors

_RECORDS = re.compile(r"records=([0-9]+)-([0-9]+)", re.IGNORECASE | re.ASCII)
PAST_THE_END = 2**31
"""Where offsets are cut off: more rows than any directory holds, and few enough for every SQL integer."""


@dataclass(frozen=True)
class Window:
    """Up to `rows` results from offset `start`; `is_asked` tells a `Range` header from its absence."""

    start: int
    rows: int
    is_asked: bool


def parse(header: str | None, *, default_rows: int, max_rows: int) -> Window:
    """Return the window a `Range` header asks for; no header, or another unit than `records`, is the default window.

    Raises `errors.Invalid`: code `range_syntax` for anything but `records=S-E`; code `range_values` with details
    `start` and `end` (as sent, without leading zeros) when E is 0 or less than S.
    """
    default = Window(start=0, rows=default_rows, is_asked=False)
    if header is None or header.partition("=")[0].strip().lower() != "records":
        return default
    match = _RECORDS.fullmatch(header.strip())
    if match is None:
        raise errors.Invalid("Malformed range header.", code="range_syntax")
    start, end = (digits.lstrip("0") or "0" for digits in match.groups())
    if end == "0" or _is_less(end, start):
        raise errors.Invalid("Invalid range values.", code="range_values", start=start, end=end)
    low, high = _clipped(start), _clipped(end)
    return Window(start=low, rows=min(high - low, max_rows), is_asked=True)


def content_range(start: int, rows: int) -> str:
    """`records S-L/*`, L being the offset of the last row; the total is never counted."""
    return f"records {start}-{start + rows - 1}/*"


def _is_less(left: str, right: str) -> bool:
    # As text: Python refuses to read integers of more than 4,300 digits.
    return (len(left), left) < (len(right), right)


def _clipped(digits: str) -> int:
    return PAST_THE_END if len(digits) > 10 else min(int(digits), PAST_THE_END)
