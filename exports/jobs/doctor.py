"""What must be true of exports; ``manage.py doctor`` says what is not."""

from collections.abc import Iterator

from django.db.models import Count, F, Q

from core import blobs
from exports.models import ExportBuild, ExtraFile, RepoVersion
from exports.models.builds import BuildState

#: how many of the newest archives are looked for in the store
_LOOKED_FOR = 1000


def invariants() -> Iterator[str]:
    """A sentence for each breach."""
    yield from _currents()
    yield from _doubles()
    yield from _missing()


def _currents() -> Iterator[str]:
    """A version's current build is the plain one of that very version."""
    wrong = RepoVersion.objects.filter(current_build__isnull=False).filter(
        ~Q(current_build__variant="") | ~Q(current_build__version=F("pk")) | Q(current_build__version=None)
    )
    for version in wrong.select_related("repo")[:100]:
        yield f"version {version} has a current export that is not its own"


def _doubles() -> Iterator[str]:
    """Of each export of a version one archive is served."""
    ready = ExportBuild.objects.filter(state=BuildState.READY, version__isnull=False)
    for found in ready.values("version", "variant").order_by().annotate(count=Count("pk")).filter(count__gt=1)[:100]:
        yield f"version {found['version']} has {found['count']} archives of the export {found['variant']!r}"


def _missing() -> Iterator[str]:
    """What is served is in the store."""
    for build in ExportBuild.objects.filter(state=BuildState.READY, version__isnull=False)[:_LOOKED_FOR]:
        for key, size in ((build.tgz_key, build.tgz_size), (build.zip_key, build.zip_size)):
            found = blobs.stat(key) if key else None
            if key and (found is None or found.size != size):
                yield f"export {build} is ready, but {key} is not in the store as it was written"
    for file in ExtraFile.objects.order_by("-updated_at", "-pk")[:_LOOKED_FOR]:
        found = blobs.stat(file.key)
        if found is None or found.size != file.size:
            yield f"extra file {file.name} of version {file.version_id} is not in the store as it was written"
