"""Archives per CPU second, against `COPY … | ISA-L` to nowhere and against a cursor with csv writer and zlib.

Wide specimens (`specimens`) are brought in the usual way, then multiplied in the store with generate_series, in order
of the uuid, up to --records. The indexes of search terms are dropped first: builds of everything do not read them, and
filling them would take most of the time.
Targets: contract 9.
"""

from __future__ import annotations

import csv
import io
import pathlib
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any

from benchmarks import measure, specimens

SAMPLES = 2500
NOWHERE_ROWS = 20_000


def main() -> None:
    sizes = measure.arguments(__doc__, records=1_000_000)
    with measure.house(DOWNLOADS_PART_ROWS="50000", DOWNLOADS_REUSE_HOURS="23", JOB_SWEEP_SECONDS="1") as house:
        fill(sizes.records)
        limits = {"whole": limit(house, WHOLE), "records": limit(house, WHOLE[:1])}
        plain = baseline(house)
        pid = house.worker(concurrency=1, DOWNLOADS_ASSISTANTS="0")
        build({"uuid": "0c7f5f9e-6a43-4b0e-9e5f-2d9a3a1f4c55"})  # the worker has imported everything by now
        idle = max(measure.peak_of(each) for each in measure.tree(pid))
        report_builds(house, pid, limits, plain, idle)
        report_scaling(house, sizes.records)


# -- the store --------------------------------------------------------------------------------------------------------


def fill(records: int) -> None:
    """Bring in samples, then multiply them, their media and their links."""
    from django.db import connection

    from downloads import services
    from downloads.jobs import ingest

    with tempfile.TemporaryDirectory(prefix="quincunx-bench-") as folder:
        path = pathlib.Path(folder) / "specimens.zip"
        specimens.write(path, records=SAMPLES)
        services.import_archive(str(path), ingest.Options())
    copies = max(0, records // SAMPLES - 1)
    measure.say(f"multiplying {SAMPLES} samples by {copies + 1}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename IN ('downloads_record', 'downloads_mediarecord') "
            "AND (indexname LIKE 'dl\\_%' OR indexname LIKE '%\\_words' OR indexname LIKE '%\\_place' "
            "OR indexname LIKE '%\\_day' OR indexname LIKE '%\\_closed')"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP INDEX "{name}"')
        for table in ("downloads_record", "downloads_mediarecord"):
            multiply(cursor, table, copies)
        cursor.execute(
            "INSERT INTO downloads_recordmedia (record, media, position, v_from) "
            f"SELECT {moved('record')}, {moved('media')}, position, v_from "
            "FROM downloads_recordmedia, generate_series(1, %s) n",
            [copies],
        )
        cursor.execute("VACUUM ANALYZE downloads_record")
        cursor.execute("VACUUM ANALYZE downloads_mediarecord")
        cursor.execute("VACUUM ANALYZE downloads_recordmedia")


def moved(column: str) -> str:
    """SQL of another uuid for the n-th copy of a row."""
    return f"md5({column}::text || n)::uuid"


def multiply(cursor: Any, table: str, copies: int) -> None:
    """The n-th copy of every row, with its own uuid in its lines, in order of the uuid."""
    cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table])
    own = {
        "uuid": moved("uuid"),
        "line_index": f"replace(line_index, uuid::text, {moved('uuid')}::text)",
    }
    names = [name for (name,) in cursor.fetchall() if name != "id"]
    values = ", ".join(own.get(name, name) for name in names)
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}, generate_series(1, %s) n "
        f"ORDER BY {moved('uuid')}",
        [copies],
    )


# -- limits -----------------------------------------------------------------------------------------------------------

_MEDIA = (
    "SELECT c.record::text || m.{line} FROM (SELECT DISTINCT ON (media) media, record FROM downloads_recordmedia "
    "ORDER BY media, position) c JOIN downloads_mediarecord m ON m.uuid = c.media ORDER BY m.uuid"
)
WHOLE = [
    "SELECT uuid::text || line_index FROM downloads_record ORDER BY uuid",
    "SELECT uuid::text || line_raw FROM downloads_record ORDER BY uuid",
    _MEDIA.format(line="line_index"),
    _MEDIA.format(line="line_raw"),
]


class Limit:
    """What `COPY … | ISA-L` to nowhere came to."""

    def __init__(self, rows: int, size: int, used: measure.Used) -> None:
        self.rows, self.size, self.used = rows, size, used


def limit(house: measure.House, queries: list[str]) -> Limit:
    """Stored lines by binary COPY through ISA-L level 2 to nowhere: no store, no zip, no checksums of members."""
    from core import db, streams

    rows = size = 0
    with measure.used(postgres=house.postgres_pid) as used:
        for query in queries:
            deflater = streams.Deflater("isal-2")
            with db.snapshot() as snapshot:
                rows += db.copy_out_binary(query, None, Nowhere(deflater.update), using=snapshot.connection)
            deflater.flush()
            size += deflater.size
    return Limit(rows, size, used)


class Nowhere:
    """A sink that hands blocks to a function and forgets what it returns."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.write = take


def baseline(house: measure.House) -> float:
    """CPU seconds per row of occurrence.csv the obvious way: server cursor, csv writer, zlib level 6."""
    from core import db
    from downloads.formats import terms

    columns = ", ".join(f"{term.shown}::text" for term in terms.RECORD_TERMS)
    with measure.used(postgres=house.postgres_pid) as used, db.snapshot() as snapshot:
        packer, text = zlib.compressobj(6), io.StringIO()
        writer = csv.writer(text)
        for row in snapshot.stream(f"SELECT uuid::text, {columns} FROM downloads_record LIMIT {NOWHERE_ROWS}"):
            writer.writerow(row)
            if text.tell() > 1 << 18:
                packer.compress(text.getvalue().encode())
                text.seek(0)
                text.truncate()
        packer.compress(text.getvalue().encode())
        packer.flush()
    return used.cpu_total / NOWHERE_ROWS


# -- ours -------------------------------------------------------------------------------------------------------------


def build(query: dict[str, Any] | None = None, **options: Any) -> Any:
    """Ask for everything (or a query) and wait for the worker; the finished build."""
    from downloads import services
    from downloads.models import Build
    from downloads.selectors import request

    rq = query or {}
    asked = request.DownloadRequest(face="v2", rq=rq, normal_rq=rq, force=True, **options)
    placed = services.request_download(asked, caller=services.Caller(address="192.0.2.1"), base_url="http://127.0.0.1")
    build = placed.download.build
    if build is None:
        raise RuntimeError("the download has no build")
    while True:
        found = Build.objects.select_related("job").get(pk=build.pk)
        if found.state not in (Build.State.WAITING, Build.State.RUNNING):
            break
        time.sleep(0.1)
    if found.state != Build.State.DONE:
        raise RuntimeError(f"the build ended {found.state}: {found.error}")
    return found


def report_builds(house: measure.House, worker: int, limits: dict[str, Limit], plain: float, idle: float) -> None:
    """One worker: the whole archive, csv, index fields, custom fields."""
    forms: dict[str, dict[str, Any]] = {
        "csv": {"form": "csv"},
        "index fields": {
            "form": "csv",
            "record_fields": ["genus", "scientificname", "locality", "geopoint", "country"],
        },
        "custom fields": {"form": "csv", "record_fields": ["genus", "data.dwc:locality", "data.dwc:recordedBy"]},
        "tsv": {"form": "tsv"},
    }
    with measure.used(worker=worker, postgres=house.postgres_pid) as whole:
        made = build()
    rows, size = limits["whole"].rows, limits["whole"].size
    best = limits["whole"].used.cpu_total
    measure.report(
        f"Full archive of {limits['records'].rows:,} records, one worker",
        [
            measure.Row("rows per CPU second", rows / whole.cpu_total, rows / best),
            measure.Row("CPU ns per CSV byte", 1e9 * whole.cpu_total / size, 1e9 * best / size),
            measure.Row("CPU ns per CSV byte, target", 1e9 * whole.cpu_total / size, target=10, less_is_better=True),
            measure.Row("bytes of the archive", made.size),
            measure.Row("worker MiB above idle", whole.peak["worker"] - idle, target=256, less_is_better=True),
        ],
        ours=whole,
        limit=limits["whole"].used,
    )
    lines = limits["records"]
    rows_of_table = []
    runs = {}
    for name, options in forms.items():
        with measure.used(worker=worker, postgres=house.postgres_pid) as run:
            made = build(**options)
        runs[name] = run
        target = 4.0 if name == "csv" else None
        limit_of = 1 / plain if name == "csv" else None
        rows_of_table.append(
            measure.Row(f"{name}: rows per CPU second (limit: baseline)", lines.rows / run.cpu_total, limit_of, target)
        )
        rows_of_table.append(measure.Row(f"{name}: CPU ns per byte", 1e9 * run.cpu_total / made.size))
    measure.report(
        "Bare forms of all records, one worker", rows_of_table, **{k.replace(" ", "_"): v for k, v in runs.items()}
    )


def report_scaling(house: measure.House, records: int) -> None:
    """The whole archive with one process and with two."""
    house.children["worker"].stop()
    times = {}
    for processes in (1, 2):
        house.worker(concurrency=processes, DOWNLOADS_ASSISTANTS=str(processes - 1))
        build({"uuid": "0c7f5f9e-6a43-4b0e-9e5f-2d9a3a1f4c55"})
        with measure.used(postgres=house.postgres_pid) as run:
            build()
        times[processes] = run.wall
        house.children["worker"].stop()
    measure.report(
        f"Full archive of {records:,} records, two processes against one",
        [measure.Row("times as fast", times[1] / times[2], target=1.7)],
    )


if __name__ == "__main__":
    main()
