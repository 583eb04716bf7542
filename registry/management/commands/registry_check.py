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

TYPES = [HarvestType.WAF, HarvestType.ERDDAP_WAF, HarvestType.THREDDS, HarvestType.SITEMAP]


class Command(BaseCommand):
    help = "List and validate a path or URL without storing anything."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("where", help="an XML file, a folder, a zip, or the URL of a source")
        parser.add_argument("--type", default=HarvestType.WAF, choices=TYPES)

    def handle(self, *_args: Any, **options: Any) -> None:
        where: str = options["where"]
        is_url = where.lower().startswith(("http://", "https://"))
        checked = preview.Checked()
        try:
            found = (
                preview.check_source(where, harvest_type=options["type"]) if is_url else preview.check_path(Path(where))
            )
            for name, verdict in found:
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
