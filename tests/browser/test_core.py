"""The core's own pages on a narrow screen, and the admin's lists on an ordinary one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from core.models import Job, Mail, User, WebhookDelivery
from downloads.models import Recordset
from registry.jobs import errands
from registry.models import Harvest, Organization
from tests import house
from tests.browser import staff

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.django_db(transaction=True)

# Rows whose cells are squeezed to a word a line, as a table made to fit does, are far taller than their text asks for.
TALLEST_ROW = "Math.max(0, ...[...document.querySelectorAll('tr')].map(row => row.offsetHeight))"
NARROWEST_CELL = (
    "Math.min(...[...document.querySelectorAll('#result_list td:not(.action-checkbox)')].map(cell => cell.offsetWidth))"
)


@pytest.mark.parametrize("path", ["/", "/docs/", "/accounts/login", "/accounts/password/forgot", "/nosuch"])
def test_pages_fit_a_narrow_screen(web: house.Web, browser: Page, path: str) -> None:
    browser.set_viewport_size({"width": 320, "height": 640})
    browser.goto(web.base_url + path)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 320
    assert browser.evaluate(TALLEST_ROW) < 500


def test_lists_of_the_admin_show_all_their_columns(web: house.Web, browser: Page) -> None:
    User.objects.create_superuser("staff", "staff@example.org", "quite unguessable 1")
    now, error = timezone.now(), "ServerDisconnected: connection unexpectedly closed while waiting for the greeting"
    owner = User.objects.create_user("someone.with_a_long_name", "someone@example.org")
    Job.objects.create(
        kind="exports.build_export",
        state="failed",
        started_at=now,
        finished_at=now,
        requested_by=owner,
        error_code="database_unavailable",
        progress={"done": 1234567, "total": 7654321, "stage": "writing records"},
    )
    to, subject = "someone.with.a.long.name@department.example.org", "New API client “Collaborator finder” waits"
    Mail.objects.create(kind="usermgmt.submitted-staff", to=to, subject=subject, sent_at=now, last_error=error)
    WebhookDelivery.objects.create(
        event="registry.harvest-ended",
        url="https://hooks.department.example.org/services/T0123456789/B0123456789/XXXXXXXXXXXXXXXX",
        body="{}",
        sent_at=now,
        last_status=503,
        last_error=error,
    )
    organization = Organization.objects.create(name="NERACOOS and partners", slug="NERACOOS")
    url = "https://metadata.department.example.org/iso/"
    Harvest.objects.create(name="A folder of records", url=url, organization=organization, last_finished=now)
    Recordset.objects.create(
        name="Herbario Nanay, plantas y animales", licence="http://creativecommons.org/licenses/by/4.0/"
    )
    browser.set_viewport_size({"width": 1280, "height": 800})
    staff.log_in(browser, web.base_url, "staff", "quite unguessable 1", to="/admin/core/job/")
    tables = ("core/job", "core/mail", "core/webhookdelivery", "registry/harvest", "downloads/recordset")
    for model in tables:
        browser.goto(f"{web.base_url}/admin/{model}/")
        shown, whole = browser.evaluate("(e => [e.clientWidth, e.scrollWidth])(document.querySelector('.results'))")
        assert whole <= shown, (model, whole, shown)
        assert browser.evaluate(TALLEST_ROW) < 200
    browser.set_viewport_size({"width": 400, "height": 800})
    for model in tables:  # which scroll sideways there, so that none of their columns need be a few letters wide
        browser.goto(f"{web.base_url}/admin/{model}/")
        assert browser.evaluate(NARROWEST_CELL) >= 70, model


def test_a_report_of_an_errand_fits_a_narrow_screen(web: house.Web, browser: Page) -> None:
    User.objects.create_superuser("staff", "staff@example.org", "quite unguessable 1")
    columns = ["stage", "severity", "code", "url", "identifier", "line", "column", "message"]
    line = [
        "parse",
        "error",
        "unsupported_root",
        "https://metadata.example.org/a.xml",
        "x" * 40,
        1,
        None,
        "No ISO record.",
    ]
    result = {"counts": {"documents": 1, "bad": 1}, "columns": columns, "lines": [line]}
    job = Job.objects.create(kind=errands.CHECK_KIND, state="succeeded", params={"name": "docs.zip"}, result=result)
    browser.set_viewport_size({"width": 390, "height": 844})
    to = f"/admin/registry/harvest/errands/{job.pk}/"
    staff.log_in(browser, web.base_url, "staff", "quite unguessable 1", to=to)
    browser.get_by_role("region", name="Report").wait_for()
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
