"""Which path goes where. A slash at the end is optional everywhere; nothing redirects (contract 2.1)."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from registry.views import added, folder, original

ID = r"(?P<uid>[^/]+)"
NUMBER = r"(?P<number>[0-9]{1,18})"

urlpatterns: list[URLPattern] = [
    re_path(r"^api/v1/Harvests/?\Z", original.Harvests.as_view()),
    re_path(rf"^api/v1/Harvests/{ID}/?\Z", original.Harvest.as_view()),
    re_path(r"^api/v[12]/login/?\Z", original.Login.as_view()),
    re_path(r"^api/v[12]/logout/?\Z", original.Logout.as_view()),
    # the document has the singular, the original service the plural
    re_path(rf"^api/v2/harvests?/{ID}/harvest/?\Z", original.Trigger.as_view()),
    re_path(r"^registry/api/harvests/?\Z", added.Harvests.as_view()),
    re_path(rf"^registry/api/harvests/{ID}/records/?\Z", added.Records.as_view()),
    re_path(rf"^registry/api/harvests/{ID}/runs/?\Z", added.Runs.as_view()),
    re_path(rf"^registry/api/records/{NUMBER}/?\Z", added.Record.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/?\Z", added.Run.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/report\.(?P<kind>csv|json)/?\Z", added.Report.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/changes/?\Z", added.Changes.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/cancel/?\Z", added.Cancel.as_view()),
    re_path(r"^registry/api(/|\Z)", original.NoSuchEndpoint.as_view()),
    re_path(r"^waf/?\Z", folder.Root.as_view()),
    re_path(r"^waf/(?P<slug>[^/]+)/?\Z", folder.Folder.as_view()),
    re_path(r"^waf/(?P<slug>[^/]+)/(?P<name>[^/]+)\Z", folder.File.as_view()),
    re_path(r"^waf/", folder.Nothing.as_view()),
    re_path(r"^api/v2(/|\Z)", original.NoSuchEndpoint.as_view()),
]
