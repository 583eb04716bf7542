"""Import a folder or zip of ISO XML as a run, without any network (contract 6)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from core import errors, jobs
from registry import selectors
from registry.models import HarvestRun
from registry.services import imports


class Command(BaseCommand):
    help = "Make a folder or zip of ISO records the records of a harvest."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--harvest", required=True, help="the harvest's id")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            harvest = selectors.harvest(options["harvest"])
            run = imports.documents(options["path"], harvest)
        except errors.Fact as fact:
            self.stderr.write(f"unreadable: {fact.message or 'no such harvest'}")
            sys.exit(1)
        jobs.run(run.job_id)  # here, unless a worker was quicker
        self._await(run)
        self.stdout.write(f"{run.state}: {run.done} documents, {run.good} good, {run.bad} bad")
        if run.state != HarvestRun.State.OK:
            self.stderr.write(f"{run.failure_code}: {run.failure_message}")
            sys.exit(1)
        if run.bad:
            sys.exit(2)

    def _await(self, run: HarvestRun) -> None:
        run.refresh_from_db()
        while run.state in HarvestRun.ACTIVE:
            self.stderr.write(f"{run.stage}: {run.done} of {run.listed}")
            time.sleep(1)
            run.refresh_from_db()
