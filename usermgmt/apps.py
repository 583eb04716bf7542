"""How this app presents itself to the core."""

from __future__ import annotations

from core.apps import ApiConfig


class UsermgmtConfig(ApiConfig):
    name = "usermgmt"
    title = "CyVerse user management"
    verbose_name = "CyVerse user management"
    summary = "Finds people for registered API clients and adds services to accounts."
    pages = [("Portal", "/portal/")]
    change_address = "usermgmt.services.accounts.ask_to_change_address"
    seed_command = "seed_usermgmt"
    demo_check = "usermgmt.demo.check"
    demo_lines = "usermgmt.demo.lines"

    def ready(self) -> None:
        from usermgmt import checks, tasks  # noqa: F401 - registers checks, jobs, mails and ticks
        from usermgmt.views import raw_path

        raw_path.connect()
