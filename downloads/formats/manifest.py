"""`manifest.json`: what an archive holds, with sums over the unpacked bytes (contract §5.1)."""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class File(NamedTuple):
    """One member: `rows` without the header (None for metadata), `sha256` hex of the unpacked bytes."""

    name: str
    bytes: int
    rows: int | None
    sha256: str


class Source(NamedTuple):
    """One contributing recordset; `records` counts its rows in the record file."""

    uuid: str
    name: str
    license: str
    records: int


def manifest(
    *,
    build: str,
    data_version: int,
    snapshot: datetime.datetime,
    query: Mapping[str, Any],
    files: Sequence[File],
    media_without_record: int,
    recordsets: Sequence[Source],
) -> bytes:
    """The manifest as indented JSON; `query` is the object of seven, normalised."""
    content = {
        "build": build,
        "data_version": data_version,
        "snapshot": snapshot.isoformat(timespec="microseconds"),
        "query": dict(query),
        "files": [{key: item for key, item in file._asdict().items() if item is not None} for file in files],
        "excluded": {"media_without_record": media_without_record},
        "recordsets": [source._asdict() for source in sorted(recordsets, key=lambda one: (-one.records, one.uuid))],
    }
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
