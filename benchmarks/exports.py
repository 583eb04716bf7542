"""Building an export (contract exports §9): finished fragments out through COPY and one deflate pass into two uploads.

`./run bench exports [--concepts N] [--mappings N]`: writes an invented terminology through the API's own write path,
cuts a version, builds its export, and measures in the same run the limit (COPY of the fragments through ISA-L to
nowhere) and, on a sample, the classic way (ORM rows, documents made per row, OFFSET pages, zlib-6).
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
import zlib
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import measure  # noqa: E402

SAMPLE = 2000
PAGE = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=5_500)
    parser.add_argument("--mappings", type=int, default=25_000)
    options = parser.parse_args()
    with measure.house() as house:
        run(house, options.concepts, options.mappings)


def run(house: measure.House, concepts: int, mappings: int) -> None:
    from core import jobs
    from exports.models import ExportBuild, Fragment
    from exports.services import exports as services
    from exports.services import seeding

    rows = concepts + mappings
    author = seeding.person("demo", name="Demo Editor")
    owner = seeding.organization("Bench", "Bench", author)
    with measure.used(postgres=house.postgres_pid) as writing:
        source = seeding.source(
            owner, "Bench", seed=1, concepts_count=concepts, mappings_count=mappings, name="Benchmark"
        )
    with measure.used(postgres=house.postgres_pid) as cutting:
        version = seeding.version(source, "v1")
    limit, size = _limit(house, version)
    with measure.used(postgres=house.postgres_pid, store=house.store_pid) as ours:
        made = services.request(version, user=None).build
        if made is None or made.job_id is None or not jobs.run(made.job_id):
            raise SystemExit("the build did not run")
    build = ExportBuild.objects.get(state="ready")
    sampled, classic = _classic(house, source)
    per_row = classic.cpu_total / sampled
    own = ours.cpu["self"] + ours.cpu["postgres"]
    measure.report(
        f"Export of {concepts:,} concepts and {mappings:,} mappings, {size / 1e6:.0f} MB of JSON",
        [
            measure.Row("rows per CPU second, application and database", rows / own, limit=rows / limit.cpu_total),
            measure.Row("µs of CPU per row", own / rows * 1e6, limit=limit.cpu_total / rows * 1e6),
            measure.Row("classic way: µs of CPU per row (sample)", per_row * 1e6),
            measure.Row("times less CPU than the classic way", per_row * rows / own),
            measure.Row("wall-clock seconds of the build", ours.wall, limit=limit.wall),
            measure.Row("tgz, MB", (build.tgz_size or 0) / 1e6),
            measure.Row("one-off: µs of CPU per row to render and store", writing.cpu_total / rows * 1e6),
            measure.Row("one-off: seconds to cut the version", cutting.wall),
            measure.Row("fragments", float(Fragment.objects.count())),
        ],
        ours=ours,
        limit=limit,
    )


def _limit(house: measure.House, version: Any) -> tuple[measure.Used, int]:
    """The best that can be had: the same rows in the same order, deflated, thrown away."""
    from core import db
    from exports.formats import archives
    from exports.jobs import build
    from exports.selectors import documents

    class Sink:
        size = 0

        def __init__(self) -> None:
            self.deflate = archives.compressor("isal-1")

        def write(self, block: bytes, /) -> None:
            self.size += len(block)
            self.deflate.compress(block)

    sink = Sink()
    with measure.used(postgres=house.postgres_pid) as limit, db.snapshot() as view:
        for kind in ("concepts", "mappings"):
            statement = documents.array_sql(version, kind, build.EVERYTHING, "{}")
            db.copy_out_binary(*statement, sink, using=view.connection)
    return limit, sink.size


def _classic(house: measure.House, source: Any) -> tuple[int, measure.Used]:
    """ORM rows by OFFSET pages, a document made for each, zlib-6; (rows done, what it took)."""
    from exports.formats import documents, text
    from exports.models import ConceptVersion
    from exports.selectors import states
    from exports.writing import concepts

    started, count, deflate = time.monotonic(), 0, zlib.compressobj(6)
    home = states.home(source)
    found = (
        ConceptVersion.objects.filter(source=source, is_latest=True)
        .select_related("concept")
        .order_by("-updated_at", "-rank")
    )
    with measure.used(postgres=house.postgres_pid) as classic:
        while count < SAMPLE and time.monotonic() - started < 60:
            page = list(found[count : count + PAGE])
            for version in page:
                state = concepts.state(version)
                state.children = list(concepts.children_of(source, [version.concept.uri]).get(version.concept.uri, []))
                deflate.compress(text.dumps(documents.concept(state, home)).encode())
            count += len(page)
            if len(page) < PAGE:
                break
    return max(1, count), classic


if __name__ == "__main__":
    main()
