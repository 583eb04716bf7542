"""Which path belongs to whom (contracts, common ground). The first match wins; each API answers its own 404s."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path

from core import views

urlpatterns = [
    re_path(r"^admin$", admin.site.index),
    path("admin/", admin.site.urls),
    re_path(r"^livez/?$", views.livez),
    re_path(r"^readyz/?$", views.readyz),
    re_path(r"^metrics/?$", views.metrics_page),
    re_path(r"^favicon\.ico$", views.favicon),
    re_path(r"^docs/?$", views.docs, name="docs"),
    re_path(r"^docs/(?P<app>[a-z]+)\.json$", views.openapi, name="openapi"),
    path("", include("core.accounts.urls")),
    path("", include("downloads.urls")),
    path("", include("usermgmt.urls")),
    path("", include("registry.urls")),
    path("", include("exports.urls")),
    path("", include("nnels.urls")),
    path("", include("registry.urls_last")),
    path("", views.landing, name="landing"),
    re_path(r"", views.not_found),
]

handler404 = views.not_found
handler500 = views.server_error
