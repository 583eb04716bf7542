"""A repository's write clock: timestamps that strictly increase in commit order (contract §2.6).

The lock is the repository's row, held until the transaction ends. A writer gets its times only after the one before
it has committed, so nobody can commit below a time a reader has already seen.
"""

import datetime as dt

from django.utils import timezone

from core import errors
from exports.models import Repo

_STEP = dt.timedelta(microseconds=1)


class Clock:
    """The write lock on one repository, with its times and its mapping numbers."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self._last = max(repo.write_clock + _STEP, timezone.now()) - _STEP

    def tick(self) -> dt.datetime:
        """The next instant, later than every one before."""
        self._last += _STEP
        return self._last

    def witness(self, moment: dt.datetime | None) -> None:
        """Take note of a time brought in by an import: later ticks come after it."""
        if moment is not None and moment > self._last:
            self._last = moment

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
        Repo.objects.filter(pk=self.repo.pk).update(write_clock=self._last, next_mapping=self.repo.next_mapping)
        self.repo.write_clock = self._last


def lock(repo_id: int) -> Clock:
    """Wait for the repository's write lock and hold it until the transaction ends."""
    repo = Repo.objects.select_for_update().filter(pk=repo_id).first()
    if repo is None:
        raise errors.NotFound
    return Clock(repo)
