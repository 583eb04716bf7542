"""A version's content as CSV: RFC 4180, UTF-8, and nothing a spreadsheet takes for a formula (contract §10.4)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from exports.formats import text

Json = dict[str, Any]
_NAME = ("uuid", "name", "locale", "locale_preferred", "name_type", "external_id", "retired", "retire_reason")
_DESCRIPTION = ("uuid", "description", "locale", "locale_preferred", "description_type", "external_id", "retired",
                "retire_reason")  # fmt: skip
_CONCEPT = ("id", "url", "version_url", "concept_class", "datatype", "display_name", "display_locale", "external_id",
            "retired", "retire_reason", "source", "source_url", "owner", "owner_type", "version", "update_comment",
            "created_on", "updated_on", "updated_by", "parent_concept_urls", "extras")  # fmt: skip
_MAPPING = ("id", "url", "version_url", "map_type", "from_concept_url", "from_concept_code", "from_concept_name",
            "from_source_url", "to_concept_url", "to_concept_code", "to_concept_name", "to_source_url", "sort_weight",
            "external_id", "retired", "retire_reason", "source", "owner", "owner_type", "version", "update_comment",
            "created_on", "updated_on", "updated_by", "extras")  # fmt: skip
#: the members, in their order: kind of row, columns, and the key of a concept's own rows
TABLES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "concepts.csv": ("concepts", _CONCEPT, ""),
    "names.csv": ("concepts", _NAME, "names"),
    "descriptions.csv": ("concepts", _DESCRIPTION, "descriptions"),
    "mappings.csv": ("mappings", _MAPPING, ""),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def titles(name: str) -> str:
    """The first line of a member."""
    _, columns, inner = TABLES[name]
    return _lines([("concept_url", "concept_id", *columns) if inner else columns])


def lines(name: str, row: Json) -> str:
    """What a concept or mapping adds to a member: one line, or one for each of its names or descriptions."""
    _, columns, inner = TABLES[name]
    if not inner:
        return _lines([[cell(row.get(column)) for column in columns]])
    mine = [cell(row["url"]), cell(row["id"])]
    return _lines([[*mine, *(cell(one.get(column)) for column in columns)] for one in row[inner]])


def cell(value: Any) -> str:
    """One value: nothing for null, ``true`` and ``false``, JSON for objects, ``|`` between the items of a list; with an
    apostrophe in front where a spreadsheet would begin to calculate."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return text.dumps(value) if value else ""
    words = "|".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{words}" if words.startswith(_FORMULA) else words


def _lines(rows: Iterable[Iterable[str]]) -> str:
    held = io.StringIO()
    csv.writer(held, lineterminator="\r\n").writerows(rows)
    return held.getvalue()
