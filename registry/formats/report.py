"""The full report of a run as CSV and JSON, in blocks (contract 5)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import orjson

COLUMNS: Final = ("stage", "severity", "code", "url", "identifier", "line", "column", "message")
BLOCK_ROWS: Final = 1000


def guarded(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t")) else text


def csv_blocks(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """RFC 4180 in UTF-8, header first; memory holds one block."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        writer.writerow([guarded(value) for value in row])
        if number % BLOCK_ROWS == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def json_blocks(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """`{"status":"success","data":[…]}` with one object per row; memory holds one block."""
    yield b'{"status":"success","data":['
    block: list[bytes] = []
    first = True
    for row in rows:
        block.append((b"" if first else b",") + orjson.dumps(dict(zip(columns, row, strict=True))))
        first = False
        if len(block) >= BLOCK_ROWS:
            yield b"".join(block)
            block = []
    yield b"".join(block) + b"]}"
