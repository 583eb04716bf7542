from __future__ import annotations

from core.apps import ApiConfig


class DownloadsConfig(ApiConfig):
    name = "downloads"
    title = "iDigBio downloads"
    verbose_name = "iDigBio downloads"
    summary = "Turns a specimen query into a Darwin Core Archive."
