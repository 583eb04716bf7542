"""The files people are imported from: CSV and JSON-lines, gzipped or not (contract 5 and 6).

Reading is a stream of bounded lines. What makes the whole file unusable raises `Aborted`; what makes one row unusable
is a `Reject` in its place.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

COLUMNS = (
    "username",
    "firstname",
    "lastname",
    "email",
    "emails",
    "institution",
    "position",
    "is_validated",
    "is_active",
    "id",
    "password_hash",
)
LONGEST = {"firstname": 256, "lastname": 256, "institution": 256, "position": 256, "email": 254, "password_hash": 128}
USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}", re.ASCII)
ADDRESS = re.compile(r"[^@\s\"(),:;<>\[\\\]]+@[^@\s.\"(),:;<>\[\\\]]+(\.[^@\s.\"(),:;<>\[\\\]]+)*")
MAX_ID = 2**63 - 1
_LONGEST_LINE = 1_048_576
_LONGEST_PLAIN = 1_000
# Halves of surrogate pairs, which JSON can spell, are no text that could be stored.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TRUE = frozenset({"1", "true", "t", "yes", "y"})
_FALSE = frozenset({"0", "false", "f", "no", "n"})


class Aborted(Exception):
    """The file cannot be used; the message says why and where."""


@dataclass(frozen=True)
class Reject:
    """One row that cannot be stored, and why."""

    line: int
    username: str
    field: str
    message: str


@dataclass(frozen=True)
class Person:
    """One good row. `given` holds the columns that were there with a value, or None where an empty cell clears."""

    line: int
    username: str
    given: dict[str, Any] = field(default_factory=dict)
    emails: tuple[str, ...] = ()


def read(path: Path, *, max_bytes: int) -> Iterator[Person | Reject]:
    """Yield the rows of a file in order; its name tells CSV from JSON-lines. Raises `Aborted`."""
    try:
        with path.open("rb") as raw:
            is_gzip = raw.peek(2)[:2] == b"\x1f\x8b"
            source: io.BufferedIOBase = gzip.GzipFile(fileobj=raw) if is_gzip else raw
            lines = _lines(source, max_bytes=max_bytes)
            is_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
            yield from _csv_rows(lines) if is_csv else _json_rows(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise Aborted(f"{path}: {error}") from error


class Report:
    """Rejects as CSV `line,username,field,message`, written as they come."""

    def __init__(self, sink: IO[str]) -> None:
        self._writer = csv.writer(sink)
        self._writer.writerow(["line", "username", "field", "message"])

    def add(self, reject: Reject) -> None:
        self._writer.writerow([reject.line, reject.username, reject.field, reject.message])


def _lines(source: io.BufferedIOBase, *, max_bytes: int) -> Iterator[str]:
    offset = 0
    while line := source.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise Aborted(f"a line longer than {_LONGEST_LINE} bytes at byte {offset}")
        if offset + len(line) > max_bytes:
            raise Aborted(f"more than {max_bytes} bytes decompressed")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Aborted(f"not UTF-8 at byte {offset + error.start}") from None
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += len(line)


def _csv_rows(lines: Iterator[str]) -> Iterator[Person | Reject]:
    csv.field_size_limit(_LONGEST_LINE)  # the row is refused for it, not the file
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        line = reader.line_num + 1
        for row in reader:
            if row:
                yield _csv_row(header, row, line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise Aborted(f"line {reader.line_num}: {error}") from None


def _check_header(header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise Aborted(f"unknown column “{unknown[0]}”; known are {', '.join(COLUMNS)}")
    if "username" not in header:
        raise Aborted("no column “username” in the header")
    if len(set(header)) < len(header):
        raise Aborted("a column is repeated in the header")


def _csv_row(header: list[str], row: list[str], line: int) -> Person | Reject:
    values: dict[str, Any] = dict(zip(header, row, strict=False))
    if len(row) != len(header):
        message = f"{len(row)} columns instead of {len(header)}"
        return Reject(line, values.get("username", "")[:64], "", message)
    if "emails" in values:
        values["emails"] = [item.strip() for item in values["emails"].split(";") if item.strip()]
    return _row(line, values)


def _json_rows(lines: Iterator[str]) -> Iterator[Person | Reject]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Reject(number, "", "", f"bad JSON: {error}"[:200])
            continue
        if not isinstance(values, dict):
            yield Reject(number, "", "", "not a JSON object")
            continue
        yield _json_row(number, values)


def _json_row(line: int, values: dict[str, Any]) -> Person | Reject:
    username = str(values.get("username", ""))[:64]
    for name, value in values.items():
        if name not in COLUMNS:
            return Reject(line, username, name[:60], "unknown field")
        if name == "emails":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                return Reject(line, username, name, "not a list of strings")
        elif isinstance(value, (list, dict, float)):
            return Reject(line, username, name, "not a string")
    plain = {name: _plain(value) for name, value in values.items()}
    return _row(line, plain)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(line: int, values: dict[str, Any]) -> Person | Reject:
    username = values.get("username", "").strip().lower()
    shown = username[:64]
    if not username:
        return Reject(line, "", "username", "missing")
    if not USERNAME.fullmatch(username):
        return Reject(line, shown, "username", "malformed")
    given: dict[str, Any] = {}
    for name, raw in values.items():
        if name in ("username", "emails"):
            continue
        try:
            _take(given, name, raw.strip())
        except ValueError as error:
            return Reject(line, shown, name, str(error))
    emails = [given["email"]] if given.get("email") else []
    for address in values.get("emails", []):
        problem = _address_problem(address.strip())
        if problem:
            return Reject(line, shown, "emails", problem)
        emails.append(address.strip())
    unique = {address.lower(): address for address in reversed(emails)}
    return Person(line, username, given, tuple(reversed(unique.values())))


def _take(given: dict[str, Any], name: str, value: str) -> None:
    if not value:
        # An empty cell clears what may be empty and leaves everything else alone.
        if name in ("institution", "position"):
            given[name] = None
        return
    if _CONTROL.search(value):
        raise ValueError("control character")
    longest = LONGEST.get(name, _LONGEST_PLAIN)
    if len(value) > longest:
        raise ValueError(f"longer than {longest} characters")
    given[name] = _typed(name, value)


def _typed(name: str, value: str) -> Any:
    if name in ("is_validated", "is_active"):
        if value.lower() not in _TRUE | _FALSE:
            raise ValueError("neither true nor false")
        return value.lower() in _TRUE
    if name == "id":
        if not (value.isascii() and value.isdigit()) or len(value) > 19 or not 0 < int(value) <= MAX_ID:
            raise ValueError("not a positive whole number")
        return int(value)
    if name == "email":
        problem = _address_problem(value)
        if problem:
            raise ValueError(problem)
    return value


def _address_problem(address: str) -> str:
    if _CONTROL.search(address):
        return "control character"
    if len(address) > LONGEST["email"]:
        return f"longer than {LONGEST['email']} characters"
    return "" if ADDRESS.fullmatch(address) else "not an e-mail address"


def text_sink(path: Path) -> io.TextIOWrapper:
    """A UTF-8 file for a report, lines ended as the CSV writer ends them; what is no text is escaped."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
