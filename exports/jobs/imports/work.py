"""The import job: read and check everything once, then write in batches, each in one transaction with its notes, so
that a restarted attempt goes on behind the last committed one."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from django.conf import settings
from django.db import transaction

from core import blobs, errors, jobs
from exports.formats import feeds, legacy
from exports.jobs.imports import archive, lines, places, rows
from exports.jobs.imports.notes import Book, Note, of_error
from exports.jobs.imports.rights import Importer
from exports.models import ImportJob
from exports.writing import clock

KIND = "exports.import"
BATCH = 500
Json = dict[str, Any]
Noted = Callable[[int, int], None]


class BlobFile(io.RawIOBase):
    """A stored blob as a seekable file: reads are ranges of the store, a few hundred kilobytes at a time."""

    def __init__(self, key: str) -> None:
        found = blobs.stat(key)
        if found is None:
            raise jobs.Failure("upload_missing", "The uploaded file is gone.")
        self._key, self._size, self._at = key, found.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        data = b"".join(blobs.reader(self._key, self._at, end))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _limits() -> feeds.Limits:
    return feeds.Limits(
        unpacked=settings.EXPORTS_IMPORT_MAX_UNPACKED,
        ratio=settings.EXPORTS_IMPORT_MAX_RATIO,
        record=settings.EXPORTS_IMPORT_MAX_RECORD,
    )


def do(run: jobs.Run) -> Json:
    """One attempt at an import."""
    importing = ImportJob.objects.select_related("user").get(pk=run.params["import"])
    file = io.BufferedReader(BlobFile(importing.key), 1 << 20)
    if importing.user is None:
        raise jobs.Failure("user_gone", "The account that asked for this import is gone.")
    book = Book(importing, keeps_all=bool(importing.options.get("atomic")))
    work = Work(Importer(importing.user), importing.options, book, run=run, importing=importing)
    try:
        work.whole(file)
    except feeds.Refused as reason:
        raise jobs.Failure("refused", str(reason)[:300]) from None
    blobs.delete(importing.key)
    return work.result()


def run_file(file: BinaryIO, *, user: Any, options: Json, noted: Noted | None = None) -> Book:
    """An import at the command line, in this process; ``feeds.Refused`` when the file cannot be read. ``noted`` is told
    now and then how many records of how many are done."""
    work = Work(Importer(user), options, Book(None), noted=noted)
    work.whole(file)
    return work.book


class Work:
    """One pass of writing over a file."""

    def __init__(self, importer: Importer, options: Json, book: Book, *, run: jobs.Run | None = None,
                 importing: ImportJob | None = None, noted: Noted | None = None) -> None:  # fmt: skip
        self.importer, self.options, self.book = importer, options, book
        self._run, self._importing, self._noted = run, importing, noted
        self._owner = str(options.get("owner", "") or "")
        self._is_atomic = bool(options.get("atomic"))
        self._names, self._named, self._ends = places.Names(self._owner), set[str](), set[str]()
        self._target: archive.Target | None = None
        self._done = self._total = 0
        self._skip = importing.done if importing else 0

    def whole(self, file: BinaryIO) -> None:
        """Check the whole file, then write it; all or nothing when ``atomic``."""
        self._total = sum(1 for _ in self._watched(feeds.read(file, _limits())))
        if not self._is_atomic:
            self._write(feeds.read(file, _limits()))
            return
        with transaction.atomic():
            clock.hold(self._named, ends=self._ends, with_referrers=True)
            self._write(feeds.read(file, _limits()))
            is_bad = self.book.has_bad
            if not is_bad:
                self._publish()
            transaction.set_rollback(is_bad)
        if is_bad:
            self._undone()

    def _watched(self, items: Iterator[feeds.Item]) -> Iterator[feeds.Item]:
        for number, item in enumerate(items):
            if number % BATCH == 0:
                self._check()
            if self._is_atomic:
                self._named |= self._names.of(item)
                self._ends |= self._names.ends_of(item)
            yield item

    def _check(self) -> None:
        if self._noted is not None:
            self._noted(self._done, self._total)
        if self._run is not None:
            self._run.check()
            self._run.progress(stage="importing", done=self._done, total=self._total,
                               percent=min(99, self._done * 100 // max(1, self._total)))  # fmt: skip

    def _transaction(self) -> AbstractContextManager[Any]:
        """Of one batch. Within an atomic import the job's row is left alone until the end: while it is locked neither
        the heartbeat nor a cancellation gets through."""
        return transaction.atomic() if self._is_atomic else self._fenced()

    def _fenced(self) -> AbstractContextManager[Any]:
        return transaction.atomic() if self._run is None else self._run.fenced()

    def _publish(self) -> None:
        """The end of an atomic import: its rows and its success are one, so one cancelled before stores nothing."""
        if self._run is not None:
            with self._run.finish(self.result()):
                self._check()

    def result(self) -> Json:
        return {"counts": dict(self.book.counts)}

    def _write(self, items: Iterator[feeds.Item]) -> None:
        for group in _groups(items):
            self._check()
            # a header is needed again by a restarted attempt; anything else committed before is behind us
            if self._done + len(group) <= self._skip and group[0].kind != "header":
                self._done += len(group)
                continue
            self._commit(group, lambda group=group: self._apply(group))  # type: ignore[misc]
        if self._target is not None:
            target = self._target
            self._commit([], lambda: archive.cut(target, self.importer, self.book))

    def _commit(self, group: list[feeds.Item], act: Callable[[], None]) -> None:
        """One batch with its notes and the place it reached, in one transaction."""
        with self._transaction():
            if not self._is_atomic:
                self._hold(group)
            act()
            self.book.save()
            self._done += len(group)
            if self._importing is not None:
                reached = max(self._done, self._skip)
                ImportJob.objects.filter(pk=self._importing.pk).update(done=reached, options=self.options)

    def _hold(self, group: list[feeds.Item]) -> None:
        """A batch over several places locks them one after the other, so it holds them all to begin with."""
        named = set[str]().union(*(self._names.of(item) for item in group))
        if len(named) > 1:
            ends = set[str]().union(*(self._names.ends_of(item) for item in group))
            clock.hold(named, ends=ends, with_referrers=False)

    def _apply(self, group: list[feeds.Item]) -> None:
        kind = group[0].kind
        good = [item for item in group if not item.problem]
        for item in group:
            if item.problem:
                self.book.add(Note("invalid", item.line, "", "", {"detail": item.problem}))
        if not good:
            return
        if kind == "header":
            self._open(good[0])
        elif kind == "record":
            self._records(good)
        elif self._target is not None:
            self._rows(kind, good)

    # -- an export document -----------------------------------------------------------------------------------

    def _open(self, item: feeds.Item) -> None:
        header = legacy.modern(item.value)
        try:
            with transaction.atomic():
                self._target = archive.open_target(
                    header, self.importer, owner=self._owner, fresh=str(self.options.get("fresh", ""))
                )
        except errors.Fact as error:
            self.book.add(of_error(error, line=0, type=str(header.get("type", "")), url=str(header.get("url", ""))))
            return
        if self._target.is_fresh:
            self.options["fresh"] = self._target.repo.uri

    def _rows(self, kind: str, group: list[feeds.Item]) -> None:
        target = self._target
        if target is None:
            return
        if kind == "references":
            archive.refer(target, [(item.line, item.value) for item in group], self.importer, self.book)
            return
        batch = [archive.row(target, kind, item.value, item.line) for item in group]
        try:
            with transaction.atomic():
                archive.write_rows(target, batch, self.importer, self.book)
        except errors.Denied as error:
            for wanted in batch:
                self.book.add(of_error(error, line=wanted.line, type=wanted.type, url=str(wanted.value.get("url", ""))))

    # -- JSON lines -------------------------------------------------------------------------------------------

    def _records(self, group: list[feeds.Item]) -> None:
        kind = str(group[0].value.get("type", ""))
        if kind in ("Concept", "Mapping"):
            for uri, mine in _by_place(group, self._owner, self.book).items():
                self._batch(uri, kind, mine)
            return
        for item in group:
            self._one(kind, item)

    def _batch(self, uri: str, kind: str, group: list[feeds.Item]) -> None:
        batch = [rows.Wanted(i.line, kind, i.value, str(i.value.get("__action", "CREATE_OR_UPDATE"))) for i in group]
        updates = bool(self.options.get("update_if_exists", True))
        try:
            with transaction.atomic():
                repo = places.repo(uri)
                self.importer.demand("write", repo)
                lock = clock.lock(repo.pk, sources=rows.sources(repo, batch))
                rows.write(lock, batch, rows.Manner(self.importer.name, updates=updates), self.book)
                lock.save()
        except errors.Fact as error:
            for item in group:
                self.book.add(
                    of_error(error, line=item.line, type=kind, url=f"{uri}{kind.lower()}s/{item.value.get('id', '')}/")
                )

    def _one(self, kind: str, item: feeds.Item) -> None:
        if kind not in lines.KINDS:
            self.book.add(Note("unknown", item.line, kind, "", {"type": [f'"{kind}" is not a type of record.']}))
            return
        try:
            with transaction.atomic():
                updates = bool(self.options.get("update_if_exists", True))
                outcome, url = lines.apply(kind, item.value, self.importer, owner=self._owner, updates=updates)
        except errors.Fact as error:
            self.book.add(of_error(error, line=item.line, type=kind, url=str(item.value.get("id", ""))))
            return
        self.book.add(Note(outcome, item.line, kind, url))

    # -- atomic -----------------------------------------------------------------------------------------------

    def _undone(self) -> None:
        """Nothing was stored: the records that were good are reported as not done either."""
        kept = self.book.kept()
        self.book.restart()
        for note in kept:
            bad = note.outcome in ("failed", "invalid", "permission_denied", "unknown")
            words = note.errors if bad else {"detail": "Another record failed, so nothing was stored."}
            self.book.add(Note(note.outcome if bad else "failed", note.line, note.type, note.url, words))
        with self._fenced():
            self.book.save()


def _groups(items: Iterator[feeds.Item]) -> Iterator[list[feeds.Item]]:
    """Runs of one kind and type, at most BATCH at a time."""
    group: list[feeds.Item] = []
    for item in items:
        if group and (len(group) >= BATCH or _run_of(item) != _run_of(group[0])):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _run_of(item: feeds.Item) -> tuple[str, str]:
    return item.kind, str(item.value.get("type", "")) if item.kind == "record" else ""


def _by_place(group: list[feeds.Item], owner: str, book: Book) -> dict[str, list[feeds.Item]]:
    """Rows by the source they name; those that name none are noted."""
    found: dict[str, list[feeds.Item]] = {}
    for item in group:
        try:
            uri = places.repo_uri(item.value, owner, kind="source", key="source")
        except errors.Fact as error:
            book.add(
                of_error(error, line=item.line, type=str(item.value.get("type")), url=str(item.value.get("id", "")))
            )
            continue
        found.setdefault(uri, []).append(item)
    return found
