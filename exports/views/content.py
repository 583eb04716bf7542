"""Concepts and mappings: lists, single ones, their versions, names and descriptions (contract §2.7)."""

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import api, errors
from exports import dialect
from exports.models import Concept, Mapping, Repo, RepoVersion
from exports.selectors import content, repos, rows
from exports.serializers import rows as serializer
from exports.services import content as services
from exports.views import base, lists


class _Listed(base.View):
    """What the lists of concepts and mappings have in common."""

    def listed(self, question: rows.Rows) -> HttpResponseBase:
        question = lists.asked(self).apply(question)
        verbose = self.flag("verbose")
        kind = question.kind
        return lists.of_rows(self, question, lambda one: serializer.render(kind, one, detail=verbose))


class Everywhere(_Listed):
    """``/concepts/`` and ``/mappings/``: all the caller may read."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, *, rows: str, **_: Any) -> HttpResponseBase:
        return self.listed(content.everywhere(self.user, rows))  # type: ignore[arg-type]


class OfRepo(_Listed):
    """The rows of a source or collection as it is now; a source takes new ones."""

    finds = "repo"

    def get(self, request: Request, *, rows: str, **_: Any) -> HttpResponseBase:
        return self.listed(_rows(repos.rows_head(self.repo), rows))

    def post(self, request: Request, *, rows: str, **_: Any) -> HttpResponseBase:
        if not self.repo.is_source:
            raise api.MethodNotAllowed("POST", ["GET", "HEAD", "OPTIONS"])
        user = self.signed_in()
        self.demand("write")
        create = services.create_concept if rows == "concepts" else services.create_mapping
        url = create(self.repo, data=self.data(), user=user)
        row = content.row(self.repo, rows, url.split("/")[-2])  # type: ignore[arg-type]
        return self.created(serializer.stored(row, content.row_version(row), self.repo), url)


class OfVersion(_Listed):
    """The rows of a version."""

    finds = "version"
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, *, rows: str, **_: Any) -> HttpResponseBase:
        return self.listed(_rows(self.version, rows))


def _rows(version: RepoVersion, kind: str) -> rows.Rows:
    return rows.of(version, kind)  # type: ignore[arg-type]


class _Row(_Listed):
    """A path that names one concept or mapping of a repository."""

    finds = "repo"
    row: Concept | Mapping

    def find(self, *, rows: str = "", row: str = "", **kwargs: Any) -> None:
        self.kind, self.mnemonic = rows, content.row_id(row)
        super().find(**kwargs)
        if self.repo.is_source:
            if getattr(self, "row", None) is None:
                raise errors.NotFound
            return
        # a collection's member lives in its source; the collection only shows it
        if self.request.method not in ("GET", "HEAD", "OPTIONS"):
            raise api.MethodNotAllowed(self.request.method or "", ["GET", "HEAD", "OPTIONS"])
        self.member = content.in_version(repos.rows_head(self.repo), rows, row)  # type: ignore[arg-type]

    def load(self, uri: str, version: str) -> Repo | RepoVersion:
        """Row and source in one query; whether the source is there and may be seen is asked when the row is not."""
        found = repos.row(uri, self.kind, self.mnemonic, viewer=self.user)
        if found is None:
            return super().load(uri, version)
        self.row, self.repo = found, found.source
        return self.repo

    def written(self) -> HttpResponseBase:
        return dialect.json_response(serializer.stored(self.row, content.row_version(self.row), self.repo))

    def writer(self) -> Any:
        user = self.signed_in()
        self.demand("write")
        return user


class OneRow(_Row):
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        if not self.repo.is_source:
            return dialect.json_response(serializer.render(self.kind, self.member, detail=True))
        return self.written()

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        services.edit(self.row, data=self.data(), user=self.writer())
        return self.written()

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.writer()
        if self.flag("hardDelete"):
            if not user.is_staff:
                raise errors.Denied
            services.erase(self.row)
        else:
            services.retire(self.row, data=self.data(optional=True), user=user)
        return HttpResponse(status=204)


class Reactivate(_Row):
    http_method_names = ["put", "options"]

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        services.retire(self.row, data=self.data(optional=True), user=self.writer(), retired=False)
        return HttpResponse(status=204)


class RowVersions(_Row):
    """All versions of a row, newest first."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        if not self.repo.is_source:
            raise errors.NotFound
        found = self.row.versions.select_related("fragment").order_by("-id")
        # any of them may be as long as a record can be
        return lists.of_query(self, found, lambda one: serializer.stored(self.row, one, self.repo), at_a_time=1)


class OneRowVersion(_Row):
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, *, row_version: str, **_: Any) -> HttpResponseBase:
        if not self.repo.is_source:
            raise errors.NotFound
        return dialect.json_response(serializer.stored(self.row, content.row_version(self.row, row_version), self.repo))


class RowOfVersion(base.View):
    """A row as a version of its repository holds it."""

    finds = "version"
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, *, rows: str, row: str, **_: Any) -> HttpResponseBase:
        found = content.in_version(self.version, rows, row)  # type: ignore[arg-type]
        return dialect.json_response(serializer.render(rows, found, detail=True))


class MappingsOf(_Row):
    """The mappings from a concept."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        concept = getattr(self, "row", None)
        if not isinstance(concept, Concept):
            raise errors.NotFound
        return self.listed(content.of_concept(concept))


class Labels(_Row):
    """Names or descriptions of a concept."""

    def get(self, request: Request, *, labels: str, **_: Any) -> HttpResponseBase:
        return dialect.json_response(getattr(content.latest_concept(self.concept), labels))

    def post(self, request: Request, *, labels: str, **_: Any) -> HttpResponseBase:
        user = self.writer()
        made = services.write_label(self.concept, labels, data=self.data(), user=user)
        return self.created(made, f"{self.concept.uri}{labels}/{made['uuid']}/")

    @property
    def concept(self) -> Concept:
        row = getattr(self, "row", None)
        if not isinstance(row, Concept):
            raise errors.NotFound
        return row


class OneLabel(Labels):
    http_method_names = ["get", "put", "delete", "head", "options"]

    def get(self, request: Request, *, labels: str, uuid: str = "", **_: Any) -> HttpResponseBase:
        for item in getattr(content.latest_concept(self.concept), labels):
            if item["uuid"] == uuid:
                return dialect.json_response(item)
        raise errors.NotFound

    def put(self, request: Request, *, labels: str, uuid: str, **_: Any) -> HttpResponseBase:
        user = self.writer()
        return dialect.json_response(services.write_label(self.concept, labels, data=self.data(), user=user, uuid=uuid))

    def delete(self, request: Request, *, labels: str, uuid: str, **_: Any) -> HttpResponseBase:
        services.delete_label(self.concept, labels, uuid=uuid, user=self.writer())
        return HttpResponse(status=204)
