"""Titles and creators that begin with, or resemble, what somebody typed (contract 10.4)."""

import dataclasses

from nnels.formats import text
from nnels.selectors import conditions, reads

MOST = 50
# Below this similarity two words have little to do with each other.
_RESEMBLES = "SET LOCAL pg_trgm.word_similarity_threshold = 0.4; "


@dataclasses.dataclass(frozen=True, slots=True)
class Suggestion:
    """A title (`kind` "title", with its nid) or a creator (`kind` "creator")."""

    label: str
    kind: str
    nid: int | None


def find(said: str, *, most: int) -> list[Suggestion]:
    """At most `most` suggestions for a text, those that begin with it first."""
    folded = text.plain(said)
    if not text.words(folded):
        return []
    start = f"{conditions.like(folded)}%"
    found = reads.rows(
        "SELECT label, kind, nid FROM ("
        "(SELECT i.label, 'title' AS kind, i.id AS nid, i.label_sort LIKE %s AS begins, "
        "word_similarity(%s, i.label_sort) AS near FROM nnels_item i "
        "WHERE i.published AND (i.label_sort LIKE %s OR %s <%% i.label_sort) "
        "ORDER BY begins DESC, near DESC, nid LIMIT %s)"
        " UNION ALL "
        "(SELECT min(one.name), 'creator', NULL, one.folded LIKE %s AS begins, "
        "word_similarity(%s, one.folded) AS near FROM nnels_item i "
        "CROSS JOIN LATERAL unnest(i.creators, i.creators_n) AS one(name, folded) "
        "WHERE i.published AND (i.creators_flat LIKE %s OR %s <%% i.creators_flat) "
        "AND (one.folded LIKE %s OR %s <%% one.folded) GROUP BY one.folded ORDER BY begins DESC, near DESC, 1 LIMIT %s)"
        ") AS both_kinds ORDER BY begins DESC, near DESC, kind DESC, label, nid LIMIT %s",
        [start, folded, start, folded, most, start, folded, f"%{start}", folded, start, folded, most, most],
        prelude=_RESEMBLES,
    )
    return [Suggestion(*row) for row in found]
