"""Take over clients and their pairs from an older portal."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from usermgmt.formats import users_file
from usermgmt.services import client_import


class Command(BaseCommand):
    help = "Import API clients with their pairs from FILE.jsonl. Exit: 0 clean, 2 with rejects, 1 unreadable."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--rejects", type=Path, metavar="FILE", help="write rejected lines to this CSV")

    def handle(self, *, file: Path, rejects: Path | None, **_options: Any) -> None:
        try:
            # Both opened before the work: afterwards it would be too late to say that one cannot be written.
            with (
                file.open(encoding="utf-8-sig") as lines,
                users_file.text_sink(rejects) if rejects else contextlib.nullcontext() as sink,
            ):
                created, known, problems = client_import.run(lines)
                self.report(problems, sink)
        except (OSError, UnicodeDecodeError) as error:
            self.stderr.write(self.style.ERROR(f"aborted: {error}"))
            sys.exit(1)
        self.stdout.write(f"{created} created, {known} known, {len(problems)} rejected")
        if problems:
            sys.exit(2)

    def report(self, problems: list[users_file.Reject], sink: io.TextIOWrapper | None) -> None:
        """Tell of each reject: in the report `line,username,field,message` (the owner's), or on the terminal."""
        if sink is not None:
            report = users_file.Report(sink)
            for problem in problems:
                report.add(problem)
            return
        for problem in problems:
            self.stderr.write(f"line {problem.line}, {problem.field or 'row'}: {problem.message}")
