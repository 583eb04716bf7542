"""The core's own pages on a narrow screen, and the admin's lists on an ordinary one."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from core.models import Job, Mail, User, WebhookDelivery

pytestmark = pytest.mark.django_db(transaction=True)

# Rows whose cells are squeezed to a word a line, as a table made to fit does, are far taller than their text asks for.
TALLEST_ROW = "Math.max(0, ...[...document.querySelectorAll('tr')].map(row => row.offsetHeight))"


@pytest.mark.parametrize("path", ["/", "/docs/", "/accounts/login", "/accounts/password/forgot", "/nosuch"])
def test_pages_fit_a_narrow_screen(web: Any, browser: Any, path: str) -> None:
    browser.set_viewport_size({"width": 320, "height": 640})
    browser.goto(web.base_url + path)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 320
    assert browser.evaluate(TALLEST_ROW) < 500


def test_lists_of_the_admin_show_all_their_columns(web: Any, browser: Any) -> None:
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
    browser.set_viewport_size({"width": 1280, "height": 800})
    browser.goto(f"{web.base_url}/admin/login/?next=/admin/core/job/")
    browser.fill("#id_username", "staff")
    browser.fill("#id_password", "quite unguessable 1")
    browser.click("input[type=submit]")
    for model in ("job", "mail", "webhookdelivery"):
        browser.goto(f"{web.base_url}/admin/core/{model}/")
        shown, whole = browser.evaluate("(e => [e.clientWidth, e.scrollWidth])(document.querySelector('.results'))")
        assert whole <= shown, (model, whole, shown)
        assert browser.evaluate(TALLEST_ROW) < 200
