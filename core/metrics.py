"""Prometheus metrics.

Requests are counted in files that all web processes of one gunicorn share (``core.gunicorn_conf``), since a scrape
reaches any of them; what is in tables is read at the scrape.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core import apps

log = structlog.get_logger(__name__)

REQUESTS = Counter("quincunx_requests_total", "Requests answered.", ["app", "method", "status"])
SECONDS = Histogram("quincunx_request_seconds", "Seconds to the first byte of the answer.", ["app"])


class JobTable(Collector):
    """Jobs as the job table has them, whichever process did them: active, and ended within the last hour."""

    def collect(self) -> Iterator[Metric]:
        from core.models import Job

        count = GaugeMetricFamily("quincunx_jobs_active", "Active jobs.", labels=["kind", "state"])
        age = GaugeMetricFamily("quincunx_jobs_oldest_seconds", "Age of the oldest queued job.", labels=["kind"])
        ended = GaugeMetricFamily("quincunx_jobs_ended", "Jobs that ended in the last hour.", labels=["kind", "state"])
        now = timezone.now()
        active = Job.objects.filter(state__in=["queued", "running", "cancelling"]).order_by()
        for row in active.values("kind", "state").annotate(n=Count("id"), since=Min("created_at")):
            count.add_metric([row["kind"], row["state"]], row["n"])
            if row["state"] == "queued":
                age.add_metric([row["kind"]], (now - row["since"]).total_seconds())
        past = Job.objects.filter(finished_at__gt=now - timedelta(hours=1)).order_by()
        for group in past.values("kind", "state").annotate(n=Count("id")):
            ended.add_metric([group["kind"], group["state"]], group["n"])
        yield from (count, age, ended)


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
    tables = CollectorRegistry()
    tables.register(JobTable())
    tables.register(AppMetrics())
    try:
        return shared + generate_latest(tables)
    except (OperationalError, InterfaceError) as error:
        # What was counted is worth telling most when the database is away.
        log.warning("tables_not_measured", error=str(error)[:200])
        return shared
