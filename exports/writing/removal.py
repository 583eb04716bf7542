"""Removing a row for good, which only staff may and only while nothing frozen holds it."""

from django.utils import timezone

from core import errors
from exports.models import (
    Concept,
    ConceptEdge,
    ConceptVersion,
    Fragment,
    HeadMember,
    Mapping,
    MappingVersion,
    VersionConcept,
    VersionMapping,
)
from exports.writing import concepts, mappings


def erase(row: Concept | Mapping) -> None:
    """Delete a concept or mapping with all its versions."""
    if isinstance(row, Concept):
        held = VersionConcept.objects.filter(row__concept=row).exists()
        fragments = list(ConceptVersion.objects.filter(concept=row).values_list("fragment_id", flat=True))
    else:
        held = VersionMapping.objects.filter(row__mapping=row).exists()
        fragments = list(MappingVersion.objects.filter(mapping=row).values_list("fragment_id", flat=True))
    if held:
        raise errors.Conflict("A version of a repository holds this.")
    Fragment.objects.filter(pk__in=fragments).update(replaced_at=timezone.now())
    if isinstance(row, Mapping):
        HeadMember.objects.filter(mapping=row).delete()
        row.delete()
        return
    pointing = [
        *Mapping.objects.filter(from_concept=row).values_list("pk", flat=True),
        *Mapping.objects.filter(to_concept=row).values_list("pk", flat=True),
    ]
    parents = list(ConceptEdge.objects.filter(child=row).values_list("parent_uri", flat=True))
    HeadMember.objects.filter(concept=row).delete()
    source = row.source
    row.delete()
    concepts.renew(source, parents)
    mappings.renew(pointing)
