"""Build the export of a version, if need be, and write it to a file or standard output."""

import sys
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import errors, jobs
from exports.formats import names
from exports.models import ExportBuild
from exports.selectors import builds, files, repos
from exports.serializers import exports as serializer
from exports.services import exports

#: seconds between two looks at a build that a worker does
PAUSE = 0.5


class Command(BaseCommand):
    help = "Write the export of a version, e.g. export_ocl /orgs/DemoHealth/sources/DEMO/ v1.0 --out demo.tgz"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("repository")
        parser.add_argument("version")
        parser.add_argument("--format", choices=names.FORMATS, default="tgz")
        parser.add_argument("--out", default="", help="file to write, - for standard output; default: its own name")

    def handle(self, *_: Any, repository: str, version: str, out: str, **options: Any) -> None:
        build = self._build(f"/{repository.strip('/')}/", version)
        form = options["format"]
        if out == "-":
            for block in files.read(build, form):
                sys.stdout.buffer.write(block)
            return
        path = Path(out or serializer.filename(build, form))
        with path.open("wb") as file:
            for block in files.read(build, form):
                file.write(block)
        self.stdout.write(f"{path}: {path.stat().st_size} bytes")

    def _build(self, uri: str, name: str) -> ExportBuild:
        try:
            version = repos.version(uri, name)
        except errors.NotFound:
            raise CommandError(f"There is no version {name} of {uri}.") from None
        if version.is_head:
            raise CommandError("HEAD has no export; cut a version.")
        exports.request(version, user=None)
        # it may be somebody else's, and a worker may be quicker than we
        while (state := builds.state_of(repos.version(uri, name))).active:
            if state.job is None or not jobs.run(state.job.pk):
                threading.Event().wait(PAUSE)
        if state.ready is None:
            why = ": ".join(state.error) if state.error else "it was cancelled"
            raise CommandError(f"The export was not built: {why}")
        return state.ready
