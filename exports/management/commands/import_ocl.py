"""Import JSON lines or an export archive from a file, in this process."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.models import User
from exports.formats import addresses, feeds
from exports.jobs import imports
from exports.jobs.imports import notes
from exports.serializers import imports as serializer

#: records between two lines of progress
STEP = 5000


class Command(BaseCommand):
    help = "Import FILE; exits 0 when clean, 2 with rejects, 1 when the file cannot be read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--user", default="", help="import with this account's rights; default: the operator's")
        parser.add_argument("--owner", default="", metavar="orgs/X", help="put an archive under another owner")
        parser.add_argument("--atomic", action="store_true", help="all or nothing")
        parser.add_argument("--report", default="", metavar="F", help="write the report to this file")

    def handle(self, *_: Any, file: str, user: str, owner: str, atomic: bool, report: str, **options: Any) -> None:
        account = User.objects.filter(username=user.lower()).first() if user else None
        if user and account is None:
            raise CommandError(f"There is no user {user}.")
        if owner and not addresses.is_owner(owner.strip("/")):
            raise CommandError("--owner is orgs/<id> or users/<name>.")
        given = {"owner": owner.strip("/"), "atomic": atomic}
        try:
            with Path(file).open("rb") as opened:
                book = imports.run_file(opened, user=account, options=given, noted=self._progress())
        except (OSError, feeds.Refused) as error:
            raise CommandError(str(error)) from None
        summary = serializer.summary(dict(book.counts))
        self.stdout.write(summary)
        if report:
            Path(report).write_text(json.dumps(_report(book, summary)))
        if book.has_bad:
            raise SystemExit(2)

    def _progress(self) -> Callable[[int, int], None]:
        """Say how far it is, every so many records."""
        said = 0

        def noted(done: int, total: int) -> None:
            nonlocal said
            if done >= said + STEP:
                said = done
                self.stderr.write(f"{done} of {total} records")

        return noted


def _report(book: notes.Book, summary: str) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary, **{outcome: [] for outcome in notes.OUTCOMES}}
    for note in book.all:
        found[note.outcome].append(serializer.entry(note.line, note.type, note.url, note.errors))
    return found
