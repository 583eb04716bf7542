"""What /metrics says of builds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from core.models import Job
from downloads.models import Build
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)


def figures(client: Client) -> dict[tuple[str, str], float]:
    """(name, lane) → value of the metrics of downloads."""
    text = client.get("/metrics").content.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (sample.name.removeprefix("quincunx_downloads_"), sample.labels.get("lane", "")): sample.value
        for sample in samples
        if sample.name.startswith("quincunx_downloads_")
    }


def test_waiting_builds_and_rows_per_second(client: Client, tmp_path: Path, running_house: house.House) -> None:
    """D47: queue length, age of the oldest, rows per second and failures are among the metrics."""
    nothing = {("waiting", "short"): 0, ("waiting", "long"): 0, ("oldest_seconds", "short"): 0}
    assert nothing.items() <= figures(client).items()
    assert figures(client)["rows_per_second", ""] == 0

    making.bring_in(making.archive(tmp_path, making.specimens(5)))
    done = making.built({}).build
    assert done is not None
    now = timezone.now()
    Build.objects.filter(pk=done.pk).update(started_at=now - timedelta(seconds=10), finished_at=now)
    assert figures(client)["rows_per_second", ""] == pytest.approx(done.rows_done / 10)

    running = making.place({"genus": "acer"}).download.build
    assert running is not None
    assert running.job_id is not None
    Job.objects.filter(pk=running.job_id).update(progress={"rows_done": 990})
    Build.objects.filter(pk=running.pk).update(state=Build.State.RUNNING, started_at=now - timedelta(seconds=20))
    speed = figures(client)["rows_per_second", ""]
    assert (done.rows_done + 990) / 60 < speed <= (done.rows_done + 990) / 30

    Build.objects.filter(pk=done.pk).update(finished_at=now - timedelta(minutes=6))
    assert figures(client)["rows_per_second", ""] <= 990 / 20
    waiting = making.place({"genus": "quercus"}).download.build
    assert waiting is not None
    Build.objects.filter(pk=waiting.pk).update(created_at=now - timedelta(seconds=100))
    found = figures(client)
    assert found["waiting", "short"] == 1
    assert 100 <= found["oldest_seconds", "short"] < 160

    assert found["failed", ""] == 0
    Build.objects.filter(pk=waiting.pk).update(state=Build.State.FAILED, finished_at=now)
    assert figures(client)["failed", ""] == 1
