"""Fill the specimen store with sample specimens: `seed_downloads [--records 5000] [--random-seed 1] [--reset]`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from downloads import services
from downloads.formats import samples
from downloads.jobs import ingest, rerender

_MOST = 10_000_000


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"between 1 and {_MOST:,} records can be made, not {text}")
    return int(text)


class Command(BaseCommand):
    help = "Write four sample archives and bring them in, as ingest_dwca would."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--records", type=_count, default=5000, help="good records in all (up to 10,000,000)")
        parser.add_argument("--random-seed", type=int, default=1)
        parser.add_argument("--reset", action="store_true", help="remove sample rows that are no longer among them")

    def handle(self, *_args: Any, **options: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="quincunx-seed-") as folder:
            made = samples.write_all(Path(folder), records=options["records"], seed=options["random_seed"])
            opts = ingest.Options(keep_missing=not options["reset"], allow_mass_delete=options["reset"])
            for provider, path in made:
                _run, report = services.import_archive(str(path), opts)
                self.stdout.write(f"{provider.title}: {report.sentence()}")
        rerender.rerender()  # later archives have brought new raw columns
