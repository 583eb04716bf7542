"""The report of an import: RFC 4180 CSV that a spreadsheet cannot be tricked by."""

import csv
import io
from collections.abc import Iterable

COLUMNS = ("path", "uuid", "isbn", "title", "outcome", "reason", "detail")


def row(values: Iterable[object]) -> str:
    """One CSV line; a cell that a spreadsheet would take for a formula gets an apostrophe."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow([guard(str(value)) for value in values])
    return out.getvalue()


def guard(cell: str) -> str:
    """A cell that starts no formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def filename(label: str, isbn: str, *, format_code: str, extension: str, part: int) -> str:
    """Download name `Title_words_9780142437247.epub`: letters and digits of the title (accents kept), ISBN, part."""
    words = "".join(mark if mark.isalnum() else " " for mark in label).split()
    stem = "_".join(words)[:100].strip("_") or "title"
    pieces = [stem, isbn, format_code if extension == "zip" else "", str(part) if part > 1 else ""]
    return "_".join(piece for piece in pieces if piece) + f".{extension}"
