from __future__ import annotations

from core.apps import ApiConfig


class ExportsConfig(ApiConfig):
    name = "exports"
    title = "Open Concept Lab exports"
    verbose_name = "Open Concept Lab exports"
    summary = "Keeps terminologies and exports their versions as archives."
