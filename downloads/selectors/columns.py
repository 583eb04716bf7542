"""Cells in SQL, byte for byte as `formats.cells` writes them (contract §5.1).

Every function gives a SQL expression of type text that is never null. `alias` is the row of the store.
"""

from typing import Final

from downloads.formats import cells, terms

_RISKY: Final = r"^[-=+@\t\r]"
_NUMERIC: Final = r"^[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


def quoted(expression: str, delimiter: str) -> str:
    """A text expression (which must be cheap: it is written twice) as a cell."""
    sign = "\\t" if delimiter == cells.TAB else delimiter
    inner = f"replace(replace(replace({expression}, E'\\r\\n', E'\\n'), E'\\r', E'\\n'), '\"', '\"\"')"
    return (
        f"CASE WHEN {expression} ~ E'[{sign}\"\\r\\n]' THEN '\"' || {inner} || '\"' ELSE coalesce({expression}, '') END"
    )


def harmless(expression: str) -> str:
    """A text expression no spreadsheet takes for a formula."""
    return (
        f"CASE WHEN {expression} ~ E'{_RISKY}' AND {expression} !~ E'{_NUMERIC.replace(chr(92), chr(92) * 2)}'"
        f" THEN '''' || {expression} ELSE {expression} END"
    )


def number(column: str) -> str:
    """A float as Python prints it."""
    return (
        f"CASE WHEN {column} = trunc({column}) AND abs({column}) < 1e16"
        f" THEN trunc({column})::bigint::text || '.0' ELSE {column}::text END"
    )


def escaped_json(expression: str) -> str:
    """JSON text with everything beyond ASCII as \\uXXXX, as Python writes it."""
    code = "ascii(c)"
    unit = "'\\u' || lpad(to_hex({0}), 4, '0')"
    pair = unit.format(f"55296 + (({code} - 65536) >> 10)") + " || " + unit.format(f"56320 + (({code} - 65536) & 1023)")
    each = f"CASE WHEN {code} < 128 THEN c WHEN {code} < 65536 THEN {unit.format(code)} ELSE {pair} END"
    letters = f"string_to_table({expression}, NULL) WITH ORDINALITY AS s(c, place)"
    spelt = f"(SELECT string_agg({each}, '' ORDER BY place) FROM {letters})"
    return f"CASE WHEN octet_length({expression}) = char_length({expression}) THEN {expression} ELSE {spelt} END"


def term(each: terms.Term, alias: str, *, delimiter: str = cells.COMMA, is_safe: bool = False) -> str:
    """The cell of an index term."""
    column = f"{alias}.{each.shown}"
    if each.column in ("uuid", "recordset_id"):
        return f"{column}::text"
    if each.kind == "point":
        lat, lon = number(f"{alias}.lat"), number(f"{alias}.lon")
        mark, double = ('"', '""')
        names = [f"{{{double}lat{double}: ", f", {double}lon{double}: "]
        return f"coalesce('{mark}{names[0]}' || {lat} || '{names[1]}' || {lon} || '}}{mark}', '')"
    if each.kind == "list":
        listed = escaped_json(f"to_jsonb({column})::text")
        return f"CASE WHEN cardinality({column}) > 0 THEN '\"' || replace({listed}, '\"', '\"\"') || '\"' ELSE '' END"
    if each.kind == "float":
        return f"coalesce({number(column)}, '')"
    if each.kind in ("int", "bool", "date"):
        return f"coalesce({column}::text, '')"
    return quoted(harmless(column) if is_safe else column, delimiter)


def jsonb_text(value: str) -> str:
    """A provider value (jsonb) as text, unquoted; null if there is none or it is an empty list."""
    plain = escaped_json(f"({value})::text")
    return (
        f"CASE jsonb_typeof({value}) WHEN 'string' THEN {value} #>> '{{}}' WHEN 'null' THEN NULL"
        f" ELSE nullif({plain}, '[]') END"
    )
