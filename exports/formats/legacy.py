"""Rows of export archives of every age, brought into today's shape and under another root where asked.

2015 files write camelCase keys, ``created_at``, naive times, ``MappingVersion``; later ones have 31, 33 or 34 keys per
concept and 40 to 46 per mapping. What is missing gets defaults.
"""

import datetime as dt
import re
from typing import Any

from exports.formats import addresses, stamps

Json = dict[str, Any]
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_RENAMED = {"created_at": "created_on", "updated_at": "updated_on"}
_URLS = ("url", "source_url", "owner_url", "version_url", "previous_version_url", "from_concept_url", "to_concept_url",
         "from_source_url", "to_source_url", "versioned_object_url")  # fmt: skip
#: by how much another server's clock may be ahead of ours
_SKEW = dt.timedelta(days=1)
_URL_LISTS = ("parent_concept_urls", "child_concept_urls")


def modern(given: Json) -> Json:
    """The same with snake_case keys and today's names for the times."""
    found = {_CAMEL.sub(r"_\1", key).lower(): value for key, value in given.items()}
    for old, new in _RENAMED.items():
        if old in found and new not in found:
            found[new] = found.pop(old)
    return found


def rerooted(given: Json, *, old: str, new: str) -> Json:
    """The same with the repository's URLs under another owner."""
    if old == new:
        return given
    moved = dict(given)
    for key in _URLS:
        if isinstance(moved.get(key), str):
            moved[key] = _under(moved[key], old, new)
    for key in _URL_LISTS:
        if isinstance(moved.get(key), list):
            moved[key] = [_under(url, old, new) if isinstance(url, str) else url for url in moved[key]]
    return moved


def _under(url: str, old: str, new: str) -> str:
    return new + url[len(old) :] if url.startswith(old) else url


def moment(given: Any) -> dt.datetime | None:
    """A time of a file; naive ones are UTC, unreadable ones are left out. So are those still to come: later changes of
    the repository, and of every collection that shows it, would have to be later still."""
    found = stamps.parse(given) if isinstance(given, str) else None
    return None if found is None or found > dt.datetime.now(dt.UTC) + _SKEW else found


def _words(given: Json, key: str) -> str:
    value = given.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def identity(given: Json) -> Json:
    """What an imported row keeps of itself: uuid, version, times, authors, checksums."""
    sums = given.get("checksums") if isinstance(given.get("checksums"), dict) else {}
    updated = moment(given.get("updated_on")) or moment(given.get("version_updated_on"))
    return {
        "uuid": _words(given, "uuid")[:36],
        "version": _words(given, "version")[:100],
        "created_at": moment(given.get("created_on")),
        "created_by": _words(given, "created_by")[:150],
        "updated_at": updated or moment(given.get("version_created_on")),
        "updated_by": (_words(given, "version_updated_by") or _words(given, "updated_by"))[:150],
        "author": (_words(given, "version_created_by") or _words(given, "updated_by"))[:150],
        "checksums": {key: str(value)[:64] for key, value in (sums or {}).items() if key in ("standard", "smart")},
    }


def concept_kept(given: Json) -> Json:
    """Values of a concept's document that cannot be worked out from its content here."""
    kept = _times_kept(given)
    for key in ("display_name", "display_locale"):
        if isinstance(given.get(key), str):
            kept[key] = given[key]
    if isinstance(given.get("child_concept_urls"), list) and given["child_concept_urls"]:
        kept["child_concept_urls"] = given["child_concept_urls"]
    if isinstance(given.get("previous_version_url"), str):
        kept["previous_version_url"] = given["previous_version_url"]
    return kept


def mapping_kept(given: Json) -> Json:
    """Values of a mapping's document that cannot be worked out while its ends are not stored here."""
    kept = _times_kept(given)
    for key in ("to_concept_url", "to_source_owner", "to_source_owner_type", "to_source_url", "to_source_name",
                "to_concept_name_resolved", "from_concept_name_resolved"):  # fmt: skip
        if key in given:
            kept[key] = given[key]
    if isinstance(given.get("versioned_object_id"), int):
        kept["versioned_object_id"] = given["versioned_object_id"]
    if isinstance(given.get("public_can_view"), bool):
        kept["public_can_view"] = given["public_can_view"]
    return kept


def _times_kept(given: Json) -> Json:
    kept: Json = {}
    for key in ("version_created_on", "version_updated_on"):
        told = moment(given.get(key))
        if told is not None and given.get(key) != given.get("updated_on"):
            kept[key] = stamps.iso(told)
    if given.get("is_latest_version") is False:
        kept["is_latest_version"] = False
    return kept


def kind_of(header: Json) -> str:
    """``source`` or ``collection``, whichever a document's header is about."""
    return "collection" if str(header.get("type", "")).startswith("Collection") else "source"


def place_of(header: Json) -> addresses.Place | None:
    """The repository a document's header speaks of."""
    for key in ("url", "version_url", "concepts_url"):
        value = header.get(key)
        found = addresses.place(value) if isinstance(value, str) else None
        if found:
            return found
    return None
