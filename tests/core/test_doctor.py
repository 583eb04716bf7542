"""``manage.py doctor`` names each breach and exits 1, or says that all is well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from core.models import Job, Mail

pytestmark = pytest.mark.django_db


def test_all_is_well_on_an_empty_database(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("doctor")
    assert capsys.readouterr().out == "All invariants hold.\n"


def test_lost_jobs_and_stuck_mails_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = timezone.now() - timedelta(hours=3)
    job = Job.objects.create(kind="test.lost", state="running", lease_until=long_ago)
    Mail.objects.create(kind="test", to="a@example.org", subject="s", body="b", next_at=long_ago)
    with pytest.raises(SystemExit) as end:
        call_command("doctor")
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert str(job.pk) in told
    assert "1 mails wait" in told
