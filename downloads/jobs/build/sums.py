"""SHA-256 of each file of an archive, in order of its parts.

SHA-256 does not combine as CRC-32 does (contract 9). Whoever leads a build takes parts from the front and hashes them
as it makes them; parts made by others, or by an earlier attempt, are read back and inflated when their turn has come.
"""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Callable
from typing import Any

from django.db.models import Q
from isal import isal_zlib

from core import blobs, streams
from downloads.jobs.build.plan import Plan
from downloads.models import BuildPart


class Sums:
    """The running sum of each file of a build, and the number of the part that comes next."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._digests: dict[str, Any] = {member.name: hashlib.sha256() for member in plan.files}
        self._next: dict[str, int] = dict.fromkeys(self._digests, 1)

    def digest(self, name: str, number: int) -> Any:
        """A sum to feed with the part while it is made, or None when its turn has not come."""
        return self._digests[name].copy() if self._next[name] == number else None

    def passed(self, name: str, number: int, digest: Any) -> None:
        """A part is done, and this is the sum with it."""
        if self._next[name] == number:
            self._digests[name], self._next[name] = digest, number + 1

    def catch_up(self, note: Callable[[int], None]) -> None:
        """Take in the parts of others that are done and come next; `note(0)` is called all the time and may raise."""
        ahead = functools.reduce(
            operator.or_, (Q(member=name, number__gte=number) for name, number in self._next.items())
        )
        done = BuildPart.objects.filter(ahead, build=self._plan.build, state=BuildPart.State.DONE)
        for part in done.order_by("member", "number"):
            if part.number == self._next[part.member]:
                digest = self._digests[part.member].copy()
                _inflate(part, digest, note)
                self.passed(part.member, part.number, digest)

    def sha256(self, name: str) -> str:
        """The sum of a file all of whose parts have passed."""
        return str(self._digests[name].hexdigest())


def _inflate(part: BuildPart, digest: Any, note: Callable[[int], None]) -> None:
    """Feed a stored part's plain bytes to a sum."""
    inflater = isal_zlib.decompressobj(-15)
    size = crc = 0
    for block in blobs.reader(part.blob_key):
        note(0)
        plain = inflater.decompress(block)
        size, crc = size + len(plain), streams.crc32(plain, crc)
        digest.update(plain)
    if (size, crc) != (part.size, part.crc):
        raise blobs.StoreUnavailable("The file store did not keep a part as it was.", key=part.blob_key)
