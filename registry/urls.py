"""Which path goes where. A slash at the end is optional everywhere; nothing redirects (contract 2.1)."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from core.accounts import urls as account_urls
from core.accounts import views as account_views
from registry import pages
from registry.views import added, folder, original

ID = r"(?P<uid>[^/]+)"
NUMBER = r"(?P<number>[0-9]{1,18})"
FRAME = {"frame": "registry/page.html", "namespace": "registry"}

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
    re_path(rf"^registry/api/harvests/{ID}/removed/?\Z", added.Removed.as_view()),
    re_path(rf"^registry/api/records/{NUMBER}/?\Z", added.Record.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/?\Z", added.Run.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/report\.(?P<kind>csv|json)/?\Z", added.Report.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/changes/?\Z", added.Changes.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/cancel/?\Z", added.Cancel.as_view()),
    re_path(rf"^registry/api/runs/{NUMBER}/undo/?\Z", added.Undo.as_view()),
    re_path(r"^registry/?\Z", pages.home, name="registry"),
    re_path(r"^registry/sources/?\Z", pages.sources, name="registry-sources"),
    re_path(r"^registry/sources/add/?\Z", pages.add, name="registry-add"),
    re_path(r"^registry/sources/preview/?\Z", pages.preview, name="registry-preview"),
    re_path(rf"^registry/sources/{ID}/?\Z", pages.source, name="registry-source"),
    re_path(rf"^registry/sources/{ID}/edit/?\Z", pages.edit, name="registry-edit"),
    re_path(rf"^registry/sources/{ID}/harvest/?\Z", pages.harvest_now, name="registry-harvest"),
    re_path(rf"^registry/sources/{ID}/delete/?\Z", pages.delete, name="registry-delete"),
    re_path(rf"^registry/sources/{ID}/accept/?\Z", pages.accept_shrink, name="registry-accept"),
    re_path(rf"^registry/sources/{ID}/subscribe/?\Z", pages.subscribe, name="registry-subscribe"),
    re_path(rf"^registry/sources/{ID}/records/?\Z", pages.records, name="registry-records"),
    re_path(rf"^registry/sources/{ID}/runs/?\Z", pages.runs, name="registry-runs"),
    re_path(rf"^registry/sources/{ID}/removed/?\Z", pages.removed, name="registry-removed"),
    re_path(rf"^registry/records/{NUMBER}/?\Z", pages.record, name="registry-record"),
    re_path(rf"^registry/records/{NUMBER}/original\.xml\Z", folder.Original.as_view(), name="registry-original"),
    re_path(rf"^registry/runs/{NUMBER}/?\Z", pages.run, name="registry-run"),
    re_path(
        rf"^registry/runs/{NUMBER}/(?P<kind>report\.csv|report\.json|changes\.csv)\Z",
        pages.report_file,
        name="registry-report",
    ),
    re_path(rf"^registry/runs/{NUMBER}/ckan/?\Z", pages.ckan_job, name="registry-ckan"),
    re_path(rf"^registry/runs/{NUMBER}/undo/?\Z", pages.undo, name="registry-undo"),
    re_path(rf"^registry/runs/{NUMBER}/cancel/?\Z", pages.cancel, name="registry-cancel"),
    re_path(r"^registry/register/?\Z", pages.register, name="registry-register"),
    re_path(r"^registry/verify/?\Z", pages.verify, name="registry-verify"),
    re_path(r"^registry/account/?\Z", pages.account, name="registry-account"),
    re_path(rf"^registry/account/tokens/{NUMBER}/revoke/?\Z", pages.revoke, name="registry-revoke"),
    re_path(
        r"^registry/reset/?\Z",
        account_views.Forgot.as_view(**FRAME),
        name="registry-reset-page",
    ),
    re_path(
        r"^registry/login/?\Z",
        account_views.Login.as_view(**FRAME, next_page="/registry/sources"),
        name="registry-login",
    ),
    re_path(r"^registry/password/?\Z", account_views.PasswordChange.as_view(**FRAME, success_url="/registry/account")),
    *account_urls.patterns("registry/", **FRAME),
    re_path(r"^registry/api(/|\Z)", original.NoSuchEndpoint.as_view()),
    re_path(r"^registry(?:/|\Z)", pages.no_such_page),
    re_path(r"^waf/?\Z", folder.Root.as_view()),
    re_path(r"^waf/(?P<slug>[^/]+)/?\Z", folder.Folder.as_view()),
    re_path(r"^waf/(?P<slug>[^/]+)/(?P<name>[^/]+)\Z", folder.File.as_view()),
    re_path(r"^waf/", folder.Nothing.as_view()),
    re_path(r"^api/v2(/|\Z)", original.NoSuchEndpoint.as_view()),
]
