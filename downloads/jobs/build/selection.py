"""Which rows a build has, as SQL: as of its store version, for both kinds of rows, with the id they carry.

Record rows have alias `r`, media rows `m`. What a row is *carried by* (`coreid`) depends on the core: its own uuid, its
first selected media uuid, its first selected record, or the value it is grouped by (hex, for `formats.reshape`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from downloads.formats import members
from downloads.jobs.build.sqltext import Sql, all_of
from downloads.models import Hiding
from downloads.selectors import parse, request, sql

Entity = Literal["records", "media"]
Range = tuple[uuid.UUID | None, uuid.UUID | None]
EVERYTHING: Range = (None, None)
ENTITIES: tuple[Entity, Entity] = ("records", "media")


def hidden_at(version: int) -> list[uuid.UUID]:
    """Recordsets left out as of a store version."""
    found = Hiding.objects.filter(v_from__lte=version).exclude(v_to__lte=version)
    return sorted(found.values_list("recordset_id", flat=True))


def as_of(alias: str, version: int, hidden: list[uuid.UUID]) -> Sql:
    """True of the row versions valid then; links have no recordset: pass nothing hidden."""
    text = f"{alias}.v_from <= {version:d} AND ({alias}.v_to IS NULL OR {alias}.v_to > {version:d})"
    if not hidden:
        return Sql(text)
    return Sql(f"{text} AND {alias}.recordset_id <> ALL(%s)", (hidden,))


def within(column: str, bounds: Range) -> Sql:
    """True where a uuid lies in a stretch."""
    low, high = bounds
    parts = [Sql(f"{column} >= %s", (low,))] if low else []
    parts += [Sql(f"{column} < %s", (high,))] if high else []
    return all_of(parts)


@dataclass(frozen=True)
class Selection:
    """The rows a request selects from one store version; `delta_of` is the build whose `Delta` narrows them."""

    request: request.DownloadRequest
    version: int
    hidden: list[uuid.UUID]
    delta_of: uuid.UUID | None = None

    @cached_property
    def group_column(self) -> str:
        """The column rows are grouped by, for unique names and localities; else empty."""
        grouped = members.GROUPED.get(self.request.core_type)
        return f"t_{grouped[0]}" if grouped else ""

    @property
    def is_media_core(self) -> bool:
        return self.request.core_type == "mediarecords"

    @property
    def has_media_query(self) -> bool:
        return self.request.normal_mq is not None

    def _record_is_selected(self, alias: str) -> Sql:
        """The row itself satisfies the record query, and has the term it is grouped by."""
        parts = [as_of(alias, self.version, self.hidden)]
        if self.request.normal_rq:
            parts.append(self._where(self.request.normal_rq, "records", alias))
        if self.group_column:
            parts.append(Sql(f"{alias}.{self.group_column} IS NOT NULL"))
        return all_of(parts)

    def _media_is_selected(self, alias: str) -> Sql:
        parts = [as_of(alias, self.version, self.hidden)]
        if self.request.normal_mq:
            parts.append(self._where(self.request.normal_mq, "media", alias))
        return all_of(parts)

    @staticmethod
    def _where(query: dict[str, object], kind: Entity, alias: str) -> Sql:
        # A normalised query names known terms only; what is no longer known matches nothing.
        found = sql.condition(parse.query(query, parse.Known(kind), is_strict=False), alias)
        return Sql(f"({found.text})", found.params)

    def _link(self, alias: str) -> Sql:
        return as_of(alias, self.version, [])

    def _first_media(self) -> Sql:
        """A record's first selected media row, in link order: nothing is selected that has none."""
        return (
            "(SELECT l.media FROM downloads_recordmedia l JOIN downloads_mediarecord m ON m.uuid = l.media "
            "WHERE l.record = r.uuid AND "
            + self._link("l")
            + " AND "
            + self._media_is_selected("m")
            + " ORDER BY l.position, l.media LIMIT 1)"
        )

    def _records(self, bounds: Range) -> Sql:
        """FROM … WHERE of the selected records, with `f.coreid` where media rows are the core."""
        head = Sql("FROM downloads_record r")
        conditions = [within("r.uuid", bounds), self._record_is_selected("r")]
        if self.is_media_core:
            head = head + " CROSS JOIN LATERAL (SELECT " + self._first_media() + " AS coreid) f"
            conditions.append(Sql("f.coreid IS NOT NULL"))
        elif self.has_media_query:
            conditions.append("EXISTS (SELECT 1 FROM " + self._linked_media("l", "r.uuid") + ")")
        return head + " WHERE " + all_of(conditions)

    def _linked_media(self, link: str, record: str) -> Sql:
        return (
            f"downloads_recordmedia {link} JOIN downloads_mediarecord m ON m.uuid = {link}.media "
            f"WHERE {link}.record = {record} AND " + self._link(link) + " AND " + self._media_is_selected("m")
        )

    def _media(self, bounds: Range) -> Sql:
        """FROM … WHERE of the selected media rows; `c.record` is the first selected record in link order."""
        key = f", r.{self.group_column} AS value" if self.group_column else ""
        first = (
            f"(SELECT DISTINCT ON (l.media) l.media, l.record{key} FROM downloads_recordmedia l "
            "JOIN downloads_record r ON r.uuid = l.record AND "
            + self._record_is_selected("r")
            + " WHERE "
            + all_of([within("l.media", bounds), self._link("l")])
            + " ORDER BY l.media, l.position, l.record) c"
        )
        joined = " JOIN downloads_mediarecord m ON m.uuid = c.media WHERE "
        # The bounds hold for m as well, which the planner does not work out: it would read every media row per part.
        return "FROM " + first + joined + all_of([within("m.uuid", bounds), self._media_is_selected("m")])

    def source(self, entity: Entity, bounds: Range = EVERYTHING) -> Sql:
        """FROM … WHERE of the selected rows of a kind within a stretch."""
        found = self._records(bounds) if entity == "records" else self._media(bounds)
        if self.delta_of is None:
            return found
        touched = "SELECT 1 FROM downloads_delta d WHERE d.build_id = %s AND NOT d.is_deleted AND d.coreid = "
        return found + Sql(f" AND EXISTS ({touched}{self.coreid(entity)})", (self.delta_of,))

    def coreid(self, entity: Entity) -> str:
        """SQL of the uuid a row is carried by (records and media cores)."""
        if entity == "records":
            return "f.coreid" if self.is_media_core else "r.uuid"
        return "m.uuid" if self.is_media_core else "c.record"

    def id_text(self, entity: Entity) -> str:
        """SQL, in the columns of `rows`, of the text in the id column, or of the hex value it is made of."""
        alias = "r" if entity == "records" else "m"
        if not self.group_column:
            return f"{alias}.carrier::text"
        value = f"r.{self.group_column}" if entity == "records" else "m.value"
        return f"encode(convert_to({value}, 'UTF8'), 'hex')"

    def rows(self, entity: Entity, columns: str, bounds: Range = EVERYTHING) -> Sql:
        """A SELECT of the rows of a stretch by their own uuid; `columns` may name `r` or `m`.

        Rows are chosen and sorted by what is short (by an index alone where all is asked for), then looked up by their
        key for their lines: whole lines never go through a sort, which would spill them to disk, and rows that fill a
        page are read once. (OFFSET 0 keeps the planner from joining in another order.)
        """
        alias, table = ("r", "downloads_record") if entity == "records" else ("m", "downloads_mediarecord")
        is_valued = entity == "media" and self.group_column
        chosen = f"SELECT {alias}.uuid, {alias}.v_from, {self.coreid(entity)} AS carrier"
        chosen += ", c.value " if is_valued else " "
        carried = "k.carrier, k.value" if is_valued else "k.carrier"
        row = f"SELECT t.*, {carried} FROM {table} t WHERE t.uuid = k.uuid AND t.v_from = k.v_from OFFSET 0"
        return (
            f"SELECT {columns} FROM ("
            + (chosen + self.source(entity, bounds))
            + f" ORDER BY {alias}.uuid) k CROSS JOIN LATERAL ({row}) {alias} ORDER BY k.uuid"
        )

    @property
    def is_every_record(self) -> bool:
        """Whether the records are all there are as of the version, each carried by itself."""
        narrowed = self.request.normal_rq or self.has_media_query or self.delta_of is not None
        return not (narrowed or self.is_media_core or self.group_column)

    def every_record(self, columns: str, bounds: Range = EVERYTHING) -> Sql:
        """The same as `rows` for `is_every_record`, in one walk along an index (see `plan.walk`).

        It reads the rows of closed versions too, only to leave them out.
        """
        inside = all_of([within("r.uuid", bounds), as_of("r", self.version, self.hidden)])
        source = "(SELECT *, uuid AS carrier FROM downloads_record) r"
        return f"SELECT {columns} FROM {source} WHERE " + inside + " ORDER BY r.uuid"

    def shares(self, entity: Entity, grain: int) -> Sql:
        """(recordset, null, rows) per recordset and (null, first two bytes of the first uuid, rows) per stretch.

        A stretch is about `grain` rows, in whole steps of the two bytes, a number from 0 to 65,535.
        """
        alias = "r" if entity == "records" else "m"
        start = f"get_byte(uuid_send({alias}.uuid), 0) * 256 + get_byte(uuid_send({alias}.uuid), 1)"
        return (
            f"WITH g AS MATERIALIZED (SELECT {alias}.recordset_id AS source, {start} AS start, count(*) AS n "
            + self.source(entity)
            + f" GROUP BY GROUPING SETS (({alias}.recordset_id), ({start}))) "
            + "SELECT source, NULL, n FROM g WHERE source IS NOT NULL UNION ALL "
            + "SELECT NULL, min(start), sum(n)::bigint FROM (SELECT start, n, "
            + f"div(sum(n) OVER (ORDER BY start) - n, {grain:d}) AS stretch FROM g WHERE source IS NULL) f "
            + "GROUP BY stretch"
        )

    def groups(self) -> Sql:
        """(value, rows) of the term rows are grouped by, in order of the value."""
        column = f"r.{self.group_column}"
        return f"SELECT {column}, count(*) " + self.source("records") + f" GROUP BY {column} ORDER BY {column}"

    def group_count(self) -> Sql:
        return f"SELECT count(DISTINCT r.{self.group_column}) " + self.source("records")

    def media_without_record(self) -> Sql:
        """How many media rows the media query selects that no selected record carries."""
        return (
            "SELECT count(*) FROM downloads_mediarecord m WHERE "
            + self._media_is_selected("m")
            + " AND NOT EXISTS (SELECT 1 FROM downloads_recordmedia l JOIN downloads_record r ON r.uuid = l.record "
            + "WHERE l.media = m.uuid AND "
            + self._link("l")
            + " AND "
            + self._record_is_selected("r")
            + ")"
        )

    @property
    def may_exclude_media(self) -> bool:
        """Whether media rows are asked for by themselves: by a media query, or by asking for everything."""
        return self.has_media_query or not self.request.normal_rq

    def identities(self, entity: Entity) -> Sql:
        """(kind, uuid, version, coreid) of every selected row, to compare two store versions."""
        alias = "r" if entity == "records" else "m"
        head = f"SELECT '{entity}' AS kind, {alias}.uuid, {alias}.v_from, {self.coreid(entity)} AS coreid "
        return head + self.source(entity)
