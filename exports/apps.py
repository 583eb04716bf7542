from __future__ import annotations

from core.apps import ApiConfig


class ExportsConfig(ApiConfig):
    name = "exports"
    title = "Open Concept Lab exports"
    verbose_name = "Open Concept Lab exports"
    summary = "Keeps terminologies and exports their versions as archives."
    pages = [("Repositories and exports", "/exports/"), ("How to subscribe", "/exports/help/")]
    seed_command = "seed_exports"
    demo_check = "exports.demo.check"
    demo_lines = "exports.demo.lines"
    live_blobs = "exports.jobs.build.live_blobs"
    invariants = "exports.jobs.doctor.invariants"
    keeps_username = "exports.services.owners.keeps_username"

    def ready(self) -> None:
        from exports import tasks  # noqa: F401 - registers the jobs
