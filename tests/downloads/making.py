"""Small archives, requests and builds for the tests of downloads."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import blobs, jobs
from downloads import services
from downloads.formats import terms
from downloads.jobs import ingest
from downloads.models import Download, IngestRun, MediaRecord, Record
from downloads.selectors import normal, parse, request

CALLER = services.Caller(address="192.0.2.7")
BASE = "https://downloads.example.org"
OCCURRENCE = "http://rs.tdwg.org/dwc/terms/Occurrence"
MULTIMEDIA = "http://rs.gbif.org/terms/1.0/Multimedia"
IDENTIFICATION = "http://rs.tdwg.org/dwc/terms/Identification"
Rows = Sequence[Mapping[str, str]]


def table(rows: Rows, *, key: str) -> tuple[list[str], str]:
    """Column names behind the key, and the rows as CSV text with a header."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != key))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([key, *names])
    writer.writerows([row.get(key, ""), *(row.get(name, "") for name in names)] for row in rows)
    return names, out.getvalue()


def part(tag: str, row_type: str, file: str, names: Sequence[str]) -> str:
    key = "id" if tag == "core" else "coreid"
    fields = "".join(f'<field index="{n}" term="{terms.uri(name)}"/>' for n, name in enumerate(names, 1))
    return (
        f'<{tag} encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\n" fieldsEnclosedBy="&quot;" '
        f'ignoreHeaderLines="1" rowType="{row_type}"><files><location>{file}</location></files>'
        f'<{key} index="0"/>{fields}</{tag}>'
    )


def archive(
    folder: Path,
    records: Rows,
    media: Rows = (),
    identifications: Rows = (),
    *,
    name: str = "sample.zip",
    package: str = "5b8a6f0e-27a1-4f0b-9d50-7a1f5a2c3d4e",
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a Darwin Core Archive of these rows; their keys are `id`, `coreid` and CURIEs."""
    names, text = table(records, key="id")
    members = {"occurrence.csv": text}
    parts = part("core", OCCURRENCE, "occurrence.csv", names)
    for row_type, file, rows in (
        (MULTIMEDIA, "media.csv", media),
        (IDENTIFICATION, "identification.csv", identifications),
    ):
        if rows:
            names, members[file] = table(rows, key="coreid")
            parts += part("extension", row_type, file, names)
    members["meta.xml"] = f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">{parts}</archive>'
    members["eml.xml"] = f'<eml packageId="{package}"><dataset><title>Sample</title></dataset></eml>'
    path = folder / name
    with zipfile.ZipFile(path, "w") as target:
        for member, content in (members | dict(extra or {})).items():
            target.writestr(member, content)
    return path


def bring_in(path: Path | str, **options: Any) -> ingest.Report:
    """Ingest now; the report."""
    _run, report = services.import_archive(str(path), ingest.Options(**options))
    return report


def latest_run() -> IngestRun:
    return IngestRun.objects.latest("id")


def specimens(count: int, *, genus: str = "Acer", start: int = 0, **more: str) -> list[dict[str, str]]:
    """Plain records `r0`, `r1`, …"""
    return [
        {"id": f"r{n}", "dwc:genus": genus, "dwc:specificEpithet": "rubrum", "dwc:locality": f'near "km {n}",\nleft'}
        | more
        for n in range(start, start + count)
    ]


def asked(
    rq: dict[str, Any] | None = None, *, mq: dict[str, Any] | None = None, **more: Any
) -> request.DownloadRequest:
    """A validated request, as the faces make it."""
    return request.DownloadRequest(
        **{"face": "v2", **more}, rq=rq, mq=mq, normal_rq=_normal(rq, "records"), normal_mq=_normal(mq, "media")
    )


def _normal(query: dict[str, Any] | None, kind: Any) -> dict[str, Any] | None:
    if query is None:
        return None
    provider = services.known_provider_terms(kind)
    return normal.query(parse.query(query, parse.Known(kind, provider)))


def place(rq: dict[str, Any] | None = None, *, caller: services.Caller = CALLER, **more: Any) -> services.Placed:
    """Ask for a download."""
    return services.request_download(asked(rq, **more), caller=caller, base_url=BASE)


def built(rq: dict[str, Any] | None = None, **more: Any) -> Download:
    """Ask for a download and build it in this process."""
    placed = place(rq, **more)
    build = placed.download.build
    assert build is not None
    if build.job_id is not None:
        jobs.run(build.job_id)
    return services.find(placed.download.uuid)


def content(download: Download) -> bytes:
    """The bytes of a finished download."""
    assert download.state == Download.State.DONE, download.error
    assert download.build is not None
    return b"".join(blobs.reader(download.build.blob_key))


def members(download: Download) -> dict[str, bytes]:
    """Member name → bytes of a finished archive."""
    with zipfile.ZipFile(io.BytesIO(content(download))) as source:
        assert source.testzip() is None
        return {name: source.read(name) for name in source.namelist()}


def rows(data: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a CSV member."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


def column(row: Record | MediaRecord, name: str) -> Any:
    """A column made of the table of terms (`t_genus`), which the type of the model does not show."""
    return getattr(row, name)


def ids(data: bytes) -> list[str]:
    """The first column of a CSV member."""
    return [row[0] for row in csv.reader(io.StringIO(data.decode(), newline=""))][1:]


def keys() -> list[str]:
    """Every blob of downloads."""
    return [entry.key for entry in blobs.keys("downloads/")]
