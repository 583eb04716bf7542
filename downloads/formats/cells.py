"""How one value, one cell and one line of the data files are written (contract §5.1, Cells and Dialect).

Lines are text ending in CRLF. A *finished line* lacks the id column: it begins with the delimiter, so that a build only
has to put the id before it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from downloads.formats import terms

COMMA: Final = ","
TAB: Final = "\t"
CRLF: Final = "\r\n"

_RISKY: Final = re.compile(r"[=+\-@\t\r]")
_NUMERIC: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_POSITION: Final = {
    kind: {term.name: (place, term.kind) for place, term in enumerate(table)}
    for kind, table in (("records", terms.RECORD_TERMS), ("media", terms.MEDIA_TERMS))
}
_WIDTH: Final = {"records": len(terms.RECORD_TERMS), "media": len(terms.MEDIA_TERMS)}


def value(kind: terms.Kind, content: Any) -> str:
    """An index term's value as text, unquoted; `content` has the type `formats.normalise` gives it, or is None."""
    if content is None:
        return ""
    if kind == "point":
        return json.dumps({"lat": content[0], "lon": content[1]})
    if kind == "list":
        return json.dumps(content) if content else ""
    if kind in ("float", "int", "bool"):
        return json.dumps(content)  # as Python writes JSON: 89, 0.2028985507246377, 1.0, true
    return str(content)


def raw_value(content: Any) -> str:
    """A provider value as text, unquoted: text as it is; attached rows as JSON, keys in the order of jsonb."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return json.dumps(_like_jsonb(content)) if content != [] else ""


def _like_jsonb(content: Any) -> Any:
    """Keys by length, then bytes: what the store gives back, so that a line is the same whenever it is rendered."""
    if isinstance(content, Mapping):
        keys = sorted(content, key=lambda key: (len(key.encode()), key.encode()))
        return {key: _like_jsonb(content[key]) for key in keys}
    if isinstance(content, list):
        return [_like_jsonb(item) for item in content]
    return content


def cell(text: str, delimiter: str = COMMA) -> str:
    """Text as a cell: CR and CRLF become LF; quoted only if it holds the delimiter, a quote, CR or LF."""
    if delimiter not in text and '"' not in text and "\n" not in text and "\r" not in text:
        return text
    return '"' + text.replace("\r\n", "\n").replace("\r", "\n").replace('"', '""') + '"'


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before a risky beginning, numbers excepted."""
    return f"'{text}" if _RISKY.match(text) and not _NUMERIC.fullmatch(text) else text


def line(texts: Iterable[str], delimiter: str = COMMA) -> str:
    """Texts as a whole line."""
    return delimiter.join(cell(text, delimiter) for text in texts) + CRLF


def index_line(kind: str, index: Mapping[str, Any]) -> str:
    """The finished line of a row's index terms; `kind` is "records" or "media"."""
    positions = _POSITION[kind]
    cells = [""] * _WIDTH[kind]
    for name, content in index.items():
        place, value_kind = positions[name]
        cells[place] = cell(content if type(content) is str else value(value_kind, content))
    return f",{','.join(cells)}\r\n"


def raw_line(raw: Mapping[str, Any], columns: Mapping[str, int]) -> str:
    """The finished line of a row's provider terms; `columns` gives each column's place, counted from 0."""
    cells = [""] * len(columns)
    for name, content in raw.items():
        place = columns.get(name)
        if place is not None:
            cells[place] = cell(content if type(content) is str else raw_value(content))
    return f",{','.join(cells)}\r\n" if cells else CRLF


def raw_columns(names: Iterable[str]) -> list[str]:
    """The columns of a raw file: ASCII-sorted, without ids and without names holding a space or quote."""
    # iDigBio: id and coreid stand in front already; a name with a space or quote breaks its meta.xml
    return sorted(name for name in set(names) if name not in ("id", "coreid") and not re.search(r"[\s\"']", name))


def places(columns: Sequence[str]) -> dict[str, int]:
    """Column → place, as `raw_line` wants it."""
    return {name: place for place, name in enumerate(columns)}
