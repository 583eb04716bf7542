"""Paging as arithmetic: which rows, which neighbours. Names and headers are the dialects' business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core import errors

LARGEST: Final = 10**15
"""The largest number a caller may name: a page of that number still starts at an offset that fits a ``bigint``."""
_LONGEST: Final = 18


@dataclass(frozen=True)
class Window:
    """``limit`` rows from ``offset`` (both ≥ 0) of ``total``; ``limit`` 0 means all of them."""

    offset: int
    limit: int
    total: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.limit)) if self.limit else 1

    @property
    def page(self) -> int:
        """The page this window starts on, from 1."""
        return self.offset // self.limit + 1 if self.limit else 1

    @property
    def next_offset(self) -> int | None:
        following = self.offset + self.limit
        return following if self.limit and following < self.total else None

    @property
    def previous_offset(self) -> int | None:
        """Where the previous page starts; from far past the end, where the last page starts."""
        if self.offset <= 0 or not self.limit:
            return None
        last = (self.pages - 1) * self.limit
        return max(0, min(self.offset - self.limit, last))


def whole_number(text: str, *, field: str, least: int = 0, most: int = LARGEST, message: str = "") -> int:
    """A parameter that must be a whole number in ASCII digits, from ``least`` (0 or 1) to ``most``.

    Raises ``errors.Invalid`` that names ``field``, with ``message`` or else a sentence of its own for each fault.
    """
    word = "positive" if least else "non-negative"
    refusal = errors.Invalid(message or f"A valid {word} integer is required.", field=field)
    if not (text.isascii() and text.isdigit()):
        raise refusal
    digits = text.lstrip("0") or "0"
    # Long ones are not even read: Python refuses integers of more than 4,300 digits.
    if len(digits) > _LONGEST or int(digits) > most:
        raise errors.Invalid(message or f"Ensure this value is less than or equal to {most}.", field=field)
    if int(digits) < least:
        raise refusal
    return int(digits)
