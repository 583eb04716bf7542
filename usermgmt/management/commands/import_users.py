"""Bring people in from a CSV or JSON-lines file."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from usermgmt.formats import users_file
from usermgmt.services import imports

SHOWN = 50


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
        with self.told(rejects) as reject:
            try:
                outcome = imports.run(
                    users_file.read(file, max_bytes=options["max_bytes"]),
                    is_dry=dry_run,
                    is_strict=strict,
                    deactivate_missing=options["deactivate_missing"],
                    progress=self.progress,
                    reject=reject,
                )
            except (users_file.Aborted, imports.Refused) as error:
                self.stderr.write(self.style.ERROR(f"aborted: {error}"))
                sys.exit(1)
        self.stdout.write(
            f"{outcome.created} created, {outcome.updated} updated, {outcome.unchanged} unchanged, "
            f"{outcome.rejected} rejected, {outcome.deactivated} deactivated{' (dry run)' if dry_run else ''}"
        )
        if outcome.rejected:
            sys.exit(2)

    def progress(self, outcome: imports.Outcome) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{outcome.rows} rows", ending="")

    @contextlib.contextmanager
    def told(self, report: Path | None) -> Iterator[Callable[[users_file.Reject], None]]:
        """What hears of each reject: the report file, or the terminal as far as the first fifty."""
        if report is not None:
            with self.opened(report) as sink:
                yield users_file.Report(sink).add
            return
        places = itertools.count()

        def show(reject: users_file.Reject) -> None:
            if next(places) < SHOWN:
                self.stderr.write(
                    f"line {reject.line}, {reject.username or '?'}: {reject.field or 'row'}: {reject.message}"
                )

        yield show

    def opened(self, report: Path) -> io.TextIOWrapper:
        """The report file; before the work, for afterwards it would be too late to say that it cannot be written."""
        try:
            return users_file.text_sink(report)
        except OSError as error:
            raise CommandError(f"aborted: {error}") from None
