"""Which path goes where. A slash at the end is optional everywhere; nothing redirects (contract 2.1)."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from registry.views import original

ID = r"(?P<uid>[^/]+)"

urlpatterns: list[URLPattern] = [
    re_path(r"^api/v1/Harvests/?\Z", original.Harvests.as_view()),
    re_path(rf"^api/v1/Harvests/{ID}/?\Z", original.Harvest.as_view()),
    re_path(r"^api/v[12]/login/?\Z", original.Login.as_view()),
    re_path(r"^api/v[12]/logout/?\Z", original.Logout.as_view()),
    # the document has the singular, the original service the plural
    re_path(rf"^api/v2/harvests?/{ID}/harvest/?\Z", original.Trigger.as_view()),
    re_path(r"^api/v2(/|\Z)", original.NoSuchEndpoint.as_view()),
]
