"""Removing a row for good, which only staff may and only while nothing frozen holds it."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from core import errors
from exports import models
from exports.writing import clock, concepts, departures, mappings


def erase(lock: clock.Clock, row: models.Concept | models.Mapping) -> None:
    """Delete a concept or mapping of a locked source with all its versions."""
    if isinstance(row, models.Concept):
        held = models.VersionConcept.objects.filter(row__concept=row).exists()
    else:
        held = models.VersionMapping.objects.filter(row__mapping=row).exists()
    if held:
        raise errors.Conflict("A version of a repository holds this.")
    _note_departures(lock, row)
    if isinstance(row, models.Mapping):
        mappings.hold("m.id = %s", row.pk)
        _drop_fragments(models.MappingVersion.objects.filter(mapping=row))
        models.HeadMember.objects.filter(mapping=row).delete()
        row.delete()
        return
    pointing = mappings.hold("m.from_concept_id = %s OR m.to_concept_id = %s", row.pk, row.pk)
    _drop_fragments(models.ConceptVersion.objects.filter(concept=row))
    parents = list(models.ConceptEdge.objects.filter(child=row).values_list("parent_uri", flat=True))
    models.HeadMember.objects.filter(concept=row).delete()
    source = row.source
    row.delete()
    concepts.renew(source, parents)
    mappings.renew(pointing)


def _drop_fragments(of: QuerySet[Any]) -> None:
    models.Fragment.objects.filter(pk__in=of.values("fragment_id")).update(replaced_at=timezone.now())


def _note_departures(lock: clock.Clock, row: models.Concept | models.Mapping) -> None:
    """The row leaves its source, and the collections that show it."""
    key = "concept" if isinstance(row, models.Concept) else "mapping"
    lock.hold_collections(key, [row.pk])
    moment = lock.tick()
    departures.of_row(key, row.pk, moment=moment)
    departures.of_members(key, f"m.{key}_id = %s", row.pk, moment=moment)
