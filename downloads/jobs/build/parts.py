"""Parts of a build: claimed with SKIP LOCKED, held by a token, taken over when their holder is gone.

The parts of one number in the files of a group are one stretch: claimed together, made in one reading, done together.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from core import blobs
from downloads.formats import members
from downloads.jobs.build import produce
from downloads.jobs.build.plan import Plan
from downloads.jobs.build.selection import Range
from downloads.jobs.build.sums import Sums
from downloads.models import Build, BuildPart

LEASE = timedelta(seconds=20)
_RENEW_EVERY = 4.0
WAITING, CLAIMED, DONE = BuildPart.State.WAITING, BuildPart.State.CLAIMED, BuildPart.State.DONE


@dataclass(frozen=True)
class Stretch:
    """The parts of one number of the files of a group, in their order, held by `token`."""

    group: list[members.Member]
    parts: list[BuildPart]
    token: uuid.UUID

    @property
    def bounds(self) -> Range:
        return self.parts[0].low, self.parts[0].high

    @property
    def number(self) -> int:
        return self.parts[0].number

    @property
    def mine(self) -> Q:
        """True of the parts as long as they are held."""
        return Q(build=self.parts[0].build_id, lease_token=self.token, state=CLAIMED)

    def key(self, part: BuildPart) -> str:
        """The token keeps a maker who lost the part from touching its successor's blob."""
        return key(part.build_id, part.member, part.number, self.token)


def key(build: uuid.UUID, member: str, number: int, token: uuid.UUID | None) -> str:
    """Where a part is kept."""
    return f"downloads/parts/{build}/{member}/{number:05d}-{token}"


def lay_out(plan: Plan) -> None:
    """Write down the parts of a build whose files have more than one; call in the transaction that saves the plan."""
    BuildPart.objects.filter(build=plan.build).delete()
    BuildPart.objects.bulk_create(
        BuildPart(build=plan.build, member=member.name, number=number, low=low, high=high)
        for group in plan.groups
        for number, (low, high) in enumerate(plan.cuts(group[0]), 1)
        for member in group
    )


def claim(plan: Plan, owner: uuid.UUID, *, leaving: int = 0) -> Stretch | None:
    """The first stretch nobody makes (or whose maker is gone), now held by `owner`, which is a job's id.

    With `leaving` so many are left to others, as far as there are more.
    """
    now, token = timezone.now(), uuid.uuid4()
    groups = {group[0].name: group for group in plan.groups}
    free = Q(state=WAITING) | Q(state=CLAIMED, lease_until__lt=now)
    with transaction.atomic():
        found = (
            BuildPart.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(free, build=plan.build, build__state=Build.State.RUNNING, member__in=groups)
            .order_by("id")[: leaving + 1]
        )
        if not (first := list(found)):
            return None
        group = groups[first[-1].member]
        parts = BuildPart.objects.filter(
            build=plan.build, number=first[-1].number, member__in=[member.name for member in group]
        )
        parts.update(state=CLAIMED, owner=owner, lease_token=token, lease_until=now + LEASE)
        by_name = {part.member: part for part in parts}
        return Stretch(group, [by_name[member.name] for member in group], token)


def release_of(owner: uuid.UUID) -> None:
    """Give back what an earlier attempt of the same job had in hand."""
    BuildPart.objects.filter(owner=owner, state=CLAIMED).update(state=WAITING, lease_token=None, lease_until=None)


@dataclass
class _Keeper:
    """Renews the lease of a stretch while it is made."""

    stretch: Stretch
    note: Callable[[int], None]
    _due: float = 0.0

    def __call__(self, rows: int) -> None:
        self.note(rows)
        if time.monotonic() > self._due:
            BuildPart.objects.filter(self.stretch.mine).update(lease_until=timezone.now() + LEASE)
            self._due = time.monotonic() + _RENEW_EVERY


def make(plan: Plan, stretch: Stretch, note: Callable[[int], None], sums: Sums | None = None) -> bool:
    """Make a claimed stretch and store it; False when somebody else has it by now. A failure gives it back.

    `sums` goes along where the stretch is the next of its files.
    """
    try:
        with contextlib.ExitStack() as stack:
            sinks = [stack.enter_context(blobs.writer(stretch.key(part), hashed=False)) for part in stretch.parts]
            digests = [sums.digest(part.member, part.number) if sums else None for part in stretch.parts]
            packed = [produce.Packing(sink, plan.packing, digest) for sink, digest in zip(sinks, digests, strict=True)]
            rows = produce.stretch(plan, stretch.group, stretch.bounds, packed, _Keeper(stretch, note))
    except BaseException:
        BuildPart.objects.filter(stretch.mine).update(state=WAITING, lease_token=None, lease_until=None)
        raise
    if not _keep(stretch, packed, rows):
        blobs.delete(*(stretch.key(part) for part in stretch.parts))
        return False
    for part, digest in zip(stretch.parts, digests, strict=True):
        if sums and digest is not None:
            sums.passed(part.member, part.number, digest)
    return True


def _keep(stretch: Stretch, packed: list[produce.Packing], rows: int) -> bool:
    """Note what was made, unless somebody else has it by now."""
    with transaction.atomic():
        held = list(BuildPart.objects.select_for_update().filter(stretch.mine).order_by("id"))
        if len(held) != len(stretch.parts):
            return False
        for part, sums in zip(stretch.parts, packed, strict=True):
            part.state, part.lease_token, part.lease_until = DONE, None, None
            part.blob_key, part.rows = stretch.key(part), rows
            part.size, part.crc = sums.size, sums.crc
            part.compressed, part.packed_crc = sums.compressed, sums.packed_crc
        kept = ["state", "lease_token", "lease_until", "blob_key", "rows", "size", "crc", "compressed", "packed_crc"]
        BuildPart.objects.bulk_update(stretch.parts, kept)
    return True


def rows_done(build: Build) -> int:
    """Rows of the finished parts."""
    return BuildPart.objects.filter(build=build, state=DONE).aggregate(rows=Sum("rows"))["rows"] or 0


def done_count(build: Build) -> int:
    return BuildPart.objects.filter(build=build, state=DONE).count()


def unfinished(build: Build) -> int:
    return BuildPart.objects.filter(build=build).exclude(state=DONE).count()


def of_member(plan: Plan, member: members.Member) -> list[BuildPart]:
    """The finished parts of a file, in order."""
    return list(BuildPart.objects.filter(build=plan.build, member=member.name, state=DONE).order_by("number"))
