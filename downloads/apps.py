from __future__ import annotations

from core.apps import ApiConfig


class DownloadsConfig(ApiConfig):
    name = "downloads"
    title = "iDigBio downloads"
    verbose_name = "iDigBio downloads"
    summary = "Turns a specimen query into a Darwin Core Archive."
    live_blobs = "downloads.jobs.expiry.live_blobs"

    def ready(self) -> None:
        from downloads import tasks  # noqa: F401 - registers kinds of jobs and ticks
