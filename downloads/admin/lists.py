"""What the lists of big tables share: no page scans a table."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import HttpRequest
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

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A uuid is looked up as one (Django would turn every row's into text); other text in the other fields."""
        text = search_term.strip()
        if not text:
            return queryset, False
        ident = _as_uuid(text)
        wanted = Q()
        for lookup in self.get_search_fields(request):
            name = lookup.removesuffix("__exact")
            if name.endswith("uuid") and ident is not None:
                return queryset.filter(**{name: ident}), False
            if not name.endswith("uuid"):
                wanted |= Q(**{lookup if lookup != name else f"{name}__icontains": text})
        return (queryset.filter(wanted) if wanted else queryset.none()), False


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def one_of(field: str, values: Sequence[str]) -> type[admin.SimpleListFilter]:
    """A filter by a field's known values; Django would read the whole table for those it has."""

    class Filter(admin.SimpleListFilter):
        title = field.replace("_", " ")
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, value) for value in values]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{field: self.value()}) if self.value() else queryset

    return Filter


def acted(view: admin.ModelAdmin[Any], request: Any, rows: Any, act: Any, word: str) -> None:
    """Do something to each row, log it with the row, count what worked."""
    count = 0
    for row in rows:
        if act(row) is not False:
            view.log_change(request, row, word)
            count += 1
    view.message_user(request, f"{count} {word}.")
