"""Cuts a table's files into raw rows: decoding, cells, terms, defaults, and the row faults of contract 6.3."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import BinaryIO, NamedTuple, Self

from downloads.formats import terms
from downloads.formats.archive_in import meta, sources

_BLOCK = 1 << 18
_STAND_IN = "\x1f"
"""What `||` becomes for the csv reader, which knows one-character delimiters only; a unit separator, made for this."""
_SURROGATE = re.compile("[\ud800-\udfff]")
ENCODING_FLAG = "flag_encoding_error"


class Row(NamedTuple):
    """One row: `raw` has no empty values and its keys are sorted; `id` is the (core) id as written, "" if absent."""

    file: str
    line: int
    id: str
    raw: dict[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used: `reason` is one of contract 6.3."""

    file: str
    line: int
    reason: str
    message: str
    text: str


class _Lines:
    """Text lines of a byte stream, ends kept; a line beyond the row limit comes shortened, never whole into memory."""

    def __init__(self, stream: BinaryIO, table: meta.Table, limit: int) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder(table.encoding)(errors=meta.UNDECODABLE).decode
        self._bare_cr = table.line_end == "\r"
        self._double = table.delimiter == "||"
        self._limit = limit
        self.taken = 0
        self.is_tainted = False

    def __iter__(self) -> Iterator[str]:
        pending, is_dropping, block = "", False, b" "
        while block:
            block = self._stream.read(_BLOCK)
            lines = (pending + self._clean(self._decode(block, not block))).split("\n")
            pending = lines.pop()
            if is_dropping and lines:
                lines.pop(0)  # the end of an endless line
                is_dropping = False
            for line in lines:
                self.taken += len(line)
                yield line + "\n"
            if is_dropping:
                pending = ""
            elif len(pending) > self._limit:
                self.taken += len(pending)
                yield pending[: self._limit + 1] + "\n"
                pending, is_dropping = "", True
        if pending:
            self.taken += len(pending)
            yield pending

    def _clean(self, text: str) -> str:
        if "\0" in text:
            text = text.replace("\0", "")
        if self._bare_cr:
            text = text.replace("\r", "\n")
        if not self.is_tainted and not text.isascii() and _SURROGATE.search(text):
            self.is_tainted = True
        return text.replace("||", _STAND_IN) if self._double else text


class _Cutter:
    """Cells of row after row: cut at the delimiter where nothing is quoted, by the csv reader elsewhere.

    As an iterator it is what the csv reader reads from: the line it is given, then the following ones.
    """

    def __init__(self, lines: Iterator[str], table: meta.Table, longest: int) -> None:
        self._lines = lines
        self._delimiter = _STAND_IN if table.delimiter == "||" else table.delimiter
        self._quote = table.quote
        self._longest = longest
        self._given = ""
        self.line = 0
        """Number of the line read last, from 1."""
        csv.field_size_limit(longest)
        self._reader = csv.reader(
            self,
            delimiter=self._delimiter,
            quotechar=table.quote or None,
            quoting=csv.QUOTE_MINIMAL if table.quote else csv.QUOTE_NONE,
            doublequote=True,
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._given:
            line, self._given = self._given, ""
            return line
        self.line += 1
        return next(self._lines)

    def cells(self) -> list[str]:
        """The next row's; empty for an empty line. Raises `StopIteration` at the end, `csv.Error` for a bad row."""
        line = next(self)
        body = line.rstrip("\r\n")
        is_plain = len(body) <= self._longest and "\r" not in body and not (self._quote and self._quote in body)
        if is_plain and len(line) - len(body) <= len("\r\n"):
            return body.split(self._delimiter) if body else []
        self._given = line
        return next(self._reader)


class _Plan:
    """Which cell becomes which key, keys in sorted order so that every `raw` comes out sorted."""

    def __init__(self, table: meta.Table, columns: tuple[meta.Column, ...], first: list[str]) -> None:
        taken: dict[str, int] = {}
        for column in columns:
            if column.index is not None:
                taken.setdefault(column.name, column.index)
        if table.id_index is not None:
            taken[table.id_name] = table.id_index
        self.names = sorted(taken)
        self.indices = [taken[name] for name in self.names]
        self.defaults = {column.name: column.default for column in columns if column.default}
        self.id_index = table.id_index
        described = max((index + 1 for index in self.indices), default=0)
        self.width = max(described, len(first)) if table.header_lines else described
        self.beyond = len(first)
        """Cells of a row that has more than the descriptor speaks of, where no header says how many there are."""
        self.is_straight = self.indices == list(range(self.width))
        self._pick: Callable[[list[str]], tuple[str, ...]] = itemgetter(*self.indices, 0)  # with 0 never a lone cell

    def raw(self, cells: list[str]) -> dict[str, str]:
        picked = cells if self.is_straight else self._pick(cells)
        raw = {name: value for name, value in zip(self.names, map(str.strip, picked), strict=False) if value}
        if not self.defaults:
            return raw
        return dict(sorted((self.defaults | raw).items()))


def header_name(cell: str) -> str:
    """Header cell of a file without descriptor to CURIE: URIs are shortened, bare names are Darwin Core's."""
    name = terms.curie(cell.strip().lstrip("\ufeff").strip())
    if name in {"id", "coreid", ""} or ":" in name or not name.isidentifier():
        return name
    return f"dwc:{name}"


def _header_columns(cells: list[str], limits: sources.Limits, *, is_curie: bool) -> tuple[meta.Column, ...]:
    meta.check_names(cells, limits)
    cells = [_SURROGATE.sub("\ufffd", cell) for cell in cells]
    name = (lambda cell: cell.strip()) if is_curie else header_name
    return tuple(meta.Column(index=i, name=name(cell), default="") for i, cell in enumerate(cells) if cell.strip())


class Reader:
    """The rows of one file of a table: `Row` for good ones, `Problem` for the rest."""

    def __init__(self, stream: BinaryIO, file: str, table: meta.Table, limits: sources.Limits) -> None:
        self._file = _SURROGATE.sub("\ufffd", file)
        self._table = table
        self._limits = limits
        self._lines = _Lines(stream, table, limits.row)
        self._cutter = _Cutter(iter(self._lines), table, limits.cell)

    def __iter__(self) -> Iterator[Row | Problem]:
        header = self._header()
        plan: _Plan | None = None
        if header is not None:
            plan = self._plan(header)
        while True:
            line, taken = self._cutter.line + 1, self._lines.taken
            try:
                cells = self._cutter.cells()
            except StopIteration:
                return
            except csv.Error as fault:
                yield self._malformed(line, fault)
                continue
            if not cells:
                continue
            if plan is None:
                plan = self._plan(cells)
            yield self._row(plan, cells, line, self._lines.taken - taken)

    def _header(self) -> list[str] | None:
        """The last of the header lines: what stands before it is about the file, not about its columns."""
        header = None
        for _number in range(self._table.header_lines):
            try:
                header = self._cutter.cells()
                while not header and self._table.columns is None:  # without a descriptor blank lines are just that
                    header = self._cutter.cells()
            except StopIteration:
                return header
            except csv.Error as fault:
                raise sources.Unreadable(f"The header of {self._file} cannot be read.") from fault
        return header

    def _plan(self, first: list[str]) -> _Plan:
        if len(first) > self._limits.columns:
            raise sources.Unreadable(f"A file of the archive has more than {self._limits.columns} columns.")
        columns = self._table.columns
        if columns is None:
            columns = _header_columns(first, self._limits, is_curie=self._table.has_curie_header)
            columns = tuple(column for column in columns if column.name not in {"id", "coreid"})
        return _Plan(self._table, columns, first)

    def _malformed(self, line: int, fault: csv.Error) -> Problem:
        if "limit" in str(fault):
            message = f"A cell is longer than {self._limits.cell} bytes."
            return Problem(self._file, line, "row_too_long", message, "")
        return Problem(self._file, line, "wrong_column_count", "The row cannot be cut into cells.", "")

    def _row(self, plan: _Plan, cells: list[str], line: int, taken: int) -> Row | Problem:
        if len(cells) != plan.width and not self._is_padded(plan, cells):
            message = f"The row has {len(cells)} cell{'s' * (len(cells) != 1)}, not {plan.width}."
            return Problem(self._file, line, "wrong_column_count", message, self._shown(cells))
        if taken > self._limits.cell // 4 and (message := self._too_long(cells)):
            return Problem(self._file, line, "row_too_long", message, self._shown(cells))
        if self._table.delimiter == "||":
            cells = [cell.replace(_STAND_IN, "||") for cell in cells]
        raw = plan.raw(cells)
        if self._lines.is_tainted and _SURROGATE.search("".join(raw.values())):
            raw = {name: _SURROGATE.sub("\ufffd", value) for name, value in raw.items()} | {ENCODING_FLAG: "true"}
            raw = dict(sorted(raw.items()))
        return Row(self._file, line, raw.get(self._table.id_name, ""), raw)

    def _is_padded(self, plan: _Plan, cells: list[str]) -> bool:
        """Empty cells beyond the last column are a spreadsheet's habit, not a fault; nor are undescribed columns."""
        if len(cells) > plan.width and (len(cells) == plan.beyond or not any(cells[plan.width :])):
            del cells[plan.width :]
            return True
        return False

    def _too_long(self, cells: list[str]) -> str:
        sizes = [len(cell.encode("utf-8", "surrogatepass")) for cell in cells]
        if max(sizes) > self._limits.cell:
            return f"A cell is longer than {self._limits.cell} bytes."
        return f"The row is longer than {self._limits.row} bytes." if sum(sizes) > self._limits.row else ""

    def _shown(self, cells: list[str]) -> str:
        return _SURROGATE.sub("\ufffd", self._table.delimiter.join(cells))[:8192]
