"""Parts of a build: claimed with SKIP LOCKED, held by a token, taken over when their holder is gone."""

from __future__ import annotations

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
from downloads.models import Build, BuildPart

LEASE = timedelta(seconds=20)
_RENEW_EVERY = 4.0
WAITING, CLAIMED, DONE = BuildPart.State.WAITING, BuildPart.State.CLAIMED, BuildPart.State.DONE


def lay_out(plan: Plan) -> None:
    """Write down the parts of a build whose files have more than one; call in the transaction that saves the plan."""
    BuildPart.objects.filter(build=plan.build).delete()
    BuildPart.objects.bulk_create(
        BuildPart(build=plan.build, member=member.name, number=number, low=low, high=high)
        for member in plan.files
        for number, (low, high) in enumerate(plan.cuts(member), 1)
    )


def claim(build: Build, owner: uuid.UUID) -> BuildPart | None:
    """The first part nobody makes (or whose maker is gone), now held by `owner`, which is a job's id."""
    now = timezone.now()
    with transaction.atomic():
        free = Q(state=WAITING) | Q(state=CLAIMED, lease_until__lt=now)
        part = (
            BuildPart.objects.select_for_update(skip_locked=True)
            .filter(free, build=build, build__state=Build.State.RUNNING)
            .order_by("id")
            .first()
        )
        if part is None:
            return None
        part.state, part.owner, part.lease_token, part.lease_until = CLAIMED, owner, uuid.uuid4(), now + LEASE
        part.save(update_fields=["state", "owner", "lease_token", "lease_until"])
        return part


def release_of(owner: uuid.UUID) -> None:
    """Give back what an earlier attempt of the same job had in hand."""
    BuildPart.objects.filter(owner=owner, state=CLAIMED).update(state=WAITING, lease_token=None, lease_until=None)


def _mine(part: BuildPart) -> Q:
    return Q(pk=part.pk, lease_token=part.lease_token, state=CLAIMED)


@dataclass
class _Keeper:
    """Renews a part's lease while it is made."""

    part: BuildPart
    note: Callable[[int], None]
    _due: float = 0.0

    def __call__(self, rows: int) -> None:
        self.note(rows)
        if time.monotonic() > self._due:
            BuildPart.objects.filter(_mine(self.part)).update(lease_until=timezone.now() + LEASE)
            self._due = time.monotonic() + _RENEW_EVERY


def make(plan: Plan, part: BuildPart, note: Callable[[int], None]) -> bool:
    """Make a claimed part and store it; False when somebody else has it by now. A failure gives it back."""
    member = next(each for each in plan.files if each.name == part.member)
    key = _key(part)
    try:
        with blobs.writer(key) as blob:
            sums = produce.part(plan, member, (part.low, part.high), blob, _Keeper(part, note))
    except BaseException:
        BuildPart.objects.filter(_mine(part)).update(state=WAITING, lease_token=None, lease_until=None)
        raise
    kept = BuildPart.objects.filter(_mine(part)).update(
        state=DONE,
        blob_key=key,
        rows=sums.rows,
        size=sums.size,
        compressed=sums.compressed,
        crc=sums.crc,
        lease_token=None,
        lease_until=None,
    )
    if not kept:
        blobs.delete(key)
    return bool(kept)


def _key(part: BuildPart) -> str:
    """The token keeps a maker who lost the part from touching its successor's blob."""
    return f"downloads/parts/{part.build_id}/{part.member}/{part.number:05d}-{part.lease_token}"


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
