"""Paths of the download service; every one with and without a slash at its end (contract §2)."""

from __future__ import annotations

from django.urls import re_path

from core import api
from downloads import dialect, pages, views

IDENT = r"(?P<ident>[^/.]+)"
UUID = r"(?P<ident>[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})"

urlpatterns = [
    re_path(r"^$", views.root, name="landing"),
    re_path(r"^status/(?P<ident>[^/]+)/?$", views.SeedStatus.as_view()),
    re_path(r"^v2/download/?$", views.V2Request.as_view()),
    re_path(r"^v2/downloads/?$", views.OwnDownloads.as_view()),
    re_path(r"^v2/download/(?P<ident>[^/]+)/?$", views.V2Status.as_view()),
    re_path(r"^v2/download/(?P<ident>[^/]+)/citation/?$", views.Citation.as_view()),
    re_path(rf"^downloads/{IDENT}\.(?P<extension>[A-Za-z]+)/?$", views.Link.as_view()),
    re_path(r"^downloads/?$", pages.order, name="downloads"),
    re_path(r"^downloads/fields/?$", pages.fields, name="downloads-fields"),
    re_path(r"^downloads/recordsets/?$", pages.recordsets, name="downloads-recordsets"),
    re_path(rf"^downloads/recordsets/{UUID}/?$", pages.recordset, name="downloads-recordset"),
    re_path(rf"^downloads/{UUID}/?$", pages.download, name="downloads-download"),
    re_path(rf"^downloads/{UUID}/cancel/?$", pages.cancel, name="downloads-cancel"),
    re_path(r"^(?:status|v2/downloads?)(?:/.*)?$", api.catch_all(dialect.Dialect())),
    re_path(r"^downloads(?:/.*)?$", pages.nowhere(api.catch_all(dialect.Dialect()))),
]
