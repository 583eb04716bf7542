"""How the registry presents itself to the core."""

from __future__ import annotations

from core import apps


class RegistryConfig(apps.ApiConfig):
    name = "registry"
    verbose_name = "IOOS registry"
    title = "IOOS Registry"
    summary = "Lists metadata sources, harvests and validates their ISO records, and serves the good ones again."
    pages = [("Sources", "/registry/sources"), ("Registry", "/registry/"), ("Folder for harvesters", "/waf/")]
    live_blobs = "registry.selectors.live_blobs"
    seed_command = "seed_registry"
    demo_check = "registry.demo.check"
    demo_lines = "registry.demo.lines"

    def ready(self) -> None:
        from registry import tasks  # noqa: F401 - registers the kinds of jobs
