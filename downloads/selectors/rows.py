"""Which rows go into which file of a download, and how they are written, as SQL for COPY (contract §2.7, §3.1, §5).

A `Selection` is a query on one version of the store. It gives the rows; `lines` and `keyed_lines` give them as finished
lines of a member. Everything is ordered by the row's own uuid, and may be cut by uuid range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from downloads.formats import cells, members
from downloads.selectors import columns, nodes, parse, request, sql
from downloads.selectors.sql import Sql

_GROUP_COLUMN: Final = {"uniquenames": "t_scientificname", "uniquelocality": "t_locality"}


@dataclass(frozen=True, slots=True)
class Selection:
    """A record query and a media query (None: not given) as of `version`; rows of `hidden` recordsets are left out.

    `grouped` is the core type of unique names or localities: records without the term are left out then.
    """

    version: int
    rq: nodes.Node | None = None
    mq: nodes.Node | None = None
    hidden: tuple[str, ...] = ()
    grouped: str = ""

    @classmethod
    def of(
        cls,
        *,
        version: int,
        rq: Mapping[str, Any] | None,
        mq: Mapping[str, Any] | None,
        hidden: Sequence[str] = (),
        core_type: str = "",
    ) -> Self:
        """From queries already validated, such as the normal forms stored with a build."""
        return cls(
            version=version,
            rq=None if rq is None else parse.query(dict(rq), parse.Known("records")),
            mq=None if mq is None else parse.query(dict(mq), parse.Known("media")),
            hidden=tuple(hidden),
            grouped=core_type if core_type in members.GROUPED else "",
        )

    @classmethod
    def of_request(cls, asked: request.DownloadRequest, *, version: int, hidden: Sequence[str] = ()) -> Self:
        """The selection of an accepted request."""
        return cls.of(version=version, rq=asked.normal_rq, mq=asked.normal_mq, hidden=hidden, core_type=asked.core_type)

    # -- conditions on one row ---------------------------------------------------------------------------------------

    def live(self, alias: str, *, is_link: bool = False) -> Sql:
        """The row belongs to the version."""
        text = f"{alias}.v_from <= %s AND ({alias}.v_to IS NULL OR {alias}.v_to > %s)"
        params: tuple[Any, ...] = (self.version, self.version)
        if self.hidden and not is_link:
            return Sql(f"{text} AND {alias}.recordset_id <> ALL(%s::uuid[])", (*params, list(self.hidden)))
        return Sql(text, params)

    def _own_record(self, alias: str) -> Sql:
        """A live record that satisfies the record query by itself."""
        parts = [self.live(alias)]
        if self.rq is not None:
            parts.append(sql.condition(self.rq, alias))
        if self.grouped:
            parts.append(Sql(f"{alias}.{_GROUP_COLUMN[self.grouped]} IS NOT NULL"))
        return sql.joined("AND", parts)

    def _own_medium(self, alias: str) -> Sql:
        parts = [self.live(alias)]
        if self.mq is not None:
            parts.append(sql.condition(self.mq, alias))
        return sql.joined("AND", parts)

    def record(self, alias: str = "r") -> Sql:
        """True of the selected records (rule 7: with a media query they need a matching media record)."""
        if self.mq is None:
            return self._own_record(alias)
        linked = self._linked_media(alias)
        return sql.joined("AND", [self._own_record(alias), Sql(f"EXISTS ({linked.text})", linked.params)])

    def medium(self, alias: str = "m") -> Sql:
        """True of the selected media: they match, and are linked to a selected record."""
        linked = self._linked_records(alias)
        return sql.joined("AND", [self._own_medium(alias), Sql(f"EXISTS ({linked.text})", linked.params)])

    def _linked_media(self, alias: str, what: str = "1") -> Sql:
        link, own = self.live("l", is_link=True), self._own_medium("lm")
        text = (
            f"SELECT {what} FROM {sql.LINKS} l JOIN {sql.MEDIA} lm ON lm.uuid = l.media"
            f" WHERE l.record = {alias}.uuid AND {link.text} AND {own.text}"
        )
        return Sql(text, link.params + own.params)

    def _linked_records(self, alias: str, what: str = "1") -> Sql:
        link, own = self.live("l", is_link=True), self._own_record("lr")
        text = (
            f"SELECT {what} FROM {sql.LINKS} l JOIN {sql.RECORDS} lr ON lr.uuid = l.record"
            f" WHERE l.media = {alias}.uuid AND {link.text} AND {own.text}"
        )
        return Sql(text, link.params + own.params)

    def first_record(self, alias: str, what: str = "l.record") -> Sql:
        """The first selected record linked to a selected media record, in link order; any linked one is selected."""
        linked = self._linked_records(alias, what)
        return Sql(f"({linked.text} ORDER BY l.position, l.id LIMIT 1)", linked.params)

    def first_medium(self, alias: str) -> Sql:
        """The first selected media record linked to a selected record, in link order."""
        linked = self._linked_media(alias, "l.media")
        return Sql(f"({linked.text} ORDER BY l.position, l.id LIMIT 1)", linked.params)

    # -- whole queries ------------------------------------------------------------------------------------------------

    def records(self, what: str, *, params: Sequence[Any] = (), tail: str = "") -> Sql:
        """`SELECT what FROM` the selected records, alias r; `params` are those of `what`."""
        where = self.record("r")
        return Sql(f"SELECT {what} FROM {sql.RECORDS} r WHERE {where.text} {tail}", (*params, *where.params))

    def media(self, what: str, *, params: Sequence[Any] = (), tail: str = "") -> Sql:
        """`SELECT what FROM` the selected media records, alias m."""
        where = self.medium("m")
        return Sql(f"SELECT {what} FROM {sql.MEDIA} m WHERE {where.text} {tail}", (*params, *where.params))

    def unlinked_media(self) -> Sql:
        """The count of media that match but belong to no record of the version: the manifest's `media_without_record`.

        With a record query that excludes records, media are left out for that reason and none are counted.
        """
        if self.rq not in (None, nodes.EVERYTHING):
            return Sql("SELECT 0")
        everything = Selection(self.version, None, self.mq, self.hidden)
        own, linked = everything._own_medium("m"), everything._linked_records("m")
        text = f"SELECT count(*) FROM {sql.MEDIA} m WHERE {own.text} AND NOT EXISTS ({linked.text})"
        return Sql(text, own.params + linked.params)

    def groups(self) -> Sql:
        """(value, count) of the unique names or localities, by value."""
        column = _GROUP_COLUMN[self.grouped]
        return self.records(
            f'r.{column} COLLATE "C", count(*)', tail=f'GROUP BY r.{column} ORDER BY r.{column} COLLATE "C"'
        )


@dataclass(frozen=True, slots=True)
class Style:
    """How lines are written beside the member's own dialect.

    `raw_version` and `raw_columns` are the raw column set of the data version: a stored raw line of another version is
    rendered anew from `raw`.
    """

    raw_version: int
    raw_columns: tuple[str, ...]
    is_safe: bool = False


def lines(
    selection: Selection,
    member: members.Member,
    style: Style,
    *,
    core: members.Entity = "records",
    low: str | None = None,
    high: str | None = None,
) -> Sql:
    """One text column: the whole lines of a member, CRLF included, by uuid.

    `core` is the entity of the core file: with "media" record rows carry their first selected media uuid as id. Only
    rows with `low` <= uuid < `high` are given. For grouped downloads use `keyed_lines`.
    """
    alias = "m" if member.entity == "media" else "r"
    key, line = _id(selection, member, core, alias), _rest(member, style, alias)
    what = Sql(f"{key.text}::text || {line.text}", key.params + line.params)
    return _rows(selection, member, what, alias, low, high)


def keyed_lines(
    selection: Selection, member: members.Member, style: Style, *, low: str | None = None, high: str | None = None
) -> Sql:
    """Two text columns of a grouped download: the folded value whose `group_id` is the id, and the rest of the line.

    Record rows have their own value; media rows that of their first selected record.
    """
    alias = "m" if member.entity == "media" else "r"
    column = _GROUP_COLUMN[selection.grouped]
    key = selection.first_record("m", f"lr.{column}") if member.entity == "media" else Sql(f"r.{column}")
    line = _rest(member, style, alias)
    return _rows(selection, member, Sql(f"{key.text}, {line.text}", key.params + line.params), alias, low, high)


def _rows(
    selection: Selection, member: members.Member, what: Sql, alias: str, low: str | None, high: str | None
) -> Sql:
    bounds = [Sql(f"{alias}.uuid >= %s::uuid", (low,))] if low else []
    bounds += [Sql(f"{alias}.uuid < %s::uuid", (high,))] if high else []
    where = sql.joined("AND", [selection.medium("m") if alias == "m" else selection.record("r"), *bounds])
    table = sql.MEDIA if alias == "m" else sql.RECORDS
    text = f"SELECT {what.text} FROM {table} {alias} WHERE {where.text} ORDER BY {alias}.uuid"
    return Sql(text, what.params + where.params)


def _id(selection: Selection, member: members.Member, core: members.Entity, alias: str) -> Sql:
    if member.entity == core or member.is_core:
        return Sql(f"{alias}.uuid")
    return selection.first_record("m") if member.entity == "media" else selection.first_medium("r")


def _rest(member: members.Member, style: Style, alias: str) -> Sql:
    """The line behind the id: stored if it can be, else put together from the columns."""
    has_stored = member.is_whole and member.delimiter == cells.COMMA and not style.is_safe
    if has_stored and member.source == "indexterms":
        return Sql(f"{alias}.line_index")
    if has_stored:
        fresh = _fresh_raw(style, alias, member.delimiter)
        text = f"CASE WHEN {alias}.line_version = %s THEN {alias}.line_raw ELSE {fresh.text} END"
        return Sql(text, (style.raw_version, *fresh.params))
    if member.is_whole and member.source == "raw":
        return _fresh_raw(style, alias, member.delimiter)
    return _from_columns(member, style, alias)


def _fresh_raw(style: Style, alias: str, delimiter: str) -> Sql:
    """The raw line, rendered by walking the row once, whatever the number of columns."""
    if not style.raw_columns:
        return Sql("E'\\r\\n'")
    given = columns.jsonb_text("e.value")
    cell = columns.quoted("t.v", delimiter)
    safe = columns.harmless("u.v") if style.is_safe else "u.v"
    sign = "E'\\t'" if delimiter == cells.TAB else f"'{delimiter}'"
    text = (
        f"(SELECT string_agg({sign} || {cell}, '' ORDER BY c.place) || E'\\r\\n'"
        f" FROM unnest(%s::text[]) WITH ORDINALITY AS c(name, place)"
        f" LEFT JOIN jsonb_each({alias}.raw) AS e(key, value) ON e.key = c.name"
        f" CROSS JOIN LATERAL (SELECT {given} OFFSET 0) AS u(v)"
        f" CROSS JOIN LATERAL (SELECT {safe} OFFSET 0) AS t(v))"
    )
    return Sql(text, (list(style.raw_columns),))


def _from_columns(member: members.Member, style: Style, alias: str) -> Sql:
    sign = "E'\\t'" if member.delimiter == cells.TAB else f"'{member.delimiter}'"
    parts = [_cell(column, member, style, alias) for column in member.columns]
    text = "".join(f"{sign} || {part.text} || " for part in parts) + "E'\\r\\n'"
    return Sql(f"({text})", tuple(param for part in parts for param in part.params))


def _cell(column: members.Column, member: members.Member, style: Style, alias: str) -> Sql:
    if column.term is not None:
        return Sql(f"({columns.term(column.term, alias, delimiter=member.delimiter, is_safe=style.is_safe)})")
    safe = columns.harmless("u.v") if style.is_safe else "u.v"
    text = (
        f"(SELECT {columns.quoted('t.v', member.delimiter)}"
        f" FROM (SELECT {safe} FROM (SELECT {columns.jsonb_text('e.j')} FROM (SELECT {alias}.raw -> %s) AS e(j)"
        f" OFFSET 0) AS u(v) OFFSET 0) AS t(v))"
    )
    return Sql(text, (column.header,))
