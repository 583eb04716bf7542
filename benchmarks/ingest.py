"""Records per CPU second of an ingest: first into an empty store, then again; by one process and by several.

CPU of the ingesting process and PostgreSQL, apart and together, for an archive of 5 kB a record (--wide) and for one of
about 1 kB (--narrow). The limit is what PostgreSQL alone needs to copy the finished rows into the same tables, with
their indexes; beside it stands what it needs for the tables without indexes, and for making all indexes behind them.
Target: contract 9.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
from typing import Any

from benchmarks import measure, specimens


def main() -> None:
    sizes = measure.arguments(__doc__, wide=10_000, narrow=20_000, processes=2)
    with measure.house() as house, tempfile.TemporaryDirectory(prefix="quincunx-bench-") as name:
        folder = pathlib.Path(name)
        for kind, records in (("wide", sizes.wide), ("narrow", sizes.narrow)):
            if records:
                path = folder / f"{kind}.zip"
                _write(path, kind, records)
                _measure(house, path, kind, max(sizes.processes, 1))


def _write(path: pathlib.Path, kind: str, records: int) -> None:
    measure.say(f"writing {records:,} {kind} records")
    if kind == "wide":
        specimens.write(path, records=records)
        return
    from downloads.formats import samples
    from downloads.formats.samples import archives

    alone = dataclasses.replace(samples.PROVIDERS[0], share=1.0)
    made = path.with_name("made") / alone.file
    made.parent.mkdir()
    archives.write(alone, made, records=records, seed=1)
    shutil.move(made, path)


def _measure(house: measure.House, path: pathlib.Path, kind: str, processes: int) -> None:
    from django.conf import settings

    from downloads import services
    from downloads.jobs import ingest

    runs: dict[str, measure.Used] = {}
    rows = 0
    for run, count in (("first", 1), ("again", 1), (f"first_by_{processes}", processes)):
        if count > 1:
            _empty()
        elif run != "again" and processes == 1 and runs:
            continue
        settings.DOWNLOADS_INGEST_PROCESSES = count
        with measure.used(postgres=house.postgres_pid) as runs[run]:
            _run, report = services.import_archive(str(path), ingest.Options())
        rows = report.read
        measure.say(f"{run}: {report.added} added, {report.unchanged} unchanged, {report.rejects} rejected")
    limit, bare, indexes = _copied(house)
    _empty()
    first, again = runs["first"], runs["again"]
    table = [
        measure.Row("rows per CPU second, first time", rows / first.cpu_total, rows / limit.cpu_total),
        measure.Row("  target of the contract", rows / first.cpu_total, target=10_000),
        measure.Row("  of the ingesting process", rows / first.cpu["self"]),
        measure.Row("  of PostgreSQL", rows / first.cpu["postgres"]),
        measure.Row("rows per CPU second, again", rows / again.cpu_total),
        measure.Row("MiB at most, ingesting process", first.peak["self"]),
        measure.Row("finished rows per CPU second, PostgreSQL alone, no indexes", rows / bare.cpu_total),
        measure.Row("  and all indexes made behind them", rows / (bare.cpu_total + indexes.cpu_total)),
    ]
    if processes > 1:
        more = runs[f"first_by_{processes}"]
        table.append(measure.Row(f"rows per second by {processes} processes", rows / more.wall, rows / first.wall))
    measure.report(f"Ingest of {rows:,} {kind} rows", table, **runs, limit=limit, bare=bare, indexes=indexes)


STORES = ("downloads_record", "downloads_mediarecord")


def _copied(house: measure.House) -> tuple[measure.Used, measure.Used, measure.Used]:
    """The rows once more, from a copy: into tables with all indexes, into tables with none, and these made behind."""
    from django.db import connection

    with connection.cursor() as cursor:
        for store in STORES:
            cursor.execute(f"CREATE TABLE bench_{store} AS SELECT * FROM {store}")
            cursor.execute(f"CREATE TABLE bench_bare_{store} (LIKE {store} INCLUDING ALL EXCLUDING INDEXES)")
            cursor.execute(f"TRUNCATE {store}")
        with measure.used(postgres=house.postgres_pid) as limit:
            for store in STORES:
                cursor.execute(f"INSERT INTO {store} SELECT * FROM bench_{store}")
        with measure.used(postgres=house.postgres_pid) as bare:
            for store in STORES:
                cursor.execute(f"INSERT INTO bench_bare_{store} SELECT * FROM bench_{store}")
        statements = [each for store in STORES for each in _index_statements(cursor, store)]
        with measure.used(postgres=house.postgres_pid) as indexes:
            cursor.execute("SET max_parallel_maintenance_workers = 0")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("RESET max_parallel_maintenance_workers")
        for store in STORES:
            cursor.execute(f"DROP TABLE bench_{store}, bench_bare_{store}")
    return limit, bare, indexes


def _index_statements(cursor: Any, store: str) -> list[str]:
    """What makes each index of a table for its twin without any."""
    cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [store])
    return [
        made.replace(f"INDEX {name} ON public.{store} ", f"INDEX bench_{name} ON bench_bare_{store} ", 1)
        for name, made in cursor.fetchall()
    ]


def _empty() -> None:
    """The store as it was before anything came in."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE downloads_record, downloads_mediarecord, downloads_recordmedia, downloads_identifier, "
            "downloads_rawcolumnset, downloads_rejectedrow, downloads_ingestrun, downloads_storeversion, "
            "downloads_recordset CASCADE"
        )


if __name__ == "__main__":
    main()
