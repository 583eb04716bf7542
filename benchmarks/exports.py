"""Building an export (contract exports §9): finished fragments out through COPY and one deflate pass into two uploads.

`./run bench exports [--concepts N] [--mappings N] [--rendered N]`: a sample is written through the API's own path,
which measures the one-off cost of rendering, and cut; its finished fragments are then multiplied inside the server to
the size asked for. A fresh worker builds the export of that. In the same run: the limit (COPY of the same fragments
through ISA-L to nowhere) and the classic way on pages spread over the whole (ORM rows, serializer objects, OFFSET
pages, zlib-6).

`./run bench exports --variants` builds what else can be had of a version, each by a fresh worker: deltas, parts, the
FHIR package, the tables. The delta since the version before, between which the default locale changes and with it three
rows of ten, is left out when rows are multiplied: a delta tells them apart.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import measure  # noqa: E402

PAGES = 12
PAGE = 100
PATIENCE = 2 * 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=5_500)
    parser.add_argument("--mappings", type=int, default=25_000)
    parser.add_argument("--rendered", type=int, default=11_000, help="rows of the sample written through the API")
    parser.add_argument("--variants", action="store_true", help="deltas, parts and packages instead of the export")
    options = parser.parse_args()
    with measure.house() as house:
        if options.variants:
            variants(house, options.concepts, options.mappings, rendered=options.rendered)
        else:
            run(house, options.concepts, options.mappings, rendered=options.rendered)


def run(house: measure.House, concepts: int, mappings: int, *, rendered: int) -> None:
    from exports.services import seeding

    share = min(1.0, rendered / (concepts + mappings))
    sample = max(1, int(concepts * share)), max(1, int(mappings * share))
    owner = seeding.organization("Bench", "Bench", seeding.person("demo", name="Demo Editor"))
    measure.say(f"writing {sum(sample):,} rows through the API")
    with measure.used(postgres=house.postgres_pid) as writing:
        source = seeding.source(
            owner, "Bench", seed=1, concepts_count=sample[0], mappings_count=sample[1], name="Benchmark"
        )
    with measure.used(postgres=house.postgres_pid) as cutting:
        version = seeding.version(source, "v1")
    statements = _statements_of(version)
    if share < 1.0:
        measure.say(f"multiplying them to {concepts + mappings:,}")
        version = _multiplied(version, concepts=concepts, mappings=mappings)
    rows = version.concepts + version.mappings
    measure.say("the limit, our build, the classic way")
    limit, size = _limit(house, version)
    ours, idle, build = _ours(house, version)
    classic = _classic(house, version)
    own = ours.cpu["worker"] + ours.cpu["postgres"]
    peak = ours.peak["worker"]
    archives = (build.tgz_size or 0) / 1e6
    measure.report(
        f"Export of {version.concepts:,} concepts and {version.mappings:,} mappings, {size / 1e6:,.0f} MB of JSON",
        [
            measure.Row("rows per CPU second, worker and database", rows / own, limit=rows / limit.cpu_total),
            measure.Row("µs of CPU per row", own / rows * 1e6, target=30, less_is_better=True),
            measure.Row("the limit: µs of CPU per row", limit.cpu_total / rows * 1e6),
            measure.Row("the classic way: µs of CPU per row", classic * 1e6),
            measure.Row("times less CPU than the classic way", classic * rows / own, target=100),
            measure.Row("wall-clock seconds of the build", ours.wall, limit=limit.wall),
            measure.Row("peak of the worker's process, MB", peak * 1.048576, target=150, less_is_better=True),
            measure.Row("the same above an idle worker, MB", (peak - idle) * 1.048576),
            measure.Row("statements from claim to end", statements, target=12, less_is_better=True),
            measure.Row("tgz, MB", archives),
            measure.Row("one-off: µs of CPU per row to render and store", writing.cpu_total / sum(sample) * 1e6),
            measure.Row("one-off: µs of CPU per row to cut the version", cutting.cpu_total / sum(sample) * 1e6),
        ],
        ours=ours,
        limit=limit,
    )


def variants(house: measure.House, concepts: int, mappings: int, *, rendered: int) -> None:
    """CPU and memory of each variant of a version."""
    import datetime as dt

    from exports import invented
    from exports.formats import variants as known
    from exports.services import repos, seeding
    from exports.writing import concepts as writing_concepts
    from exports.writing import mappings as writing_mappings

    editor = seeding.person("demo", name="Demo Editor")
    owner = seeding.organization("Bench", "Bench", editor)
    share = min(1.0, rendered / (concepts + mappings))
    sample = max(1, int(concepts * share)), max(1, int(mappings * share))
    measure.say(f"writing {sum(sample):,} rows through the API")
    source = seeding.source(owner, "Bench", seed=1, concepts_count=0, mappings_count=0, name="Benchmark")
    empty = seeding.version(source, "v0")
    rows_of = invented.Invented(source.uri)
    seeding.fill(source, rows_of.concepts(sample[0]), writing_concepts.write)
    seeding.fill(source, rows_of.mappings(sample[1], concepts=sample[0]), writing_mappings.write)
    base = seeding.version(source, "v1", days=1)
    repos.edit(source, data={"default_locale": "fr"}, user=editor)
    version = seeding.version(source, "v2", days=2)
    if share < 1.0:
        measure.say(f"multiplying them to {concepts + mappings:,}")
        version = _multiplied(version, concepts=concepts, mappings=mappings)
    _settle_tables()
    asked = {
        "the export": known.PLAIN,
        "delta since an empty version": known.delta_of(empty.pk, empty.name),
        **({} if share < 1.0 else {"delta since the version before": known.delta_of(base.pk, base.name)}),
        "delta since an instant before everything": known.delta_since(dt.datetime(2001, 1, 1, tzinfo=dt.UTC)),
        "part: one locale": known.part(["fr"], retired=True),
        "part: no retired rows": known.part([], retired=False),
        "FHIR package": known.FHIR,
        "tables": known.CSV,
    }
    found, runs = [], {}
    for name, variant in asked.items():
        measure.say(name)
        ours, idle, build = _ours(house, version, variant)
        told = build.counts or {}
        rows = told["concepts"] + told["mappings"]
        own = ours.cpu["worker"] + ours.cpu["postgres"]
        found += [
            measure.Row(f"{name}: rows", rows),
            measure.Row(f"{name}: µs of CPU per row", own / rows * 1e6),
            measure.Row(f"{name}: peak above an idle worker, MiB", ours.peak["worker"] - idle),
            measure.Row(f"{name}: file, MB", ((build.tgz_size or build.zip_size) or 0) / 1e6),
        ]
        runs[name] = ours
    measure.report(f"Exports of {version.concepts:,} concepts and {version.mappings:,} mappings", found, **runs)


def _settle_tables() -> None:
    """What was just written is cleaned up now, not by the server while something is measured."""
    from exports.models import ConceptVersion, Fragment, MappingVersion, VersionConcept, VersionMapping
    from exports.writing import store

    for model in (Fragment, ConceptVersion, MappingVersion, VersionConcept, VersionMapping):
        store.execute(f"VACUUM ANALYZE {store.table(model)}")


def _multiplied(sample: Any, *, concepts: int, mappings: int) -> Any:
    """A version with so many rows: the sample's finished fragments again and again, copied inside the server."""
    from exports.models import Fragment, RepoVersion, VersionConcept, VersionMapping
    from exports.writing import store

    version = RepoVersion.objects.get(pk=sample.pk)
    version.pk, version.name, version.uuid, version.header = None, "big", "big", sample.header
    version.save(force_insert=True)
    fragment = store.table(Fragment)
    for model, kind, wanted in ((VersionConcept, "concepts", concepts), (VersionMapping, "mappings", mappings)):
        held, count = store.table(model), getattr(sample, kind)
        ((first,),) = store.rows(f"SELECT max(id) + 1 FROM {fragment}")
        place = f"n * {count} + h.position - 1"
        source = (
            f"FROM generate_series(0, {(wanted - 1) // count}) n, {held} h JOIN {fragment} f ON f.id = h.fragment_id"
            f" WHERE h.version_id = %s AND {place} < {wanted} ORDER BY n, h.position"
        )
        store.execute(
            f"INSERT INTO {fragment} (id, body, length, sha256, row)"
            f" SELECT {first} + {place}, f.body, f.length, f.sha256, f.row {source}",
            [sample.pk],
        )
        store.execute(
            f"INSERT INTO {held} (version_id, position, row_id, fragment_id, retired, updated_at, since)"
            f" SELECT %s, {place} + 1, h.row_id, {first} + {place}, h.retired, h.updated_at, h.since {source}",
            [version.pk, sample.pk],
        )
        ((size,),) = store.rows(
            f"SELECT sum(f.length) FROM {held} h JOIN {fragment} f ON f.id = h.fragment_id WHERE h.version_id = %s",
            [version.pk],
        )
        setattr(version, kind, wanted)
        setattr(version, f"{kind}_bytes", int(size))
    version.save()
    for table in (fragment, store.table(VersionConcept), store.table(VersionMapping)):
        store.execute(f"ANALYZE {table}")
    return RepoVersion.objects.select_related("repo").get(pk=version.pk)


def _ours(house: measure.House, version: Any, variant: Any = None) -> tuple[measure.Used, float, Any]:
    """A build by a worker that has just started: what it took, the worker's idle memory (MiB), and the build. Plain
    unless ``variant`` says otherwise."""
    from exports.formats import variants as known
    from exports.models import ExportBuild
    from exports.services import exports as services

    worker = house.worker(concurrency=1)
    _until(lambda: len(measure.tree(worker)) > 1, "the worker's child")
    _until(lambda: _is_listening(worker), "the worker to listen")
    idle = max(measure.peak_of(pid) for pid in measure.tree(worker))
    with measure.used(postgres=house.postgres_pid, worker=worker, store=house.store_pid) as ours:
        made = services.request(version, user=None, variant=variant or known.PLAIN).build
        if made is None:
            raise SystemExit("there was an archive already")
        over = ("ready", "failed", "cancelled")
        _until(lambda: ExportBuild.objects.filter(pk=made.pk, state__in=over).exists(), "the build")
    house.children["worker"].stop()
    build = ExportBuild.objects.get(pk=made.pk)
    if build.state != "ready":
        raise SystemExit(f"the build ended as {build.state}: {build.error_message}")
    return ours, idle, build


def _is_listening(worker: int) -> bool:
    from core.celery import app

    return bool(app.control.inspect(timeout=2).ping())


def _until(condition: Callable[[], bool], what: str) -> None:
    """Look every quarter of a second, which costs little beside what is measured."""
    ending = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > ending:
            raise SystemExit(f"waited too long for {what}")
        threading.Event().wait(0.25)


def _statements_of(version: Any) -> int:
    """How many statements one build sends, in this process, by any connection; transactions' marks and the heartbeat's
    one a second are left out."""
    from django.db.backends.utils import CursorWrapper

    from core import jobs
    from core.db import copying
    from exports.services import exports as services

    made = services.request(version, user=None).build
    if made is None or made.job_id is None:
        raise SystemExit("there was an archive already")
    seen, here = [], threading.get_ident()
    whole, copied = CursorWrapper.execute, copying._copy_expert

    def execute(self: Any, sql: Any, params: Any = None) -> Any:
        if threading.get_ident() == here and not str(sql).startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")):
            seen.append(sql)
        return whole(self, sql, params)

    def copy(*arguments: Any, **more: Any) -> int:
        seen.append("COPY")
        return copied(*arguments, **more)

    CursorWrapper.execute, copying._copy_expert = execute, copy  # type: ignore[method-assign]
    try:
        if not jobs.run(made.job_id):
            raise SystemExit("the build did not run")
    finally:
        CursorWrapper.execute, copying._copy_expert = whole, copied  # type: ignore[method-assign]
    return len(seen)


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


# -- the classic way --------------------------------------------------------------------------------------------------


def _classic(house: measure.House, version: Any) -> float:
    """CPU seconds a row of the classic way, from pages spread evenly over the version: a page costs the more the
    further back it is, as OFFSET walks over all rows before it."""
    from exports.models import VersionConcept, VersionMapping

    total = 0.0
    for model, count, documents_of in (
        (VersionConcept, version.concepts, _classic_concepts),
        (VersionMapping, version.mappings, _classic_mappings),
    ):
        found = model.objects.filter(version=version).order_by("-updated_at", "position")
        deflate, done = zlib.compressobj(6), 0
        with measure.used(postgres=house.postgres_pid) as spent:
            for number in range(PAGES):
                start = max(0, min(count - PAGE, count * number // PAGES))
                for document in documents_of(found, start):
                    deflate.compress(document)
                    done += 1
        total += spent.cpu_total / max(1, done) * count
    return total / float(version.concepts + version.mappings)


def _classic_concepts(found: Any, start: int) -> Iterator[bytes]:
    from rest_framework.renderers import JSONRenderer

    for held in found.select_related("row__concept", "row__source")[start : start + PAGE]:
        yield JSONRenderer().render(_serializers()[0](held.row).data)


def _classic_mappings(found: Any, start: int) -> Iterator[bytes]:
    from rest_framework.renderers import JSONRenderer

    rows = found.select_related("row__mapping__from_concept", "row__mapping__to_concept", "row__source")
    for held in rows[start : start + PAGE]:
        yield JSONRenderer().render(_serializers()[1](held.row).data)


def _serializers() -> tuple[Any, Any]:
    """Serializer classes with a field for each key of the two documents, made once."""
    if not _MADE:
        _MADE.extend((_concept_serializer(), _mapping_serializer()))
    return _MADE[0], _MADE[1]


_MADE: list[Any] = []


def _concept_serializer() -> Any:
    from rest_framework import serializers

    from exports.models import ConceptEdge

    class Label(serializers.Serializer[Any]):
        uuid, name, description = (serializers.CharField(required=False) for _ in range(3))
        external_id, type, locale = (serializers.CharField(required=False) for _ in range(3))
        locale_preferred, retired = (serializers.BooleanField(required=False) for _ in range(2))
        name_type, checksum, retire_reason = (serializers.CharField(required=False) for _ in range(3))

    class Concept(serializers.Serializer[Any]):
        uuid, version, concept_class, datatype = (serializers.CharField() for _ in range(4))
        display_name, display_locale, external_id, update_comment = (serializers.CharField() for _ in range(4))
        id = serializers.CharField(source="concept.mnemonic")
        names = Label(many=True)
        descriptions = Label(many=True)
        extras = serializers.JSONField()
        retired, is_latest = (serializers.BooleanField() for _ in range(2))
        source = serializers.CharField(source="source.mnemonic")  # type: ignore[assignment]  # the document's key
        source_url = serializers.CharField(source="source.uri")
        owner, owner_name = (serializers.CharField(source="source.owner") for _ in range(2))
        owner_url = serializers.CharField(source="source.owner_url")
        owner_type = serializers.CharField(source="source.owner_type")
        created_on = serializers.DateTimeField(source="concept.created_at")
        updated_on, version_created_on = (serializers.DateTimeField(source="updated_at") for _ in range(2))
        version_updated_on = serializers.DateTimeField(source="updated_at")
        version_created_by = serializers.CharField(source="author")
        version_updated_by = serializers.CharField(source="updated_by")
        url = serializers.CharField(source="concept.uri")
        parent_concept_urls = serializers.ListField(source="parents")
        child_concept_urls = serializers.SerializerMethodField()
        standard, smart, retire_reason = (serializers.CharField() for _ in range(3))

        def get_child_concept_urls(self, row: Any) -> list[str]:
            found = ConceptEdge.objects.filter(parent_uri=row.concept.uri, child__source=row.source_id)
            return list(found.order_by("child__created_at").values_list("child__uri", flat=True))

    return Concept


def _mapping_serializer() -> Any:
    from rest_framework import serializers

    from exports.formats import addresses

    class Mapping(serializers.Serializer[Any]):
        uuid, version, map_type, external_id, update_comment = (serializers.CharField() for _ in range(5))
        id = serializers.CharField(source="mapping.mnemonic")
        retired, is_latest = (serializers.BooleanField() for _ in range(2))
        source = serializers.CharField(source="source.mnemonic")  # type: ignore[assignment]  # the document's key
        owner = serializers.CharField(source="source.owner")
        owner_type = serializers.CharField(source="source.owner_type")
        owner_url = serializers.CharField(source="source.owner_url")
        from_concept_url = serializers.CharField(source="from_url")
        from_concept_name = serializers.CharField(source="from_name")
        to_concept_code = serializers.CharField(source="to_code")
        to_concept_name = serializers.CharField(source="to_name")
        from_source, to_source = (serializers.SerializerMethodField() for _ in range(2))
        from_source_version, to_source_version = (serializers.CharField() for _ in range(2))
        url = serializers.CharField(source="mapping.uri")
        versioned_object_id = serializers.IntegerField(source="mapping_id")
        created_on = serializers.DateTimeField(source="mapping.created_at")
        created_by = serializers.CharField(source="mapping.created_by")
        updated_on, version_created_on = (serializers.DateTimeField(source="updated_at") for _ in range(2))
        updated_by = serializers.CharField()
        from_concept_name_resolved = serializers.CharField(source="mapping.from_concept.display_name", default=None)
        to_concept_name_resolved = serializers.CharField(source="mapping.to_concept.display_name", default=None)
        sort_weight = serializers.FloatField()
        extras = serializers.JSONField()
        standard, smart, retire_reason = (serializers.CharField() for _ in range(3))

        def get_from_source(self, row: Any) -> dict[str, Any]:
            return _place(addresses.place(row.from_url))

        def get_to_source(self, row: Any) -> dict[str, Any]:
            return _place(addresses.place(row.to_source_url))

    return Mapping


def _place(place: Any) -> dict[str, Any]:
    if place is None:
        return {}
    return {"owner": place.owner, "owner_type": place.owner_type, "url": place.repo_url, "name": place.repo}


if __name__ == "__main__":
    main()
