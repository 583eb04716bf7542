"""Make raw lines anew that were made for an older set of raw columns (contract 6.3)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from downloads.jobs import rerender


class Command(BaseCommand):
    help = "Make stored raw lines fit the newest raw column set; builds give the same output before and after."

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(f"rendered: {rerender.rerender()}")
