"""Removing a row for good, which only staff may and only while nothing frozen holds it."""

from django.utils import timezone

from core import errors
from exports import models
from exports.writing import clock, concepts, departures, mappings


def erase(lock: clock.Clock, row: models.Concept | models.Mapping) -> None:
    """Delete a concept or mapping of a locked source with all its versions."""
    if isinstance(row, models.Concept):
        held = models.VersionConcept.objects.filter(row__concept=row).exists()
        fragments = list(models.ConceptVersion.objects.filter(concept=row).values_list("fragment_id", flat=True))
    else:
        held = models.VersionMapping.objects.filter(row__mapping=row).exists()
        fragments = list(models.MappingVersion.objects.filter(mapping=row).values_list("fragment_id", flat=True))
    if held:
        raise errors.Conflict("A version of a repository holds this.")
    _note_departures(lock, row)
    models.Fragment.objects.filter(pk__in=fragments).update(replaced_at=timezone.now())
    if isinstance(row, models.Mapping):
        models.HeadMember.objects.filter(mapping=row).delete()
        row.delete()
        return
    pointing = [
        *models.Mapping.objects.filter(from_concept=row).values_list("pk", flat=True),
        *models.Mapping.objects.filter(to_concept=row).values_list("pk", flat=True),
    ]
    parents = list(models.ConceptEdge.objects.filter(child=row).values_list("parent_uri", flat=True))
    models.HeadMember.objects.filter(concept=row).delete()
    source = row.source
    row.delete()
    concepts.renew(source, parents)
    mappings.renew(pointing)


def _note_departures(lock: clock.Clock, row: models.Concept | models.Mapping) -> None:
    """The row leaves its source, and the collections that show it."""
    key = "concept" if isinstance(row, models.Concept) else "mapping"
    lock.hold_collections(key, [row.pk])
    moment = lock.tick()
    departures.of_row(key, row.pk, moment=moment)
    departures.of_members(key, f"m.{key}_id = %s", row.pk, moment=moment)
