"""Write how often each title was handed out in each month: CSV without personal data."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from core import errors
from nnels.services import uses


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", default="", metavar="YYYY-MM", help="by default the first use")
        parser.add_argument("--to", dest="last", default="", metavar="YYYY-MM", help="by default this month")
        parser.add_argument("--output", type=pathlib.Path, help="file to write; by default the standard output")

    def handle(self, *args: Any, first: str, last: str, output: pathlib.Path | None, **options: Any) -> None:
        try:
            begin = uses.month(first, field="--from") if first else None
            end = uses.month(last, field="--to") if last else None
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(output.open("w", encoding="utf-8", newline="")) if output else None
                for line in uses.csv_lines(begin, end):
                    if file:
                        file.write(line)
                    else:
                        self.stdout.write(line, ending="")
        except (OSError, errors.Invalid) as error:
            self.stderr.write(error.message if isinstance(error, errors.Invalid) else str(error))
            sys.exit(2)
