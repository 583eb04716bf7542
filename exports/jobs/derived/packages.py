"""Packages of several files: the FHIR package and the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core import db, streams
from exports.formats import tables, tarballs
from exports.jobs.derived.sinks import NewProgress, Progress, sink, stored
from exports.models import ExportBuild, RepoVersion
from exports.selectors import packages

Values = dict[str, Any]


def fhir(
    view: db.Snapshot, one: ExportBuild, version: RepoVersion, keys: dict[str, str], progress: NewProgress
) -> Values:
    """``package/…`` in a tgz. A member's size stands in front of it, so every file is made twice: once to be measured,
    once to be written; nothing is held."""
    stamp = packages.stamp_of(version)
    files = packages.Package(view, version).files()
    counting = progress(total=0, size=0)
    sizes = [_measured(file, counting) for file in files]
    meter = progress(total=_rows(version), size=sum(sizes))
    with sink(one, keys, "tgz", stamp) as out:
        archive = tarballs.Tarball(out, modified=stamp, deflate=one.compressor)
        for file, size in zip(files, sizes, strict=True):
            meter.stage(file.name.partition("-")[0], size=size)
            archive.add(f"package/{file.name}", _moved(file.blocks(), meter), size=size)
        meter.stage("finishing")
        archive.close()
        meter.stage("publishing")
    return {**_told(version), **stored({"tgz": out})}


def csv(
    view: db.Snapshot, one: ExportBuild, version: RepoVersion, keys: dict[str, str], progress: NewProgress
) -> Values:
    """The four tables in a zip, each read in a pass of its own."""
    stamp = packages.stamp_of(version)
    meter = progress(total=_rows(version), size=version.concepts_bytes + version.mappings_bytes)
    with sink(one, keys, "zip", stamp) as out:
        with streams.Zip(out, modified=stamp, method=one.compressor) as archive:
            for name, (kind, _, inner) in tables.TABLES.items():
                # names and descriptions repeat the concepts; they do not count as rows again
                meter.stage(name, rows=0 if inner else getattr(version, kind))
                with archive.member(name) as member:
                    for block in _moved(packages.table(view, version, name), meter):
                        member.write(block)
                if not inner:
                    meter.array_done()
            meter.stage("finishing")
        meter.stage("publishing")
    return {**_told(version), **stored({"zip": out})}


def _measured(file: packages.File, counting: Progress) -> int:
    size = 0
    for block in file.blocks():
        size += len(block)
        counting.stage("counting")
    return size


def _moved(blocks: Iterator[bytes], meter: Progress) -> Iterator[bytes]:
    for block in blocks:
        yield block
        meter.moved(len(block))


def _rows(version: RepoVersion) -> int:
    return version.concepts + version.mappings


def _told(version: RepoVersion) -> Values:
    counts = {name: getattr(version, name) for name in ("concepts", "mappings", "retired_concepts", "retired_mappings")}
    return {
        "last_updated": packages.stamp_of(version),
        "built_from": version.updated_at,
        "counts": {**counts, "references": version.references_count},
    }
