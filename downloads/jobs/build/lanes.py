"""Fairness: a caller has a few builds running and some waiting; big builds have a lane of their own (contract 4)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Max, OuterRef, Q, Subquery, Window
from django.db.models.functions import Coalesce, RowNumber
from django.utils import timezone

from core import db, jobs
from downloads.models import Build

KINDS = {Build.Lane.SHORT: "downloads.build", Build.Lane.LONG: "downloads.build_long"}
_ACTIVE = Q(state__in=[Build.State.WAITING, Build.State.RUNNING])
_IN = _ACTIVE & Q(job__isnull=False)
_OUTSIDE = Q(state=Build.State.WAITING, job=None)


def start(build: Build) -> None:
    """Give a build its job, in the caller's transaction; one not in the store yet is for the caller to put there."""
    job, _created = jobs.submit(KINDS[Build.Lane(build.lane)], {"build": str(build.pk)})
    build.job = job
    if not build._state.adding:
        Build.objects.filter(pk=build.pk).update(job=job)


def has_room() -> bool:
    """Whether a big build may start now, which the caller's transaction then does: it holds the lock of the lanes.

    Nobody is passed by who could start: every end of a build has let the next one in under the same lock.
    """
    db.advisory_lock("downloads.lanes")
    return Build.objects.filter(_IN, lane=Build.Lane.LONG).count() < settings.DOWNLOADS_LONG_BUILDS


def let_in(caller: str) -> None:
    """Start what may start now: the caller's next build, and the next big one if its lane has room."""
    with transaction.atomic():
        db.advisory_lock("downloads.lanes")
        running = dict(Build.objects.filter(_IN).values_list("caller").annotate(count=Count("pk")).order_by("caller"))
        long_ones = Build.objects.filter(_IN, lane=Build.Lane.LONG).count()
        for build in _in_turn(_candidates(caller)):
            is_long = build.lane == Build.Lane.LONG
            if running.get(build.caller, 0) >= build.running_limit:
                continue
            if is_long and long_ones >= settings.DOWNLOADS_LONG_BUILDS:
                continue
            start(build)
            running[build.caller] = running.get(build.caller, 0) + 1
            long_ones += is_long


def _candidates(caller: str) -> list[Build]:
    """What may start now: the caller's builds, and of each other caller as many big ones as the lane has room for."""
    place = Window(RowNumber(), partition_by=[F("caller")], order_by=[F("created_at"), F("uuid")])
    big = Build.objects.filter(_OUTSIDE, lane=Build.Lane.LONG).exclude(caller=caller).annotate(place=place)
    others = big.filter(place__lte=settings.DOWNLOADS_LONG_BUILDS).order_by("created_at", "uuid")
    own = Build.objects.filter(_OUTSIDE, caller=caller).order_by("created_at", "uuid")
    return [*own[:100], *others[:1000]]


def _in_turn(waiting: list[Build]) -> list[Build]:
    """Callers one after the other: who was served longest ago, or never, comes first; then their second builds."""
    callers = {build.caller for build in waiting}
    served = dict(
        Build.objects.filter(caller__in=callers, started_at__isnull=False)
        .order_by("caller")
        .values_list("caller")
        .annotate(last=Max("started_at"))
    )
    never = timezone.now() - timedelta(days=36500)
    before = Counter[str]()
    keys = {}
    for build in sorted(waiting, key=lambda build: (build.created_at, build.uuid)):
        keys[build.pk] = (before[build.caller], served.get(build.caller, never), build.created_at, build.uuid)
        before[build.caller] += 1
    return sorted(waiting, key=lambda build: keys[build.pk])


def let_everybody_in() -> None:
    """For the clock: start builds whose turn came while nobody looked."""
    callers = Build.objects.filter(_OUTSIDE).order_by("caller").values_list("caller", flat=True).distinct()
    for caller in list(callers[:1000]):
        let_in(caller)


def ahead_of(build: Build) -> int:
    """How many builds of the same lane are to begin before this one; 0 once it runs."""
    if build.state != Build.State.WAITING:
        return 0
    if build.ahead is not None:
        return build.ahead
    earlier = Q(created_at__lt=build.created_at) | Q(created_at=build.created_at, uuid__lt=build.uuid)
    return Build.objects.filter(earlier, state=Build.State.WAITING, lane=build.lane).count()


def ahead(prefix: str = "") -> Coalesce:
    """The same as an expression of a query; `prefix` leads from its rows to their builds."""
    then, ident = OuterRef(f"{prefix}created_at"), OuterRef(f"{prefix}uuid")
    earlier = Build.objects.filter(
        Q(created_at__lt=then) | Q(created_at=then, uuid__lt=ident),
        state=Build.State.WAITING,
        lane=OuterRef(f"{prefix}lane"),
    )
    counted = earlier.order_by().values("lane").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counted), 0)
