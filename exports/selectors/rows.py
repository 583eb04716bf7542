"""Which concepts and mappings a version holds, as SQL over the finished fragments.

Three places hold rows: a frozen version (lines with positions), the HEAD of a source (latest versions) and the HEAD
of a collection (members, pinned or following). ``Rows`` hides the difference; newest row first everywhere.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from django.db import connection

from core import db
from exports import models

Kind = Literal["concepts", "mappings"]


@dataclass(frozen=True)
class _Tables:
    row: str
    version: str
    held: str
    key: str  # column of the row in its version and in HeadMember


def _name(model: Any) -> str:
    return str(model._meta.db_table)


_TABLES = {
    "concepts": _Tables(_name(models.Concept), _name(models.ConceptVersion), _name(models.VersionConcept), "concept"),
    "mappings": _Tables(_name(models.Mapping), _name(models.MappingVersion), _name(models.VersionMapping), "mapping"),
}
_NEWEST = "h.updated_at DESC, h.rank DESC, h.id DESC"
#: private content shows only in its owner's collections, or in private ones (contract §2.7)
_MAY_SHOW = (
    "(s.public_access <> 'None' OR k.public_access = 'None' OR (s.organization_id IS NOT DISTINCT FROM"
    " k.organization_id AND s.user_id IS NOT DISTINCT FROM k.user_id))"
)


#: rows that a stream holds at once, and the length above which one is wide: such come one by one, or a fetch could be
#: as large as all of them together
BLOCK_ROWS, WIDE = 500, 16 * 1024


def narrow(body: str = "f.body", fragment: str = "f.id") -> str:
    """Columns of a fragment's text for ``stream``: the text, or the fragment's id when it is wide."""
    is_wide = f"octet_length({body}) > {WIDE} AND {fragment} IS NOT NULL"
    return f"CASE WHEN {is_wide} THEN NULL ELSE {body} END, CASE WHEN {is_wide} THEN {fragment} END"


def stream(view: db.Snapshot, sql: str, params: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement whose last two columns are ``narrow``, with the text in their place; so many at a time
    that what is held is small however wide they are."""
    whole = f"SELECT body FROM {_name(models.Fragment)} WHERE id = %s"
    for *others, body, fragment in view.stream(sql, params, size=BLOCK_ROWS):
        yield (*others, body if fragment is None else view.rows(whole, [fragment])[0][0])


@dataclass(frozen=True)
class Rows:
    """A question about rows; each narrowing returns a new one."""

    kind: Kind
    source: str  # FROM … WHERE …
    row: str  # SQL of the row version's id
    since: str  # SQL of when the row came to belong here
    order: str
    params: tuple[Any, ...]
    conditions: tuple[str, ...] = ()
    values: tuple[Any, ...] = field(default=())

    def where(self, condition: str, *values: Any) -> "Rows":
        """Narrow by a condition over ``h`` (the held line) or ``r`` (the row version)."""
        return replace(self, conditions=(*self.conditions, condition), values=(*self.values, *values))

    def without_retired(self) -> "Rows":
        return self.where("NOT h.retired")

    def changed_since(self, moment: dt.datetime) -> "Rows":
        """Changed at or after an instant, or member since then."""
        if self.since == "h.updated_at":
            return self.where("h.updated_at >= %s", moment)
        return self.where(f"(h.updated_at >= %s OR {self.since} >= %s)", moment, moment)

    def sorted(self, order: str) -> "Rows":
        return replace(self, order=f"{order}, {self.order}")

    def sql(self, columns: str, *, limit: int = 0, offset: int = 0, ordered: bool = True) -> tuple[str, list[Any]]:
        """The statement. ``columns`` may use ``h``, ``r`` and ``f`` (the fragment), which are joined when named."""
        text = self.source
        needed = f"{columns} {' '.join(self.conditions)} {self.order if ordered else ''}"
        joins = ""
        if "r." in needed or "t." in needed:
            joins += f" JOIN {_TABLES[self.kind].version} r ON r.id = {self.row}"
        if "t." in needed:
            joins += f" JOIN {_TABLES[self.kind].row} t ON t.id = r.{_TABLES[self.kind].key}_id"
        if "f." in needed:
            joins += f" JOIN {_name(models.Fragment)} f ON f.id = h.fragment_id"
        text = text.replace(" WHERE ", f"{joins} WHERE ", 1)
        text = " AND ".join((text, *self.conditions))
        order = f" ORDER BY {self.order}" if ordered else ""
        return f"SELECT {columns} FROM {text}{order}{part(limit, offset)}", [*self.params, *self.values]

    def count(self) -> int:
        return int(fetch(self.sql("count(*)", ordered=False))[0][0])

    def bodies(self, *, limit: int, offset: int = 0) -> list[str]:
        """Finished JSON of some rows."""
        return [row[0] for row in fetch(self.sql("f.body", limit=limit, offset=offset))]


def fetch(statement: tuple[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def of(version: models.RepoVersion, kind: Kind) -> Rows:
    """All rows of a version, retired ones included."""
    tables = _TABLES[kind]
    if not version.is_head:
        return Rows(
            kind, f"{tables.held} h WHERE h.version_id = %s", "h.row_id", "h.since", "h.position", (version.pk,)
        )
    if version.repo.is_source:
        return of_sources(kind, "h.source_id = %s", version.repo_id)
    return of_members(kind, "m.collection_id = %s", version.repo_id)


def of_members(kind: Kind, condition: str, *values: Any) -> Rows:
    """What the HEAD of collections shows of the members that a condition over ``m`` names."""
    tables = _TABLES[kind]
    source = (
        f"{_name(models.HeadMember)} m JOIN {tables.version} h ON h.{tables.key}_id = m.{tables.key}_id"
        f" AND CASE WHEN m.{tables.key}_version_id IS NULL THEN h.is_latest ELSE h.id = m.{tables.key}_version_id END"
        f" JOIN {_name(models.Repo)} s ON s.id = h.source_id JOIN {_name(models.Repo)} k ON k.id = m.collection_id"
        f" WHERE {condition} AND {_MAY_SHOW}"
    )
    return Rows(kind, source, "h.id", "m.since", _NEWEST, values)


def of_sources(kind: Kind, condition: str, *values: Any) -> Rows:
    """Latest rows of the sources a condition over ``h.source_id`` names."""
    source = f"{_TABLES[kind].version} h WHERE h.is_latest AND {condition}"
    return Rows(kind, source, "h.id", "h.updated_at", _NEWEST, values)


def references(
    version: models.RepoVersion, columns: str = "h.body", *, limit: int = 0, offset: int = 0
) -> tuple[str, list[Any]]:
    """Statement for the finished references of a frozen collection version."""
    table = _name(models.VersionReference)
    sql = f"SELECT {columns} FROM {table} h WHERE h.version_id = %s ORDER BY h.position{part(limit, offset)}"
    return sql, [version.pk]


def part(limit: int, offset: int) -> str:
    """The end of a statement for some of its rows; a limit of 0 is none."""
    return (f" LIMIT {limit:d}" if limit else "") + (f" OFFSET {offset:d}" if offset else "")
