"""One harvest run from claim to swap (contract 4.1): list, guard, fetch, commit.

A run that is taken over from a dead worker goes on with what is staged: `HarvestRun.stage` says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone

from core import jobs as core_jobs
from core.models import Job
from registry.formats import validation
from registry.jobs import catalogue, client, crawl, credentials, fetch, finish, stage, swap, upload
from registry.models import Harvest, HarvestRun, HarvestType, RunIssue

log = structlog.get_logger(__name__)

IN_FLIGHT: Final = stage.BATCH
WRITE_SECONDS: Final = 2.0
# Listed documents from which the tables' statistics are made anew.
MANY: Final = 1000

# What a source's owner may choose about how its runs go.
OPTIONS: Final = (
    "max_depth",
    "document_scope",
    "include",
    "exclude",
    "allow_empty",
    "shrink_limit",
    "skip_broken_folders",
    "max_connections",
    "full_check_days",
    "cql_filter",
    "obey_robots",
)
# Every setting of a source that decides how a run goes; copied into the run, so that later edits do not touch it.
SNAPSHOT: Final = ("uid", "url", "harvest_type", *OPTIONS)


def work(attempt: core_jobs.Run) -> dict[str, Any]:
    """The job `registry.harvest`: `params` hold `mode` (`source`, `stored`) and `upload`; the job knows its run."""
    run = HarvestRun.objects.select_related("harvest").get(job_id=attempt.job_id)
    if run.harvest.deleting:
        raise core_jobs.Failure("internal", "The source is being deleted.")
    if run.harvest.runs.filter(job__state=Job.State.CANCELLING).exists():
        raise core_jobs.Retry(1, "run_active", "A cancelled run is still ending.", counts=False)
    return _Harvesting(attempt, run).go()


def snapshot(harvest: Harvest) -> dict[str, Any]:
    """The settings of a source as a run keeps them."""
    return {name: getattr(harvest, name) for name in SNAPSHOT}


def network_of(
    source: Mapping[str, Any],
    sealed: str,
    *,
    limits: client.Limits | None = None,
    check: Callable[[], None] = lambda: None,
) -> client.Network:
    """The network for the settings of a source: it signs in with what was sealed, and minds robots.txt if it is to.

    `check` is called while an answer is waited for, and may raise.
    """
    return client.Network(
        limits or client.Limits.of(source["max_connections"]),
        headers=credentials.headers(sealed, url=source["url"]),
        origin=source["url"],
        robots=source.get("obey_robots", False),
        check=check,
    )


class _Harvesting:
    """One attempt at a run."""

    def __init__(self, attempt: core_jobs.Run, run: HarvestRun) -> None:
        self.attempt = attempt
        self.run = run
        self.stored_only = attempt.params.get("mode") == "stored"
        self.upload: str = attempt.params.get("upload", "")
        self.staged = stage.Stage(attempt, run)
        self.tally = self.staged.tally
        self.done = 0
        self.listed = 0

    def go(self) -> dict[str, Any]:
        self._begin()
        with network_of(self.run.settings, self.run.harvest.credentials, check=self.attempt.check) as network:
            self.tally.watch(network)
            try:
                if self.upload:
                    self._upload(network)
                elif self.run.settings["harvest_type"] == HarvestType.CSW and not self.stored_only:
                    self._catalogue(network)
                else:
                    self._folder(network)
            except fetch.StorageDownError as error:
                raise core_jobs.Failure("storage", "The document store did not answer.") from error
            finally:
                self._note()
        return self._commit()

    def _begin(self) -> None:
        run = self.run
        if run.state == HarvestRun.State.RUNNING:  # taken over from a worker that died
            self._resume()
            return
        now = timezone.now()
        run.settings = snapshot(run.harvest)
        run.waived_guard = run.harvest.waive_guard_once
        days = timedelta(days=run.harvest.full_check_days)
        last_full = run.harvest.last_full_check
        run.full_check = last_full is None or now - last_full >= days
        run.state, run.stage, run.started_at = HarvestRun.State.RUNNING, "listing", now
        with self.attempt.fenced():
            run.save()
        self.attempt.progress(stage="listing", done=0)

    def _resume(self) -> None:
        if self.run.stage == "listing":
            if not self.run.resume:
                self.staged.clear()
                return
            self.staged.rewind()
        rows = self.run.staged
        self.listed = rows.count()
        self.done = rows.exclude(outcome="").count()

    def _enter(self, name: str, **fields: Any) -> None:
        """Note a stage where a takeover will look for it."""
        with self.attempt.fenced():
            HarvestRun.objects.filter(pk=self.run.pk).update(stage=name, **fields, **self.tally.columns())
        self.run.stage = name
        self.attempt.progress(stage=name)
        self._note()

    # --- folders ----------------------------------------------------------------------------------------------

    def _folder(self, network: client.Network) -> None:
        if self.run.stage == "listing":
            self._list(network)
            self._guard()
            self._enter("fetching", listed=self.listed)
        if not self.run.full_check and not self.stored_only:
            self.done += self.staged.carry_unchanged()
        self._fetch(network)

    def _list(self, network: client.Network) -> None:
        if self.stored_only:
            self.listed = self.staged.carry_folder("", outcome="")
            return
        listed = _Batches(self._emit)
        found = crawl.walk(network, self.run.settings, emit=listed.add, check=self.attempt.check)
        listed.flush()
        for folder in found.broken:
            self.listed += self.staged.carry_folder(folder)
        self._report(found.issues)

    def _emit(self, documents: list[stage.Listed]) -> None:
        self.attempt.check()
        self.listed += self.staged.place(documents)
        limit = settings.REGISTRY_MAX_DOCUMENTS
        if self.listed > limit:
            raise core_jobs.Failure("too_many_documents", f"The source lists more than {limit} documents.")
        self.attempt.progress(stage="listing", listed=self.listed, requests=self.tally.requests)

    def _fetch(self, network: client.Network) -> None:
        options = fetch.Options(self.run.settings["uid"], self.run.full_check, self.stored_only)
        pool = fetch.Pool(network, self.staged, options)
        batches = self.staged.waiting(full=self.run.full_check)
        held: list[stage.Result] = []
        written = time.monotonic()
        more = True
        while more or pool.in_flight or held:
            self.attempt.check()
            while more and pool.in_flight + len(held) < IN_FLIGHT:
                batch = next(batches, None)
                more = batch is not None
                pool.put(batch or [])
            if pool.in_flight:
                held.extend(pool.take(most=stage.BATCH, seconds=0.5))
            is_idle = not pool.in_flight and not more
            if len(held) >= stage.BATCH or (held and (is_idle or time.monotonic() - written > WRITE_SECONDS)):
                self.staged.store(held)
                self._stored(held)
                held, written = [], time.monotonic()

    # --- catalogues -------------------------------------------------------------------------------------------

    def _catalogue(self, network: client.Network) -> None:
        if self.run.stage != "listing":
            return
        source = catalogue.Catalogue(network, self.run, self.staged)
        source.harvest(check=self.attempt.check, noted=self._stored)
        self.listed = self.done
        self._report(source.issues)
        self._guard()
        self._enter("fetching", listed=self.listed)

    # --- uploads ----------------------------------------------------------------------------------------------

    def _upload(self, network: client.Network) -> None:
        if self.run.stage != "listing":
            return
        upload.harvest(self.upload, network, self.staged, check=self.attempt.check, noted=self._stored)
        self.listed = self.done
        self._guard()
        self._enter("fetching", listed=self.listed)

    # --- guards, report, commit -------------------------------------------------------------------------------

    def _stored(self, results: list[stage.Result]) -> None:
        self.done += len(results)
        self._note()

    def _note(self) -> None:
        """Tell how far the run is."""
        self.attempt.progress(total=self.listed, done=self.done, **self.tally.columns())

    def _report(self, issues: list[tuple[str, validation.Issue]]) -> None:
        rows = [RunIssue(run=self.run, url=url, **issue.as_dict()) for url, issue in issues]
        with self.attempt.fenced():
            RunIssue.objects.bulk_create(rows, batch_size=500)

    def _guard(self) -> None:
        """Refuse a listing that lost too much (4.1, guards); waived once by an operator or a new address."""
        _let_the_planner_know(self.listed)
        listed, previous, missing = _compared(self.run)
        if self.run.waived_guard or not previous:
            return
        allow_empty: bool = self.run.settings["allow_empty"]
        if not listed:
            if allow_empty:
                return
            raise core_jobs.Failure("empty_listing", f"The source lists nothing; it had {previous} documents.")
        limit: int = self.run.settings["shrink_limit"]
        if missing * 100 > previous * limit:
            message = f"{missing} of {previous} documents are missing, more than the limit of {limit} %."
            raise core_jobs.Failure("shrink_guard", message)

    def _commit(self) -> dict[str, Any]:
        self._enter("committing")
        _let_the_planner_know(self.listed)
        now = timezone.now()
        result: dict[str, Any] = {}
        with self.attempt.finish(result):
            counts = swap.swap(self.run, now=now, stored=self.stored_only)
            finish.succeed(self.run, counts, now=now, requests=self.tally.requests, received=self.tally.bytes)
        return result


class _Batches:
    """Gathers listed documents into batches of the size one statement takes."""

    def __init__(self, emit: Callable[[list[stage.Listed]], None]) -> None:
        self._emit = emit
        self._held: list[stage.Listed] = []

    def add(self, documents: list[stage.Listed]) -> None:
        self._held.extend(documents)
        while len(self._held) >= stage.BATCH:
            batch, self._held = self._held[: stage.BATCH], self._held[stage.BATCH :]
            self._emit(batch)

    def flush(self) -> None:
        if self._held:
            self._emit(self._held)
            self._held = []


def _let_the_planner_know(listed: int) -> None:
    """Statistics of many new rows, which autovacuum may not have looked at yet: planned for one row, comparing what was
    staged with what is stored reads the one for each of the other (seen: minutes for 100,000 documents)."""
    if listed < MANY:
        return
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE registry_stagedrecord (run_id, identity_sha256, outcome)")
        cursor.execute("ANALYZE registry_record (harvest_id, identity_sha256)")


def _compared(run: HarvestRun) -> tuple[int, int, int]:
    """How many documents are listed now, how many records there are, how many of these are missing."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM registry_stagedrecord WHERE run_id = %(run)s),
                count(*), count(*) FILTER (WHERE s.id IS NULL)
            FROM registry_record r
            LEFT JOIN registry_stagedrecord s ON s.run_id = %(run)s AND s.identity_sha256 = r.identity_sha256
            WHERE r.harvest_id = %(harvest)s
            """,
            {"run": run.pk, "harvest": run.harvest_id},
        )
        listed, previous, missing = cursor.fetchone()
        return listed, previous, missing
