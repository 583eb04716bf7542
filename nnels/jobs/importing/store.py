"""Storing a title: its new blobs first, then one transaction; whole or not at all."""

import contextlib
import dataclasses
import uuid as uuids
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import structlog
from django.db import transaction

from core import blobs, db
from nnels import models
from nnels.formats import metadata
from nnels.jobs import catalogue
from nnels.jobs.importing import plan, prepare

log = structlog.get_logger(__name__)

STORE_TRIES = 3
CREATED, UPDATED, UNCHANGED, REJECTED = "created", "updated", "unchanged", "rejected"


@dataclasses.dataclass(frozen=True)
class Options:
    """How an import goes. `check` raises when it must stop; `fenced` opens the transaction of a title."""

    rights: str | None = None
    is_published: bool = True
    is_dry: bool = False
    check: Callable[[], None] = lambda: None
    fenced: Callable[[], AbstractContextManager[Any]] = transaction.atomic


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A line of the report."""

    path: str
    outcome: str
    uuid: str = ""
    isbn: str = ""
    title: str = ""
    reason: str = ""
    detail: str = ""


def take(planned: plan.Planned, *, seen: set[uuids.UUID], options: Options) -> Outcome:
    """Import one title; a rejected one leaves nothing behind."""
    try:
        prepared = prepare.prepare(planned, check=options.check)
        if prepared.uuid in seen:
            raise metadata.Rejected("duplicate_uuid", str(prepared.uuid))  # noqa: TRY301 - one way out for all refusals
        seen.add(prepared.uuid)
        outcome = _store(prepared, options=options)
    except metadata.Rejected as refusal:
        return _rejected(planned, refusal.code, refusal.message)
    except OSError as error:
        return _rejected(planned, "file_not_found", f"{type(error).__name__}: {error.strerror or error}")
    return Outcome(
        path=planned.path,
        outcome=outcome,
        uuid=str(prepared.uuid),
        isbn=next(iter(prepared.said.isbn), ""),
        title=prepared.said.title[: metadata.LABEL_LENGTH],
        reason=next((warning.partition(":")[0] for warning in prepared.said.warnings), ""),
        detail="; ".join(prepared.said.warnings),
    )


def _rejected(planned: plan.Planned, reason: str, detail: str) -> Outcome:
    said = planned.said or metadata.Metadata()
    return Outcome(
        path=planned.path,
        outcome=REJECTED,
        uuid=said.uuid,
        isbn=next(iter(said.isbn), ""),
        title=said.title[: metadata.LABEL_LENGTH],
        reason=reason,
        detail=detail,
    )


def _store(prepared: prepare.Prepared, *, options: Options) -> str:
    if options.is_dry:
        return _would_be(prepared, options)
    fresh = {
        catalogue.blob_key(prepared.uuid, content.sha256, content.extension): content
        for content in _new_contents(prepared)
    }
    catalogue.hold(fresh)
    written: list[str] = []
    try:
        for key, content in fresh.items():
            written.append(key)
            _write(key, content, check=options.check)
        with options.fenced():
            return _commit(prepared, options)
    except BaseException:
        _forget(written)
        raise


def _known(uuid: uuids.UUID) -> dict[tuple[str, int], str]:
    """(format, part) → SHA-256 of the files an item has."""
    files = models.File.objects.filter(item__uuid=uuid, missing=False)
    return {(file.format, file.part): file.sha256 for file in files}


def _new_contents(prepared: prepare.Prepared) -> list[prepare.Content]:
    known = _known(prepared.uuid)
    return [content for content in prepared.contents if known.get((content.format, content.part)) != content.sha256]


def _fields(prepared: prepare.Prepared, options: Options, *, is_new: bool) -> dict[str, Any]:
    fields = catalogue.fields_of(prepared.said)
    if options.rights is not None:
        fields.setdefault("rights", options.rights)
    if is_new:
        fields.setdefault("published", options.is_published)
    return fields


def _would_be(prepared: prepare.Prepared, options: Options) -> str:
    item = models.Item.objects.filter(uuid=prepared.uuid).first()
    if item is None:
        return CREATED
    fields = _fields(prepared, options, is_new=False)
    is_same = all(getattr(item, name) == value for name, value in fields.items())
    return UNCHANGED if is_same and not _new_contents(prepared) else UPDATED


def _write(key: str, content: prepare.Content, *, check: Callable[[], None]) -> None:
    """Store one content under its key; `storage_unavailable` after three tries."""
    for attempt in range(1, STORE_TRIES + 1):
        try:
            with blobs.writer(key, content_type=content.media_type) as sink:

                def take(block: bytes, sink: blobs.Writer = sink) -> None:
                    check()
                    sink.write(block)

                content.pour(take)
        except blobs.StoreUnavailable as error:
            log.warning("import_store_failed", key=key, attempt=attempt, error=error.message)
            if attempt == STORE_TRIES:
                raise metadata.Rejected("storage_unavailable", error.message) from error
        else:
            break
    if sink.sha256 != content.sha256:
        raise metadata.Rejected("file_not_found", f"{plan.shown(content.source.name)} changed while it was read")


def _commit(prepared: prepare.Prepared, options: Options) -> str:
    """The title's one transaction; imports of the same UUID take turns."""
    db.advisory_lock(f"nnels {prepared.uuid}")
    item = models.Item.objects.select_for_update().filter(uuid=prepared.uuid).first()
    was_published = item is not None and item.published
    if item is None:
        outcome, is_changed = CREATED, True
        item = catalogue.create(prepared.uuid, {**_fields(prepared, options, is_new=True), "source": "import"})
    else:
        outcome = UPDATED
        is_changed = catalogue.update(item, _fields(prepared, options, is_new=False))
    for content in prepared.contents:
        is_changed |= catalogue.place_file(
            item,
            format_code=content.format,
            part=content.part,
            media_type=content.media_type,
            size=content.size,
            sha256=content.sha256,
            key=catalogue.blob_key(prepared.uuid, content.sha256, content.extension),
        )
    if not is_changed:
        return UNCHANGED
    catalogue.settle(item, was_published=was_published)
    return outcome


def _forget(keys: list[str]) -> None:
    """Delete blobs of a title that was not stored, save those another import made its own meanwhile and those that
    were there before: an earlier content whose issued links still work."""
    if not keys:
        return
    with contextlib.suppress(blobs.StoreUnavailable):
        known = catalogue.known_blobs(keys)
        blobs.delete(*(key for key in keys if key not in known))
