"""What a build will do: its files, its rows, where they are cut. Kept with the build, so every worker sees the same."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.db import OperationalError

from core import db, jobs
from downloads.formats import citation, manifest, members, terms
from downloads.jobs.build.selection import Range, Selection, hidden_at
from downloads.jobs.build.sqltext import Sql
from downloads.jobs.ingest import publish
from downloads.models import Build, Download, Recordset
from downloads.selectors import request

SINCE_GONE = "The data of the download given in since is no longer kept."
_STRETCH = 1 << 112
"""Uuids begin with one of 65,536 pairs of bytes; parts are cut between two such pairs."""
_GRAINS: Final = 16
"""Rows are counted in stretches of about this fraction of a part."""


def selection_of(build: Build, asked: request.DownloadRequest) -> Selection:
    """The rows of a build, narrowed to what changed where it counts from another download."""
    delta_of = build.uuid if asked.since else None
    return Selection(asked, build.data_version, hidden_at(build.data_version), delta_of)


def since_version(asked: request.DownloadRequest, snapshot: db.Snapshot) -> int:
    """The data version of the download a delta counts from, if `snapshot` still has its rows; `Failure` if not."""
    found = Download.objects.values_list("data_version", flat=True).filter(pk=uuid.UUID(asked.since)).first()
    # Asked of the snapshot: what is pruned later is still there for it.
    pruned = "SELECT 1 FROM downloads_storeversion WHERE number = %s AND pruned"
    if found is None or snapshot.rows(pruned, (found,)):
        raise jobs.Failure("since_gone", SINCE_GONE)
    return found


@dataclass(frozen=True)
class Plan:
    """A build ready to be made. `counts` is kept in `Build.plan`."""

    build: Build
    asked: request.DownloadRequest
    selection: Selection
    counts: dict[str, Any]

    @cached_property
    def raw_sets(self) -> dict[str, tuple[int, list[str]]]:
        """Entity → version and names of its raw columns as of the build's data version."""
        return {kind: publish.raw_columns(kind, self.build.data_version) for kind in ("records", "media")}

    @cached_property
    def files(self) -> list[members.Member]:
        """The data files, core first."""
        return members.members(
            form=self.asked.form if self.is_lines else "csv",
            core_type=self.asked.core_type,
            core_source=self.asked.core_source,
            record_fields=self.asked.record_fields,
            mediarecord_fields=self.asked.mediarecord_fields,
            raw_record_columns=self.raw_sets["records"][1],
            raw_media_columns=self.raw_sets["media"][1],
            has_deleted=bool(self.asked.since),
        )

    @cached_property
    def groups(self) -> list[list[members.Member]]:
        """The data files, those together that one reading of the rows makes: index and raw lines of the same rows."""
        made: dict[str, list[members.Member]] = {}
        for member in self.files:
            made.setdefault(member.entity if member.entity in ("records", "media") else member.name, []).append(member)
        return list(made.values())

    @property
    def is_lines(self) -> bool:
        """Whether the form is made of lines (not parquet or geojson)."""
        return self.asked.form not in ("parquet", "geojson")

    @property
    def is_archive(self) -> bool:
        return self.asked.form.startswith("dwca-")

    @property
    def method(self) -> str:
        """The deflate method: ISA-L is ten times faster, zlib a tenth smaller."""
        return "zlib-6" if self.asked.compression == "small" else "isal-2"

    @property
    def packing(self) -> str | None:
        """How parts are deflated; None: a bare file is put together from plain ones."""
        return self.method if self.is_archive else None

    @property
    def file_name(self) -> str:
        """The name of the blob, which belongs to no one download."""
        return members.file_name(
            str(self.build.uuid),
            form=self.asked.form,
            core_type=self.asked.core_type,
            core_source=self.asked.core_source,
        )

    def rows(self, member: members.Member) -> int:
        """How many rows a file will have, its header not counted."""
        return int(self.counts["rows"][member.entity])

    @property
    def total(self) -> int:
        """Rows over all files."""
        return sum(self.rows(member) for member in self.files)

    def cuts(self, member: members.Member) -> list[Range]:
        """The stretches a file is cut into; one, without bounds, for a small file."""
        bounds = [uuid.UUID(each) for each in self.counts["cuts"].get(member.entity, [])]
        return list(zip([None, *bounds], [*bounds, None], strict=True))

    @property
    def has_parts(self) -> bool:
        """Whether parts are made and kept: some file of lines has more than one stretch."""
        return self.is_lines and any(len(self.cuts(member)) > 1 for member in self.files)

    def shares(self, entity: str) -> list[citation.Share]:
        """Rows per recordset."""
        return [citation.Share(recordset, rows) for recordset, rows in self.counts["shares"].get(entity, {}).items()]

    def sources(self) -> list[manifest.Source]:
        """The recordsets that contributed, with their metadata."""
        records = self.counts["shares"].get("records", {})
        known = Recordset.objects.in_bulk(list(records) + list(self.counts["shares"].get("media", {})))
        return [
            manifest.Source(str(each.uuid), each.name, each.licence, records.get(str(each.uuid), 0))
            for each in sorted(known.values(), key=lambda each: str(each.uuid))
        ]


def load(build: Build) -> Plan:
    """The plan of a build; without counts until `count` has made them."""
    asked = request.DownloadRequest.from_json(build.request)
    return Plan(build, asked, selection_of(build, asked), build.plan)


def count(plan: Plan, check: Callable[[], None]) -> dict[str, Any]:
    """Count the rows of every kind and cut them into parts: what `Build.plan` keeps; `check()` may raise to stop."""
    counts: dict[str, Any] = {"rows": {}, "shares": {}, "cuts": {}, "excluded": 0}
    entities = {member.entity for member in plan.files}
    with db.snapshot() as snapshot, _heeding(snapshot, check):
        calm(snapshot)
        if plan.asked.since:
            _make_delta(plan, snapshot)
        for entity in ("records", "media"):
            if entity in entities or (entity == "records" and plan.is_archive):
                _count_entity(plan, snapshot, entity, counts)
        if "names" in entities:
            ((counts["rows"]["names"],),) = _rows(snapshot, plan.selection.group_count())
        if "media" in entities and plan.selection.may_exclude_media and not plan.asked.since:
            ((counts["excluded"],),) = _rows(snapshot, plan.selection.media_without_record())
    if "deleted" in entities:
        counts["rows"]["deleted"] = plan.build.deltas.filter(is_deleted=True).count()
    return counts


@contextlib.contextmanager
def _heeding(snapshot: db.Snapshot, check: Callable[[], None]) -> Iterator[None]:
    """Cancel the statement under way once `check` raises: one may count for minutes."""
    over = threading.Event()
    reasons: list[Exception] = []

    def watch() -> None:
        while not over.wait(0.5):
            try:
                check()
            except (jobs.Cancelled, jobs.LeaseLost, jobs.Failure) as reason:
                reasons.append(reason)
                snapshot.connection.connection.cancel()

    watcher = threading.Thread(target=watch, name="counting", daemon=True)
    watcher.start()
    try:
        yield
    except OperationalError as fault:
        if reasons:
            raise reasons[0] from fault
        raise
    finally:
        over.set()
        watcher.join()
    check()


def calm(snapshot: db.Snapshot) -> None:
    """Settings for long reads: one process, no compiling, room to sort a stretch without a file on disk."""
    with snapshot.connection.cursor() as cursor:
        cursor.execute("SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '64MB'")


# By the planner's figures of the table and of the index that holds its closed rows; where they lack, the answer is no.
_FEW_ARE_CLOSED = """
SELECT EXISTS (SELECT 1 FROM pg_class c, pg_class t
    WHERE c.oid = to_regclass('downloads_record_closed') AND t.oid = to_regclass('downloads_record')
        AND c.reltuples >= 0 AND c.reltuples < t.reltuples / 10)
"""


def can_walk(plan: Plan, snapshot: db.Snapshot) -> bool:
    """Whether all records are asked for and few versions are closed: then one walk is cheaper than to choose first."""
    return plan.selection.is_every_record and bool(snapshot.rows(_FEW_ARE_CLOSED)[0][0])


def walk(snapshot: db.Snapshot) -> None:
    """Let rows be read in the order of the index on their uuid: whole lines must not go through a sort."""
    with snapshot.connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")


def _rows(snapshot: db.Snapshot, query: Sql) -> list[tuple[Any, ...]]:
    return snapshot.rows(query.text, query.params or None)


def _count_entity(plan: Plan, snapshot: db.Snapshot, entity: Any, counts: dict[str, Any]) -> None:
    size = settings.DOWNLOADS_PART_ROWS
    found = _rows(snapshot, plan.selection.shares(entity, max(1, size // _GRAINS)))
    shares = {str(recordset): rows for recordset, _stretch, rows in found if recordset is not None}
    stretches = sorted((start, rows) for recordset, start, rows in found if recordset is None)
    counts["shares"][entity] = shares
    counts["rows"][entity] = sum(shares.values())
    counts["cuts"][entity] = [str(each) for each in _cuts(stretches, size)]


def _cuts(stretches: list[tuple[int, int]], size: int) -> Iterator[uuid.UUID]:
    """Uuids at which parts begin, so that each but the last has about `size` rows."""
    held = 0
    for start, rows in stretches:
        if held and held + rows > size:
            yield uuid.UUID(int=start * _STRETCH)
            held = 0
        held += rows


def _make_delta(plan: Plan, snapshot: db.Snapshot) -> None:
    """Which core ids have other rows than at the version counted from; gathered there, stored here."""
    old_version = since_version(plan.asked, snapshot)
    now = Selection(plan.asked, plan.build.data_version, plan.selection.hidden)
    old = Selection(plan.asked, old_version, hidden_at(old_version))
    # Never build on the tables of an earlier attempt.
    plan.build.deltas.all().delete()
    query = _delta_sql(old, now)
    lines = (
        db.copy_line((plan.build.uuid, coreid, is_deleted))
        for coreid, is_deleted in snapshot.stream(query.text, query.params or None)
    )
    db.copy_in("downloads_delta", ("build_id", "coreid", "is_deleted"), lines)


def _delta_sql(old: Selection, now: Selection) -> Sql:
    both = {
        name: each.identities("records") + " UNION ALL " + each.identities("media")
        for name, each in (("o", old), ("n", now))
    }
    return (
        "WITH o AS MATERIALIZED ("
        + both["o"]
        + "), n AS MATERIALIZED ("
        + both["n"]
        + "), touched AS ("
        + "SELECT coreid FROM (TABLE o EXCEPT TABLE n) gone UNION SELECT coreid FROM (TABLE n EXCEPT TABLE o) come"
        + ") SELECT t.coreid, NOT EXISTS (SELECT 1 FROM n WHERE n.coreid = t.coreid) FROM touched t ORDER BY t.coreid"
    )


def metadata(plan: Plan, files: list[manifest.File]) -> bytes:
    """`manifest.json`."""
    return manifest.manifest(
        build=str(plan.build.uuid),
        data_version=plan.build.data_version,
        snapshot=plan.build.snapshot_at,
        query=normal_seven(plan.asked),
        files=files,
        media_without_record=plan.counts["excluded"],
        recordsets=plan.sources(),
    )


def normal_seven(asked: request.DownloadRequest) -> dict[str, Any]:
    """The object of seven with normalised queries: what equal builds have in common."""
    return asked.seven | {"rq": asked.normal_rq, "mq": asked.normal_mq}


def places_of(member: members.Member, raw_names: list[str]) -> list[int | None]:
    """Where the columns of a file with chosen columns stand in the stored lines (index terms first, then raw).

    None for a provider term that may be named but that no row has yet.
    """
    table = terms.RECORD_TERMS if member.entity == "records" else terms.MEDIA_TERMS
    index = {term.name: place for place, term in enumerate(table)}
    has_index = any(column.term is not None for column in member.columns)
    raw_start = len(table) if has_index else 0
    raw = {name: raw_start + place for place, name in enumerate(raw_names)}
    return [
        raw.get(column.provider_term) if column.term is None else index[column.term.name] for column in member.columns
    ]
