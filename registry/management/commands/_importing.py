"""What the registry's import commands share: flags, the report file, counts and exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from registry.formats import imports, report
from registry.services import imports as services


class ImportCommand(BaseCommand):
    """Reads a file and applies its rows; exit 0 clean, 2 with rejects, 1 unreadable (nothing written)."""

    def importer(self) -> services.Apply:
        """What applies one row."""
        raise NotImplementedError

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, write nothing")
        parser.add_argument("--strict", action="store_true", help="apply nothing if any row is rejected")
        parser.add_argument(
            "--create-organizations", action="store_true", help="make the organisations that are missing"
        )
        parser.add_argument("--report", type=Path, help="CSV file for line,key,outcome,reason")

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            rows = imports.read(path.read_bytes(), name=path.name)
        except (OSError, imports.UnreadableFileError) as error:
            self.stderr.write(f"unreadable: {error}")
            sys.exit(1)
        flags = services.Options(options["dry_run"], options["strict"], options["create_organizations"])
        outcome = services.run(rows, self.importer(), flags)
        if options["report"]:
            options["report"].write_bytes(b"".join(report.csv_blocks(services.REPORT_COLUMNS, outcome.lines)))
        self._tell(outcome)
        if outcome.has_rejects:
            sys.exit(2)

    def _tell(self, outcome: services.Outcome) -> None:
        for line, key, done, reason in outcome.lines:
            if done == "rejected":
                self.stderr.write(f"line {line}: {key}: {reason}")
        for note in outcome.notes:
            self.stderr.write(f"note: {note}")
        counts = ", ".join(f"{outcome.count(name)} {name}" for name in services.OUTCOMES)
        self.stdout.write(counts if outcome.applied else f"{counts}; nothing was written")
