"""The bulk path in its parts: COPY of finished lines, deflate, zip, hashes, multipart upload.

Every figure is CPU nanoseconds per byte of CSV (database, store and this process together unless named); the limit is
the cheapest way to move the same bytes, measured in the same run.
"""

import functools
import hashlib
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks import measure


class Void:
    """Takes bytes and counts them."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)


def main() -> None:
    sizes = measure.arguments(__doc__, rows=200_000, line=2_500, upload_mib=400)
    with measure.house() as house:
        size = fill(sizes.rows, sizes.line)
        measure.say(f"{sizes.rows:,} lines, {size / 1e6:,.0f} MB")
        copying(house, size)
        sample = piece(32 * measure.MIB)
        deflating(sample)
        whole(house, size)
        uploading(house, sizes.upload_mib)


def fill(rows: int, line: int) -> int:
    """Lines as varied as specimen records: repeated words, numbers, identifiers. Their size in bytes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE UNLOGGED TABLE bench_lines (id integer PRIMARY KEY, line text STORAGE EXTERNAL)")
        cursor.execute(
            """
            INSERT INTO bench_lines
            SELECT n, left(string_agg(md5((n * 64 + k)::text) || ',acer rubrum,Plantae,"Smith, J.",United States,'
                || (n %% 977) || ',preservedspecimen,' || (n * k %% 1009), ',' ORDER BY k), %s) || E'\r\n'
            FROM generate_series(1, %s) n, generate_series(1, %s) k GROUP BY n
            """,
            [line - 2, rows, line // 90 + 1],
        )
        cursor.execute("VACUUM ANALYZE bench_lines")
        cursor.execute("SELECT sum(octet_length(line)) FROM bench_lines")
        return int(cursor.fetchone()[0])


def run(act: Callable[[], Any], **pids: int) -> measure.Used:
    with measure.used(**pids) as used:
        act()
    return used


def copying(house: measure.House, size: int) -> None:
    """Binary COPY with the frames cut off against the other ways to get the lines out."""
    from django.db import connection

    from core import db

    lines = "SELECT line FROM bench_lines ORDER BY id"

    def cursor_rows() -> None:
        sink = Void()
        with db.snapshot() as frozen:
            for (line,) in frozen.stream(lines):
                sink.write(line.encode())

    groups = "SELECT string_agg(line, '' ORDER BY id) FROM bench_lines GROUP BY id / 100 ORDER BY id / 100"

    def string_agg() -> None:
        with connection.cursor() as cursor:
            cursor.cursor.copy_expert(f"COPY ({groups}) TO STDOUT", Void())

    bare = run(lambda: count_messages(lines), postgres=house.postgres_pid)
    ours = run(lambda: db.copy_out_binary(lines, None, Void()), postgres=house.postgres_pid)
    text = run(lambda: db.copy_out(lines, None, Void()), postgres=house.postgres_pid)
    grouped = run(string_agg, postgres=house.postgres_pid)
    agg_binary = run(lambda: db.copy_out_binary(groups, None, Void()), postgres=house.postgres_pid)
    cursor = run(cursor_rows, postgres=house.postgres_pid)
    limit = bare.cpu_total / size * 1e9
    rows = [
        measure.Row("copy_out_binary", ours.cpu_total / size * 1e9, limit, 1.3, less_is_better=True),
        measure.Row("copy_out (text COPY, escaped)", text.cpu_total / size * 1e9, limit),
        measure.Row("copy_out_binary of string_agg", agg_binary.cpu_total / size * 1e9, limit),
        measure.Row("text COPY of string_agg, escaped", grouped.cpu_total / size * 1e9, limit),
        measure.Row("server-side cursor, row by row", cursor.cpu_total / size * 1e9, limit),
    ]
    measure.report(
        "Lines out of PostgreSQL, CPU ns per byte (limit: binary COPY, messages dropped)",
        rows, binary=ours, text=text, string_agg=grouped,
    )  # fmt: skip


def count_messages(sql: str) -> None:
    """Binary COPY into the cheapest possible sink."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.cursor.copy_expert(f"COPY ({sql}) TO STDOUT WITH (FORMAT binary)", Void())


def piece(size: int) -> bytes:
    """The first ``size`` bytes of the lines."""
    from core import db

    class Enough(Exception):
        pass

    held: list[bytes] = []

    class Sink:
        def write(self, data: bytes) -> None:
            held.append(data)
            if sum(map(len, held)) >= size:
                raise Enough

    try:
        db.copy_out_binary("SELECT line FROM bench_lines ORDER BY id", None, Sink())
    except Enough:
        measure.say("sample taken")
    return b"".join(held)[:size]


def deflating(sample: bytes) -> None:
    from core import streams

    rows = []
    for method in ("isal-0", "isal-1", "isal-2", "isal-3", "zlib-1", "zlib-6"):
        deflater = streams.Deflater(method)
        spent = cpu(functools.partial(deflate, deflater, sample))
        rows.append(measure.Row(f"{method}, {deflater.compressed / len(sample):.1%} of the size", spent / len(sample)))
    rows.append(measure.Row("SHA-256", cpu(lambda: hashlib.sha256(sample)) / len(sample)))
    rows.append(measure.Row("CRC-32 of ISA-L", cpu(lambda: streams.crc32(sample)) / len(sample)))
    rows.append(measure.Row("CRC-32 of zlib", cpu(lambda: zlib.crc32(sample)) / len(sample)))
    measure.report("Deflate and sums, CPU ns per byte", rows)


def deflate(deflater: Any, sample: bytes) -> None:
    for block in blocks(sample):
        deflater.update(block)
    deflater.flush()


def blocks(data: bytes, size: int = 256 * 1024) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def cpu(act: Callable[[], Any]) -> float:
    """CPU nanoseconds."""
    started = time.process_time_ns()
    act()
    return time.process_time_ns() - started


def whole(house: measure.House, size: int) -> None:
    """Lines → zip → store, as an archive build does it; the limit is COPY and deflate alone."""
    from core import blobs, db, streams

    lines = "SELECT line FROM bench_lines ORDER BY id"

    def limit() -> None:
        deflater = streams.Deflater("isal-2")

        class Sink:
            def write(self, data: bytes) -> None:
                deflater.update(data)

        db.copy_out_binary(lines, None, Sink())

    def ours() -> None:
        with (
            db.snapshot() as frozen,
            blobs.writer("bench/archive.zip", content_type="application/zip") as blob,
            streams.Zip(blob, modified=datetime(2026, 1, 1, tzinfo=UTC)) as archive,
            archive.member("occurrence.csv") as member,
            streams.Hashing(member, threaded=True) as hashing,
        ):
            db.copy_out_binary(lines, None, hashing, using=frozen.connection)

    least = run(limit, postgres=house.postgres_pid)
    full = run(ours, postgres=house.postgres_pid)
    mine = (full.cpu_total - least.cpu_total) / size * 1e9
    measure.report(
        "Archive of finished lines, CPU ns per byte of CSV (worker and database; limit: COPY and deflate)",
        [
            measure.Row("zip, SHA-256, upload", full.cpu_total / size * 1e9, least.cpu_total / size * 1e9),
            measure.Row("of it beyond the limit", mine),
            measure.Row("MB of CSV per wall second", size / full.wall / 1e6, size / least.wall / 1e6),
        ],
        limit=least,
        ours=full,
    )


def uploading(house: measure.House, mebibytes: int) -> None:
    """The writer's own cost and memory, on bytes that cost nothing to make."""
    from core import blobs

    block = hashlib.sha256(b"x").digest() * (measure.MIB // 32)

    def upload(count: int) -> None:
        with blobs.writer("bench/upload.bin") as blob:
            for _ in range(count):
                blob.write(block)

    upload(20)
    used = run(lambda: upload(mebibytes), store=house.store_pid)
    size = mebibytes * measure.MIB
    measure.report(
        f"Multipart upload of {mebibytes} MiB",
        [
            measure.Row("writer, CPU ns per byte", used.cpu["self"] / size * 1e9),
            measure.Row("MB per wall second", size / used.wall / 1e6),
        ],
        upload=used,
    )


if __name__ == "__main__":
    main()
