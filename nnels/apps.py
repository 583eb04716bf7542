from __future__ import annotations

from core.apps import ApiConfig


class NnelsConfig(ApiConfig):
    name = "nnels"
    title = "NNELS accessible library"
    verbose_name = "NNELS accessible library"
    summary = "Lends titles in formats for people with print disabilities."
