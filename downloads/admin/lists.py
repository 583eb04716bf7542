"""What the lists of big tables share: no page scans a table."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.utils.functional import cached_property

from core.admin import ReadOnly

_COUNTED = 10_000


class EstimatedPaginator(Paginator[Any]):
    """Counts at most a few thousand rows; an unfiltered list shows the planner's estimate."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        counted = int(rows.order_by()[:_COUNTED].count())
        if counted < _COUNTED:
            return counted
        if rows.query.where:
            return counted
        with connection.cursor() as cursor:
            cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE relname = %s", [rows.model._meta.db_table])
            return max(counted, int(cursor.fetchone()[0]))


class BigList(ReadOnly):
    """A read-only list of a big table."""

    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50


def acted(view: admin.ModelAdmin[Any], request: Any, rows: Any, act: Any, word: str) -> None:
    """Do something to each row, log it with the row, count what worked."""
    count = 0
    for row in rows:
        if act(row) is not False:
            view.log_change(request, row, word)
            count += 1
    view.message_user(request, f"{count} {word}.")
