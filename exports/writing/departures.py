"""What leaves a repository's HEAD is noted, as it was last shown: a version keeps what it held, HEAD keeps nothing, and
a delta since an instant has to tell of rows that no version ever held (contract §10.2)."""

import datetime as dt
from typing import Any

from django.db.models import QuerySet

from exports.formats import text
from exports.models import CollectionReference, Departure
from exports.selectors import rows, states
from exports.writing import store

_KINDS: dict[str, rows.Kind] = {"concept": "concepts", "mapping": "mappings"}


def of_members(key: str, condition: str, *values: Any, moment: dt.datetime) -> None:
    """Note the members that a condition over ``m`` names and that are shown, before they leave their collections;
    ``key`` is ``concept`` or ``mapping``."""
    _note(rows.of_members(_KINDS[key], condition, *values), "m.collection_id", moment)


def of_row(key: str, pk: int, *, moment: dt.datetime) -> None:
    """Note a concept or mapping before it leaves its own source."""
    _note(rows.of_sources(_KINDS[key], f"h.{key}_id = %s", pk), "h.source_id", moment)


def _note(found: rows.Rows, repo: str, moment: dt.datetime) -> None:
    sql, params = found.sql(f"{repo}, %s, t.uri, h.fragment_id, %s::timestamptz", ordered=False)
    store.execute(
        f"INSERT INTO {store.table(Departure)} (repo_id, kind, what, fragment_id, left_at) {sql}",
        [found.kind, moment, *params],
    )


def of_references(found: QuerySet[CollectionReference], *, moment: dt.datetime) -> None:
    """Note references before they are deleted."""
    lines = [
        (one.collection_id, "references", one.expression, text.dumps(states.reference(one)), moment)
        for one in found.select_related("collection")
    ]
    store.copy(Departure, ("repo_id", "kind", "what", "body", "left_at"), lines)
