"""Import who may have restricted titles: CSV `username,print_disability_verified,verified_until,home_library`."""

from __future__ import annotations

import pathlib
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from nnels.formats import sidecar
from nnels.jobs import readers


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("table", type=pathlib.Path)
        parser.add_argument("--report", type=pathlib.Path, help="CSV report to write")

    def handle(self, *args: Any, table: pathlib.Path, report: pathlib.Path | None, **options: Any) -> None:
        try:
            lines = readers.run(table.read_bytes())
        except (OSError, sidecar.Unreadable) as error:
            self.stderr.write(f"{table}: {error}")
            sys.exit(2)
        if report:
            report.write_text("".join(readers.csv_lines(lines)), "utf-8", newline="")
        for line in lines:
            if line.outcome == "rejected":
                self.stderr.write(f"{line.username}: {line.reason}")
        counts = readers.counts(lines)
        self.stdout.write(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
        if counts["rejected"]:
            sys.exit(1)
