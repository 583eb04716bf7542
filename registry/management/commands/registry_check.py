"""Check a file, a folder, a zip or a source; print counts and issues, store nothing (contract 6)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from core import jobs as core_jobs
from registry.jobs import preview, upload
from registry.models import HarvestType


class Command(BaseCommand):
    help = "List and validate a path or URL without storing anything."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "where",
            help="an XML file, a folder, a zip, or the URL of a source; a stored one is asked with its own settings",
        )
        parser.add_argument(
            "--type", default="", choices=HarvestType.values, help="type of the source; without, as stored, else WAF"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        where: str = options["where"]
        is_url = where.lower().startswith(("http://", "https://"))
        checked = preview.Checked()
        try:
            for name, verdict in _of_source(where, options["type"]) if is_url else preview.check_path(Path(where)):
                checked.add(verdict)
                for issue in verdict.issues:
                    self.stdout.write(f"{name}:{issue.line or 0}: {issue.severity}: {issue.code}: {issue.message}")
        except (core_jobs.Failure, upload.UnreadableUploadError, OSError) as error:
            self.stderr.write(f"unreadable: {error}")
            sys.exit(1)
        codes = ", ".join(f"{code} {count}" for code, count in sorted(checked.codes.items()))
        self.stdout.write(
            f"{checked.good + checked.bad} documents, {checked.good} good, {checked.bad} bad; {codes or 'no issues'}"
        )
        if checked.bad:
            sys.exit(2)


def _of_source(url: str, harvest_type: str) -> preview.Verdicts:
    return preview.check_source(preview.source_at(url, harvest_type=harvest_type), check=lambda: None)
