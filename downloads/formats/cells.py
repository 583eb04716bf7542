"""How one value, one cell and one line of the data files are written (contract §5.1, Cells and Dialect).

Lines are text ending in CRLF. A *finished line* lacks the id column: it begins with the delimiter, so that a build only
has to put the id before it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from downloads.formats import terms

COMMA: Final = ","
TAB: Final = "\t"
CRLF: Final = "\r\n"

_RISKY: Final = re.compile(r"[=+\-@\t\r]")
_NUMERIC: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def _list(items: Sequence[str]) -> str:
    return f"[{', '.join(map(json.encoder.encode_basestring_ascii, items))}]" if items else ""


def _point(place: Sequence[float]) -> str:
    return f'{{"lat": {place[0]!r}, "lon": {place[1]!r}}}'


WRITERS: Final[Mapping[terms.Kind, Callable[[Any], str]]] = {
    "text": str,
    "word": str,
    "date": str,
    "list": _list,
    "point": _point,
    "float": repr,  # 89.0, 0.2028985507246377: as Python writes JSON
    "int": repr,
    "bool": lambda content: "true" if content else "false",
}
"""Kind of an index term → its value, of the type `formats.normalise` gives it, as text, unquoted."""

_POSITION: Final = {
    kind: {term.name: (place, WRITERS[term.kind]) for place, term in enumerate(table)}
    for kind, table in (("records", terms.RECORD_TERMS), ("media", terms.MEDIA_TERMS))
}
_WIDTH: Final = {"records": len(terms.RECORD_TERMS), "media": len(terms.MEDIA_TERMS)}


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
        place, write = positions[name]
        text = content if type(content) is str else write(content)
        if "," in text or '"' in text or "\n" in text or "\r" in text:
            text = cell(text)
        cells[place] = text
    return f",{','.join(cells)}\r\n"


def raw_line(raw: Mapping[str, Any], columns: Mapping[str, int]) -> str:
    """The finished line of a row's provider terms; `columns` gives each column's place, counted from 0."""
    cells = [""] * len(columns)
    for name, content in raw.items():
        place = columns.get(name)
        if place is None:
            continue
        text = content if type(content) is str else raw_value(content)
        if "," in text or '"' in text or "\n" in text or "\r" in text:
            text = cell(text)
        cells[place] = text
    return f",{','.join(cells)}\r\n" if cells else CRLF


def raw_columns(names: Iterable[str]) -> list[str]:
    """The columns of a raw file: ASCII-sorted, without ids and without names holding a space or quote."""
    # iDigBio: id and coreid stand in front already; a name with a space or quote breaks its meta.xml
    return sorted(name for name in set(names) if name not in ("id", "coreid") and not re.search(r"[\s\"']", name))


def places(columns: Sequence[str]) -> dict[str, int]:
    """Column → place, as `raw_line` wants it."""
    return {name: place for place, name in enumerate(columns)}
