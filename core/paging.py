"""Paging as arithmetic: which rows, which neighbours. Names and headers are the dialects' business."""

from __future__ import annotations

from dataclasses import dataclass

from core import errors


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


def whole_number(text: str, *, field: str, least: int = 0, most: int | None = None, message: str = "") -> int:
    """A parameter that must be a whole number in ASCII digits, at least ``least`` and at most ``most``."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise errors.Invalid(message or "A valid non-negative integer is required.", field=field)
    value = int(text)
    if value < least or (most is not None and value > most):
        raise errors.Invalid(message or f"A number from {least} to {most} is required.", field=field)
    return value
