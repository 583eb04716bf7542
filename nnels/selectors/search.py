"""Keyword search: three stemmers over folded text, rank on the narrow vector (contract 2.10, 9).

A query is made once per statement, by a sub-select: as a plain call it would be made anew for every ranked row.
"""

import dataclasses
from typing import Any

from django.conf import settings

from nnels.formats import text
from nnels.selectors import conditions, listing, reads

SORTS = {**conditions.ITEM_SORTS, "relevance": "relevance"}
# Fewer narrow hits than this, and the descriptions are searched too.
FEW = 10
_QUERY = "(SELECT nnels_query(%s))"
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


def find(query: text.Query, asked: listing.Listing) -> tuple[list[Hit], int]:
    """One page of hits and how many there are; at most three statements."""
    if query.is_empty:
        return [], 0
    if query.isbn:
        match = _Sql("i.isbn @> %s", ([query.isbn],))
        return _page(match, _count(match, asked), _Sql("1.0"), asked)
    match = _narrow(query)
    count = _count(match, asked)
    if count < FEW:
        match = _wide(query)
        count = _count(match, asked)
        return _page(match, count, _relevance(query, count, is_wide=True), asked)
    return _page(match, count, _relevance(query, count), asked)


def matching(query: text.Query, asked: listing.Listing) -> tuple[str, list[Any]]:
    """The condition on `i` under which an item is a hit of `find`, with its parameters; at most one statement."""
    if query.is_empty:
        return "false", []
    if query.isbn:
        return "i.isbn @> %s", [[query.isbn]]
    match = _narrow(query)
    if _count(match, asked) < FEW:
        match = _wide(query)
        return match.text, list(match.bound)
    return f"i.id IN (SELECT s.item_id FROM {_ENTRIES} WHERE {match.text})", list(match.bound)


def _tsquery(query: text.Query) -> _Sql:
    """The query: exclusions stand apart, or another stemmer's branch would let the excluded word through."""
    if not query.negative:
        return _Sql(_QUERY, (query.positive,))
    return _Sql("(SELECT nnels_query(%s) && !!nnels_query(%s))", (query.positive, query.negative))


def _narrow(query: text.Query) -> _Sql:
    """Hits in title, creators, ISBN and subjects."""
    asked = _tsquery(query)
    return _Sql(f"s.search @@ {asked.text}", asked.bound)


def _wide(query: text.Query) -> _Sql:
    """Hits with the descriptions too. An exclusion holds for what is searched: a narrow hit stays one."""
    asked = _tsquery(query)
    return _Sql(
        f"i.id IN (SELECT item_id FROM nnels_searchentry WHERE search @@ {asked.text} "
        f"UNION ALL SELECT id FROM nnels_item WHERE published AND search_wide @@ {asked.text})",
        asked.bound * 2,
    )


def _relevance(query: text.Query, count: int, *, is_wide: bool = False) -> _Sql:
    """1 for the exact title, then by rank; beyond `NNELS_RANK_LIMIT` hits no rank is worth reading them all."""
    is_ranked = count <= settings.NNELS_RANK_LIMIT
    rank = _Sql(_RANK, (query.positive,)) if is_ranked else _Sql("0.5")
    if is_wide:
        narrow = _narrow(query)
        wide = _Sql(_WIDE_RANK, (query.positive,)) if is_ranked else _Sql("0.25")
        rank = _Sql(
            f"CASE WHEN {narrow.text} THEN {rank.text} ELSE {wide.text} END",
            (*narrow.bound, *rank.bound, *wide.bound),
        )
    return _Sql(f"CASE WHEN s.title = %s THEN 1.0 ELSE {rank.text} END", (query.title, *rank.bound))


def _source(match: _Sql, asked: listing.Listing) -> tuple[str, str, tuple[Any, ...]]:
    """FROM, WHERE and parameters of all hits: items are read only where the conditions or the order need them."""
    where, values = conditions.where(asked.conditions, conditions.ITEM_FIELDS)
    is_narrow = match.text.startswith("s.") and not where and all(name in ("relevance", "id") for name, _ in asked.sort)
    return _ENTRIES if is_narrow else _WITH_ITEMS, f"{match.text}{where}", (*match.bound, *values)


def _count(match: _Sql, asked: listing.Listing) -> int:
    source, where, bound = _source(match, dataclasses.replace(asked, sort=()))
    found = reads.rows(f"SELECT count(*) FROM {source} WHERE {where}", bound, prelude=_NO_JIT)
    return int(found[0][0])


def _page(match: _Sql, total: int, relevance: _Sql, asked: listing.Listing) -> tuple[list[Hit], int]:
    if asked.offset >= total:
        return [], total
    source, where, bound = _source(match, asked)
    sorts = {**SORTS, "id": "s.item_id"}
    order = conditions.order(asked.sort or (("relevance", True),), sorts, last="s.item_id")
    # Ids and ranks first, the wide rows of the page afterwards.
    found = reads.rows(
        "SELECT i.id, i.doc, page.relevance FROM nnels_item i "
        "JOIN (SELECT row_number() OVER () AS place, item_id, relevance "
        f"FROM (SELECT s.item_id, {relevance.text} AS relevance FROM {source} WHERE {where} "
        f"ORDER BY {order} LIMIT %s OFFSET %s) AS ranked) AS page ON page.item_id = i.id ORDER BY page.place",
        (*relevance.bound, *bound, asked.range, asked.offset),
        prelude=_NO_JIT,
    )
    return [Hit(row[0], row[1], round(float(row[2]), 4)) for row in found], total
