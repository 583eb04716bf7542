"""A concept's document with the names and descriptions of some locales only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exports.formats import documents

Json = dict[str, Any]


def concept(row: Json, locales: Sequence[str]) -> Json:
    """The document without names and descriptions in other locales, shown by its name in the first locale it has one
    in. A concept that has none in any keeps the one name it is shown by, so that it stays one that can be imported.
    Checksums stay those of the whole concept."""
    names = [name for name in row["names"] if name["locale"] in locales]
    shown = next((name for locale in locales if (name := _display(names, locale))), None)
    kept = names or [name for name in row["names"] if _is_shown(row, name)][:1] or row["names"][:1]
    told = {"display_name": shown["name"], "display_locale": shown["locale"]} if shown else {}
    descriptions = [one for one in row["descriptions"] if one["locale"] in locales]
    return {**row, **told, "names": kept, "descriptions": descriptions}


def _display(names: Sequence[Json], locale: str) -> Json | None:
    return documents.display([name for name in names if name["locale"] == locale], locale)


def _is_shown(row: Json, name: Json) -> bool:
    return bool(name["name"] == row["display_name"] and name["locale"] == row["display_locale"])
