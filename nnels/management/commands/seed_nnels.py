"""Load the demo library; `--items N` adds synthetic titles for measurements."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core import demo
from nnels.seed import build, synthetic


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--items", type=int, default=0, help="synthetic titles to have in the end")
        parser.add_argument(
            "--demo-accounts", action="store_true", help="well-known accounts; only with DEBUG or the demo"
        )

    def handle(self, *args: Any, items: int, demo_accounts: bool, **options: Any) -> None:
        if demo_accounts and not (settings.DEBUG or demo.is_on()):
            raise CommandError("--demo-accounts makes accounts with public passwords: only with DEBUG.")
        done = build.titles()
        self.stdout.write(", ".join(f"{count} {outcome}" for outcome, count in done.items()))
        if demo_accounts or demo.is_on():
            names = build.accounts(staff_password=demo.secret("nnels_staff_password"))
            self.stdout.write(f"accounts: {', '.join(names)}")
        if items:
            self.stdout.write(f"{synthetic.bulk(items)} synthetic titles")
