"""Bring a Darwin Core Archive into the specimen store (contract 6.1).

Exit status: 0 done, 1 refused or failed (nothing changed), 2 usage, 3 done with rejects.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import errors
from downloads import services
from downloads.jobs import ingest


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"{text} is not a uuid") from fault


def _place(text: str) -> str:
    if not text.strip():  # a shell's unset variable; as a path it would be the present folder
        raise argparse.ArgumentTypeError("name an archive")
    return text


def _write(file: pathlib.Path, report: dict[str, Any]) -> None:
    try:
        file.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as fault:
        raise CommandError(f"The report cannot be written: {fault}", returncode=2) from fault


class Command(BaseCommand):
    help = "Bring a Darwin Core Archive (zip, tar.gz, directory, lone CSV/TSV, or URL) into the specimen store."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("place", type=_place, metavar="PATH_OR_URL")
        parser.add_argument("--recordset", type=_uuid, metavar="UUID", help="the recordset the rows belong to")
        parser.add_argument("--name", default="", help="the recordset's name")
        parser.add_argument("--dry-run", action="store_true", help="report what would happen, change nothing")
        parser.add_argument("--keep-missing", action="store_true", help="keep rows the archive no longer has")
        parser.add_argument("--allow-mass-delete", action="store_true", help="let over half of the rows vanish")
        parser.add_argument("--trust-index", action="store_true", help="keep a download archive's own index terms")
        parser.add_argument("--json", action="store_true", help="report as JSON")
        parser.add_argument("--report", type=pathlib.Path, metavar="FILE", help="also write the report, as JSON, here")

    def handle(self, *_args: Any, **options: Any) -> None:
        names = ("recordset", "name", "dry_run", "keep_missing", "allow_mass_delete", "trust_index")
        opts = ingest.Options(**{name: options[name] for name in names})
        file: pathlib.Path | None = options["report"]
        if file is not None:
            _write(file, {})  # now rather than after hours of work
        try:
            _run, report = services.import_archive(options["place"], opts, progress=self._progress())
        except errors.Fact as fault:
            if file is not None:
                _write(file, {"error": fault.message})
            if options["json"]:
                self.stdout.write(json.dumps({"error": fault.message}))
            self.stderr.write(fault.message)
            sys.exit(1)
        if file is not None:
            _write(file, report.to_json())
        if options["json"]:
            self.stdout.write(json.dumps(report.to_json()))
        else:
            self._say(report)
        sys.exit(3 if report.rejects else 0)

    def _progress(self) -> Any:
        """Every few seconds a line, on a terminal."""
        said = time.monotonic()

        def progress(stage: str, rows: int) -> None:
            nonlocal said
            if sys.stderr.isatty() and time.monotonic() - said > 3:
                said = time.monotonic()
                self.stderr.write(f"{stage}: {rows} rows")

        return progress

    def _say(self, report: ingest.Report) -> None:
        self.stdout.write(report.sentence())
        for name in ("read", "added", "changed", "unchanged", "restored", "attached", "removed", "links"):
            self.stdout.write(f"{name}: {getattr(report, name)}")
        for reason, count in sorted(report.rejected.items()):
            self.stdout.write(f"rejected, {reason}: {count}")
        if report.version is not None:
            self.stdout.write(f"new data version: {report.version}")
        elif report.dry_run:
            self.stdout.write("dry run: nothing was changed")
