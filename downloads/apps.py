from __future__ import annotations

from core.apps import ApiConfig


class DownloadsConfig(ApiConfig):
    name = "downloads"
    title = "iDigBio downloads"
    verbose_name = "iDigBio downloads"
    summary = "Turns a specimen query into a Darwin Core Archive."
    pages = [
        ("Request a download", "/downloads/"),
        ("Fields of a query", "/downloads/fields"),
        ("Recordsets", "/downloads/recordsets"),
    ]
    live_blobs = "downloads.jobs.expiry.live_blobs"
    metrics = "downloads.jobs.metrics.collect"
    seed_command = "seed_downloads --records 2000"
    demo_check = "downloads.demo.check"
    demo_lines = "downloads.demo.lines"

    def ready(self) -> None:
        from django.conf import settings

        from downloads.formats import terms

        terms.register_namespaces(settings.DOWNLOADS_NAMESPACES)
        from downloads import tasks  # noqa: F401 - registers kinds of jobs and ticks
