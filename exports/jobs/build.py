"""Building an export: one snapshot, finished rows out through COPY, one deflate pass, two archives into the store.

``queued → processing (counting, concepts, references, mappings, finishing, publishing) → ready | failed | cancelled``.
Flat memory at any size: nothing is held but blocks.
"""

import functools
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core import blobs, db, jobs
from core.models import Job, User
from exports.formats import archives, envelope, names, stamps, text, variants
from exports.jobs import derived, notices
from exports.models import ExportBuild, ExtraFile, ImportJob, RepoVersion
from exports.models.builds import ACTIVE, BuildState
from exports.selectors import documents

KIND = "exports.build_export"
Announce = Callable[[str], None]
EVERYTHING = documents.Wanted(concepts=True, references=True, mappings=True, retired=True)
#: the core's words for an error, where the contract (§4) has another
_CODES = {"store_unavailable": "storage_unavailable", "database_unavailable": "internal_error", "cancelled": ""}
#: what the row of a build may say of an error; it stands in a header
MAX_ERROR = 200


def start(
    version: RepoVersion, *, user: User | None, force: bool = False, variant: variants.Variant = variants.PLAIN
) -> ExportBuild:
    """Queue a build; the caller has made sure that none is active."""
    one = ExportBuild(
        version=version,
        variant=variant.key,
        label=variant.label,
        base_id=variant.base,
        force=force,
        requested_by=user,
        repo_name=version.repo.mnemonic,
        version_name=version.name,
        compressor=settings.EXPORTS_DEFLATE,
    )
    params = {"build": str(one.uuid), "repository": version.repo.uri, "version": version.name}
    one.job, _ = jobs.submit(KIND, params, requested_by=user)
    one.save(force_insert=True)
    return one


def automatic(version: RepoVersion, *, user: User | None) -> None:
    """Build by itself after a cut or a release, when EXPORTS_AUTO_BUILD says so. In the transaction of the cut."""
    wanted = settings.EXPORTS_AUTO_BUILD
    if wanted == "never" or (wanted == "released" and not version.released):
        return
    if not ExportBuild.objects.filter(version=version, variant="", state__in=ACTIVE).exists():
        start(version, user=user)


def build(run: jobs.Run, announce: Announce = lambda _: None) -> None:
    """Do one attempt at a build; ``announce`` gets a line of progress now and then, for Flower."""
    with run.fenced():
        made = ExportBuild.objects.filter(job=run.job_id, state__in=ACTIVE)
        if not made.update(state=BuildState.PROCESSING, attempt=run.attempt):
            raise jobs.Cancelled
    one = notices.noted(ExportBuild.objects.select_related("version__repo")).get(job=run.job_id)
    keys = _keys(one, run.lease_token)
    try:
        values = _write(run, one, keys, announce)
    except Exception:
        # one archive may be whole in the store already, and nobody will ever know of it
        with suppress(blobs.StoreUnavailable):
            blobs.delete(*keys.values())
        raise
    try:
        _publish(run, one, keys, values)
    except jobs.LeaseLost:
        # another attempt owns the build now; what this one wrote belongs to nobody
        blobs.delete(*keys.values())
        raise


def _keys(one: ExportBuild, token: uuid.UUID) -> dict[str, str]:
    """Folder of this attempt: an attempt that lost its lease may still write, and must not write over another's."""
    return dict.fromkeys(variants.stored(one.variant), f"exports/{one.uuid.hex}/{token.hex[:8]}/")


def _write(run: jobs.Run, one: ExportBuild, keys: dict[str, str], announce: Announce) -> dict[str, Any]:
    with db.snapshot() as view:
        version = one.version
        if version is None:
            raise jobs.Failure("internal_error", "The version was deleted.")
        run.progress(stage="counting", done=0, total=0, percent=0, bytes=0)
        if one.variant or version.is_head:
            return derived.write(view, one, version, keys, functools.partial(Meter, run, announce))
        header = text.dumps(version.header)
        arrays = _arrays(version)
        size = envelope.size(header, arrays)
        stamp = version.last_child_update or version.updated_at
        for form in keys:
            keys[form] += f"{stamps.digits(stamp)}.{form}"
        meter = Meter(run, announce, total=sum(array.count for array in arrays), size=size)
        with ExitStack() as open_blobs:
            sinks = {
                form: open_blobs.enter_context(
                    blobs.writer(
                        keys[form], content_type=names.CONTENT_TYPES[form], filename=_filename(one, stamp, form)
                    )
                )
                for form in names.STORED
            }
            archive = archives.TwinArchive(
                size=size, modified=stamp, tgz=sinks["tgz"].write, zipped=sinks["zip"].write, deflate=one.compressor
            )
            _fill(archive, view, version, header, arrays, meter)
            meter.stage("finishing")
            archive.close()
            meter.stage("publishing")
    counts = {kind: getattr(version, kind) for kind in ("concepts", "mappings")}
    counts |= {"references": version.references_count}
    counts |= {f"retired_{kind}": getattr(version, f"retired_{kind}") for kind in ("concepts", "mappings")}
    return {
        "last_updated": stamp,
        "built_from": version.updated_at,
        "header": header,
        "json_size": size,
        "json_sha256": archive.json_sha256.hexdigest(),
        "counts": counts,
        **{f"{form}_key": keys[form] for form in sinks},
        **{f"{form}_size": sink.size for form, sink in sinks.items()},
        **{f"{form}_sha256": sink.sha256 for form, sink in sinks.items()},
    }


def _filename(one: ExportBuild, stamp: datetime, form: str) -> str:
    return names.filename(repo=one.repo_name, version=one.title, stamp=stamp, form=form)


def _arrays(version: RepoVersion) -> list[envelope.Array]:
    """The arrays with their counts and bytes, which the cut worked out."""
    known = {
        "concepts": (version.concepts, version.concepts_bytes),
        "references": (version.references_count, version.references_bytes),
        "mappings": (version.mappings, version.mappings_bytes),
    }
    return [envelope.Array(name, *known[name]) for name in EVERYTHING.arrays(version)]


def _fill(archive: archives.TwinArchive, view: db.Snapshot, version: RepoVersion, header: str,
          arrays: list[envelope.Array], meter: "Meter") -> None:  # fmt: skip
    archive.write(envelope.opening(header, arrays[0].name))
    for array, following in zip(arrays, [*arrays[1:], None], strict=True):
        meter.stage(array.name, rows=array.count, size=array.length)
        sink = _Rows(archive, meter)
        statement = documents.array_sql(version, array.name, EVERYTHING, f"'{envelope.SEPARATOR}' || {{}}")
        db.copy_out_binary(*statement, sink, using=view.connection)
        archive.write(envelope.between(following.name if following else None))
        meter.array_done()


class _Rows:
    """Takes blocks of rows from COPY; the first begins with a separator that does not belong there."""

    def __init__(self, archive: archives.TwinArchive, meter: "Meter") -> None:
        self._archive, self._meter, self._is_first = archive, meter, True

    def write(self, block: bytes, /) -> None:
        if self._is_first:
            block, self._is_first = block[len(envelope.SEPARATOR) :], False
        self._archive.write(block)
        self._meter.moved(len(block))


class Meter:
    """Rows written of all rows; percent stays below 100 until published and never falls within an attempt."""

    def __init__(self, run: jobs.Run, announce: Announce, *, total: int, size: int) -> None:
        self._run, self._announce, self._total, self._size = run, announce, total, size
        self._before = self._rows = self._bytes = self._here = self._here_bytes = self._percent = 0
        self._stage, self._said = "counting", -1

    def stage(self, name: str, *, rows: int = 0, size: int = 0) -> None:
        self._stage, self._here, self._here_bytes, self._bytes_before = name, rows, size, self._bytes
        self._tell()

    def moved(self, size: int) -> None:
        self._bytes += size
        share = (self._bytes - self._bytes_before) / (self._here_bytes or 1)
        self._rows = self._before + min(self._here, int(self._here * share))
        self._tell()

    def array_done(self) -> None:
        self._before += self._here
        self._rows = self._before
        self._tell()

    def _tell(self) -> None:
        self._run.check()
        done = self._bytes / (self._size or 1) if self._stage != "publishing" else 1.0
        self._percent = max(self._percent, min(99, int(done * 100)))
        self._run.progress(
            stage=self._stage, done=self._rows, total=self._total, percent=self._percent, bytes=self._bytes
        )
        if self._percent != self._said:
            self._said = self._percent
            self._announce(f"{self._percent}% {self._stage} {self._rows}/{self._total}")


def _publish(run: jobs.Run, one: ExportBuild, keys: dict[str, str], values: dict[str, Any]) -> None:
    """Make the archive the version's export, in one transaction that requires our lease."""
    now = timezone.now()
    try:
        with run.finish({"build": str(one.uuid)}):
            ready = ExportBuild.objects.filter(pk=one.pk, state=BuildState.PROCESSING, version__isnull=False)
            _require(ready.update(state=BuildState.READY, finished_at=now, **values))
            if one.variant or one.version is None or one.version.current_build_id is not None:
                # while this build was the active one no other can have become the version's archive
                old = ExportBuild.objects.filter(version=one.version_id, variant=one.variant, state=BuildState.READY)
                old.exclude(pk=one.pk).update(state=BuildState.REPLACED, ended_at=now)
            if getattr(one, "is_awaited", False):
                notices.tell(one.pk, notices.READY)
            if not one.variant:
                RepoVersion.objects.filter(builds=one).update(current_build=one)
    except jobs.Cancelled:
        blobs.delete(*keys.values())
        raise


def _require(moved: int) -> None:
    """The build's row must still be ours to publish."""
    if not moved:
        raise jobs.Cancelled


def settled(job: Job) -> None:
    """A build's row follows its job's end, whoever ended it."""
    state = {jobs.FAILED: BuildState.FAILED, jobs.CANCELLED: BuildState.CANCELLED}.get(job.state)  # type: ignore[call-overload]
    if state is None:
        return
    code = _CODES.get(job.error_code, job.error_code)
    ended = list(ExportBuild.objects.filter(job=job, state__in=ACTIVE).values_list("pk", flat=True))
    ExportBuild.objects.filter(pk__in=ended, state__in=ACTIVE).update(
        state=state,
        finished_at=timezone.now(),
        attempt=F("attempt"),
        error_code=code,
        error_message=job.error_message[:MAX_ERROR],
    )
    if state == BuildState.FAILED:
        for one in ended:
            notices.tell(one, notices.FAILED)


def end_all(versions: QuerySet[RepoVersion], *, variant: str | None = None) -> bool:
    """End every export of these versions and the deltas from them, or one ``variant`` of theirs; in the caller's
    transaction, which holds no lock on them: rows are locked in the order in which ``_publish`` locks them (jobs,
    builds, versions), so that neither waits for the other in a ring.
    """
    now = timezone.now()
    every = Q(version__in=versions) | Q(base__in=versions)
    builds = ExportBuild.objects.filter(every if variant is None else Q(version__in=versions, variant=variant))
    active = list(builds.filter(state__in=ACTIVE).order_by("job_id").values_list("job_id", flat=True))
    for job_id in active:
        if job_id is not None:
            jobs.cancel(job_id)
    cancelled = builds.filter(state__in=ACTIVE).update(state=BuildState.CANCELLED, finished_at=now)
    # counted by the statement that moves them: of two requests at once only one has deleted something
    deleted = builds.filter(state=BuildState.READY).update(state=BuildState.DELETED, ended_at=now)
    builds.filter(state=BuildState.REPLACED).update(state=BuildState.DELETED, ended_at=now)
    ended = ExportBuild.objects.filter(state=BuildState.DELETED)
    RepoVersion.objects.filter(pk__in=versions.values("pk"), current_build__in=ended).update(current_build=None)
    return bool(active or cancelled or deleted)


def describe(job: Job) -> dict[str, str]:
    """What Flower shows of the task: repository path and version."""
    return {key: str(job.params[key]) for key in ("repository", "version") if key in job.params}


def live_blobs(keys: list[str]) -> set[str]:
    """Which of these keys still belong to somebody: archives of ready builds, of replaced ones until the grace of
    their links is over, of attempts still running, uploads of imports, and extra files."""
    return (_archives(keys) | _uploads(keys) | _extras(keys)) & set(keys)


def _extras(keys: list[str]) -> set[str]:
    return set(ExtraFile.objects.filter(key__in=keys).values_list("key", flat=True))


def _uploads(keys: list[str]) -> set[str]:
    """Uploads of imports that have not ended well: a failed one may be tried again for a week."""
    waiting = ImportJob.objects.filter(key__in=keys, created_at__gt=timezone.now() - timedelta(days=7))
    over = (jobs.SUCCEEDED, jobs.CANCELLED)
    return set(waiting.exclude(job__state__in=over).values_list("key", flat=True))


def _archives(keys: list[str]) -> set[str]:
    grace = timezone.now() - _link_life()
    folders = {key.split("/")[1] for key in keys if key.count("/") >= 2}
    found = ExportBuild.objects.filter(pk__in=[uuid.UUID(folder) for folder in folders if _is_hex(folder)])
    live: set[str] = set()
    for one in found:
        if one.state == BuildState.READY or (
            one.state == BuildState.REPLACED and one.ended_at and one.ended_at > grace
        ):
            live.update((one.tgz_key, one.zip_key))
        elif one.state in ACTIVE:
            live.update(key for key in keys if key.startswith(f"exports/{one.uuid.hex}/"))
    return live


def _is_hex(folder: str) -> bool:
    return len(folder) == 32 and all(letter in "0123456789abcdef" for letter in folder)


def _link_life() -> timedelta:
    return timedelta(seconds=settings.EXPORTS_LINK_SECONDS + settings.EXPORTS_LINK_GRACE_SECONDS)
