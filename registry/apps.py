from __future__ import annotations

from core.apps import ApiConfig


class RegistryConfig(ApiConfig):
    name = "registry"
    title = "IOOS registry"
    verbose_name = "IOOS registry"
    summary = "Harvests ISO metadata from providers, validates it and serves the good records again."
