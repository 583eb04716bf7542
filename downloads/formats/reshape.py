"""Stored lines into the lines a download asks for: other ids, fewer columns, tabs, harmless cells. Bytes to bytes.

Blocks hold whole rows. A row ends with CRLF and no cell holds a CR (`formats.cells`), so CRLF cuts rows exactly;
within a row only quoted cells hold commas. Rows without a quote take the short way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from downloads.formats import cells

Convert = Callable[[bytes], bytes]
_CRLF = b"\r\n"
_LONGEST_CELL = 1 << 24
_EMPTY = -1
"""The place of an empty cell, which then stands last."""
_STAND_IN = b"\0"
"""For a comma within quotes; no stored text can hold it."""


@dataclass(frozen=True, kw_only=True)
class Reshape:
    """What to do to each row; `columns` are places behind the id (None: all), `key` maps the id.

    A place that is None is a column the rows do not have: its cells are empty.
    """

    columns: Sequence[int | None] | None = None
    delimiter: str = cells.COMMA
    is_safe: bool = False
    key: Callable[[bytes], bytes] | None = None

    @property
    def is_nothing(self) -> bool:
        """True where stored lines are already what is asked for."""
        return self.columns is None and self.delimiter == cells.COMMA and not self.is_safe and self.key is None

    def converter(self) -> Convert:
        """The function from block to block."""
        steps: list[Convert] = []
        if self.key is not None:
            steps.append(_keyed(self.key))
        if self.columns is not None:
            steps.append(_picked([0, *(_EMPTY if place is None else place + 1 for place in self.columns)]))
        if self.is_safe:
            steps.append(_rewritten(cells.COMMA, safe=True))
        if self.delimiter != cells.COMMA:
            steps.append(_tabbed(self.delimiter))

        def convert(block: bytes) -> bytes:
            for step in steps:
                block = step(block)
            return block

        return convert


def _rows(block: bytes) -> list[bytes]:
    rows = block.split(_CRLF)
    rows.pop()
    return rows


def _keyed(key: Callable[[bytes], bytes]) -> Convert:
    """The id of every row replaced."""

    def convert(block: bytes) -> bytes:
        out: list[bytes] = []
        for row in _rows(block):
            old, comma, rest = row.partition(b",")
            out += (key(old), comma, rest, _CRLF)
        return b"".join(out)

    return convert


def _picked(places: list[int]) -> Convert:
    """Some columns of every row, in the order given, quotes as they stand."""
    beyond = [b""] if _EMPTY in places else []
    pick: Callable[[list[bytes]], Sequence[bytes]]
    if len(places) == 1:

        def pick(row: list[bytes]) -> Sequence[bytes]:
            return (row[places[0]],)

    else:
        pick = itemgetter(*places)
    # What lies behind the last column wanted need not be cut up.
    cuts = -1 if beyond else max(places) + 1

    def convert(block: bytes) -> bytes:
        out = []
        for row in _rows(block):
            if b'"' not in row:
                out.append(b",".join(pick(row.split(b",", cuts) + beyond)))
                continue
            pieces = row.split(b'"')
            pieces[1::2] = [piece.replace(b",", _STAND_IN) for piece in pieces[1::2]]
            out.append(b",".join(pick(b'"'.join(pieces).split(b",", cuts) + beyond)).replace(_STAND_IN, b","))
        out.append(b"")
        return _CRLF.join(out)

    return convert


def _tabbed(delimiter: str) -> Convert:
    """Commas between cells become tabs; cells are quoted anew where the dialect needs it."""
    tab = delimiter.encode()
    rewrite = _rewritten(delimiter, safe=False)

    def convert(block: bytes) -> bytes:
        if tab not in block:
            return _between_tabs(block, tab) if b'"' in block else block.replace(b",", tab)
        rows = (row + _CRLF for row in _rows(block))
        return b"".join(rewrite(row) if tab in row else _between_tabs(row, tab) for row in rows)

    return convert


def _between_tabs(block: bytes, tab: bytes) -> bytes:
    """Rows in which no cell holds a tab. Quotes stay round cells with a quote or a line feed: a comma needs none.

    Cut at its quotes, a block is text outside and inside of them in turn; nothing outside means a doubled quote.
    """
    pieces = block.split(b'"')
    inside = pieces[1::2]
    outside = b'"'.join(pieces[0::2]).replace(b",", tab).split(b'"')
    out = [outside[0]]
    place, end = 0, len(inside)
    while place < end:
        first = place
        while not outside[place + 1]:
            place += 1
        place += 1
        if place == first + 1 and b"\n" not in inside[first]:
            out += (inside[first], outside[place])
        else:
            out += (b'"', b'""'.join(inside[first:place]), b'"', outside[place])
    return b"".join(out)


def _rewritten(delimiter: str, *, safe: bool) -> Convert:
    """Every cell read and written again: the long way."""

    def convert(block: bytes) -> bytes:
        out = []
        csv.field_size_limit(_LONGEST_CELL)
        for row in _rows(block):
            # newline="": a line feed within quotes belongs to the cell
            (texts,) = csv.reader(io.StringIO(row.decode(), newline=""), strict=True)
            if safe:
                texts = [texts[0], *map(cells.harmless, texts[1:])]
            out.append(cells.line(texts, delimiter))
        return "".join(out).encode()

    return convert
