"""Items by id or field, and pages of them. Rows come as stored documents, never as model instances."""

import dataclasses
import datetime
import uuid as uuids
from collections.abc import Sequence
from typing import Any

from nnels import models
from nnels.formats import isbn, text
from nnels.selectors import conditions, listing, reads, recent

LOAD_FIELDS = ("id", "uuid", "isbn", "label")
ANCHOR_EVERY = 50
_FORMAT_ORDER = {code: place for place, code in enumerate(models.Format.values)}
_anchors: recent.Recent[int, tuple[list[int], int]] = recent.Recent(4)
_counts: recent.Recent[tuple[int, str, str], int] = recent.Recent(1000)
_COLUMNS = "i.id, i.doc, i.rights, i.published, i.revision, i.changed"


@dataclasses.dataclass(frozen=True, slots=True)
class FileRow:
    """A file of an item, as links need it."""

    id: int
    format: str
    media_type: str
    name: str
    bytes: int
    sha256: str
    blob_key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Title:
    """An item's stored document and what decides who may have its files."""

    id: int
    doc: str
    rights: str
    is_published: bool
    revision: int
    changed: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """A title that left the published set."""

    id: int
    uuid: uuids.UUID
    changed: datetime.datetime


def by_ids(ids: Sequence[int]) -> dict[int, Title]:
    """Items by nid, published or not; unknown ids are absent."""
    found = reads.rows(f"SELECT {_COLUMNS} FROM nnels_item i WHERE i.id = ANY(%s::bigint[])", [list(ids)])
    return {row[0]: Title(*row) for row in found}


def by_field(field: str, value: str) -> Title | None:
    """The item with the lowest nid, published or not, whose `id`, `uuid`, `isbn` or `label` is this.

    None also for malformed values.
    """
    where, bound = _field_condition(field, value)
    if bound is None:
        return None
    found = reads.rows(f"SELECT {_COLUMNS} FROM nnels_item i WHERE {where} ORDER BY i.id LIMIT 1", [bound])
    return Title(*found[0]) if found else None


def _field_condition(field: str, value: str) -> tuple[str, Any]:
    if field == "id":
        is_number = value.isascii() and value.isdigit() and len(value) < 19
        return "i.id = %s", int(value) if is_number else None
    if field == "uuid":
        return "i.uuid = %s", _uuid(value.lower().removeprefix("uuid="))
    if field == "isbn":
        number = isbn.to_13(value)
        return "i.isbn @> %s", [number] if number else None
    return "i.label_sort = %s", text.plain(value) or None


def _uuid(value: str) -> uuids.UUID | None:
    try:
        return uuids.UUID(value) if len(value) == 36 else None
    except ValueError:
        return None


def files(item_ids: Sequence[int]) -> dict[int, list[FileRow]]:
    """Available files of items, in the order of their links."""
    if not item_ids:
        return {}
    found = reads.rows(
        "SELECT item_id, id, format, media_type, name, bytes, sha256, blob_key, part FROM nnels_file "
        "WHERE item_id = ANY(%s::bigint[]) AND NOT missing",
        [list(item_ids)],
    )
    found.sort(key=lambda row: (row[0], _FORMAT_ORDER[row[2]], row[8]))
    grouped: dict[int, list[FileRow]] = {}
    for row in found:
        grouped.setdefault(row[0], []).append(FileRow(*row[1:8]))
    return grouped


def item_of(file_id: int) -> int | None:
    """The nid of the item a file belongs to."""
    found = reads.rows("SELECT item_id FROM nnels_file WHERE id = %s", [file_id])
    return int(found[0][0]) if found else None


# --- pages --------------------------------------------------------------------------------------------------------


def version() -> int:
    """The catalogue's version: it changes with the published set."""
    found = reads.rows("SELECT version FROM nnels_catalogue WHERE id = 1")
    return int(found[0][0]) if found else 0


def page(asked: listing.Listing) -> tuple[list[Title], int]:
    """One page of published items, and how many there are under the same conditions."""
    now = version()
    if not asked.conditions and asked.sort in ((), (("id", False),)):
        return _by_anchor(asked, now)
    where, values = conditions.where(asked.conditions, conditions.ITEM_FIELDS)
    count = _counts.get((now, where, repr(values)))
    if count is None:
        count = reads.rows(f"SELECT count(*) FROM nnels_item i WHERE i.published{where}", values)[0][0]
        _counts.put((now, where, repr(values)), count)
    if asked.offset >= count:
        return [], count
    order = conditions.order(asked.sort, conditions.ITEM_SORTS, last="i.id")
    # The page's ids first: the wide rows of earlier pages are never read.
    found = reads.rows(
        f"SELECT {_COLUMNS} FROM nnels_item i JOIN (SELECT row_number() OVER () AS place, id FROM "
        f"(SELECT i.id FROM nnels_item i WHERE i.published{where} ORDER BY {order} LIMIT %s OFFSET %s) AS ids) AS page "
        "ON page.id = i.id ORDER BY page.place",
        [*values, asked.range, asked.offset],
    )
    return [Title(*row) for row in found], count


def _by_anchor(asked: listing.Listing, now: int) -> tuple[list[Title], int]:
    """Unfiltered in id order: jump to the anchor before the page, then read forward."""
    cached = _anchors.get(now)
    if cached is None:
        cached = _read_anchors()
        _anchors.put(now, cached)
    anchors, count = cached
    if asked.offset >= count:
        return [], count
    anchor, rest = divmod(asked.offset, ANCHOR_EVERY)
    found = reads.rows(
        f"SELECT {_COLUMNS} FROM nnels_item i WHERE i.published AND i.id >= %s ORDER BY i.id LIMIT %s OFFSET %s",
        [anchors[anchor], asked.range, rest],
    )
    return [Title(*row) for row in found], count


def _read_anchors() -> tuple[list[int], int]:
    """Every 50th published nid, and their number."""
    found = reads.rows(
        "SELECT id, total FROM (SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS total "
        f"FROM nnels_item WHERE published) AS numbered WHERE place %% {ANCHOR_EVERY} = 1 ORDER BY id"
    )
    return [row[0] for row in found], found[0][1] if found else 0


def harvest(asked: listing.Listing) -> tuple[list[Title | Gone], int]:
    """One page of published items and tombstones together, and how many there are of both."""
    here, there = (
        conditions.where(asked.conditions, known) for known in (conditions.ITEM_FIELDS, conditions.TOMBSTONE_FIELDS)
    )
    both = (
        f"SELECT i.id, i.changed, i.uuid, false AS gone FROM nnels_item i WHERE i.published{here[0]} UNION ALL "
        f"SELECT t.item_id, t.changed, t.uuid, true FROM nnels_tombstone t WHERE true{there[0]}"
    )
    values = [*here[1], *there[1]]
    key = (version(), both, repr(values))
    count = _counts.get(key)
    if count is None:
        count = reads.rows(f"SELECT count(*) FROM ({both}) AS found", values)[0][0]
        _counts.put(key, count)
    if asked.offset >= count:
        return [], count
    order = conditions.order(asked.sort, conditions.HARVEST_SORTS, last="id")
    found = reads.rows(
        f"SELECT page.gone, page.uuid, page.id, i.doc, i.rights, i.published, i.revision, page.changed FROM "
        f"(SELECT row_number() OVER () AS place, ids.* FROM (SELECT * FROM ({both}) AS found ORDER BY {order} "
        "LIMIT %s OFFSET %s) AS ids) AS page LEFT JOIN nnels_item i ON i.id = page.id AND NOT page.gone "
        "ORDER BY page.place",
        [*values, asked.range, asked.offset],
    )
    return [Gone(row[2], row[1], row[7]) if row[0] else Title(*row[2:]) for row in found], count
