"""What became of a version's rows since another version of its repository, or since an instant (contract §10.2).

Each row of a delta says what happened to it: ``added``, ``changed``, ``retired`` (now, and not before) or ``removed``.
Between two versions the finished JSON decides: a delta from v1 laid over the export of v1 gives the rows of v2, byte
by byte. Since an instant the rows' own times decide, as with ``updatedSince``; removed is what the newest version cut
before it, or any cut since, held and this one does not, and what left HEAD between the instant and this version's cut.
A removed row comes as it was last held.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from core import db
from exports.formats import stamps
from exports.models import (
    Concept,
    ConceptVersion,
    Departure,
    Fragment,
    Mapping,
    MappingVersion,
    RepoVersion,
    VersionConcept,
    VersionMapping,
    VersionReference,
)
from exports.models.repos import HEAD
from exports.selectors import rows

ACTIONS = ("added", "changed", "retired", "removed")
#: SQL of rows with the columns ``part`` (0, then 1 and 2 for what was removed), ``place``, ``action``, ``body`` and the
#: ``fragment`` this is of (null for references)
Statement = tuple[str, list[Any]]
_LINE = """'{"action": "' || action || '", "row": ' || body || '}'"""


@dataclass(frozen=True)
class _Tables:
    held: str
    row: str
    thing: str
    key: str  # column of a row version that names its concept or mapping


def _name(model: Any) -> str:
    return str(model._meta.db_table)


_TABLES = {
    "concepts": _Tables(_name(VersionConcept), _name(ConceptVersion), _name(Concept), "concept_id"),
    "mappings": _Tables(_name(VersionMapping), _name(MappingVersion), _name(Mapping), "mapping_id"),
}
_FRAGMENT, _VERSION, _REFERENCE = _name(Fragment), _name(RepoVersion), _name(VersionReference)
_DEPARTURE = _name(Departure)
#: a reference is told by its expression
_WHAT = "({}.body::json ->> 'expression')"


@dataclass(frozen=True)
class Measured:
    """How many rows there are, how many bytes they have together, and how many rows per action."""

    rows: int
    size: int
    actions: dict[str, int]


def statement(version: RepoVersion, name: str, *, base: RepoVersion | None, moment: dt.datetime | None) -> Statement:
    """The delta of one array: from ``base``, or since ``moment``."""
    if name == "references":
        return _references_from(version, base) if base else _references_since(version, moment)
    return _rows_from(version, _TABLES[name], base) if base else _rows_since(version, name, moment)


def lines(of: Statement) -> Statement:
    """The rows for ``rows.stream`` and ``line``, newest first, what was removed behind them."""
    sql, params = of
    return f"SELECT action, {rows.narrow('body', 'fragment')} FROM ({sql}) d ORDER BY part, place", params


def line(action: str, body: str) -> str:
    """One finished row, as ``_LINE`` writes it."""
    return f'{{"action": "{action}", "row": {body}}}'


def measured(view: db.Snapshot, of: Statement) -> Measured:
    sql, params = of
    found = view.rows(
        f"SELECT action, count(*), coalesce(sum(octet_length({_LINE})), 0) FROM ({sql}) d GROUP BY action", params
    )
    actions = dict.fromkeys(ACTIONS, 0) | {action: int(count) for action, count, _ in found}
    return Measured(sum(actions.values()), sum(int(size) for _, _, size in found), actions)


def _rows_from(version: RepoVersion, tables: _Tables, base: RepoVersion) -> Statement:
    before = (
        f"SELECT r.{tables.key} AS thing, h.fragment_id, h.retired, f.sha256 FROM {tables.held} h"
        f" JOIN {tables.row} r ON r.id = h.row_id JOIN {_FRAGMENT} f ON f.id = h.fragment_id WHERE h.version_id = %s"
    )
    now = (
        "SELECT 0 AS part, h.position AS place, CASE WHEN b.thing IS NULL THEN 'added'"
        " WHEN h.retired AND NOT b.retired THEN 'retired' ELSE 'changed' END AS action, f.body, f.id AS fragment"
        f" FROM {tables.held} h JOIN {tables.row} r ON r.id = h.row_id JOIN {_FRAGMENT} f ON f.id = h.fragment_id"
        f" LEFT JOIN ({before}) b ON b.thing = r.{tables.key} WHERE h.version_id = %s"
        " AND (b.thing IS NULL OR (b.fragment_id <> h.fragment_id AND b.sha256 <> f.sha256))"
    )
    gone, values = _removed(version, tables, "h.version_id = %s", [base.pk])
    return f"{now} UNION ALL {gone}", [base.pk, version.pk, *values]


def _rows_since(version: RepoVersion, name: str, moment: dt.datetime | None) -> Statement:
    tables = _TABLES[name]
    now = (
        "SELECT 0 AS part, h.position AS place, CASE WHEN h.since >= %s AND h.since > h.updated_at THEN 'added'"
        " WHEN p.retired IS NULL THEN 'added' WHEN h.retired AND NOT p.retired THEN 'retired' ELSE 'changed' END"
        f" AS action, f.body, f.id AS fragment FROM {tables.held} h JOIN {tables.row} r ON r.id = h.row_id"
        f" JOIN {_FRAGMENT} f ON f.id = h.fragment_id LEFT JOIN LATERAL (SELECT o.retired FROM {tables.row} o"
        f" WHERE o.{tables.key} = r.{tables.key} AND o.updated_at < %s ORDER BY o.updated_at DESC, o.id DESC LIMIT 1) p"
        " ON true WHERE h.version_id = %s AND (h.updated_at >= %s OR h.since >= %s)"
    )
    which, values = _versions_since(version, moment)
    gone, more = _removed(version, tables, which, values)
    told = (
        f"SELECT 1 FROM {tables.held} h JOIN {tables.row} r ON r.id = h.row_id"
        f" JOIN {tables.thing} t ON t.id = r.{tables.key} WHERE t.uri = d.what AND (h.version_id = %s OR {which})"
    )
    left, still = _departed(version, name, moment, told, [version.pk, *values])
    return (
        f"{now} UNION ALL {gone} UNION ALL {left}",
        [moment, moment, version.pk, moment, moment, *more, *still],
    )


def _departed(version: RepoVersion, name: str, moment: dt.datetime | None, told: str, values: list[Any]) -> Statement:
    """What left HEAD between an instant and the version's cut, as it was shown last. ``told`` finds what a version
    holds of it: this one, which has it again, or another that tells of its removal already."""
    newest = (
        f"SELECT DISTINCT ON (what) what, fragment_id, body FROM {_DEPARTURE} WHERE repo_id = %s AND kind = %s"
        " AND left_at >= %s AND left_at < %s ORDER BY what, left_at DESC, id DESC"
    )
    return (
        "SELECT 2 AS part, row_number() OVER (ORDER BY d.what) AS place, 'removed' AS action,"
        f" coalesce(d.body, f.body) AS body, f.id AS fragment FROM ({newest}) d"
        f" LEFT JOIN {_FRAGMENT} f ON f.id = d.fragment_id WHERE NOT EXISTS ({told})",
        [version.repo_id, name, moment, version.created_at, *values],
    )


def _versions_since(version: RepoVersion, moment: dt.datetime | None) -> Statement:
    """The versions a client may hold at an instant or have seen since, as a condition over ``h.version_id``."""
    earlier = (
        f"SELECT v.id FROM {_VERSION} v WHERE v.repo_id = %s AND v.name <> %s AND v.id <> %s"
        " AND (v.created_at, v.id) < (%s, %s)"
    )
    mine = [version.repo_id, HEAD, version.pk, version.created_at, version.pk]
    newest = f"({earlier} AND v.created_at < %s ORDER BY v.created_at DESC, v.id DESC LIMIT 1)"
    return (
        f"h.version_id IN ({earlier} AND v.created_at >= %s UNION ALL {newest})",
        [*mine, moment, *mine, moment],
    )


def _removed(version: RepoVersion, tables: _Tables, which: str, values: list[Any]) -> Statement:
    """Rows that the versions of a condition held and this one does not, each as its newest holder had it."""
    held = (
        f"SELECT DISTINCT ON (r.{tables.key}) r.{tables.key} AS thing, h.fragment_id FROM {tables.held} h"
        f" JOIN {tables.row} r ON r.id = h.row_id JOIN {_VERSION} v ON v.id = h.version_id WHERE {which}"
        f" ORDER BY r.{tables.key}, v.created_at DESC, v.id DESC"
    )
    mine = (
        f"SELECT 1 FROM {tables.held} m JOIN {tables.row} o ON o.id = m.row_id"
        f" WHERE m.version_id = %s AND o.{tables.key} = g.thing"
    )
    return (
        "SELECT 1 AS part, row_number() OVER (ORDER BY t.uri) AS place, 'removed' AS action, f.body, f.id AS fragment"
        f" FROM ({held}) g JOIN {tables.thing} t ON t.id = g.thing JOIN {_FRAGMENT} f ON f.id = g.fragment_id"
        f" WHERE NOT EXISTS ({mine})",
        [*values, version.pk],
    )


def _references_from(version: RepoVersion, base: RepoVersion) -> Statement:
    now = (
        "SELECT 0 AS part, h.position AS place, CASE WHEN b.body IS NULL THEN 'added' ELSE 'changed' END AS action,"
        f" h.body, NULL::bigint AS fragment FROM {_REFERENCE} h LEFT JOIN {_REFERENCE} b ON b.version_id = %s"
        f" AND {_WHAT.format('b')} = {_WHAT.format('h')} WHERE h.version_id = %s AND b.body IS DISTINCT FROM h.body"
    )
    gone, values = _references_removed(version, "h.version_id = %s", [base.pk])
    return f"{now} UNION ALL {gone}", [base.pk, version.pk, *values]


def _references_since(version: RepoVersion, moment: dt.datetime | None) -> Statement:
    now = (
        "SELECT 0 AS part, h.position AS place, CASE WHEN (h.body::json ->> 'created_at')::timestamptz >= %s"
        f" THEN 'added' ELSE 'changed' END AS action, h.body, NULL::bigint AS fragment FROM {_REFERENCE} h"
        " WHERE h.version_id = %s AND h.updated_at >= %s"
    )
    which, values = _versions_since(version, moment)
    gone, more = _references_removed(version, which, values)
    told = f"SELECT 1 FROM {_REFERENCE} h WHERE {_WHAT.format('h')} = d.what AND (h.version_id = %s OR {which})"
    left, still = _departed(version, "references", moment, told, [version.pk, *values])
    return f"{now} UNION ALL {gone} UNION ALL {left}", [moment, version.pk, moment, *more, *still]


def _references_removed(version: RepoVersion, which: str, values: list[Any]) -> Statement:
    held = (
        f"SELECT DISTINCT ON ({_WHAT.format('h')}) {_WHAT.format('h')} AS what, h.body FROM {_REFERENCE} h"
        f" JOIN {_VERSION} v ON v.id = h.version_id WHERE {which}"
        f" ORDER BY {_WHAT.format('h')}, v.created_at DESC, v.id DESC"
    )
    return (
        "SELECT 1 AS part, row_number() OVER (ORDER BY g.what) AS place, 'removed' AS action, g.body,"
        f" NULL::bigint AS fragment FROM ({held}) g WHERE NOT EXISTS"
        f" (SELECT 1 FROM {_REFERENCE} m WHERE m.version_id = %s AND {_WHAT.format('m')} = g.what)",
        [*values, version.pk],
    )


def header(version: RepoVersion, *, base: RepoVersion | None, moment: dt.datetime | None,
           counts: dict[str, dict[str, int]], stamp: dt.datetime) -> dict[str, Any]:  # fmt: skip
    """What stands before the arrays."""
    return {
        "type": f"{version.repo.kind.capitalize()} Version Delta",
        "id": version.name,
        "short_code": version.repo.mnemonic,
        "url": version.repo.uri,
        "version": version.name,
        "version_url": version.uri,
        "since": base.name if base else stamps.iso(moment),
        "since_version_url": f"{version.repo.uri}{base.name}/" if base else None,
        "last_updated": stamps.iso(stamp),
        "counts": counts,
    }
