"""Whole documents of a version: its header and its rows, in blocks and in constant memory."""

import copy
import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings

from core import db, errors, streams
from exports.formats import documents, envelope, text
from exports.models import CollectionReference, Repo, RepoVersion
from exports.selectors import rows, states

#: the top of a document, from the version (and its repository) it is about
Top = Callable[[RepoVersion], documents.Json]


@dataclass(frozen=True)
class Wanted:
    """Which arrays, and which rows of them; ``limit`` 0 is all."""

    concepts: bool = False
    references: bool = False
    mappings: bool = False
    retired: bool = False
    since: dt.datetime | None = None
    limit: int = 0
    offset: int = 0

    def arrays(self, version: RepoVersion) -> list[str]:
        """Names of the arrays in their order: a forward-only reader needs the concepts first."""
        named = (("concepts", self.concepts), ("references", self.references), ("mappings", self.mappings))
        return [name for name, is_wanted in named if is_wanted and (name != "references" or not version.repo.is_source)]


_ALL = Wanted()


def rows_of(version: RepoVersion, kind: rows.Kind, wanted: Wanted) -> rows.Rows:
    found = rows.of(version, kind)
    if not wanted.retired:
        found = found.without_retired()
    return found if wanted.since is None else found.changed_since(wanted.since)


def header(version: RepoVersion) -> documents.Json:
    """The header before the arrays; HEAD's is worked out from the repository as it is now."""
    if version.header is not None:
        frozen: documents.Json = version.header
        return frozen
    repo = version.repo
    state = documents.VersionState(
        name=version.name,
        uuid=str(version.uuid),
        released=False,
        retired=False,
        description=repo.description,
        extras=repo.extras,
        external_id=repo.external_id,
        created_at=repo.created_at,
        updated_at=repo.updated_at,
        created_by=repo.created_by,
        updated_by=repo.updated_by,
        previous=None,
    )
    return documents.version_header(states.repo(repo), state)


def array_sql(version: RepoVersion, name: str, wanted: Wanted, columns: str) -> tuple[str, list[object]]:
    """Statement for one array's finished rows; ``{}`` in ``columns`` stands for the JSON text."""
    if name == "references":
        return rows.references(version, columns.format("h.body"), limit=wanted.limit, offset=wanted.offset)
    found = rows_of(version, name, wanted)  # type: ignore[arg-type]
    return found.sql(columns.format("f.body"), limit=wanted.limit, offset=wanted.offset)


def page(version: RepoVersion, top: Top, wanted: Wanted) -> str:
    """The document with a limited number of rows per array."""
    arrays = []
    for name in wanted.arrays(version):
        if name == "references" and version.is_head:
            found = CollectionReference.objects.filter(collection=version.repo).order_by("-id")
            bodies = [_reference(one, version.repo) for one in found[wanted.offset : wanted.offset + wanted.limit]]
        else:
            bodies = [body for (body,) in rows.fetch(array_sql(version, name, wanted, "{}"))]
        joined = envelope.SEPARATOR.join(bodies)
        arrays.append((name, iter([f"{envelope.SEPARATOR}{joined}".encode()] if bodies else [])))
    return b"".join(envelope.joined(text.dumps(top(version)), arrays)).decode()


def _reference(one: CollectionReference, collection: Repo) -> str:
    one.collection = collection
    return text.dumps(states.reference(one))


def as_seen(view: db.Snapshot, version: RepoVersion) -> RepoVersion:
    """The version as a snapshot sees it: HEAD with its repository of that moment, or the header and the rows beside it
    would be of different ones. Raises ``errors.NotFound`` when the repository is gone."""
    if not version.is_head:
        return version  # what is frozen is the same at any moment
    found = view.instances(Repo.objects.filter(pk=version.repo_id))
    if not found:
        raise errors.NotFound
    seen = copy.copy(version)
    seen.repo = found[0]
    return seen


def references(view: db.Snapshot, version: RepoVersion, wanted: Wanted = _ALL) -> Iterator[str]:
    """The finished references of a collection's version, as the snapshot sees them."""
    if not version.is_head:
        statement = rows.references(version, limit=wanted.limit, offset=wanted.offset)
        yield from (body for (body,) in view.stream(*statement, size=rows.BLOCK_ROWS))
        return
    fields = [field.attname for field in CollectionReference._meta.concrete_fields]
    part = rows.part(wanted.limit, wanted.offset)
    table = CollectionReference._meta.db_table
    statement = (
        f"SELECT {', '.join(fields)} FROM {table} WHERE collection_id = %s ORDER BY id DESC{part}",
        [version.repo_id],
    )
    for values in view.stream(*statement, size=rows.BLOCK_ROWS):
        yield _reference(CollectionReference.from_db(view.connection.alias, fields, values), version.repo)


_streams = threading.BoundedSemaphore(max(1, settings.EXPORTS_MAX_STREAMS))


class Slot:
    """One of the few unlimited streams a process may have open at a time."""

    def __init__(self) -> None:
        if not _streams.acquire(blocking=False):
            raise errors.Unavailable("Too many streams are open.", retry_after=5)
        self._lock, self._held = threading.Lock(), True

    def release(self) -> None:
        with self._lock:
            held, self._held = self._held, False
        if held:
            _streams.release()


def stream(version: RepoVersion, top: Top, wanted: Wanted) -> Iterator[bytes]:
    """The whole document, its top included, from one snapshot through a server-side cursor; the first bytes leave
    before the rows are read, and a failure ends the stream without the closing bracket."""
    with db.snapshot() as view:
        seen = as_seen(view, version)
        arrays = [(name, _blocks(view, seen, name, wanted)) for name in wanted.arrays(seen)]
        yield from envelope.joined(text.dumps(top(seen)), arrays)


def _blocks(view: db.Snapshot, version: RepoVersion, name: str, wanted: Wanted) -> Iterator[bytes]:
    yield from blocks(_bodies(view, version, name, wanted), separator=envelope.SEPARATOR)


def _bodies(view: db.Snapshot, version: RepoVersion, name: str, wanted: Wanted) -> Iterator[str]:
    if name == "references":
        return references(view, version, wanted)
    found = rows_of(version, name, wanted)  # type: ignore[arg-type]
    statement = found.sql(rows.narrow(), limit=wanted.limit, offset=wanted.offset)
    return (body for (body,) in rows.stream(view, *statement))


def blocks(bodies: Iterable[str], *, separator: str = "", end: str = "") -> Iterator[bytes]:
    """Finished rows in blocks, each row between ``separator`` and ``end``. Rows may be of any length, so blocks are
    measured by theirs."""
    held: list[str] = []
    size = 0
    for body in bodies:
        held.append(f"{separator}{body}{end}")
        size += len(body)
        if size >= streams.BLOCK:
            yield "".join(held).encode()
            held.clear()
            size = 0
    if held:
        yield "".join(held).encode()


def lines(version: RepoVersion, top: str) -> Iterator[bytes]:
    """A frozen version as one object per line: header, concepts, references, mappings."""
    everything = Wanted(concepts=True, references=True, mappings=True, retired=True)
    with db.snapshot() as view:
        yield f"{top}\n".encode()
        for name in everything.arrays(version):
            yield from blocks(_bodies(view, version, name, everything), end="\n")
