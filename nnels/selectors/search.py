"""Keyword search: three stemmers over folded text, rank on the narrow vector (contract 2.10, 9)."""

import dataclasses
from typing import Any

from django.conf import settings

from nnels.formats import text
from nnels.selectors import conditions, listing, reads

SORTS = {**conditions.ITEM_SORTS, "relevance": "relevance"}
# Fewer narrow hits than this, and the descriptions are searched too.
FEW = 10
# 0.5 … 1 for hits in title, creators and subjects; exclusions take no part in it.
_RANK = "0.5 + 0.5 * ts_rank(i.search, nnels_query(%s), 32)"
_NO_JIT = "SET LOCAL jit = off; "


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """A found item: its stored document and how well it fits (0 … 1)."""

    id: int
    doc: str
    relevance: float


def find(query: text.Query, asked: listing.Listing) -> tuple[list[Hit], int]:
    """One page of hits and how many there are; at most three statements."""
    if query.is_empty:
        return [], 0
    where, values = conditions.where(asked.conditions, conditions.ITEM_FIELDS)
    if query.isbn:
        return _page("i.isbn @> %s", [[query.isbn]], where, values, "1.0", [], asked=asked)
    match, bound = _tsquery(query)
    narrow = f"i.search @@ {match}"
    count = _count(narrow, bound, where, values)
    if count < FEW:
        relevance = (
            f"CASE WHEN i.label_sort = %s THEN 1.0 WHEN {narrow} THEN {_RANK} "
            "ELSE 0.5 * ts_rank(i.search_wide, nnels_query(%s), 32) END"
        )
        extra: list[Any] = [query.title, *bound, query.positive, query.positive]
        return _page(_wide(match), bound * 2, where, values, relevance, extra, asked=asked)
    if count > settings.NNELS_RANK_LIMIT:
        relevance, extra = "CASE WHEN i.label_sort = %s THEN 1.0 ELSE 0.5 END", [query.title]
    else:
        relevance, extra = f"CASE WHEN i.label_sort = %s THEN 1.0 ELSE {_RANK} END", [query.title, query.positive]
    return _page(narrow, bound, where, values, relevance, extra, asked=asked, count=count)


def matching(query: text.Query, asked: listing.Listing) -> tuple[str, list[Any]]:
    """The condition under which an item is a hit of `find`, with its parameters; at most one statement."""
    if query.is_empty:
        return "false", []
    if query.isbn:
        return "i.isbn @> %s", [[query.isbn]]
    match, bound = _tsquery(query)
    narrow = f"i.search @@ {match}"
    where, values = conditions.where(asked.conditions, conditions.ITEM_FIELDS)
    if _count(narrow, bound, where, values) >= FEW:
        return narrow, bound
    return _wide(match), bound * 2


def _wide(match: str) -> str:
    """Hits in the narrow vector or, where those are few, in the one with descriptions."""
    return f"(i.search @@ {match} OR i.search_wide @@ {match})"


def _tsquery(query: text.Query) -> tuple[str, list[Any]]:
    """The query's SQL: exclusions stand apart, or another stemmer's branch would let the excluded word through."""
    if not query.negative:
        return "nnels_query(%s)", [query.positive]
    return "(nnels_query(%s) && !!nnels_query(%s))", [query.positive, query.negative]


def _count(match: str, bound: list[Any], where: str, values: list[Any]) -> int:
    found = reads.rows(
        f"SELECT count(*) FROM nnels_item i WHERE i.published AND {match}{where}", [*bound, *values], prelude=_NO_JIT
    )
    return int(found[0][0])


def _page(
    match: str,
    bound: list[Any],
    where: str,
    values: list[Any],
    relevance: str,
    extra: list[Any],
    *,
    asked: listing.Listing,
    count: int | None = None,
) -> tuple[list[Hit], int]:
    total = _count(match, bound, where, values) if count is None else count
    if asked.offset >= total:
        return [], total
    by = asked.sort or (("relevance", True),)
    order = conditions.order(by, SORTS, last="i.id")
    # Ids and ranks first, the wide rows of the page afterwards.
    found = reads.rows(
        "SELECT i.id, i.doc, page.relevance FROM nnels_item i "
        "JOIN (SELECT row_number() OVER () AS place, id, relevance "
        f"FROM (SELECT i.id, {relevance} AS relevance FROM nnels_item i WHERE i.published AND {match}{where} "
        f"ORDER BY {order} LIMIT %s OFFSET %s) AS ranked) AS page ON page.id = i.id ORDER BY page.place",
        [*extra, *bound, *values, asked.range, asked.offset],
        prelude=_NO_JIT,
    )
    return [Hit(row[0], row[1], round(float(row[2]), 4)) for row in found], total
