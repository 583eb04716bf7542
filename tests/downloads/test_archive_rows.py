"""Rows of an archive's files: cut as the csv module cuts them, whether the short way or by it (contract §6.2)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloads.formats.archive_in import meta, rows, sources

LIMIT = 12


def cut(text: str, table: meta.Table) -> list[list[str]]:
    """What `rows` makes of a file, without the columns that are empty; a faulty row is its reason."""
    limits = sources.Limits(cell=LIMIT)
    reader = rows.Reader(io.BytesIO(text.encode()), "f.csv", table, limits)
    return [
        [row.reason] if isinstance(row, rows.Problem) else [row.raw.get(f"c{n}", "") for n in range(3)]
        for row in reader
    ]


def expected(text: str, table: meta.Table) -> Iterator[list[str]]:
    """The same by the csv module alone; lines end at LF, as in the file."""
    csv.field_size_limit(LIMIT)
    lines = io.StringIO(text, newline="\n")
    if table.quote:
        reader = csv.reader(lines, delimiter=table.delimiter, quotechar=table.quote)
    else:
        reader = csv.reader(lines, delimiter=table.delimiter, quoting=csv.QUOTE_NONE)
    widest = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            yield ["row_too_long" if "limit" in str(fault) else "wrong_column_count"]
            continue
        widest = widest or len(cells)
        if len(cells) > 3 and (len(cells) == widest or not any(cells[3:])):
            cells = cells[:3]  # empty cells, or as many as the first row has: columns nobody speaks of
        if cells:
            yield [cell.strip() for cell in cells] if len(cells) == 3 else ["wrong_column_count"]


@pytest.mark.parametrize("quote", ['"', ""])
@given(text=st.text(st.sampled_from('ab",\n\r é'), max_size=80))
def test_cells_are_those_of_the_csv_module(quote: str, text: str) -> None:
    columns = tuple(meta.Column(index=n, name=f"c{n}", default="") for n in range(3))
    table = meta.Table(
        role="records", row_type="", files=("f.csv",), quote=quote, header_lines=0, id_index=None, columns=columns
    )
    assert cut(text, table) == list(expected(text, table))


def test_lines_are_counted_within_quoted_cells_too() -> None:
    """D42: a row set aside is named by the line it begins in."""
    columns = tuple(meta.Column(index=n, name=f"c{n}", default="") for n in range(2))
    table = meta.Table(role="records", row_type="", files=("f.csv",), header_lines=1, id_index=None, columns=columns)
    text = 'c0,c1\na,b\n"c\n\nd",e\n\nf,g\r\nh\n"i",j\n'
    found = list(rows.Reader(io.BytesIO(text.encode()), "f.csv", table, sources.Limits()))
    assert [row.line for row in found] == [2, 3, 7, 8, 9]
    assert [row.line for row in found if isinstance(row, rows.Problem)] == [8]
