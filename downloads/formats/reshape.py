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

    def convert(block: bytes) -> bytes:
        out = []
        for row in _rows(block):
            if b'"' not in row:
                out.append(b",".join(pick(row.split(b",") + beyond)))
                continue
            pieces = row.split(b'"')
            pieces[1::2] = [piece.replace(b",", _STAND_IN) for piece in pieces[1::2]]
            out.append(b",".join(pick(b'"'.join(pieces).split(b",") + beyond)).replace(_STAND_IN, b","))
        out.append(b"")
        return _CRLF.join(out)

    return convert


def _tabbed(delimiter: str) -> Convert:
    """Commas between cells become tabs; cells are quoted anew where the dialect needs it."""
    tab = delimiter.encode()
    rewrite = _rewritten(delimiter, safe=False)

    def convert(block: bytes) -> bytes:
        if b'"' not in block and tab not in block:
            return block.replace(b",", tab)
        out: list[bytes] = []
        for row in _rows(block):
            if b'"' not in row and tab not in row:
                out += (row.replace(b",", tab), _CRLF)
            else:
                out.append(rewrite(row + _CRLF))
        return b"".join(out)

    return convert


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
