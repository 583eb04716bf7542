"""The one place that writes items, files and what is derived from them (contract section 3).

Import, admin and seed call these functions inside a transaction; derived columns, the catalogue version, retired
blobs and tombstones follow in that same transaction.
"""

import datetime
import itertools
import uuid as uuids
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from nnels import models
from nnels.formats import dates, isbn, metadata, report, text

BATCH = 500
# Order of an item's files and links (contract 2.8).
FORMAT_ORDER = {code: place for place, code in enumerate(models.Format.values)}
_ACCESSIBILITY_LISTS = metadata.ACCESSIBILITY_LISTS

_REFRESH = """
WITH v AS MATERIALIZED (
    SELECT *, nnels_narrow(title_words, creator_words, subject_words) AS narrow FROM jsonb_to_recordset(%s::jsonb) AS v(
        id bigint, label_sort text, creators_n text[], creators_flat text, subjects_n text[], narrators_n text[],
        publisher_n text, series_n text, formats text[], access_modes text[], access_features text[],
        access_hazards text[], published_from date, published_to date, doc text, title_words text, creator_words text,
        subject_words text, description_words text, published boolean)
), items AS (
    UPDATE nnels_item AS i SET
        label_sort = v.label_sort, creators_n = v.creators_n, creators_flat = v.creators_flat,
        subjects_n = v.subjects_n, narrators_n = v.narrators_n, publisher_n = v.publisher_n, series_n = v.series_n,
        formats = v.formats, access_modes = v.access_modes, access_features = v.access_features,
        access_hazards = v.access_hazards, published_from = v.published_from, published_to = v.published_to,
        doc = v.doc, search_wide = v.narrow || setweight(nnels_vector(v.description_words), 'D')
    FROM v WHERE i.id = v.id
), hidden AS (
    DELETE FROM nnels_searchentry AS s USING v WHERE s.item_id = v.id AND NOT v.published
)
INSERT INTO nnels_searchentry (item_id, title, search) SELECT id, label_sort, narrow FROM v WHERE published
ON CONFLICT (item_id) DO UPDATE SET title = excluded.title, search = excluded.search
"""


def refresh(item_ids: Iterable[int]) -> None:
    """Write every derived column of these items, their search entries, and the download names of their files."""
    for batch in _batched(item_ids):
        items = list(models.Item.objects.filter(id__in=batch).defer("search_wide", "doc"))
        files: dict[int, list[models.File]] = {item.id: [] for item in items}
        for file in models.File.objects.filter(item_id__in=batch).order_by("item_id", "format", "part"):
            files[file.item_id].append(file)
        for item in items:
            _name_files(item, files[item.id])
        rows = [_derived(item, [file for file in files[item.id] if not file.missing]) for item in items]
        with connection.cursor() as cursor:
            cursor.execute(_REFRESH, [orjson.dumps(rows).decode()])


def _batched(item_ids: Iterable[int]) -> Iterable[tuple[int, ...]]:
    rest = iter(item_ids)
    while batch := tuple(itertools.islice(rest, BATCH)):
        yield batch


def _name_files(item: models.Item, files: list[models.File]) -> None:
    renamed = []
    for file in files:
        extension = file.blob_key.rpartition(".")[2]
        number = next(iter(item.isbn), "")
        name = report.filename(item.label, number, format_code=file.format, extension=extension, part=file.part)
        if name != file.name:
            file.name = name
            renamed.append(file)
    models.File.objects.bulk_update(renamed, ["name"])


def _derived(item: models.Item, files: Sequence[models.File]) -> dict[str, Any]:
    period = dates.period(item.published_date) if item.published_date else None
    formats = sorted({file.format for file in files}, key=FORMAT_ORDER.__getitem__)
    creators = [text.plain(name) for name in item.creators]
    return {
        "id": item.id,
        "published": item.published,
        "label_sort": text.plain(item.label),
        "creators_n": creators,
        "creators_flat": "\n".join(creators),
        "subjects_n": [text.plain(subject) for subject in item.subjects],
        "narrators_n": [text.plain(name) for name in item.narrators],
        "publisher_n": text.plain(item.publisher),
        "series_n": text.plain(item.series),
        "formats": formats,
        "access_modes": _folded(item, "accessMode"),
        "access_features": _folded(item, "accessibilityFeature"),
        "access_hazards": _folded(item, "accessibilityHazard"),
        "published_from": period.first.isoformat() if period else None,
        "published_to": period.last.isoformat() if period else None,
        "doc": document(item, formats),
        "title_words": text.words(item.label),
        "creator_words": text.words(" . ".join([*item.creators, *item.isbn])),
        "subject_words": text.words(" . ".join(item.subjects)),
        "description_words": text.words(item.description[: metadata.DESCRIPTION_LENGTH]),
    }


def _folded(item: models.Item, key: str) -> list[str]:
    return [text.plain(value) for value in item.accessibility.get(key, [])]


def document(item: models.Item, formats: Sequence[str]) -> str:
    """The item's row without links: JSON of four lines, cut where `self`, `file_resources` and `files` belong."""
    rows: list[dict[str, Any]] = [
        {"id": item.id, "label": item.label},
        {
            "creators": item.creators,
            "languages": item.languages,
            "isbn": item.isbn,
            "uuid": str(item.uuid),
            "published_date": item.published_date,
        },
        {
            "subjects": item.subjects,
            "description": item.description or None,
            "publisher": {"name": item.publisher or None, "place": item.publisher_place or None},
            "formats": formats,
            "narrators": item.narrators,
            "narration": item.narration,
            "duration": dates.iso_duration(item.duration),
            "series": item.series or None,
            "edition": item.edition or None,
            "audience": item.audience or None,
            "rights": item.rights,
            "accessibility": accessibility(item.accessibility),
        },
        {"changed": instant(item.changed)},
    ]
    lines = [orjson.dumps(row).decode() for row in rows]
    return "{" + ",\n".join(line[1:-1] for line in lines) + "}"


def accessibility(said: Mapping[str, Any]) -> dict[str, Any]:
    """All six schema.org properties, empty ones too."""
    lists: dict[str, Any] = {key: list(said.get(key, [])) for key in _ACCESSIBILITY_LISTS}
    return {
        **{key: lists[key] for key in _ACCESSIBILITY_LISTS[:4]},
        "accessibilitySummary": said.get("accessibilitySummary") or None,
        "conformsTo": lists["conformsTo"],
    }


def instant(at: datetime.datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def bump() -> None:
    """The published set changed: every cached count and anchor of listings is stale."""
    if not models.Catalogue.objects.filter(id=1).update(version=F("version") + 1):
        models.Catalogue.objects.bulk_create([models.Catalogue(id=1, version=2)], ignore_conflicts=True)


# --- items --------------------------------------------------------------------------------------------------------


def fields_of(said: metadata.Metadata) -> dict[str, Any]:
    """Item fields of a title's metadata; `rights` and `published` only when they are said."""
    fields: dict[str, Any] = {
        "label": said.title[: metadata.LABEL_LENGTH],
        "creators": said.creators,
        "languages": said.languages or ["eng"],
        "isbn": said.isbn,
        "published_date": said.published_date or None,
        "publisher": said.publisher[:255],
        "publisher_place": said.publisher_place[:255],
        "description": said.description,
        "subjects": said.subjects,
        "narrators": said.narrators,
        "narration": said.narration or None,
        "duration": said.duration,
        "series": said.series[:255],
        "edition": said.edition[:255],
        "audience": said.audience[:255],
        "accessibility": said.accessibility,
    }
    if said.rights:
        fields["rights"] = said.rights
    if said.published is not None:
        fields["published"] = said.published
    return fields


def create(uuid: uuids.UUID, fields: Mapping[str, Any], *, nid: int | None = None) -> models.Item:
    """A new item; derived columns are written by `settle`."""
    item = models.Item(uuid=uuid, **fields)
    if nid is not None:
        item.id = nid
    item.save(force_insert=True)
    return item


def update(item: models.Item, fields: Mapping[str, Any]) -> bool:
    """Set fields; whether any of them differed."""
    different = {name: value for name, value in fields.items() if getattr(item, name) != value}
    for name, value in different.items():
        setattr(item, name, value)
    if different:
        item.save(update_fields=[*different])
    return bool(different)


def settle(item: models.Item, *, was_published: bool) -> None:
    """After any change of an item or its files: revision, time, derived columns, version, tombstone."""
    now = timezone.now()
    models.Item.objects.filter(pk=item.pk).update(revision=F("revision") + 1, changed=now)
    refresh([item.pk])
    if was_published or item.published:
        bump()
    if item.published:
        models.Tombstone.objects.filter(pk=item.pk).delete()
    elif was_published:
        bury([item])


def bury(items: Sequence[models.Item]) -> None:
    """Leave tombstones for items that left the published set."""
    now = timezone.now()
    models.Tombstone.objects.bulk_create(
        [models.Tombstone(item_id=item.pk, uuid=item.uuid, changed=now) for item in items],
        update_conflicts=True,
        unique_fields=["item_id"],
        update_fields=["changed", "uuid"],
    )


def remove(items: Sequence[models.Item]) -> None:
    """Delete items: their blobs retire, a tombstone stays."""
    with transaction.atomic():
        ids = [item.pk for item in items]
        retire(models.File.objects.filter(item_id__in=ids).values_list("blob_key", flat=True))
        bury([item for item in items if item.published])
        models.Item.objects.filter(pk__in=ids).delete()
        bump()


# --- files --------------------------------------------------------------------------------------------------------


def blob_key(uuid: uuids.UUID, sha256: str, extension: str) -> str:
    """Where a file's bytes live; another content is another key, so issued links keep working."""
    return f"nnels/{str(uuid)[:2]}/{uuid}/{sha256[:16]}.{extension}"


def place_file(
    item: models.Item, *, format_code: str, part: int, media_type: str, size: int, sha256: str, key: str
) -> bool:
    """Make this the file at (format, part); whether that changed anything. The file it replaces retires."""
    now = timezone.now()
    old = models.File.objects.filter(item=item, format=format_code, part=part).first()
    if old is not None and old.sha256 == sha256 and not old.missing:
        return False
    models.RetiredBlob.objects.filter(blob_key=key).delete()
    values = {"media_type": media_type, "bytes": size, "sha256": sha256, "blob_key": key, "missing": False}
    if old is None:
        models.File.objects.create(item=item, format=format_code, part=part, name="", verified_at=now, **values)
        return True
    if old.blob_key != key:
        retire([old.blob_key])
    models.File.objects.filter(pk=old.pk).update(verified_at=now, **values)
    return True


def known_blobs(keys: Sequence[str]) -> set[str]:
    """Those of these blobs that a file names, or did until lately."""
    return {
        *models.File.objects.filter(blob_key__in=keys).values_list("blob_key", flat=True),
        *models.RetiredBlob.objects.filter(blob_key__in=keys).values_list("blob_key", flat=True),
    }


def hold(keys: Iterable[str]) -> None:
    """Before blobs are written: if they are retired, the sweep shall not take them while they come back."""
    models.RetiredBlob.objects.filter(blob_key__in=list(keys)).update(at=timezone.now())


def retire(keys: Iterable[str]) -> None:
    """Note blobs that no file names any more; they are deleted when no issued link can still need them."""
    models.RetiredBlob.objects.bulk_create([models.RetiredBlob(blob_key=key) for key in keys], ignore_conflicts=True)


def clean_fields(item: models.Item) -> None:
    """Bring what a person typed into stored form: ISBNs to 13 digits, lists without repeats."""
    item.isbn = [number for number in map(isbn.to_13, item.isbn) if number]
    for name in ("creators", "subjects", "narrators", "languages"):
        setattr(item, name, metadata.unique(getattr(item, name)))


def as_row(doc: str | bytes) -> dict[str, Any]:
    """A stored document as a dict, keys in order."""
    row: dict[str, Any] = orjson.loads(doc)
    return row
