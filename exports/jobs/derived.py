"""Building what is not the plain export: the same jobs, fences and stores, other content."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Protocol

from core import blobs, db
from exports.formats import archives, envelope, names, stamps
from exports.models import ExportBuild, RepoVersion
from exports.selectors import recipes


class Progress(Protocol):
    """What a build tells of its way; each call may raise to stop it."""

    def stage(self, name: str, *, rows: int = 0, size: int = 0) -> None: ...
    def moved(self, size: int) -> None: ...
    def array_done(self) -> None: ...


NewProgress = Callable[..., Progress]


def write(
    view: db.Snapshot, one: ExportBuild, version: RepoVersion, keys: dict[str, str], progress: NewProgress
) -> dict[str, Any]:
    """Write a variant's files under ``keys`` (folders, completed here); what the build's row is to know of them."""
    recipe = recipes.of(view, version, one.variant)
    size = envelope.size(recipe.header, recipe.arrays)
    meter = progress(total=sum(array.count for array in recipe.arrays), size=size)
    with ExitStack() as open_blobs:
        sinks = {form: open_blobs.enter_context(sink(one, keys, form, recipe.stamp)) for form in keys}
        archive = archives.TwinArchive(
            size=size,
            modified=recipe.stamp,
            tgz=sinks["tgz"].write,
            zipped=sinks["zip"].write,
            deflate=one.compressor,
        )
        _fill(archive, recipe, meter)
        meter.stage("finishing")
        archive.close()
        meter.stage("publishing")
    return {
        "last_updated": recipe.stamp,
        "built_from": version.updated_at,
        "header": recipe.header,
        "json_size": size,
        "json_sha256": archive.json_sha256.hexdigest(),
        "counts": recipe.counts,
        **stored(sinks),
    }


def sink(one: ExportBuild, keys: dict[str, str], form: str, stamp: datetime) -> blobs.Writer:
    """The blob of one format; its key is completed with the file's time."""
    keys[form] += f"{stamps.digits(stamp)}.{form}"
    filename = names.filename(repo=one.repo_name, version=one.title, stamp=stamp, form=form)
    return blobs.writer(keys[form], content_type=names.CONTENT_TYPES[form], filename=filename)


def stored(sinks: dict[str, blobs.Writer]) -> dict[str, Any]:
    """Keys, sizes and sums of files written."""
    return {
        **{f"{form}_key": sink.key for form, sink in sinks.items()},
        **{f"{form}_size": sink.size for form, sink in sinks.items()},
        **{f"{form}_sha256": sink.sha256 for form, sink in sinks.items()},
    }


def _fill(archive: archives.TwinArchive, recipe: recipes.Recipe, meter: Progress) -> None:
    archive.write(envelope.opening(recipe.header, recipe.arrays[0].name))
    for piece, following in zip(recipe.pieces, [*recipe.arrays[1:], None], strict=True):
        meter.stage(piece.array.name, rows=piece.array.count, size=piece.array.length)
        for block in envelope.unled(piece.blocks(separator=envelope.SEPARATOR)):
            archive.write(block)
            meter.moved(len(block))
        archive.write(envelope.between(following.name if following else None))
        meter.array_done()
