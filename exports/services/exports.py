"""Asking for, rebuilding, cancelling and deleting exports of a version."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import db, errors, jobs
from core.models import User
from exports.formats import variants
from exports.jobs import build
from exports.models import ExportBuild, RepoVersion
from exports.models.builds import ACTIVE, BuildState
from exports.selectors import access, builds

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Requested:
    """What became of a request: a new build, or the word for why there is none (``ready`` or ``active``)."""

    build: ExportBuild | None
    outcome: str  # created | ready | active


def request(
    version: RepoVersion, *, user: User | None, force: bool = False, variant: variants.Variant = variants.PLAIN
) -> Requested:
    """Start a build unless an archive or a running build is there. Of simultaneous requests one wins."""
    if force and user is not None:
        access.over_repo(user, version.repo).demand("admin", user)
    counted = user if user is not None and not user.is_staff else None
    with transaction.atomic():
        if counted is not None:
            # one request at a time per person, or simultaneous ones for several versions would pass the quota
            db.advisory_lock(f"exports.quota:{counted.pk}")
        # and per version; the partial unique index stands behind it
        if not RepoVersion.objects.select_for_update().filter(pk=version.pk).values_list("pk"):
            raise errors.NotFound
        # one statement for all questions, asked once the locks are held
        found = _of_interest(version, variant, counted)
        states = {one.state for one in found if one.version_id == version.pk and one.variant == variant.key}
        if states.intersection(ACTIVE):
            return Requested(None, "active")
        # HEAD goes on changing, so an older archive of it is no reason not to build
        is_old = version.is_head and any(_is_outdated(one, version, variant) for one in found)
        if not force and BuildState.READY in states and not is_old:
            return Requested(None, "ready")
        if counted is not None:
            _check_quota([one for one in found if one.requested_by_id == counted.pk])
        return Requested(build.start(version, user=user, force=force, variant=variant), "created")


def _is_outdated(one: ExportBuild, version: RepoVersion, variant: variants.Variant) -> bool:
    if (one.version_id, one.variant, one.state) != (version.pk, variant.key, BuildState.READY):
        return False
    return one.built_from is not None and builds.last_change(version) > one.built_from


def _of_interest(version: RepoVersion, variant: variants.Variant, counted: User | None) -> list[ExportBuild]:
    """The variant's archive and active build, and the builds that count against a person's quota."""
    wanted = Q(version=version, variant=variant.key, state__in=(*ACTIVE, BuildState.READY))
    if counted is not None:
        mine = Q(requested_by=counted)
        wanted |= mine & Q(state__in=ACTIVE) | mine & Q(created_at__gt=timezone.now() - _HOUR)
    found = ExportBuild.objects.filter(wanted).only(
        "version_id", "variant", "requested_by_id", "state", "built_from", "created_at"
    )
    return list(found.order_by("created_at"))


def _check_quota(mine: list[ExportBuild]) -> None:
    """Refuse one build too many; ``mine`` are the user's, oldest first."""
    if sum(one.state in ACTIVE for one in mine) >= settings.EXPORTS_MAX_ACTIVE:
        raise errors.Throttled("Too many exports are being built for you.", retry_after=30)
    recent = [one.created_at for one in mine if one.created_at > timezone.now() - _HOUR]
    if len(recent) >= settings.EXPORTS_MAX_HOURLY:
        # one may be started again when enough of them are an hour old; with a limit of none, not within the hour
        freed = recent[-settings.EXPORTS_MAX_HOURLY] if settings.EXPORTS_MAX_HOURLY else timezone.now()
        wait = freed + _HOUR - timezone.now()
        raise errors.Throttled("Too many exports were started for you.", retry_after=int(wait.total_seconds()) + 1)


def rebuild(one: ExportBuild, *, user: User) -> Requested:
    """Build the export of an earlier build again, whatever became of that."""
    if one.version is None:
        raise errors.NotFound("The version was deleted.")
    return request(one.version, user=user, force=True, variant=builds.variant_of(one))


def delete_of(one: ExportBuild) -> bool:
    """Delete the export a build belongs to."""
    if one.version is None:
        raise errors.NotFound("The version was deleted.")
    return delete(one.version, builds.variant_of(one))


def delete(version: RepoVersion, variant: variants.Variant = variants.PLAIN) -> bool:
    """Delete the archive and cancel what is being built; False when there was nothing. Final at once: links end with
    the row, a running worker cannot publish any more, blobs are swept later."""
    with transaction.atomic():
        return build.end_all(RepoVersion.objects.filter(pk=version.pk), variant=variant.key)


def cancel(one: ExportBuild) -> bool:
    """Cancel a build that is not finished."""
    with transaction.atomic():
        if one.job_id is not None:
            jobs.cancel(one.job_id)
        moved = ExportBuild.objects.filter(pk=one.pk, state__in=ACTIVE).update(
            state=BuildState.CANCELLED, finished_at=timezone.now()
        )
        return bool(moved)
