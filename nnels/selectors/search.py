"""Keyword search: three stemmers over folded text, rank on the narrow vector (contract 2.10, 9).

A query is made once, by the first statement, and handed to the others as what it became. There it stands in a
sub-select, so that the planner takes the index whatever it believes about the words.
"""

import dataclasses
from typing import Any

from django.conf import settings

from nnels.formats import text
from nnels.selectors import conditions, listing, reads

SORTS = {**conditions.ITEM_SORTS, "relevance": "relevance"}
# Fewer narrow hits than this, and the descriptions are searched too.
FEW = 10
_QUERY = "(SELECT %s::tsquery)"
# 0.5 … 1 for hits in title, creators and subjects; exclusions take no part in it.
_RANK = f"0.5 + 0.5 * ts_rank(s.search, {_QUERY}, 32)"
_WIDE_RANK = f"0.5 * ts_rank(i.search_wide, {_QUERY}, 32)"
_NO_JIT = "SET LOCAL jit = off; "
_ENTRIES = "nnels_searchentry s"
_WITH_ITEMS = f"{_ENTRIES} JOIN nnels_item i ON i.id = s.item_id"


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """A found item: its stored document and how well it fits (0 … 1)."""

    id: int
    doc: str
    relevance: float


@dataclasses.dataclass(frozen=True)
class _Sql:
    """A piece of SQL and its parameters."""

    text: str
    bound: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Made:
    """A query as the database made it, whole and without exclusions, and its hits in the narrow vector."""

    whole: str
    positive: str
    count: int

    @property
    def narrow(self) -> _Sql:
        """Hits in title, creators, ISBN and subjects."""
        return _Sql(f"s.search @@ {_QUERY}", (self.whole,))

    @property
    def wide(self) -> _Sql:
        """Hits with the descriptions too. An exclusion holds for what is searched: a narrow hit stays one."""
        return _Sql(
            f"i.id IN (SELECT item_id FROM nnels_searchentry WHERE search @@ {_QUERY} "
            f"UNION ALL SELECT id FROM nnels_item WHERE published AND search_wide @@ {_QUERY})",
            (self.whole, self.whole),
        )


def find(query: text.Query, asked: listing.Listing) -> tuple[list[Hit], int]:
    """One page of hits and how many there are; two statements."""
    if query.is_empty:
        return [], 0
    if query.isbn:
        return _together(_Sql("i.isbn @> %s", ([query.isbn],)), _Sql("1.0"), asked)
    made = _make(query, asked)
    exact = _Sql("s.title = %s", (query.title,))
    if made.count < FEW:
        return _together(made.wide, _relevance(exact, made, is_wide=True), asked)
    return _page(made.narrow, made.count, _relevance(exact, made), asked), made.count


def matching(query: text.Query, asked: listing.Listing) -> tuple[str, list[Any]]:
    """The condition on `i` under which an item is a hit of `find`, with its parameters; at most one statement."""
    if query.is_empty:
        return "false", []
    if query.isbn:
        return "i.isbn @> %s", [[query.isbn]]
    made = _make(query, asked)
    if made.count < FEW:
        return made.wide.text, list(made.wide.bound)
    return f"i.id IN (SELECT s.item_id FROM {_ENTRIES} WHERE {made.narrow.text})", list(made.narrow.bound)


def _tsquery(query: text.Query) -> _Sql:
    """The query: exclusions stand apart, or another stemmer's branch would let the excluded word through."""
    if not query.negative:
        return _Sql("nnels_query(%s)", (query.positive,))
    return _Sql("(nnels_query(%s) && !!nnels_query(%s))", (query.positive, query.negative))


def _make(query: text.Query, asked: listing.Listing) -> _Made:
    whole = _tsquery(query)
    match = _Sql("s.search @@ (SELECT whole FROM made)")
    source, where, bound = _source(match, dataclasses.replace(asked, sort=()))
    found = reads.rows(
        f"WITH made AS MATERIALIZED (SELECT {whole.text} AS whole, nnels_query(%s) AS positive) "
        f"SELECT whole::text, positive::text, (SELECT count(*) FROM {source} WHERE {where}) FROM made",
        (*whole.bound, query.positive, *bound),
        prelude=_NO_JIT,
    )
    return _Made(*found[0])


def _relevance(exact: _Sql, made: _Made, *, is_wide: bool = False) -> _Sql:
    """1 for the exact title, then by rank; beyond `NNELS_RANK_LIMIT` hits no rank is worth reading them all."""
    if is_wide:
        few = f"(SELECT count(*) FROM hits) <= {int(settings.NNELS_RANK_LIMIT)}"
        rank = _Sql(
            f"CASE WHEN {made.narrow.text} THEN {_RANK} WHEN {few} THEN {_WIDE_RANK} ELSE 0.25 END",
            (*made.narrow.bound, made.positive, made.positive),
        )
    elif made.count <= settings.NNELS_RANK_LIMIT:
        rank = _Sql(_RANK, (made.positive,))
    else:
        rank = _Sql("0.5")
    return _Sql(f"CASE WHEN {exact.text} THEN 1.0 ELSE {rank.text} END", (*exact.bound, *rank.bound))


def _source(match: _Sql, asked: listing.Listing) -> tuple[str, str, tuple[Any, ...]]:
    """FROM, WHERE and parameters of all hits: items are read only where the conditions or the order need them."""
    where, values = conditions.where(asked.conditions, conditions.ITEM_FIELDS)
    is_narrow = match.text.startswith("s.") and not where and all(name in ("relevance", "id") for name, _ in asked.sort)
    return _ENTRIES if is_narrow else _WITH_ITEMS, f"{match.text}{where}", (*match.bound, *values)


def _order(asked: listing.Listing) -> str:
    sorts = {**SORTS, "id": "s.item_id"}
    return conditions.order(asked.sort or (("relevance", True),), sorts, last="s.item_id")


def _hit(row: tuple[Any, ...]) -> Hit:
    return Hit(row[0], row[1], round(float(row[2]), 4))


def _page(match: _Sql, total: int, relevance: _Sql, asked: listing.Listing) -> list[Hit]:
    """A page of hits whose number is known."""
    if asked.offset >= total:
        return []
    source, where, bound = _source(match, asked)
    # Ids and ranks first, the wide rows of the page afterwards.
    found = reads.rows(
        "SELECT i.id, i.doc, page.relevance FROM nnels_item i "
        "JOIN (SELECT row_number() OVER () AS place, item_id, relevance "
        f"FROM (SELECT s.item_id, {relevance.text} AS relevance FROM {source} WHERE {where} "
        f"ORDER BY {_order(asked)} LIMIT %s OFFSET %s) AS ranked) AS page ON page.item_id = i.id ORDER BY page.place",
        (*relevance.bound, *bound, asked.range, asked.offset),
        prelude=_NO_JIT,
    )
    return [_hit(row) for row in found]


def _together(match: _Sql, relevance: _Sql, asked: listing.Listing) -> tuple[list[Hit], int]:
    """A page of hits and their number in one statement: finding them costs more than ranking them."""
    where, values = conditions.where(asked.conditions, conditions.ITEM_FIELDS)
    found = reads.rows(
        f"WITH hits AS MATERIALIZED (SELECT i.id FROM nnels_item i WHERE i.published AND {match.text}{where}) "
        "SELECT i.id, i.doc, page.relevance, counted.total FROM (SELECT count(*) AS total FROM hits) AS counted "
        "LEFT JOIN (SELECT row_number() OVER () AS place, item_id, relevance "
        f"FROM (SELECT s.item_id, {relevance.text} AS relevance FROM hits "
        "JOIN nnels_item i ON i.id = hits.id JOIN nnels_searchentry s ON s.item_id = hits.id "
        f"ORDER BY {_order(asked)} LIMIT %s OFFSET %s) AS ranked) AS page ON true "
        "LEFT JOIN nnels_item i ON i.id = page.item_id ORDER BY page.place",
        (*match.bound, *values, *relevance.bound, asked.range, asked.offset),
        prelude=_NO_JIT,
    )
    return [_hit(row) for row in found if row[0] is not None], int(found[0][3])
