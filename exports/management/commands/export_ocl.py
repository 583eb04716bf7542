"""Build the export of a version, if need be, and write it to a file or standard output."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core import errors, jobs
from exports.formats import names
from exports.models import ExportBuild
from exports.selectors import files, repos
from exports.serializers import exports as serializer
from exports.services import exports


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
        made = exports.request(version, user=None).build
        if made is not None and made.job_id is not None:
            jobs.run(made.job_id)
        version = repos.version(uri, name)
        if version.current_build is None:
            raise CommandError("The export was not built; see its status.")
        return version.current_build
