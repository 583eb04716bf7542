"""Asking for, rebuilding, cancelling and deleting exports of a version."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import errors, jobs
from core.models import User
from exports.jobs import build
from exports.models import ExportBuild, RepoVersion
from exports.models.builds import ACTIVE, BuildState
from exports.selectors import access

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Requested:
    """What became of a request: a new build, or the word for why there is none (``ready`` or ``active``)."""

    build: ExportBuild | None
    outcome: str  # created | ready | active


def request(version: RepoVersion, *, user: User | None, force: bool = False) -> Requested:
    """Start a build unless an archive or a running build is there. Of simultaneous requests one wins."""
    if force and user is not None:
        access.over_repo(user, version.repo).demand("admin", user)
    with transaction.atomic():
        # one request at a time per version; the partial unique index stands behind it
        current = RepoVersion.objects.select_for_update(of=("self",)).select_related("current_build").get(pk=version.pk)
        # one statement for both questions, asked once the lock is held
        found = _of_interest(version, user)
        if any(one.version_id == version.pk and one.state in ACTIVE for one in found):
            return Requested(None, "active")
        if not force and is_ready(current):
            return Requested(None, "ready")
        if user is not None and not user.is_staff:
            _check_quota([one for one in found if one.requested_by_id == user.pk])
        return Requested(_start(version, user=user, force=force), "created")


def _of_interest(version: RepoVersion, user: User | None) -> list[ExportBuild]:
    """The version's active build and the builds that count against a user's quota."""
    wanted = Q(version=version, state__in=ACTIVE)
    if user is not None and not user.is_staff:
        mine = Q(requested_by=user)
        wanted |= mine & Q(state__in=ACTIVE) | mine & Q(created_at__gt=timezone.now() - _HOUR)
    found = ExportBuild.objects.filter(wanted).only("version_id", "requested_by_id", "state", "created_at")
    return list(found.order_by("created_at"))


def is_ready(version: RepoVersion) -> bool:
    return version.current_build is not None and version.current_build.state == BuildState.READY


def _check_quota(mine: list[ExportBuild]) -> None:
    """Refuse one build too many; ``mine`` are the user's, oldest first."""
    if sum(one.state in ACTIVE for one in mine) >= settings.EXPORTS_MAX_ACTIVE:
        raise errors.Throttled("Too many exports are being built for you.", retry_after=30)
    recent = [one.created_at for one in mine if one.created_at > timezone.now() - _HOUR]
    if len(recent) >= settings.EXPORTS_MAX_HOURLY:
        wait = recent[len(recent) - settings.EXPORTS_MAX_HOURLY] + _HOUR - timezone.now()
        raise errors.Throttled("Too many exports were started for you.", retry_after=int(wait.total_seconds()) + 1)


def _start(version: RepoVersion, *, user: User | None, force: bool) -> ExportBuild:
    one = ExportBuild(
        version=version,
        force=force,
        requested_by=user,
        repo_name=version.repo.mnemonic,
        version_name=version.name,
        compressor=settings.EXPORTS_DEFLATE,
    )
    params = {"build": str(one.uuid), "repository": version.repo.uri, "version": version.name}
    one.job, _ = jobs.submit(build.KIND, params, requested_by=user)
    one.save(force_insert=True)
    return one


def automatic(version: RepoVersion, *, user: User | None) -> None:
    """Build by itself after a cut or a release, when EXPORTS_AUTO_BUILD says so."""
    wanted = settings.EXPORTS_AUTO_BUILD
    if wanted == "always" or (wanted == "released" and version.released):
        with transaction.atomic():
            if not ExportBuild.objects.filter(version=version, state__in=ACTIVE).exists():
                _start(version, user=user, force=False)


def delete(version: RepoVersion) -> bool:
    """Delete the archive and cancel what is being built; False when there was nothing. Final at once: links end with
    the row, a running worker cannot publish any more, blobs are swept later."""
    with transaction.atomic():
        return build.end_all(RepoVersion.objects.filter(pk=version.pk))


def cancel(one: ExportBuild) -> bool:
    """Cancel a build that is not finished."""
    with transaction.atomic():
        if one.job_id is not None:
            jobs.cancel(one.job_id)
        moved = ExportBuild.objects.filter(pk=one.pk, state__in=ACTIVE).update(
            state=BuildState.CANCELLED, finished_at=timezone.now()
        )
        return bool(moved)
