"""What Prometheus is told of builds: how many wait and how long, how fast rows are made, what failed (contract 10.11).

All of it is read from the database: a worker's own counters are not seen by the web process that is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from downloads.models import Build

RECENT: Final = timedelta(minutes=5)
_LONGEST: Final = timedelta(days=2)
"""Builds asked for earlier are not looked at: that keeps a scrape to an index."""


def collect() -> Iterator[Metric]:
    """The metrics, each asked of the database now."""
    yield from _queue()
    yield _speed()
    yield _failed()


def _queue() -> Iterator[Metric]:
    count = GaugeMetricFamily("quincunx_downloads_waiting", "Builds that have not begun.", labels=["lane"])
    age = GaugeMetricFamily(
        "quincunx_downloads_oldest_seconds", "Age of the oldest build that has not begun.", labels=["lane"]
    )
    waiting = Build.objects.filter(state=Build.State.WAITING).order_by()
    found = {
        lane: (n, since) for lane, n, since in waiting.values_list("lane").annotate(Count("pk"), Min("created_at"))
    }
    for lane in Build.Lane.values:
        n, since = found.get(lane, (0, None))
        count.add_metric([lane], n)
        age.add_metric([lane], (timezone.now() - since).total_seconds() if since else 0)
    yield count
    yield age


def _speed() -> Metric:
    """Rows over seconds of the builds that run or ended well within the last five minutes; 0 when there is none."""
    now = timezone.now()
    ended = Q(state=Build.State.DONE, finished_at__gte=now - RECENT)
    lately = Build.objects.filter(Q(state=Build.State.RUNNING) | ended, created_at__gte=now - _LONGEST)
    rows = seconds = 0.0
    for done, begun, end, progress in lately.values_list("rows_done", "started_at", "finished_at", "job__progress"):
        if begun is not None:
            rows += done or (progress or {}).get("rows_done", 0)
            seconds += ((end or now) - begun).total_seconds()
    speed = GaugeMetricFamily(
        "quincunx_downloads_rows_per_second", "Rows made per second of building, over the last five minutes."
    )
    speed.add_metric([], rows / seconds if seconds else 0)
    return speed


def _failed() -> Metric:
    now = timezone.now()
    failed = Build.objects.filter(
        state=Build.State.FAILED, created_at__gte=now - _LONGEST, finished_at__gte=now - timedelta(hours=1)
    )
    count = GaugeMetricFamily("quincunx_downloads_failed", "Builds that failed in the last hour.")
    count.add_metric([], failed.count())
    return count
