"""What the registry's import commands share: flags, the report file, counts and exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand

from registry.formats import imports, report
from registry.jobs import bring_in


class ImportCommand(BaseCommand):
    """Reads a file of `what` and applies its rows; exit 0 clean, 2 with rejects, 1 unreadable (nothing written)."""

    what: ClassVar[str]

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
        flags = bring_in.Options(options["dry_run"], options["strict"], options["create_organizations"])
        outcome = bring_in.run(rows, self.what, flags, noted=self._progress(len(rows)))
        if options["report"]:
            options["report"].write_bytes(b"".join(report.csv_blocks(bring_in.REPORT_COLUMNS, outcome.lines)))
        self._tell(outcome)
        if outcome.has_rejects:
            sys.exit(2)

    def _progress(self, total: int) -> Callable[[int], None]:
        """Say every thousand rows how far it is."""

        def noted(done: int) -> None:
            if done % 1000 == 0:
                self.stderr.write(f"{done} of {total} rows")

        return noted

    def _tell(self, outcome: bring_in.Outcome) -> None:
        for line, key, done, reason in outcome.lines:
            if done == "rejected":
                self.stderr.write(f"line {line}: {key}: {reason}")
        for note in outcome.notes:
            self.stderr.write(f"note: {note}")
        counts = ", ".join(f"{outcome.count(name)} {name}" for name in bring_in.OUTCOMES)
        self.stdout.write(counts if outcome.applied else f"{counts}; nothing was written")
