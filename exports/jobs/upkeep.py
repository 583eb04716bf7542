"""House-keeping by the clock: old archives, replaced fragments, used links, old imports."""

from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from exports.models import (
    ConceptVersion,
    Departure,
    ExportBuild,
    Fragment,
    LinkUse,
    MappingVersion,
    VersionConcept,
    VersionMapping,
)
from exports.models.builds import BuildState

_DAY = timedelta(days=1)


def do() -> None:
    """Safe to run twice and safe to miss."""
    expire_archives()
    forget_links()
    sweep_fragments()


def expire_archives() -> int:
    """With EXPORTS_KEEP_DAYS archives end after so many days, without, never; deltas and the like, of which anybody
    may ask for any number, end after EXPORTS_VARIANT_DAYS."""
    ready = ExportBuild.objects.filter(state=BuildState.READY)
    ended = 0
    for found, days in (
        (ready, settings.EXPORTS_KEEP_DAYS),
        (ready.exclude(variant=""), settings.EXPORTS_VARIANT_DAYS),
    ):
        if days:
            border = timezone.now() - timedelta(days=days)
            ended += found.filter(finished_at__lt=border).update(state=BuildState.DELETED, ended_at=timezone.now())
    return ended


def forget_links() -> int:
    """A link long past its grace cannot be used whatever we remember of it."""
    border = timezone.now() - timedelta(seconds=settings.EXPORTS_LINK_SECONDS + settings.EXPORTS_LINK_GRACE_SECONDS)
    return LinkUse.objects.filter(first_byte_at__lt=border - _DAY).delete()[0]


def sweep_fragments(*, limit: int = 5000) -> int:
    """Delete fragments replaced more than a day ago that no row and no frozen version holds, nor the note of a row that
    left."""
    held = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {model._meta.db_table} h WHERE {of_row}h.fragment_id = f.id)"
        for model, of_row in (
            (VersionConcept, "h.row_id = f.row AND "),
            (VersionMapping, "h.row_id = f.row AND "),
            (ConceptVersion, "h.id = f.row AND "),
            (MappingVersion, "h.id = f.row AND "),
            (Departure, ""),
        )
    )
    name = Fragment._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {name} WHERE id IN (SELECT f.id FROM {name} f WHERE f.replaced_at < %s AND {held} LIMIT %s)",
            [timezone.now() - _DAY, limit],
        )
        return int(cursor.rowcount)
