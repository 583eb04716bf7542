"""A repository's write clock: timestamps that strictly increase in commit order (contract §2.6).

The lock is the repository's row, held until the transaction ends. A writer gets its times only after the one before
it has committed, so nobody can commit below a time a reader has already seen. A collection shows rows of several
sources: whoever changes such a row holds the collection's clock as well, and whoever adds rows to a collection waits
for those who are changing their sources. So does whoever writes mappings for those who are changing the sources of
their ends, whose names they show.

Locks are taken in one order, so that nobody waits in a circle: places, sources by name, collections by name, mappings
by id (``mappings.hold``: a source's writer changes what mappings of other sources tell of its concepts).
"""

import datetime as dt
import zlib
from collections.abc import Collection, Sequence
from typing import Any

from django.utils import timezone

from core import db, errors
from exports.models import Concept, HeadMember, Mapping, Repo
from exports.writing import store

_STEP = dt.timedelta(microseconds=1)
#: how many locks stand for all the places there may be
_PLACES = 1024


class Clock:
    """The write lock on one repository, with its times and its mapping numbers."""

    def __init__(self, repo: Repo, *, held: Collection[str] = ()) -> None:
        self.repo = repo
        self._held = {repo.uri, *held}
        self._last = max(repo.write_clock + _STEP, timezone.now()) - _STEP
        self._collections: set[int] = set()

    def tick(self) -> dt.datetime:
        """The next instant, later than every one before."""
        self._last += _STEP
        return self._last

    def witness(self, moment: dt.datetime | None) -> None:
        """Take note of a time brought in by an import: later ticks come after it."""
        if moment is not None and moment > self._last:
            self._last = moment

    def hold_sources(self, urls: Collection[str]) -> None:
        """Nobody changes these sources until the transaction ends. Those that were not named to ``lock`` are locked out
        of turn, so name what is known."""
        late = {*urls} - self._held
        if late:
            _share("uri = ANY(%s)", [sorted(late)])
            self._held |= late

    def hold_collections(self, key: str, pks: Sequence[int]) -> None:
        """Hold the clocks of the collections that show these rows, before their new times are taken; ``key`` is
        ``concept`` or ``mapping``."""
        if pks:
            self._hold(f"SELECT collection_id FROM {store.table(HeadMember)} WHERE {key}_id = ANY(%s)", [list(pks)])

    def hold_all_collections(self) -> None:
        """Hold the clocks of all collections that show any row of this source."""
        member, mine = store.table(HeadMember), self.repo.pk
        self._hold(
            " UNION ".join(
                f"SELECT m.collection_id FROM {member} m JOIN {store.table(model)} t ON t.id = m.{key}_id"
                " WHERE t.source_id = %s"
                for model, key in ((Concept, "concept"), (Mapping, "mapping"))
            ),
            [mine, mine],
        )

    def _hold(self, collections: str, params: list[Any]) -> None:
        for pk, moment in store.rows(
            f"SELECT k.id, k.write_clock FROM {store.table(Repo)} k WHERE k.id IN ({collections})"
            " ORDER BY k.uri FOR NO KEY UPDATE",
            params,
        ):
            self._collections.add(pk)
            self.witness(moment)

    def mapping_number(self) -> str:
        """The next sequential mapping id of the source."""
        number = self.repo.next_mapping
        self.repo.next_mapping += 1
        return str(number)

    def used(self, mnemonic: str) -> None:
        """A mapping id somebody chose: sequential ids go on behind it."""
        if mnemonic.isascii() and mnemonic.isdigit() and len(mnemonic) < 18:
            self.repo.next_mapping = max(self.repo.next_mapping, int(mnemonic) + 1)

    def save(self) -> None:
        """Write the clock down; the last statement of every write."""
        if self._collections:
            store.execute(
                f"UPDATE {store.table(Repo)} SET write_clock = greatest(write_clock, %s) WHERE id = ANY(%s)",
                [self._last, sorted(self._collections)],
            )
        Repo.objects.filter(pk=self.repo.pk).update(write_clock=self._last, next_mapping=self.repo.next_mapping)
        self.repo.write_clock = self._last


def lock(repo_id: int, *, sources: Collection[str] = ()) -> Clock:
    """Wait for the repository's write lock and hold it until the transaction ends. ``sources``: URLs of those whose
    rows are about to join a collection, or are ends of mappings; nobody changes them meanwhile."""
    table, named = store.table(Repo), [sorted(sources), repo_id]
    is_before = f"(SELECT k.kind = 'collection' OR s.uri < k.uri FROM {table} k WHERE k.id = %s)"
    if sources:
        _share(f"uri = ANY(%s) AND id <> %s AND {is_before}", [*named, repo_id])
    # rows that refer to it are checked at their commit, and must not wait for us there
    repo = Repo.objects.select_for_update(no_key=True).filter(pk=repo_id).first()
    if repo is None:
        raise errors.NotFound
    if sources and repo.is_source:
        _share(f"uri = ANY(%s) AND id <> %s AND NOT {is_before}", [*named, repo_id])
    return Clock(repo, held=sources)


def _share(condition: str, params: list[Any]) -> None:
    """Wait for the writers of sources, and keep others from becoming one."""
    store.rows(
        f"SELECT id FROM {store.table(Repo)} s WHERE kind = 'source' AND {condition} ORDER BY uri FOR SHARE", params
    )


def reserve(urls: Collection[str]) -> None:
    """Hold the places of owners and repositories that may not be there yet: two transactions that make the same ones
    in different orders would wait for each other. So many may be named that the locks are of a fixed number."""
    if urls:
        db.advisory_lock(*(f"exports.place:{zlib.crc32(url.encode()) % _PLACES}" for url in urls))


def hold(urls: Collection[str], *, ends: Collection[str] = (), with_referrers: bool) -> None:
    """Hold the places or write locks of these owners and repositories, and of the collections that show their rows,
    before a transaction that is going to lock one after the other: in the order every writer keeps (places, sources,
    collections, each by name), so that none waits in a circle. ``ends``: sources that mappings point to, held as well.
    ``with_referrers``: of the sources whose mappings show theirs as well."""
    repo, member, mapping = store.table(Repo), store.table(HeadMember), store.table(Mapping)
    named = [sorted(urls)]
    reserve({*urls}.difference(uri for (uri,) in store.rows(f"SELECT uri FROM {repo} WHERE uri = ANY(%s)", named)))
    # what begins with a URL, which ends in a slash, lies before the same with the next letter
    referring = " UNION ".join(
        f"SELECT m.source_id FROM unnest(%s::text[]) u JOIN {mapping} m"
        f" ON m.{side}_uri ~>=~ u AND m.{side}_uri ~<~ (left(u, -1) || '0')"
        for side in ("from", "to")
    )
    also = f" OR id IN ({referring})" if with_referrers else ""
    store.rows(
        f"SELECT id FROM {repo} WHERE kind = 'source' AND (uri = ANY(%s){also}) ORDER BY uri FOR NO KEY UPDATE",
        [sorted({*urls, *ends}), *named * (2 if with_referrers else 0)],
    )
    showing = " UNION ".join(
        f"SELECT m.collection_id FROM {member} m JOIN {store.table(model)} t ON t.id = m.{key}_id"
        f" JOIN {repo} s ON s.id = t.source_id WHERE s.uri = ANY(%s)"
        for model, key in ((Concept, "concept"), (Mapping, "mapping"))
    )
    store.rows(
        f"SELECT id FROM {repo} WHERE kind = 'collection' AND (uri = ANY(%s) OR id IN ({showing}))"
        " ORDER BY uri FOR NO KEY UPDATE",
        named * 3,
    )
