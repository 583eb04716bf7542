"""References and expansions of collections (contract §2.7)."""

from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import errors
from exports import dialect
from exports.models import CollectionReference, RepoVersion
from exports.selectors import rows
from exports.serializers import repos as serializer
from exports.serializers import rows as row_serializer
from exports.services import references
from exports.views import base, lists


class _OfCollection(base.View):
    def find(self, **kwargs: Any) -> None:
        super().find(**kwargs)
        if self.repo.is_source:
            raise errors.NotFound


class References(_OfCollection):
    finds = "repo"
    http_method_names = ["get", "put", "delete", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = CollectionReference.objects.filter(collection=self.repo).select_related("collection").order_by("-id")
        if words := self.word("q"):
            found = found.filter(expression__icontains=words)
        verbose = self.flag("verbose")
        return lists.of_query(self, found, lambda one: serializer.reference(one, detail=verbose))

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        self.demand("write")
        data = self.data()
        inner = data.get("data", data)
        expressions = inner.get("expressions") if isinstance(inner, dict) else None
        if not isinstance(expressions, list):
            raise errors.Invalid("Expected a list of expressions.", field="expressions")
        cascade = request.query_params.get("cascade", "none").lower()
        return dialect.json_response(references.add(self.repo, expressions=expressions, cascade=cascade, user=user))

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        self.signed_in()
        self.demand("write")
        wanted = self.data().get("references")
        if wanted is None:
            raise errors.Invalid("This field is required.", field="references")
        references.remove(self.repo, expressions=wanted)
        return dialect.json_response({"detail": "The references were deleted."})


class _Expansion(_OfCollection):
    http_method_names = ["get", "head", "options"]

    def find(self, *, expansion: str = "", version: str = "", **kwargs: Any) -> None:
        self.finds = "version"  # type: ignore[misc]
        super().find(version=version or "HEAD", **kwargs)
        if expansion and expansion != f"autoexpand-{self.version.name}":
            raise errors.NotFound

    def described(self) -> dict[str, Any]:
        counts = {kind: _active(self.version, kind) for kind in ("concepts", "mappings")}
        return serializer.expansion(
            self.version, active_concepts=counts["concepts"], active_mappings=counts["mappings"]
        )


def _active(version: RepoVersion, kind: str) -> int:
    return rows.of(version, kind).without_retired().count()  # type: ignore[arg-type]


class Expansions(_Expansion):
    """There is one per version."""

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        place = lists.window(self, 1)
        shown = [self.described()] if place.offset == 0 else []
        return dialect.json_response(shown, headers=lists.headers(self, place))


class OneExpansion(_Expansion):
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        return dialect.json_response(self.described())


class ExpansionRows(_Expansion):
    def get(self, request: Request, *, rows: str, **_: Any) -> HttpResponseBase:
        question = lists.asked(self).apply(_rows_of(self.version, rows))
        verbose = self.flag("verbose")
        return lists.of_rows(self, question, lambda one: row_serializer.render(rows, one, detail=verbose))


def _rows_of(version: RepoVersion, kind: str) -> rows.Rows:
    return rows.of(version, kind)  # type: ignore[arg-type]
