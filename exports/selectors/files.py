"""The bytes behind a ready build, in each of its four formats."""

from collections.abc import Iterator

from core import blobs, db
from exports.formats import archives, envelope, names
from exports.models import ExportBuild, RepoVersion
from exports.selectors import documents, recipes


def size(build: ExportBuild, form: str) -> int:
    """Length of the file in bytes."""
    if form in names.STORED:
        return build.size_of(form) or 0
    if form == "tar":
        return archives.tar_size(build.json_size or 0)
    return _lines_size(build)


def _lines_size(build: ExportBuild) -> int:
    counts = build.counts or {}
    kinds = ("concepts", "references", "mappings") if _has_references(build) else ("concepts", "mappings")
    arrays = [envelope.Array(kind, counts.get(kind, 0)) for kind in kinds]
    return envelope.lines_size(build.header or "", arrays, whole=build.json_size or 0)


def _has_references(build: ExportBuild) -> bool:
    return (build.header or "").startswith('{"type": "Collection')


def key(build: ExportBuild, form: str) -> str:
    return build.zip_key if form == "zip" else build.tgz_key


def read(build: ExportBuild, form: str, *, first: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The file's bytes from ``first`` up to ``end``; nothing is fetched before the first block is asked for."""
    if form in names.STORED:
        return iter(blobs.reader(key(build, form), first, end))
    whole = _tar(build) if form == "tar" else _lines(build)
    return part(whole, first, end)


def _tar(build: ExportBuild) -> Iterator[bytes]:
    return archives.inflate_gzip(iter(blobs.reader(build.tgz_key)))


def _lines(build: ExportBuild) -> Iterator[bytes]:
    if build.version is None:
        return iter(())
    if build.variant:
        return _variant_lines(build, build.version)
    return documents.lines(build.version, build.header or "{}")


def _variant_lines(build: ExportBuild, version: RepoVersion) -> Iterator[bytes]:
    with db.snapshot() as view:
        recipe = recipes.of(view, version, build.variant)
        yield f"{recipe.header}\n".encode()
        for piece in recipe.pieces:
            yield from piece.blocks(end="\n")


def part(blocks: Iterator[bytes], first: int, end: int | None) -> Iterator[bytes]:
    """A byte range of a stream that cannot be entered in the middle."""
    place = 0
    for block in blocks:
        start, stop = max(first - place, 0), len(block) if end is None else min(len(block), end - place)
        place += len(block)
        if start < stop:
            yield block[start:stop]
        if end is not None and place >= end:
            return
