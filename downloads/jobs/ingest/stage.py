"""First pass: an archive's rows into temporary tables, with identity and fingerprint but not yet normalised.

stage_record, stage_media   one row each: ordinal `n`, place, core id `ref`, uuid, recordset, identifiers, etag, raw
stage_other                 rows of other extensions, to be attached to their records
stage_reject                rows set aside
"""

from __future__ import annotations

import functools
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from django.db import connection

from core import db
from downloads.formats import archive_in, cells, normalise, terms
from downloads.formats.archive_in import meta, reader
from downloads.jobs.ingest import identity, options, trusted

_BATCH = 500
_TABLES = """
CREATE TEMP TABLE stage_record (n bigint, file text COLLATE "C", line bigint, ref text COLLATE "C", uuid uuid,
    is_given boolean, recordset uuid, ids text, etag text COLLATE "C", trusted text, raw text)
    WITH (toast_tuple_target = 8160);
CREATE TEMP TABLE stage_media (LIKE stage_record, refs text COLLATE "C") WITH (toast_tuple_target = 8160);
CREATE TEMP TABLE stage_other (file text COLLATE "C", line bigint, ref text COLLATE "C", type text, size int, raw text)
    WITH (toast_tuple_target = 8160);
CREATE TEMP TABLE stage_reject (file text, line bigint, reason text, message text, row text);
"""
# They are written and read once: to compress them, or to sort by the rules of a language, costs more than it saves.
_STORAGE = "ALTER TABLE {table} ALTER COLUMN raw SET STORAGE EXTERNAL"
_OVERLONG = """
WITH long AS (
    SELECT ref FROM stage_other WHERE ref <> '' GROUP BY ref HAVING sum(size) > %(limit)s
), counted AS (
    SELECT o.ctid AS place, sum(o.size) OVER (PARTITION BY o.ref ORDER BY o.file, o.line, o.ctid) AS size
    FROM stage_other o JOIN long USING (ref)
), gone AS (
    DELETE FROM stage_other o USING counted c WHERE o.ctid = c.place AND c.size > %(limit)s
    RETURNING o.file, o.line, o.raw
)
INSERT INTO stage_reject (file, line, reason, message, row)
    SELECT file, line, 'row_too_long', format('The rows attached to one record are longer than %%s bytes.', %(limit)s),
        left(raw, 8192) FROM gone
"""
"""What is attached to a record is one cell of a download archive: that stays as short as any other."""
_COLUMNS = ("n", "file", "line", "ref", "uuid", "is_given", "recordset", "ids", "etag", "trusted", "raw")
_REJECT_COLUMNS = ("file", "line", "reason", "message", "row")
Check = Callable[[int], None]


def drop() -> None:
    """Remove every temporary table of this connection."""
    with connection.cursor() as cursor:
        cursor.execute("DISCARD TEMP")


class Stage:
    """Fills the temporary tables from one archive; `check(rows)` is called now and then and may raise to stop."""

    def __init__(self, archive: archive_in.Archive, opts: options.Options, check: Check) -> None:
        self.archive = archive
        self.recordset = identity.recordset_of(archive, opts.recordset)
        self.options = opts
        self.check = check
        self.read = 0
        self.raw_names: dict[str, set[str]] = {"records": set(), "media": set()}
        self.recordsets: set[uuid.UUID] = set()
        self.roles: set[str] = set()
        self.rejects = 0
        self._rejects: list[archive_in.Problem] = []

    def fill(self) -> None:
        """Read everything. Afterwards `roles` says what kinds of rows the archive speaks about."""
        with connection.cursor() as cursor:
            cursor.execute(_TABLES)
            for table in ("stage_record", "stage_media", "stage_other"):
                cursor.execute(_STORAGE.format(table=table))
        for pair in self.archive.pairs:
            self._fill_pair(pair)
        if not self.archive.pairs:
            self._fill_tables()
        self._flush_rejects()
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE stage_record (n), stage_media (n, refs), stage_other (ref)")

    def _fill_tables(self) -> None:
        by_role: dict[str, list[meta.Table]] = {"other": [], "records": [], "media": []}
        for table in self.archive.tables:
            by_role[table.role].append(table)
        for table in by_role["other"]:
            if table.is_core:
                raise archive_in.Unreadable("The core of the archive has no occurrences.")
            self._fill_other(table)
        has_other = bool(by_role["other"])
        if has_other:
            with connection.cursor() as cursor:
                cursor.execute(_OVERLONG, {"limit": self.archive.limits.cell})
                cursor.execute("CREATE INDEX ON stage_other (ref); ANALYZE stage_other (ref)")
        for role in ("records", "media"):
            self.recordsets.add(self.recordset)
            for table in by_role[role]:
                self.roles.add(role)
                rows = ((row, None) for row in self.archive.rows(table))
                self._copy(role, rows, table, has_other=has_other and role == "records")

    def _fill_pair(self, pair: reader.Pair) -> None:
        self.roles.add(pair.role)
        raws = self.archive.rows(pair.raw)
        if pair.index is None:
            self.recordsets.add(self.recordset)
            self._copy(pair.role, ((row, None) for row in raws), pair.raw, has_other=False)
            return
        self._copy(pair.role, self._zipped(raws, self.archive.rows(pair.index)), pair.raw, has_other=False)

    @staticmethod
    def _zipped(
        raws: Iterable[archive_in.Row | archive_in.Problem], indexes: Iterable[archive_in.Row | archive_in.Problem]
    ) -> Iterator[tuple[archive_in.Row | archive_in.Problem, archive_in.Row | None]]:
        for raw, index in itertools.zip_longest(raws, indexes):
            if (
                not isinstance(index, archive_in.Row)
                or raw is None
                or (isinstance(raw, archive_in.Row) and raw.id != index.id)
            ):
                raise archive_in.Unreadable("The raw and the indexed files of the archive do not match.")
            yield raw, index

    def _fill_other(self, table: meta.Table) -> None:
        kind = terms.curie(table.row_type)

        def lines() -> Iterator[bytes]:
            for row in self.archive.rows(table):
                self._count()
                if isinstance(row, archive_in.Problem):
                    self._reject(row)
                    continue
                raw = {key: value for key, value in row.raw.items() if key != "coreid"}
                size = len(cells.raw_value(raw)) + len("[], ")
                yield db.copy_line((row.file, row.line, row.id, kind, size, orjson.dumps(raw).decode()))

        db.copy_in("stage_other", ("file", "line", "ref", "type", "size", "raw"), lines())

    def _copy(
        self,
        role: str,
        rows: Iterable[tuple[archive_in.Row | archive_in.Problem, archive_in.Row | None]],
        table: meta.Table,
        *,
        has_other: bool,
    ) -> None:
        """Rows in batches: COPY must not be open while another statement looks for attached rows."""
        target = "stage_record" if role == "records" else "stage_media"
        columns = _COLUMNS if role == "records" else (*_COLUMNS, "refs")
        while batch := list(itertools.islice(rows, _BATCH)):
            attached = self._attached(batch) if has_other else {}
            lines = [line for row, index in batch if (line := self._line(role, row, index, table, attached))]
            if lines:
                db.copy_in(target, columns, lines)
            self.check(self.read)
            if len(self._rejects) >= _BATCH:
                self._flush_rejects()

    def _attached(self, batch: list[tuple[Any, Any]]) -> dict[str, dict[str, list[dict[str, str]]]]:
        """Core id → extension type → its rows, for the records of one batch."""
        ids = [row.id for row, _index in batch if isinstance(row, archive_in.Row) and row.id]
        with connection.cursor() as cursor:
            cursor.execute("SELECT ref, type, raw FROM stage_other WHERE ref = ANY(%s) ORDER BY file, line", [ids])
            found: dict[str, dict[str, list[dict[str, str]]]] = {}
            for ref, kind, raw in cursor.fetchall():
                found.setdefault(ref, {}).setdefault(kind, []).append(_as_jsonb(orjson.loads(raw)))
        return found

    def _line(
        self,
        role: str,
        row: archive_in.Row | archive_in.Problem,
        index: archive_in.Row | None,
        table: meta.Table,
        attached: dict[str, dict[str, list[dict[str, str]]]],
    ) -> bytes:
        """The row as a line of COPY, or nothing when it is set aside."""
        self._count()
        if isinstance(row, archive_in.Problem):
            self._reject(row)
            return b""
        raw: dict[str, Any] = row.raw
        if self.archive.pairs:
            raw.pop(table.id_name, None)  # our own uuid, not the provider's word
        elif row.id in attached:
            raw = dict(sorted((raw | attached[row.id]).items()))
        named = {} if index is None else index.raw
        recordset = self._recordset(role, named)
        text = _text_of(recordset)
        given, identifiers = self._identity(role, raw, row, named, text)
        if not identifiers and given is None:
            message = "The row has no identifier."
            self._reject(archive_in.Problem(row.file, row.line, "no_record_id", message, _shown(raw)))
            return b""
        self.raw_names[role].update(raw)
        values = [
            str(self.read),
            row.file,
            str(row.line),
            "" if role == "media" and (table.is_core or self.archive.pairs) else row.id,
            str(given or identity.made_uuid(recordset, identifiers)),
            "t" if given else "f",
            text,
            _json(identifiers),
            normalise.etag(raw),
            _json(trusted.index(role, named)) if self.options.trust_index and named else "",
            _json(raw),
        ]
        if role == "media":
            values.append(_json(_references(raw, named, self._core_uuid(row, given))))
        return ("\t".join(map(_escaped, values)) + "\n").encode()

    def _recordset(self, role: str, named: dict[str, str]) -> uuid.UUID:
        header = "idigbio:recordset" if role == "records" else "idigbio:recordsets"
        said = identity.as_uuid(named[header]) if header in named and self.options.recordset is None else None
        recordset = said or self.recordset
        self.recordsets.add(recordset)
        return recordset

    def _identity(
        self, role: str, raw: dict[str, Any], row: archive_in.Row, named: dict[str, str], recordset: str
    ) -> tuple[uuid.UUID | None, list[str]]:
        """The uuid the row (or an archive of ours) states outright, if so, and the row's identifiers."""
        of = identity.record_identifiers if role == "records" else identity.media_identifiers
        if not self.archive.pairs:
            return identity.given_uuid(raw), of(raw, recordset)
        stated = [identifier for each in trusted.record_ids(named) if (identifier := identity.kept(each))]
        identifiers = stated or of(raw, recordset)
        said = named.get("idigbio:uuid", "")
        if not said and role == (self.archive.core or "records"):
            said = row.id
        found = identity.as_uuid(said) or identity.given_uuid(raw)
        if found is None and role == "records":  # it is a part of a download: by other names it would be other records
            raise archive_in.Unreadable("The archive does not say the uuids of its records (idigbio:uuid).")
        return found, identifiers

    def _core_uuid(self, row: archive_in.Row, own: uuid.UUID | None) -> str:
        """The uuid of the record a media row of a download archive stands below, if it stands below one."""
        is_below = self.archive.pairs and (self.archive.core or "records") == "records"
        return row.id if is_below and identity.as_uuid(row.id) != own else ""

    def _count(self) -> None:
        self.read += 1

    def _reject(self, problem: archive_in.Problem) -> None:
        self.rejects += 1
        self._rejects.append(problem)

    def _flush_rejects(self) -> None:
        rows = [(each.file, each.line, each.reason, each.message, each.text) for each in self._rejects]
        self._rejects.clear()
        if rows:
            db.copy_rows("stage_reject", _REJECT_COLUMNS, rows)


def _as_jsonb(raw: dict[str, str]) -> dict[str, str]:
    """Keys in the order in which jsonb keeps them, so that a row is the same before and after being stored."""
    return dict(sorted(raw.items(), key=lambda item: (len(item[0].encode()), item[0].encode())))


def _references(raw: dict[str, Any], named: dict[str, str], core_uuid: str) -> list[str]:
    """Uuids of the records a media row says it shows, in order."""
    linked = identity.uuids_in(named.get("idigbio:records", "")) or identity.uuids_in(core_uuid)
    said = raw.get("ac:associatedSpecimenReference", "")
    return list(dict.fromkeys(linked + identity.uuids_in(said if isinstance(said, str) else "")))


_text_of = functools.lru_cache(1000)(str)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _shown(raw: dict[str, Any]) -> str:
    return _json(raw)[:8192]


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\t" in text or "\n" in text or "\r" in text:
        text = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text
