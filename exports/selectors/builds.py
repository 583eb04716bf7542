"""What is known of a version's export at the moment: the one state behind status document and headers."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from core import jobs
from core.models import Job
from exports.formats import variants
from exports.models import ExportBuild, RepoVersion
from exports.models.builds import ACTIVE, BuildState

#: how many of a version's builds people are shown the exports of
_LOOKED_AT = 50


@dataclass(frozen=True)
class ExportState:
    """A version's export: ``ready`` is the archive there is, ``newest`` the latest build that did not end in one."""

    version: RepoVersion
    ready: ExportBuild | None
    newest: ExportBuild | None
    variant: variants.Variant = variants.PLAIN

    @property
    def active(self) -> ExportBuild | None:
        return self.newest if self.newest and self.newest.state in ACTIVE else None

    @property
    def failed(self) -> ExportBuild | None:
        return self.newest if self.newest and self.newest.state == BuildState.FAILED else None

    @property
    def status(self) -> str:
        """none | queued | processing | ready | failed"""
        if self.ready:
            return "ready"
        if self.active:
            return self.running
        return "failed" if self.failed else "none"

    @property
    def running(self) -> str:
        """queued | processing of the active build; one waiting for its next attempt is queued."""
        is_running = self.job is not None and self.job.state in (jobs.RUNNING, jobs.CANCELLING)
        return "processing" if is_running else "queued"

    @property
    def rebuild(self) -> str | None:
        """queued | processing | failed, only beside an archive."""
        if not self.ready:
            return None
        if self.active:
            return self.running
        return "failed" if self.failed else None

    @property
    def job(self) -> Job | None:
        """The job of what runs or failed, else the one that made the archive."""
        last = self.newest or self.ready
        return last.job if last else None

    @property
    def progress(self) -> dict[str, Any]:
        return self.job.progress if self.job and self.active else {}

    @property
    def percent(self) -> int:
        if self.active:
            return min(99, int(self.progress.get("percent", 0)))
        return 100 if self.ready else 0

    @property
    def eta(self) -> int | None:
        """Estimated seconds to go, by the share of bytes written."""
        if not self.active or self.job is None or self.job.started_at is None or not self.percent:
            return None
        elapsed = (timezone.now() - self.job.started_at).total_seconds()
        return max(0, math.ceil(elapsed * (100 - self.percent) / self.percent))

    @property
    def retry_after(self) -> int:
        """1 to 30 seconds."""
        return min(30, max(1, self.eta if self.eta is not None else 2))

    @property
    def error(self) -> tuple[str, str] | None:
        return (self.failed.error_code, self.failed.error_message) if self.failed else None

    @property
    def is_stale(self) -> bool:
        """The version's metadata was edited after the archive read it; of HEAD, anything."""
        built: datetime | None = self.ready.built_from if self.ready else None
        return built is not None and last_change(self.version) > built


def last_change(version: RepoVersion) -> datetime:
    """When what an archive is made from was last changed: of HEAD, any content of the repository."""
    return version.repo.write_clock if version.is_head else version.updated_at


def ready_build(version: RepoVersion, variant: variants.Variant = variants.PLAIN) -> ExportBuild | None:
    """The build whose archive is served. The plain export's came with the version; another variant's is a query."""
    if variant != variants.PLAIN:
        found = ExportBuild.objects.filter(version=version, variant=variant.key, state=BuildState.READY)
        return found.select_related("job").first()
    current = version.current_build
    return current if current and current.state == BuildState.READY else None


def started(version: RepoVersion, build: ExportBuild, variant: variants.Variant = variants.PLAIN) -> ExportState:
    """The state just after a build was queued; for the plain export without a query."""
    return ExportState(version, ready_build(version, variant), build, variant)


def state_of(version: RepoVersion, variant: variants.Variant = variants.PLAIN) -> ExportState:
    """One query, beside the one that loaded the version."""
    ready = ready_build(version, variant)
    unfinished = ExportBuild.objects.filter(
        version=version, variant=variant.key, state__in=(*ACTIVE, BuildState.FAILED)
    )
    if ready:
        unfinished = unfinished.filter(created_at__gt=ready.created_at)
    newest = unfinished.select_related("job").order_by("-created_at", "-uuid").first()
    if newest and newest.state == BuildState.FAILED and _ended_since(version, newest):
        newest = None
    return ExportState(version, ready, newest, variant)


def variant_of(one: ExportBuild) -> variants.Variant:
    """What has to be said to ask for a build's export again."""
    found = variants.of(one.variant, label=one.label, base=one.base_id, base_name=one.base.name if one.base else "")
    return variants.of_head(found) if one.version is not None and one.version.is_head else found


def states_of(version: RepoVersion) -> list[ExportState]:
    """The exports of a version, for people: the whole one and its packages, whether or not anybody asked for them, then
    others that are there, on their way or failed, the newest first. Two queries."""
    fixed = (variants.of_head(variants.PLAIN),) if version.is_head else variants.FIXED
    shown = {variant.key: variant for variant in fixed}
    every = ExportBuild.objects.filter(version=version).select_related("job", "base").order_by("-created_at", "-uuid")
    newest: dict[str, ExportBuild] = {}
    for one in every[:_LOOKED_AT]:
        one.version = version
        newest.setdefault(one.variant, one)
    ready = {one.variant: one for one in every.filter(state=BuildState.READY, variant__in=[*shown, *newest])}
    going = {key: one for key, one in newest.items() if one.state in (*ACTIVE, BuildState.FAILED)}
    others = {key: variant_of(one) for key, one in newest.items() if key in going or key in ready}
    return [ExportState(version, ready.get(key), going.get(key), variant) for key, variant in (shown | others).items()]


def again(state: ExportState) -> ExportState:
    """The state as it is now; that of a version deleted meanwhile is none."""
    found = RepoVersion.objects.select_related("repo", "current_build__job").filter(pk=state.version.pk).first()
    return state_of(found, state.variant) if found else ExportState(state.version, None, None, state.variant)


def _ended_since(version: RepoVersion, failed: ExportBuild) -> bool:
    """A failure is forgotten when a later build was cancelled or deleted."""
    later = ExportBuild.objects.filter(version=version, variant=failed.variant, created_at__gt=failed.created_at)
    return later.filter(state__in=(BuildState.CANCELLED, BuildState.DELETED)).exists()
