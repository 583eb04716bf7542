"""The paths of contract §2, each with and without a slash at the end; the last line gives every 404 our accent.

An owner is ``/orgs/:org``, ``/users/:username`` or ``/user``, the token's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, re_path

from core import api
from exports import dialect, pages
from exports.views import collections, content, events, exports, extras, imports, links, owners, repos, webhooks

_ID = r"[A-Za-z0-9._@-]+"
_REPO = rf"(?P<kind>sources|collections)/(?P<repo>{_ID})"
_VERSION = rf"{_REPO}/(?P<version>{_ID})"
_ROWS = r"(?P<rows>concepts|mappings)"
_ROW = rf"{_ROWS}/(?P<row>[^/]+)"
_LABELS = r"(?P<labels>names|descriptions)"
_OWNERS: list[tuple[str, dict[str, Any]]] = [
    (rf"orgs/(?P<org>{_ID})", {}),
    (rf"users/(?P<username>{_ID})", {}),
    ("user", {"own": True}),
]


def _at(path: str, view: type[api.View], **extra: Any) -> URLPattern:
    return re_path(rf"^{path}/?$", view.as_view(), extra)


def _of_owner(owner: str, extra: dict[str, Any]) -> Iterator[URLPattern]:
    """Everything below an owner. Fixed words come before ids."""
    repo, version = f"{owner}/{_REPO}", f"{owner}/{_VERSION}"
    for path, view in (
        (f"{owner}/(?P<kind>sources|collections)", repos.Owned),
        (repo, repos.OneRepo),
        (f"{repo}/versions", repos.Versions),
        (f"{repo}/webhooks", webhooks.Webhooks),
        (f"{repo}/webhooks/(?P<hook>[^/]+)", webhooks.OneWebhook),
        (f"{repo}/references", collections.References),
        (f"{repo}/expansions", collections.Expansions),
        (f"{repo}/expansions/(?P<expansion>{_ID})", collections.OneExpansion),
        (f"{repo}/expansions/(?P<expansion>{_ID})/{_ROWS}", collections.ExpansionRows),
        (f"{repo}/{_ROWS}", content.OfRepo),
        (f"{repo}/{_ROW}", content.OneRow),
        (f"{repo}/{_ROW}/versions", content.RowVersions),
        (f"{repo}/{_ROW}/mappings", content.MappingsOf),
        (f"{repo}/{_ROW}/reactivate", content.Reactivate),
        (f"{repo}/{_ROW}/{_LABELS}", content.Labels),
        (f"{repo}/{_ROW}/{_LABELS}/(?P<uuid>[^/]+)", content.OneLabel),
        (f"{repo}/{_ROW}/(?P<row_version>[^/]+)", content.OneRowVersion),
        (version, repos.OneVersion),
        (f"{version}/export", exports.Export),
        (f"{version}/export/status", exports.Status),
        (f"{version}/export/events", events.Events),
        (f"{version}/export/delta", exports.Delta),
        (f"{version}/export/delta/events", events.DeltaEvents),
        (f"{version}/export/delta/status", exports.DeltaStatus),
        (f"{version}/export/fhir.tgz", exports.Fhir),
        (f"{version}/export/fhir.tgz/events", events.FhirEvents),
        (f"{version}/export/fhir.tgz/status", exports.FhirStatus),
        (f"{version}/export/csv.zip", exports.Tables),
        (f"{version}/export/csv.zip/events", events.TablesEvents),
        (f"{version}/export/csv.zip/status", exports.TablesStatus),
        (f"{version}/export/files", extras.ExtraFiles),
        (f"{version}/export/(?P<key>{_ID})", extras.OneExtraFile),
        (f"{version}/processing", exports.Processing),
        (f"{version}/expansions", collections.Expansions),
        (f"{version}/expansions/(?P<expansion>{_ID})", collections.OneExpansion),
        (f"{version}/expansions/(?P<expansion>{_ID})/{_ROWS}", collections.ExpansionRows),
        (f"{version}/{_ROWS}", content.OfVersion),
        (f"{version}/{_ROW}", content.RowOfVersion),
    ):
        yield _at(path, view, **extra)


urlpatterns: list[URLPattern] = [
    _at("users/login", owners.Login),
    _at("users", owners.Users),
    _at(rf"users/(?P<username>{_ID})", owners.OneUser),
    _at(rf"users/(?P<username>{_ID})/orgs", owners.UserOrganizations),
    _at("user", owners.OneUser, own=True),
    _at("user/orgs", owners.UserOrganizations, own=True),
    _at("orgs", owners.Organizations),
    _at(rf"orgs/(?P<org>{_ID})", owners.OneOrganization),
    _at(rf"orgs/(?P<org>{_ID})/members", owners.Members),
    _at(rf"orgs/(?P<org>{_ID})/members/(?P<member>{_ID})", owners.OneMember),
    _at("(?P<kind>sources|collections)", repos.All),
    _at(_ROWS, content.Everywhere),
    *(pattern for owner, extra in _OWNERS for pattern in _of_owner(owner, extra)),
    re_path(r"^exports/dl/(?P<token>[^/]+)/(?P<filename>[^/]+)$", links.Download.as_view()),
    _at("(?:importers|manage)/bulk-?import", imports.Imports),
    _at("tasks/(?P<task>[^/]+)", imports.OneTask),
    *pages.urlpatterns,
    re_path(r"^user/", owners.Nothing.as_view(), {"own": True}),
    re_path(r"^exports(?:/|$)", pages.nowhere(api.catch_all(dialect.DIALECT))),
    re_path(r"^(?:orgs|users?|sources|collections|importers)(?:/|$)", api.catch_all(dialect.DIALECT)),
]
