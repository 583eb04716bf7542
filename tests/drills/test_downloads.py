"""Builds survive whatever dies beside them: worker, broker, database, store. Real workers, real servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection

from core import blobs
from core.models import Job
from downloads import services
from downloads.formats import samples
from downloads.jobs import ingest
from downloads.jobs.ingest import publish
from downloads.models import Build, BuildPart, Download, IngestRun, Record, StoreVersion
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

SMALL = {"DOWNLOADS_PART_ROWS": "12"}
StartWorker = Callable[..., house.Worker]
StartBeat = Callable[..., house.Beat]


@pytest.fixture
def specimens(drill_stack: house.House, tmp_path: Path) -> dict[str, bytes]:
    """Four hundred samples in the store; the data members of an archive of all, built here in one go."""
    blobs.delete(*making.keys())
    for _provider, path in samples.write_all(tmp_path, records=400):
        making.bring_in(path)
    files = making.members(making.built({}))
    blobs.delete(*making.keys())
    return {name: data for name, data in files.items() if name.endswith(".csv")}


def retried(ask: Callable[[], Any]) -> Any:
    """The answer of a question to the database; None while it is away."""
    try:
        return ask()
    except (OperationalError, InterfaceError):
        connection.close()
        return None


def parts_done() -> int:
    return BuildPart.objects.filter(state=BuildPart.State.DONE).count()


def await_parts(count: int) -> None:
    house.wait_for(lambda: (retried(parts_done) or 0) >= count, what=f"{count} parts")
    assert parts_done() < BuildPart.objects.count(), "the build must still be under way"


def await_done(placed: services.Placed) -> Build:
    def is_done() -> bool:
        return bool(retried(lambda: services.find(placed.download.uuid).state == Download.State.DONE))

    house.wait_for(is_done, what="the build")
    assert placed.download.build_id is not None
    return Build.objects.select_related("job").get(pk=placed.download.build_id)


def check_archive(placed: services.Placed, expected: dict[str, bytes]) -> None:
    """The archive has the right rows, and it alone is in the bucket."""
    download = services.find(placed.download.uuid)
    files = making.members(download)
    for name, data in expected.items():
        assert files[name] == data, name
    assert download.build is not None
    only = [download.build.blob_key]
    house.wait_for(lambda: making.keys() == only, what="the bucket to hold the one archive")
    assert Build.objects.filter(state=Build.State.DONE, blob_key=only[0]).count() == 1


def test_worker_killed_in_the_middle(
    specimens: dict[str, bytes], start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """D27: Worker killed mid-build: finished from kept parts, same members."""
    worker = start_worker(concurrency=1, **SMALL)
    start_beat()
    placed = making.place({}, force=True)
    await_parts(3)
    kept = {part.pk: part.blob_key for part in BuildPart.objects.filter(state=BuildPart.State.DONE)}
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    in_hand = BuildPart.objects.filter(state=BuildPart.State.CLAIMED).exclude(pk__in=kept)
    assert in_hand.count() <= 2, "no more than one stretch, of two files, is made again"
    house.wait_for(lambda: parts_done() > len(kept) + 1, what="the build to go on by itself")
    again = {part.pk: part.blob_key for part in BuildPart.objects.filter(pk__in=kept)}
    assert again == {} or again == kept, "finished parts are not made again"
    build = await_done(placed)
    assert build.job is not None
    assert (build.job.attempt, build.job.state, build.crashes) == (2, "succeeded", 1)
    assert Job.objects.filter(kind="downloads.build").count() == 2  # this one, and the one of the comparison
    check_archive(placed, specimens)


def test_worker_killed_while_it_brings_an_archive_in(
    drill_stack: house.House, start_worker: StartWorker, start_beat: StartBeat, tmp_path: Path
) -> None:
    """D41: an ingest whose worker is killed changes nothing, and is done once, by another attempt, from the upload."""
    blobs.delete(*making.keys())
    publish.lock_session()  # so that it is caught between reading and writing
    try:
        worker = start_worker(concurrency=1)
        start_beat()
        with making.archive(tmp_path, making.specimens(20)).open("rb") as archive:
            run = services.upload_archive(archive, ingest.Options(), name="sample.zip")

        def stage() -> Any:
            return Job.objects.get(ingest_run=run).progress.get("stage")

        house.wait_for(lambda: stage() == "waiting for another ingest", what="the ingest to have read all")
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
        house.wait_for(lambda: Job.objects.get(ingest_run=run).attempt == 2, what="the second attempt")
        assert (Record.objects.count(), IngestRun.objects.get(pk=run.pk).state) == (0, IngestRun.State.RUNNING)
    finally:
        publish.unlock_session()
    house.wait_for(lambda: Job.objects.get(ingest_run=run).state == "succeeded", what="the ingest")
    run.refresh_from_db()
    assert (run.state, run.report["added"], run.report["version"]) == (IngestRun.State.DONE, 20, 1)
    assert (Record.objects.count(), StoreVersion.objects.count()) == (20, 1)
    house.wait_for(lambda: making.keys() == [], what="the upload to be gone")


def test_valkey_dead_a_request_is_taken_and_built_when_it_is_back(
    specimens: dict[str, bytes], drill_stack: house.House, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """D30: Redis down: accepted, built later."""
    valkey = drill_stack.valkey
    valkey.kill()
    placed = making.place({}, force=True)
    assert placed.download.state == Download.State.WAITING
    valkey.start()
    start_worker(**SMALL)
    start_beat()
    await_done(placed)
    check_archive(placed, specimens)


def test_valkey_killed_in_the_middle(
    specimens: dict[str, bytes], drill_stack: house.House, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    valkey = drill_stack.valkey
    worker = start_worker(concurrency=1, **SMALL)
    start_beat()
    placed = making.place({}, force=True)
    await_parts(2)
    valkey.kill()
    await_done(placed)
    valkey.start()
    check_archive(placed, specimens)
    following = making.place({"genus": "acer"})
    await_done(following)
    assert worker.is_running


def test_postgresql_restarted_in_the_middle(
    specimens: dict[str, bytes], drill_stack: house.House, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    postgres = drill_stack.postgres
    worker = start_worker(concurrency=1, **SMALL)
    start_beat()
    placed = making.place({}, force=True)
    await_parts(3)
    postgres.restart()
    await_done(placed)
    assert worker.is_running
    check_archive(placed, specimens)


def test_store_down_during_the_upload(
    specimens: dict[str, bytes], drill_stack: house.House, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """D29: Storage down: `waiting_for_storage`, then SUCCESS on return."""
    store = drill_stack.store
    worker = start_worker(concurrency=1, **SMALL)
    start_beat()
    placed = making.place({}, force=True)
    await_parts(2)
    store.stop()

    def waits() -> bool:
        job = Job.objects.get(build=placed.download.build_id)
        return bool(job.progress.get("stage") == "waiting_for_storage")

    house.wait_for(waits, what="the build to wait for the store")
    assert services.find(placed.download.uuid).state == Download.State.WAITING
    store.start()
    await_done(placed)
    assert worker.is_running
    check_archive(placed, specimens)


def test_two_workers_share_a_build(
    specimens: dict[str, bytes], start_worker: StartWorker, start_beat: StartBeat
) -> None:
    start_worker(concurrency=1, **SMALL)
    start_worker(concurrency=1, **SMALL)
    start_beat()
    placed = making.place({}, force=True)
    build = await_done(placed)
    assert build.job is not None
    helped = Job.objects.filter(kind="downloads.assist", params__build=str(build.pk), state="succeeded")
    house.wait_for(lambda: helped.filter(result__parts__gt=0).exists(), what="a helper to have made parts")
    check_archive(placed, specimens)


def test_a_frozen_worker_that_wakes_up_publishes_nothing(
    specimens: dict[str, bytes], start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """D28: A stale worker publishes nothing; no partial file is reachable."""
    stale = start_worker(concurrency=1, **SMALL)
    start_beat()
    placed = making.place({}, force=True)
    await_parts(3)
    stale.pause()
    start_worker(concurrency=1, **SMALL)
    build = await_done(placed)
    digest = build.sha256
    stale.resume()
    house.wait_for(lambda: "lease_lost" in stale.log_text(), what="the stale worker to notice")
    build.refresh_from_db()
    assert (build.sha256, build.state) == (digest, Build.State.DONE)
    check_archive(placed, specimens)
