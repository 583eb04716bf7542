"""Prometheus metrics. Counters live in each process (or in PROMETHEUS_MULTIPROC_DIR); the queue is read at scrape."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core import apps

REQUESTS = Counter("quincunx_requests_total", "Requests answered.", ["app", "method", "status"])
SECONDS = Histogram("quincunx_request_seconds", "Seconds to the first byte of the answer.", ["app"])
JOBS = Counter("quincunx_jobs_total", "Jobs that reached a final state.", ["kind", "state"])


class JobQueue(Collector):
    """Active jobs by kind and state, and the age of the oldest queued one, from the job table."""

    def collect(self) -> Iterator[Metric]:
        from core.models import Job

        count = GaugeMetricFamily("quincunx_jobs_active", "Active jobs.", labels=["kind", "state"])
        age = GaugeMetricFamily("quincunx_jobs_oldest_seconds", "Age of the oldest queued job.", labels=["kind"])
        active = Job.objects.filter(state__in=["queued", "running", "cancelling"]).order_by()
        for row in active.values("kind", "state").annotate(n=Count("id"), since=Min("created_at")):
            count.add_metric([row["kind"], row["state"]], row["n"])
            if row["state"] == "queued":
                age.add_metric([row["kind"]], (timezone.now() - row["since"]).total_seconds())
        yield count
        yield age


class AppMetrics(Collector):
    """What each app tells of itself at a scrape."""

    def collect(self) -> Iterator[Metric]:
        for config in apps.api_configs():
            if hook := config.hook("metrics"):
                yield from hook()


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        shared = generate_latest(REGISTRY)
    else:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        shared = generate_latest(registry)
    queue = CollectorRegistry()
    queue.register(JobQueue())
    queue.register(AppMetrics())
    return shared + generate_latest(queue)
