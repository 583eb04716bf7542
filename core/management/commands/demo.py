"""The demo's steps that need Django; `./run demo` starts the servers and calls them."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from core import apps, demo
from core.models import User


class Command(BaseCommand):
    help = "Steps of ./run demo: prepare (migrate and seed), lines (what to try), check (try every API once)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`demo prepare`, `demo lines URL`, `demo check URL`."""
        parser.add_argument("step", choices=["prepare", "lines", "check"])
        parser.add_argument("base_url", nargs="?", default="")

    def handle(self, *, step: str, base_url: str, **_options: Any) -> None:
        """Do one step."""
        {"prepare": self.prepare, "lines": self.lines, "check": self.try_all}[step](base_url)

    def prepare(self, _base_url: str) -> None:
        """Bring the database up to date and let every API seed it; seeds are idempotent."""
        call_command("migrate", interactive=False, verbosity=0)
        for config in apps.api_configs():
            if config.seed_command:
                self.stdout.write(f"seeding {config.title}")
                self.stdout.flush()
                call_command(*shlex.split(config.seed_command))
        self.hire_operator()

    def hire_operator(self) -> None:
        """The account that may do everything in admin; made last, so that the seeds' people get their own ids."""
        operator, _created = User.objects.update_or_create(
            username="operator",
            defaults={"is_staff": True, "is_superuser": True, "is_validated": True, "hide_from_directory": True},
        )
        operator.set_password(demo.secret("operator"))
        operator.save()

    def lines(self, base_url: str) -> None:
        """Print what to try, API by API."""
        for config in apps.api_configs():
            tell = config.hook("demo_lines")
            if tell:
                self.stdout.write(f"\n# {config.title}")
                for line in tell(base_url, demo.credentials()):
                    self.stdout.write(line)
        password = demo.credentials()["operator"]
        self.stdout.write(f"\n# Admin\n{base_url}/admin/ as operator, password {password}")

    def try_all(self, base_url: str) -> None:
        """Do one real request or job with every API that names one; fail when any does."""
        failed = []
        for config in apps.api_configs():
            attempt = config.hook("demo_check")
            if attempt is None:
                continue
            try:
                line = attempt(base_url, demo.credentials())
            except Exception as problem:
                self.stdout.write(f"{config.title}: FAILED: {type(problem).__name__}: {problem}")
                failed.append(config.title)
            else:
                self.stdout.write(f"{config.title}: {line}")
            self.stdout.flush()
        if failed:
            raise CommandError(f"failed: {', '.join(failed)}")
