"""Import a folder of titles (contract section 6). Exit: 0 fine, 1 some rejected, 2 usage or unreadable."""

from __future__ import annotations

import pathlib
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from nnels.formats import sidecar
from nnels.jobs.importing import store, work


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=pathlib.Path)
        parser.add_argument("--metadata", type=pathlib.Path, help="CSV, TSV or MARCXML beside the files")
        parser.add_argument("--dry-run", action="store_true", help="write nothing, report what would happen")
        parser.add_argument("--unpublished", action="store_true", help="new titles stay hidden")
        parser.add_argument("--rights", choices=["open", "restricted"])
        parser.add_argument("--report", type=pathlib.Path, help="CSV report to write")

    def handle(self, *args: Any, folder: pathlib.Path, **options: Any) -> None:
        metadata: pathlib.Path | None = options["metadata"]
        if not folder.is_dir():
            self._refuse(f"{folder} is no readable folder.")
        choice = store.Options(
            rights=options["rights"], is_published=not options["unpublished"], is_dry=options["dry_run"]
        )
        try:
            summary = self._run(folder.resolve(), metadata.resolve() if metadata else None, choice)
        except (sidecar.Unreadable, OSError) as error:
            self._refuse(str(error))
        except work.StoreGone:
            self._refuse("The file store failed for ten titles in a row.")
        report: pathlib.Path | None = options["report"]
        if report:
            report.write_text("".join(summary.csv()), "utf-8", newline="")
        for warning in summary.warnings:
            self.stderr.write(f"warning: {warning}")
        for line in summary.lines:
            if line.outcome == store.REJECTED:
                self.stderr.write(f"{line.path}: {line.reason} {line.detail}")
        self.stdout.write(", ".join(f"{count} {outcome}" for outcome, count in sorted(summary.counts.items())))
        if summary.counts[store.REJECTED]:
            sys.exit(1)

    def _run(self, root: pathlib.Path, sidecar_path: pathlib.Path | None, choice: store.Options) -> work.Summary:
        if choice.is_dry:
            return work.run(root, sidecar_path=sidecar_path, options=choice, progress=self._progress)
        with work.recorded(root) as made:
            summary = work.run(root, sidecar_path=sidecar_path, options=choice, progress=self._progress)
            for name, count in work.count_fields(summary.counts).items():
                setattr(made, name, count)
        return summary

    def _progress(self, done: int, total: int) -> None:
        if self.stdout.isatty() or done == total or done % 100 == 0:
            self.stdout.write(f"{done} of {total} titles")

    def _refuse(self, why: str) -> None:
        self.stderr.write(why)
        sys.exit(2)
