"""Variants that are one ``export.json``, in a tgz and a zip of one deflate pass."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from core import db
from exports.formats import archives, envelope
from exports.jobs.derived.sinks import NewProgress, Progress, sink, stored
from exports.models import ExportBuild, RepoVersion
from exports.selectors import recipes


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
        "built_from": recipe.built_from,
        "header": recipe.header,
        "json_size": size,
        "json_sha256": archive.json_sha256.hexdigest(),
        "counts": recipe.counts,
        **stored(sinks),
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
