"""Looking at a title's files: format, metadata, size and SHA-256, before anything is written."""

import dataclasses
import hashlib
import pathlib
import re
import uuid as uuids
from collections.abc import Callable, Sequence

from nnels.formats import archive, folder, isbn, metadata, recognise, text
from nnels.jobs.importing import plan

Check = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Content:
    """One file to be stored, or a folder to be stored as a zip."""

    source: pathlib.Path
    format: str
    part: int
    media_type: str
    extension: str
    size: int
    sha256: str

    def pour(self, sink: folder.Sink) -> None:
        """Write the content into a sink in blocks; the same bytes each time."""
        _pour(self.source, sink)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A title ready to be stored."""

    uuid: uuids.UUID
    said: metadata.Metadata
    contents: list[Content]


def prepare(planned: plan.Planned, *, check: Check) -> Prepared:
    """Recognise and measure every file; `Rejected` with the report's reason."""
    if planned.refusal is not None:
        raise planned.refusal
    if not planned.sources:
        raise metadata.Rejected("no_files")
    recognised = [(source, _recognise(source)) for source in planned.sources]
    said = merge(planned, recognised)
    if not text.words(said.title):
        raise metadata.Rejected("no_title")
    if len(said.title) > metadata.LABEL_LENGTH:
        said.warnings.append("title_cut: 255 characters kept")
    uuid = metadata.resolve_uuid(said, relative_path=planned.path)
    return Prepared(uuid, said, _contents(recognised, said, check=check))


def merge(planned: plan.Planned, recognised: Sequence[tuple[pathlib.Path, recognise.Recognised]]) -> metadata.Metadata:
    """Per field: sidecar, EPUB, DAISY, other files, file name."""
    order = {"epub": 0, "daisy202": 1, "daisy3": 2}
    inside = sorted(recognised, key=lambda one: order.get(one[1].format, 3))
    said = [planned.said] if planned.said else []
    merged = metadata.merge([*said, *(found.metadata for _, found in inside), _from_name(planned)])
    merged.files = []
    return merged


def _from_name(planned: plan.Planned) -> metadata.Metadata:
    """What a file name tells: an ISBN, a UUID, else the title."""
    name = pathlib.PurePosixPath(planned.path).name
    stem = name if planned.sources[:1] and planned.sources[0].is_dir() else re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    found = metadata.Metadata()
    if number := isbn.to_13(stem):
        found.isbn.append(number)
    elif uuid := metadata.find_uuid(stem):
        found.uuid = uuid
    else:
        found.title = metadata.clean(re.sub(r"[_]+", " ", stem))
    return found


def _recognise(source: pathlib.Path) -> recognise.Recognised:
    if source.is_dir():
        found = recognise.directory(source)
        if found is None:
            raise metadata.Rejected("unknown_format", f"{plan.shown(source.name)}/")
        if plan.size(source) > archive.MAX_BYTES:
            raise metadata.Rejected("too_large", f"{plan.shown(source.name)}/ is larger than 4 GiB")
        return found
    with source.open("rb") as file:
        return recognise.file(file, name=plan.shown(source.name))


def _contents(
    recognised: Sequence[tuple[pathlib.Path, recognise.Recognised]], said: metadata.Metadata, *, check: Check
) -> list[Content]:
    contents: list[Content] = []
    for source, found in recognised:
        size, sha256 = measure(source, check=check)
        if size == 0:
            raise metadata.Rejected("unknown_format", f"{plan.shown(source.name)} is empty")
        if any(content.sha256 == sha256 for content in contents):
            said.warnings.append(f"duplicate_file: {plan.shown(source.name)}")
            continue
        part = 1 + sum(content.format == found.format for content in contents)
        contents.append(Content(source, found.format, part, found.media_type, found.extension, size, sha256))
    return contents


def measure(source: pathlib.Path, *, check: Check) -> tuple[int, str]:
    """Size and SHA-256 of what `pour` writes."""
    digest, size = hashlib.sha256(), 0

    def take(block: bytes) -> None:
        nonlocal size
        check()
        digest.update(block)
        size += len(block)

    _pour(source, take)
    return size, digest.hexdigest()


def _pour(source: pathlib.Path, sink: folder.Sink) -> None:
    if source.is_dir():
        folder.pour(source, sink)
    else:
        folder.pour_file(source, sink)
