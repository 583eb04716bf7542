"""The registry's 404 for whatever no app claims below `/api/v1/`; included after all other apps."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from registry.views import original

urlpatterns: list[URLPattern] = [re_path(r"^api/v1/", original.NoSuchEndpoint.as_view())]
