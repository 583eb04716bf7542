"""Bring people in from a CSV or JSON-lines file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from usermgmt.formats import users_file
from usermgmt.services import imports


class Command(BaseCommand):
    help = "Import people from FILE.csv or FILE.jsonl, gzipped or not. Exit: 0 clean, 2 with rejects, 1 aborted."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, write nothing")
        parser.add_argument("--rejects", type=Path, metavar="FILE", help="write rejected rows to this CSV")
        parser.add_argument("--strict", action="store_true", help="any rejected row: write nothing")
        parser.add_argument("--deactivate-missing", action="store_true", help="deactivate people not in the file")
        parser.add_argument("--max-bytes", type=int, default=4 * 1024**3, help="most bytes decompressed (4 GiB)")

    def handle(self, *, file: Path, dry_run: bool, rejects: Path | None, strict: bool, **options: Any) -> None:
        outcome = imports.Outcome()
        try:
            outcome = imports.run(
                users_file.read(file, max_bytes=options["max_bytes"]),
                is_dry=dry_run,
                is_strict=strict,
                deactivate_missing=options["deactivate_missing"],
                progress=self.progress,
                outcome=outcome,
            )
        except (users_file.Aborted, imports.Refused) as error:
            self.finish(outcome, rejects)
            self.stderr.write(self.style.ERROR(f"aborted: {error}"))
            sys.exit(1)
        self.finish(outcome, rejects)
        self.stdout.write(
            f"{outcome.created} created, {outcome.updated} updated, {outcome.unchanged} unchanged, "
            f"{len(outcome.rejects)} rejected, {outcome.deactivated} deactivated{' (dry run)' if dry_run else ''}"
        )
        if outcome.rejects:
            sys.exit(2)

    def progress(self, outcome: imports.Outcome) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{outcome.rows} rows", ending="")

    def finish(self, outcome: imports.Outcome, report: Path | None) -> None:
        if report is not None:
            with users_file.text_sink(report) as sink:
                users_file.report(outcome.rejects, sink)
            return
        for reject in outcome.rejects[:50]:
            self.stderr.write(
                f"line {reject.line}, {reject.username or '?'}: {reject.field or 'row'}: {reject.message}"
            )
