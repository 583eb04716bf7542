"""Take over clients and their pairs from an older portal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from usermgmt.services import client_import


class Command(BaseCommand):
    help = "Import API clients with their pairs from FILE.jsonl. Exit: 0 clean, 2 with rejects, 1 unreadable."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **_options: Any) -> None:
        try:
            with file.open(encoding="utf-8-sig") as lines:
                created, known, problems = client_import.run(lines)
        except (OSError, UnicodeDecodeError) as error:
            self.stderr.write(self.style.ERROR(f"aborted: {error}"))
            sys.exit(1)
        for problem in problems:
            self.stderr.write(problem)
        self.stdout.write(f"{created} created, {known} known, {len(problems)} rejected")
        if problems:
            sys.exit(2)
