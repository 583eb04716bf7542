"""Archives per CPU second, against `COPY … | ISA-L` to nowhere and against a cursor with csv writer and zlib.

Wide specimens (`specimens`) are brought in the usual way, then multiplied in the store with generate_series, in order
of the uuid, up to --records. The indexes of search terms are dropped first: builds of everything do not read them, and
filling them would take most of the time.

Two workers against one are measured twice: with all processors to both, where PostgreSQL and the store use what one
worker leaves over, and with worker, PostgreSQL and store on one processor against two workers and the same on two. The
limit there is the machine's own: two processes that only deflate, a processor each, against one that does it all.
Targets: contract 9.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any

from benchmarks import measure, specimens

SAMPLES = 2500
OBVIOUS_ROWS = 20_000
NOTHING = {"uuid": "0c7f5f9e-6a43-4b0e-9e5f-2d9a3a1f4c55"}


def main() -> None:
    sizes = measure.arguments(__doc__, records=1_000_000)
    with measure.house(DOWNLOADS_PART_ROWS="50000", DOWNLOADS_REUSE_HOURS="23", JOB_SWEEP_SECONDS="1") as house:
        fill(sizes.records)
        best, plain = limit(house), Obvious(house)
        pid = house.worker(concurrency=1, DOWNLOADS_ASSISTANTS="0")
        build(NOTHING)  # the worker has imported everything by now
        idle = max(measure.peak_of(each) for each in measure.tree(pid))
        report_archive(house, pid, best, plain, idle)
        report_forms(house, pid, best, plain, idle)
        house.children["worker"].stop()
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
            "OR indexname LIKE '%\\_day')"
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
    """The n-th copy of every row, with its own uuid in its lines, in order of the uuid; only uuids are sorted."""
    cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table])
    own = {"uuid": "k.moved", "line_index": "replace(line_index, uuid::text, k.moved::text)"}
    names = [name for (name,) in cursor.fetchall() if name != "id"]
    values = ", ".join(own.get(name, name) for name in names)
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM "
        f"(SELECT id, {moved('uuid')} AS moved FROM {table}, generate_series(1, %s) n ORDER BY moved) k "
        f"CROSS JOIN LATERAL (SELECT * FROM {table} s WHERE s.id = k.id OFFSET 0) t ORDER BY k.moved",
        [copies],
    )


# -- limits -----------------------------------------------------------------------------------------------------------

RECORDS = (
    "SELECT k.uuid::text || t.line_index, k.uuid::text || t.line_raw FROM "
    "(SELECT uuid, v_from FROM downloads_record ORDER BY uuid) k CROSS JOIN LATERAL "
    "(SELECT * FROM downloads_record s WHERE s.uuid = k.uuid AND s.v_from = k.v_from OFFSET 0) t ORDER BY k.uuid"
)
MEDIA = (
    "SELECT c.record::text || m.line_index, c.record::text || m.line_raw FROM "
    "(SELECT DISTINCT ON (media) media, record FROM downloads_recordmedia ORDER BY media, position) c "
    "JOIN downloads_mediarecord m ON m.uuid = c.media ORDER BY m.uuid"
)


class Limit:
    """What `COPY … | ISA-L` to nowhere came to; `index_bytes` are those of occurrence.csv."""

    def __init__(self) -> None:
        self.records = self.rows = self.size = self.index_bytes = 0
        self.used = measure.Used()


def limit(house: measure.House) -> Limit:
    """Stored lines, every row read once, by binary COPY through ISA-L level 2: no store, no zip, no checksums."""
    from core import db, streams

    found = Limit()
    with measure.used(postgres=house.postgres_pid) as found.used:
        for query in (RECORDS, MEDIA):
            deflaters = [streams.Deflater("isal-2") for _ in range(2)]
            with db.snapshot() as snapshot:
                with snapshot.connection.cursor() as cursor:
                    cursor.execute("SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '64MB'")
                sinks = [Nowhere(deflater.update) for deflater in deflaters]
                rows = db.copy_out_columns(query, None, sinks, using=snapshot.connection)
            for deflater in deflaters:
                deflater.flush()
            found.records = found.records or rows
            found.index_bytes = found.index_bytes or deflaters[0].size
            found.rows += 2 * rows
            found.size += sum(deflater.size for deflater in deflaters)
    return found


class Nowhere:
    """A sink that hands blocks to a function and forgets what it returns."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.write = take


class Obvious:
    """The obvious way: server cursor, csv writer, zlib level 6. CPU seconds per record."""

    def __init__(self, house: measure.House) -> None:
        from downloads.formats import terms
        from downloads.models import MediaRecord, RawColumnSet, Record

        share = MediaRecord.objects.count() / Record.objects.count()
        names = {each.kind: each.names for each in RawColumnSet.objects.order_by("version")}
        columns = {
            table: ", ".join(f"{term.shown}::text" for term in known)
            for table, known in (("record", terms.RECORD_TERMS), ("mediarecord", terms.MEDIA_TERMS))
        }
        self.index = written(house, f"SELECT uuid::text, {columns['record']} FROM downloads_record")
        self.whole = self.index + written(house, "SELECT uuid::text, raw FROM downloads_record", names["records"])
        media = written(house, f"SELECT uuid::text, {columns['mediarecord']} FROM downloads_mediarecord")
        media += written(house, "SELECT uuid::text, raw FROM downloads_mediarecord", names["media"])
        self.whole += share * media


def written(house: measure.House, query: str, names: list[str] | None = None) -> float:
    """CPU seconds per row of a file written so; with `names` the second column is a JSON object of these."""
    from core import db

    rows = 0
    with measure.used(postgres=house.postgres_pid) as used, db.snapshot() as snapshot:
        packer, text = zlib.compressobj(6), io.StringIO()
        writer = csv.writer(text)
        for row in snapshot.stream(f"{query} LIMIT {OBVIOUS_ROWS}"):
            rows += 1
            if names is None:
                writer.writerow(row)
            else:
                found = json.loads(row[1]) if isinstance(row[1], str) else row[1]
                writer.writerow([row[0], *(found.get(name, "") for name in names)])
            if text.tell() > 1 << 18:
                packer.compress(text.getvalue().encode())
                text.seek(0)
                text.truncate()
        packer.compress(text.getvalue().encode())
        packer.flush()
    return used.cpu_total / rows


# -- ours -------------------------------------------------------------------------------------------------------------


def spent(run: measure.Used) -> float:
    """CPU seconds of worker and database; who waits for them does not count."""
    return run.cpu["worker"] + run.cpu["postgres"]


class Made:
    """A finished build, and the seconds from its last part to its end."""

    def __init__(self, build: Any, tail: float) -> None:
        self.build, self.tail = build, tail


def build(query: dict[str, Any] | None = None, **options: Any) -> Made:
    """Ask for everything (or a query) and wait for the worker."""
    from downloads import services
    from downloads.models import Build
    from downloads.selectors import request

    rq = query or {}
    asked = request.DownloadRequest(face="v2", rq=rq, normal_rq=rq, force=True, **options)
    placed = services.request_download(asked, caller=services.Caller(address="192.0.2.1"), base_url="http://127.0.0.1")
    if placed.download.build is None:
        raise RuntimeError("the download has no build")
    assembling = 0.0
    while True:
        found = Build.objects.select_related("job").get(pk=placed.download.build.pk)
        if found.state not in (Build.State.WAITING, Build.State.RUNNING):
            break
        if not assembling and found.job and found.job.progress.get("stage") == "assembling":
            assembling = time.monotonic()
        time.sleep(0.25)
    if found.state != Build.State.DONE:
        raise RuntimeError(f"the build ended {found.state}: {found.error}")
    return Made(found, time.monotonic() - assembling if assembling else 0.0)


def report_archive(house: measure.House, worker: int, best: Limit, plain: Obvious, idle: float) -> None:
    """One worker, the whole archive."""
    with measure.used(worker=worker, postgres=house.postgres_pid) as whole:
        made = build()
    ours, least = spent(whole), best.used.cpu_total
    measure.report(
        f"Full archive of {best.records:,} records, one worker",
        [
            measure.Row("rows per CPU second", best.rows / ours, best.rows / least),
            measure.Row("CPU ns per CSV byte", 1e9 * ours / best.size, 1e9 * least / best.size),
            measure.Row("CPU ns per CSV byte, target", 1e9 * ours / best.size, target=10, less_is_better=True),
            measure.Row("times the obvious way", plain.whole * best.records / ours, target=6),
            measure.Row("bytes of the archive", made.build.size),
            measure.Row("worker MiB above idle", whole.peak["worker"] - idle, target=256, less_is_better=True),
        ],
        ours=whole,
        limit=best.used,
    )


FIELDS = ["genus", "scientificname", "locality", "geopoint", "country"]


def report_forms(house: measure.House, worker: int, best: Limit, plain: Obvious, idle: float) -> None:
    """One worker, bare files of the records: CPU for a byte of the stored lines they are made from."""
    from downloads.formats import terms

    every = [term.name for term in terms.RECORD_TERMS]
    forms: dict[str, dict[str, Any]] = {
        "csv": {"form": "csv"},
        "80 index terms": {"form": "csv", "record_fields": every[1:]},
        "5 index terms": {"form": "csv", "record_fields": FIELDS},
        "custom fields": {"form": "csv", "record_fields": ["genus", "data.dwc:locality", "data.dwc:recordedBy"]},
        "tsv": {"form": "tsv"},
    }
    rows, runs = [], {}
    for name, options in forms.items():
        with measure.used(worker=worker, postgres=house.postgres_pid) as run:
            made = build(**options)
        runs[name.replace(" ", "_")] = run
        ours = spent(run)
        target = 4.0 if name == "csv" else None
        rows.append(measure.Row(f"{name}: rows per CPU second", best.records / ours, 1 / plain.index, target))
        rows.append(measure.Row(f"{name}: CPU ns per byte of the index lines", 1e9 * ours / best.index_bytes))
        if "index terms" in name:
            rows.append(measure.Row(f"{name}: against csv", ours, spent(runs["csv"]), target=3, less_is_better=True))
        rows.append(measure.Row(f"{name}: bytes made", made.build.size))
        above = run.peak["worker"] - idle
        rows.append(measure.Row(f"{name}: worker MiB above idle", above, target=256, less_is_better=True))
    measure.report("Bare files of all records, one worker (limit: cursor, csv writer and zlib 6)", rows, **runs)


def report_scaling(house: measure.House, records: int) -> None:
    """The whole archive with one worker process and with two."""
    every = sorted(os.sched_getaffinity(0))
    rows, runs = [measure.Row("the machine alone, two processors against one", _two_processors(every))], {}
    for name, cores in (("all processors to both", [every, every]), ("a processor each", [every[:1], every[:2]])):
        tails = {}
        for processes in (1, 2):
            key = f"{name.replace(' ', '_')}_{processes}"
            runs[key], tails[processes] = _scaled(house, processes, cores[processes - 1])
        one, two = (runs[f"{name.replace(' ', '_')}_{processes}"] for processes in (1, 2))
        target = 1.7 if cores[0] != cores[1] else None
        rows.append(measure.Row(f"{name}: times as fast", one.wall / two.wall, target=target))
        rows.append(measure.Row(f"{name}: CPU of two against one", spent(two), spent(one)))
        rows.append(measure.Row(f"{name}: seconds behind the last part, one", tails[1]))
        rows.append(measure.Row(f"{name}: seconds behind the last part, two", tails[2]))
    measure.report(f"Full archive of {records:,} records, two worker processes against one", rows, **runs)


_DEFLATING = """
import os, sys
from isal import isal_zlib
os.sched_setaffinity(0, {int(sys.argv[1])})
lines = b"".join(b"%d,preservedspecimen,acer rubrum,%d\\r\\n" % (n, n * n) for n in range(2_000_000))
sys.stdout.write("ready\\n"), sys.stdout.flush(), sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    for start in range(0, len(lines), 1 << 16):
        isal_zlib.compress(lines[start : start + (1 << 16)], 2)
"""


def _two_processors(cores: list[int], rounds: int = 40) -> float:
    """How many times as fast two processors of this machine are as one, when both are busy with memory and sums."""
    walls = []
    for count in (1, 2):
        arguments = [[sys.executable, "-c", _DEFLATING, str(core), str(rounds // count)] for core in cores[:count]]
        running = [subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for each in arguments]
        ends = [(each.stdin, each.stdout, each) for each in running if each.stdin and each.stdout]
        for _stdin, stdout, _process in ends:
            stdout.readline()
        begun = time.monotonic()
        for stdin, _stdout, _process in ends:
            stdin.close()
        for _stdin, stdout, process in ends:
            process.wait()
            stdout.close()
        walls.append(time.monotonic() - begun)
    return walls[0] / walls[1]


def _scaled(house: measure.House, processes: int, cores: list[int]) -> tuple[measure.Used, float]:
    """A build by so many worker processes, everything on these processors; what it used, and its tail in seconds."""
    before = os.sched_getaffinity(0)
    pid = house.worker(concurrency=processes, DOWNLOADS_ASSISTANTS=str(processes - 1))
    build(NOTHING)
    servers = [each for each in (house.postgres_pid, house.store_pid) if each]
    try:
        _place([pid, *servers], cores)
        with measure.used(worker=pid, postgres=house.postgres_pid) as run:
            made = build()
    finally:
        house.children["worker"].stop()
        _place(servers, sorted(before))
    return run, made.tail


def _place(roots: list[int], cores: list[int]) -> None:
    """Let the trees of these processes, all their threads and what they start, run on these processors only."""
    for pid in (each for root in roots for each in measure.tree(root)):
        for thread in pathlib.Path(f"/proc/{pid}/task").glob("[0-9]*"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


if __name__ == "__main__":
    main()
