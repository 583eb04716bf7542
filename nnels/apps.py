from __future__ import annotations

from typing import ClassVar

from core.apps import ApiConfig


class NnelsConfig(ApiConfig):
    name = "nnels"
    title = "NNELS accessible library"
    verbose_name = "NNELS accessible library"
    summary = "Lends titles in formats for people with print disabilities."
    pages: ClassVar[list[tuple[str, str]]] = [("Catalogue", "/nnels/")]
    live_blobs = "nnels.services.files.live_blobs"
    invariants = "nnels.jobs.doctor.invariants"
    seed_command = "seed_nnels"
    demo_check = "nnels.demo.check"
    demo_lines = "nnels.demo.lines"

    def ready(self) -> None:
        from nnels import checks, tasks  # noqa: F401 - registers system checks, jobs and ticks
