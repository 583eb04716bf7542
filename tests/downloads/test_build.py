"""Builds: the same rows however they are made, sharing, reuse, deltas; through the real store."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import struct
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from core import blobs, db, errors, jobs
from core.models import Job, User
from downloads import services
from downloads.formats import samples
from downloads.jobs import expiry, rerender
from downloads.jobs.build import assemble, lanes, parts, plan, produce, selection, sqltext, sums
from downloads.models import Build, BuildPart, Download, Hiding, Quota, Record, Recordset, StoreVersion
from downloads.services import ask, estimates, operate
from tests import house, together
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _empty_bucket(running_house: house.House) -> None:
    blobs.delete(*making.keys())


@pytest.fixture
def store_of_samples(tmp_path: Path, running_house: house.House) -> None:
    """Four providers' specimens, three hundred in all."""
    for _provider, path in samples.write_all(tmp_path, records=300):
        making.bring_in(path)


@pytest.fixture
def acers(tmp_path: Path) -> Path:
    """Five maples and three oaks."""
    path = making.archive(tmp_path, making.specimens(5) + making.specimens(3, genus="Quercus", start=5))
    making.bring_in(path)
    return path


def test_two_spellings_share_a_build(acers: Path) -> None:
    """D7: `Acer` and `acer`: two uuids and hashes, one build."""
    first, second = making.built({"genus": "Acer"}), making.built({"genus": "acer"})
    assert first.uuid != second.uuid
    assert (first.query_hash, second.query_hash) == (
        "ed946d428c31cc3e26bb88c9ed548d54b475572c",
        "c91957c034f2a8c42796584c27ba3416acf81d94",
    )
    assert first.hash != second.hash
    assert first.build_id == second.build_id
    assert Build.objects.count() == 1
    assert len(making.ids(making.members(second)["occurrence.csv"])) == 5


def test_a_hundred_equal_requests_at_once(acers: Path) -> None:
    """D8: 100 concurrent identical requests → one job, one build."""
    found: list[tuple[Any, bool]] = []

    def ask() -> None:
        for _ in range(5):
            placed = making.place({"genus": "acer"})
            found.append((placed.download.uuid, placed.is_new))

    together.at_once([ask] * 20)
    assert len(found) == 100
    assert Counter(found).most_common() == [((found[0][0], False), 99), ((found[0][0], True), 1)]
    assert (Download.objects.count(), Build.objects.count(), Job.objects.filter(kind="downloads.build").count()) == (
        1,
        1,
        1,
    )
    assert Download.objects.get().claims.count() == 100


def test_equivalent_requests_at_once(acers: Path) -> None:
    """D7, D8: of two spellings asked by many at once each is one job, and both share one build."""
    found: list[tuple[str, Any, Any]] = []

    def ask(genus: str) -> None:
        for _ in range(3):
            download = making.place({"genus": genus}).download
            found.append((genus, download.uuid, download.build_id))

    together.at_once([functools.partial(ask, genus) for genus in ("acer", "Acer", "ACER") * 4])
    assert len(found) == 36
    assert len(set(found)) == Download.objects.count() == 3
    assert len({build for _genus, _uuid, build in found}) == Build.objects.count() == 1
    assert Job.objects.filter(kind="downloads.build").count() == 1


def test_what_ends_reuse(acers: Path, tmp_path: Path) -> None:
    """D9: New data version, failure, cancel, `force`, or 23 h end reuse; old uuids stay readable."""
    query = {"genus": "acer"}
    seen = [making.built(query)]
    assert making.built(query).uuid == seen[0].uuid

    seen.append(making.built(query, force=True))
    assert making.built(query).uuid == seen[-1].uuid

    hours = timezone.now() - timedelta(seconds=1)
    Download.objects.filter(pk=seen[-1].pk).update(reuse_until=hours)
    seen.append(making.built(query))

    making.bring_in(making.archive(tmp_path, making.specimens(1, start=90), package="other", name="other.zip"))
    seen.append(making.built(query))
    assert len(making.ids(making.members(seen[-1])["occurrence.csv"])) == 6

    Download.objects.filter(pk=seen[-1].pk).update(state=Download.State.FAILED)
    seen.append(making.built(query))

    making.bring_in(making.archive(tmp_path, making.specimens(1, start=91), package="third", name="third.zip"))
    placed = making.place(query)
    services.withdraw(str(placed.download.uuid), token=placed.token)
    seen.append(services.find(placed.download.uuid))
    assert seen[-1].state == Download.State.CANCELLED
    seen.append(making.built(query))

    assert len({download.uuid for download in seen}) == len(seen)
    assert [services.find(download.uuid).uuid for download in seen] == [download.uuid for download in seen]
    assert [len(making.ids(making.members(seen[n])["occurrence.csv"])) for n in (0, 1, 2)] == [5, 5, 5]


@pytest.mark.parametrize(("hours", "is_shared"), [(22, True), (24, False)])
def test_an_old_build_is_not_shared(acers: Path, hours: int, is_shared: bool) -> None:
    """D9: another spelling shares a build within 23 hours of its begin, not one from before."""
    first = making.built({"genus": "acer"})
    Build.objects.update(created_at=timezone.now() - timedelta(hours=hours))
    second = making.built({"genus": "Acer"})
    assert (second.build_id == first.build_id) is is_shared
    assert making.ids(making.members(second)["occurrence.csv"]) == making.ids(making.members(first)["occurrence.csv"])


def test_joining_what_ends_meanwhile(monkeypatch: pytest.MonkeyPatch, acers: Path) -> None:
    """D9: a download cancelled between the look at it and the joining of it is not handed out; one finished then is."""
    look_up = ask._with_build

    def meanwhile(act: Callable[[Download], object]) -> Download:
        def looked(which: Any) -> Download | None:
            found = look_up(which)
            monkeypatch.undo()
            assert found is not None
            act(found)
            return found

        monkeypatch.setattr(ask, "_with_build", looked)
        return making.place({"genus": "acer"}).download

    first = making.place({"genus": "acer"}).download
    second = meanwhile(operate.cancel_all)
    assert second.pk != first.pk
    finished = meanwhile(lambda found: Download.objects.filter(pk=found.pk).update(state=Download.State.DONE))
    assert finished.pk == second.pk
    assert services.find(str(first.pk)).state == Download.State.CANCELLED


def test_members_sums_citation_and_joins(store_of_samples: None) -> None:
    """D36: Manifest sums, citation and row counts agree; every extension row joins; excluded media counted."""
    download = making.built({})
    files = making.members(download)
    assert list(files) == [
        "occurrence.csv",
        "occurrence_raw.csv",
        "multimedia.csv",
        "multimedia_raw.csv",
        "records.citation.txt",
        "mediarecords.citation.txt",
        "eml.xml",
        "meta.xml",
        "manifest.json",
    ]
    manifest = json.loads(files["manifest.json"])
    for entry in manifest["files"]:
        data = files[entry["name"]]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
        if "rows" in entry:
            assert len(making.ids(data)) == entry["rows"]
    core = making.ids(files["occurrence.csv"])
    assert core == sorted(core)
    assert len(core) == Record.objects.count() == 300
    for name in ("occurrence_raw.csv", "multimedia.csv", "multimedia_raw.csv"):
        assert set(making.ids(files[name])) <= set(core), name
    assert "300 records, accessed on" in files["records.citation.txt"].decode()
    shares = Counter(row["idigbio:recordset"] for row in making.rows(files["occurrence.csv"]))
    for recordset, count in shares.items():
        assert f"{recordset} ({count} records)" in files["records.citation.txt"].decode()
    media = making.rows(files["multimedia.csv"])
    assert [row["idigbio:uuid"] for row in media] == sorted(row["idigbio:uuid"] for row in media)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM downloads_mediarecord m WHERE NOT EXISTS "
            "(SELECT 1 FROM downloads_recordmedia l WHERE l.media = m.uuid)"
        )
        (free,) = cursor.fetchone()
    assert free > 0
    assert manifest["excluded"] == {"media_without_record": free}


def test_two_builds_of_one_version_are_equal(store_of_samples: None, tmp_path: Path, settings: Settings) -> None:
    """D37: Two builds on one version: byte-equal data members; an ingest during a build changes nothing in it."""
    placed = making.place({})
    settings.DOWNLOADS_PART_ROWS = 40
    again = making.place({}, force=True)
    # Both wait for the version they were asked on; then everything changes.
    for number, (_provider, path) in enumerate(samples.write_all(tmp_path, records=200, seed=2)):
        making.bring_in(path, allow_mass_delete=True)
        for waiting in (placed, again):
            build = waiting.download.build
            assert build is not None
            assert build.job_id is not None
            if number == 1:
                jobs.run(build.job_id)
    one, two = (making.members(services.find(each.download.uuid)) for each in (placed, again))
    assert len(making.ids(one["occurrence.csv"])) == 300
    for name in one:
        assert name == "manifest.json" or name.endswith(("citation.txt", "eml.xml")) or one[name] == two[name], name
    assert len(making.ids(making.members(making.built({}))["occurrence.csv"])) == 200


@pytest.mark.parametrize("form", ["dwca-csv", "dwca-tsv", "csv", "tsv"])
def test_parts_make_the_same_file(store_of_samples: None, settings: Settings, form: str) -> None:
    """A build in parts, with an inflating assembly, gives the bytes of a build in one go."""
    whole = making.built({}, form=form)
    settings.DOWNLOADS_PART_ROWS = 30
    cut = making.built({}, form=form, force=True)
    assert cut.build is not None
    assert cut.build.plan["cuts"]["records"]
    if form in ("csv", "tsv"):
        assert making.content(whole) == making.content(cut)
        return
    one, two = making.members(whole), making.members(cut)
    for name in list(one)[:4]:
        assert one[name] == two[name]
    found = making.keys()
    assert [key for key in found if "/parts/" in key] == []
    assert BuildPart.objects.count() == 0


@pytest.mark.parametrize("form", ["dwca-csv", "csv", "tsv"])
def test_one_walk_reads_what_choosing_first_reads(
    store_of_samples: None, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """D37: the two ways to read all records give the same bytes, past closed versions and hidden recordsets."""
    rows = making.specimens(60, genus="Euphorbia")
    for count in (60, 40):
        making.bring_in(making.archive(tmp_path, rows[:count], name="closed.zip"))
    assert Record.objects.exclude(v_to=None).count() == 20
    rerender.rerender()
    services.set_public(Recordset.objects.filter(record_count__gt=40).earliest("record_count"), is_public=False)
    settings.DOWNLOADS_PART_ROWS = 50
    made: list[bytes] = []
    walks: list[db.Snapshot] = []

    def noted(snapshot: db.Snapshot) -> None:
        walks.append(snapshot)
        plan.walk(snapshot)

    monkeypatch.setattr(produce, "walk", noted)
    for can_walk in (False, True):
        monkeypatch.setattr(produce, "can_walk", lambda *_of, can=can_walk: can)
        download = making.built({}, form=form, force=True)
        assert bool(walks) == can_walk
        made.append(making.content(download) if form != "dwca-csv" else making.members(download)["occurrence.csv"])
    assert made[0] == made[1]
    assert made[0].count(b"\r\n") > 100


def test_records_are_walked_where_few_are_left_out(acers: Path, tmp_path: Path) -> None:
    """All records in one walk; chosen first where a query narrows them or where many versions are closed."""

    def can_walk(rq: dict[str, Any] | None = None, **more: Any) -> bool:
        placed = making.place(rq or {}, force=True, form="csv", **more)
        assert placed.download.build is not None
        with db.snapshot() as snapshot:
            return plan.can_walk(plan.load(placed.download.build), snapshot)

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE downloads_record")
    assert can_walk()
    assert not can_walk({"genus": "acer"})
    assert not can_walk(mq={"format": {"type": "exists"}})
    assert not can_walk(core_type="mediarecords")
    assert not can_walk(core_type="uniquenames")
    making.bring_in(making.archive(tmp_path, making.specimens(6), name="b.zip"), allow_mass_delete=True)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE downloads_record")
    assert not can_walk()


@pytest.mark.parametrize("rows", [30, 50_000])
@pytest.mark.parametrize("most", [0, 2000, 1 << 24])
def test_headers_tell_true_sizes(
    store_of_samples: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, rows: int, most: int
) -> None:
    """D34: sizes stand in the local headers, however a file was made and wherever it waited; nothing is left over."""
    settings.DOWNLOADS_PART_ROWS = rows
    monkeypatch.setattr(assemble, "_HELD_MOST", most)
    download = making.built({})
    data = making.content(download)
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        assert source.testzip() is None
        for info in source.infolist():
            assert not info.flag_bits & 8, info.filename
            sizes = struct.unpack_from("<LLL", data, info.header_offset + 14)
            assert sizes == (info.CRC, info.compress_size, info.file_size), info.filename
    assert download.build is not None
    assert hashlib.sha256(data).hexdigest() == download.build.sha256
    assert making.keys() == [download.build.blob_key]


@pytest.mark.parametrize("form", ["dwca-csv", "csv", "parquet"])
def test_a_file_the_store_changed_is_not_published(acers: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """D28: size and checksum are verified before anybody learns the key; then the build goes on."""
    placed = making.place({}, form=form)
    build = placed.download.build
    assert build is not None
    assert build.job_id is not None
    verify = blobs.verify

    def spoil(key: str, *, size: int, **sums: Any) -> Any:
        data = bytearray(b"".join(blobs.reader(key)))
        data[len(data) // 2] ^= 1
        blobs.put(key, bytes(data))
        return verify(key, size=size, **sums)

    monkeypatch.setattr(blobs, "verify", spoil)
    jobs.run(build.job_id)
    build.refresh_from_db()
    assert (build.state, build.blob_key) == (Build.State.RUNNING, "")
    assert services.find(placed.download.uuid).state == Download.State.WAITING
    monkeypatch.undo()
    Job.objects.update(available_at=timezone.now())
    jobs.run(build.job_id)
    done = services.find(placed.download.uuid)
    assert done.build is not None
    assert hashlib.sha256(making.content(done)).hexdigest() == done.build.sha256


def test_parts_made_by_others_are_summed_in_turn(
    store_of_samples: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D36: the sums of the manifest are right whoever made a part; only parts of others are read back."""
    settings.DOWNLOADS_PART_ROWS = 30
    placed = making.place({})
    build = placed.download.build
    assert build is not None
    assert build.job_id is not None
    make, inflate = parts.make, sums._inflate
    read: list[int] = []
    calls: list[int] = []

    def make_two(ready: Any, stretch: parts.Stretch, note: Any, digests: Any = None) -> bool:
        calls.append(stretch.number)
        if len(calls) % 2:  # somebody else makes the second of those that are free meanwhile
            other = parts.claim(ready, uuid.uuid4(), leaving=1)
            assert other is None or make(ready, other, note)
        return make(ready, stretch, note, digests)

    def counted(part: BuildPart, *more: Any) -> None:
        read.append(part.pk)
        inflate(part, *more)

    monkeypatch.setattr(parts, "make", make_two)
    monkeypatch.setattr(sums, "_inflate", counted)
    jobs.run(build.job_id)
    files = making.members(services.find(placed.download.uuid))
    for entry in json.loads(files["manifest.json"])["files"]:
        assert hashlib.sha256(files[entry["name"]]).hexdigest() == entry["sha256"], entry["name"]
    assert 0 < len(read) == len(set(read))
    build.refresh_from_db()
    stretches = sum(len(build.plan["cuts"][entity]) + 1 for entity in ("records", "media"))
    assert len(read) == 2 * (stretches - len(calls))


def test_a_delta_applied_to_the_old_archive_gives_the_new_one(store_of_samples: None, tmp_path: Path) -> None:
    """D51: Old archive + `since` archive = new archive."""
    query = {"kingdom": "plantae"}
    old = making.built(query)
    for _provider, path in list(samples.write_all(tmp_path, records=260, seed=3))[:3]:
        making.bring_in(path, allow_mass_delete=True)
    new = making.members(making.built(query))
    delta = making.members(making.built(query, since=str(old.uuid)))
    gone = set(making.ids(delta["deleted.csv"]))
    before = making.members(old)
    assert gone
    for name in ("occurrence.csv", "occurrence_raw.csv", "multimedia.csv", "multimedia_raw.csv"):
        touched = gone | set(making.ids(delta["occurrence.csv"]))
        columns = making.rows(new[name])[0].keys()
        kept = [row for row in making.rows(before[name]) if row["coreid"] not in touched]
        merged = [*kept, *making.rows(delta[name])]

        def shown(row: dict[str, str], columns: Any = columns) -> tuple[str, ...]:
            return tuple(row.get(column) or "" for column in columns)

        assert sorted(map(shown, merged)) == sorted(map(shown, making.rows(new[name]))), name


def test_a_delta_needs_a_version_that_is_still_kept(acers: Path) -> None:
    old = making.built({})
    with pytest.raises(errors.Invalid, match="no download"):
        services.since_version("0c7f5f9e-6a43-4b0e-9e5f-2d9a3a1f4c55")
    making.bring_in(making.archive(acers.parent, making.specimens(9), name="again.zip"), allow_mass_delete=True)
    models_version = old.data_version
    StoreVersion.objects.filter(number=models_version).update(pruned=True)
    with pytest.raises(errors.Invalid) as refused:
        services.since_version(str(old.uuid))
    assert "everything" in refused.value.details["hint"]


def test_a_delta_whose_version_is_pruned_before_its_build_fails(acers: Path) -> None:
    """D51: rows pruned between request and build are not taken for new ones: the download fails and says why."""
    old = making.built({})
    making.bring_in(making.archive(acers.parent, making.specimens(9), name="again.zip"), allow_mass_delete=True)
    placed = making.place({}, since=str(old.uuid))
    StoreVersion.objects.filter(number=old.data_version).update(pruned=True)
    jobs.run_queued()
    found = services.find(placed.download.uuid)
    assert (found.state, found.error) == (
        Download.State.FAILED,
        "The data of the download given in since is no longer kept.",
    )


def test_dry_run_counts_what_the_archive_has(store_of_samples: None) -> None:
    """D46: `dry_run` counts equal the archive's rows."""
    for rq, mq in (({}, None), ({"kingdom": "plantae"}, None), ({}, {"mediatype": "images"})):
        guess = services.estimate(making.asked(rq, mq=mq))
        files = making.members(making.built(rq, mq=mq))
        assert guess.is_exact
        assert guess.records == len(making.ids(files["occurrence.csv"]))
        assert guess.mediarecords == len(making.ids(files["multimedia.csv"]))
    assert Download.objects.count() == 3


def test_dry_run_of_places_and_changes(store_of_samples: None) -> None:
    """D46: rows without a point are not counted for GeoJSON; a count of `since` is not called exact."""
    whole = making.built({"kingdom": "plantae"}, form="geojson")
    assert whole.build is not None
    (rows,) = whole.build.rows.values()
    guess = services.estimate(making.asked({"kingdom": "plantae"}, form="geojson"))
    assert (guess.records, guess.is_exact) == (rows, True)
    assert rows < services.estimate(making.asked({"kingdom": "plantae"})).records
    assert not services.estimate(making.asked({}, since=str(whole.uuid))).is_exact


def test_dry_run_that_takes_too_long(store_of_samples: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """D46: where counting takes over five seconds the planner's estimate serves, which is not called exact."""
    assert estimates.COUNTING_MS == 5000

    def endless(_query: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
        return 0

    monkeypatch.setattr(estimates, "COUNTING_MS", 20)
    monkeypatch.setattr(estimates, "_count", endless)
    guess = services.estimate(making.asked({}))
    assert not guess.is_exact
    assert guess.records > 0
    monkeypatch.undo()
    assert services.estimate(making.asked({})).is_exact


def test_cancel_in_the_middle_removes_the_parts(
    store_of_samples: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D31: Cancel within 2 s, parts gone; shared build goes on; wrong token 403."""
    settings.DOWNLOADS_PART_ROWS = 30
    placed = making.place({})
    sharing = making.place({"and": []})
    assert placed.download.build_id == sharing.download.build_id
    assert placed.download.build is not None
    job_id = placed.download.build.job_id
    assert job_id is not None
    with pytest.raises(errors.Denied, match="This token does not belong to this download"):
        services.withdraw(str(placed.download.uuid), token="wrong")
    assert services.withdraw(str(placed.download.uuid), token=placed.token).state == Download.State.CANCELLED
    assert services.find(sharing.download.uuid).state == Download.State.WAITING
    make = parts.make

    def make_and_withdraw(*args: Any) -> bool:
        made = make(*args)
        if parts.done_count(Build.objects.get()) == 4:
            services.withdraw(str(sharing.download.uuid), token=sharing.token)
        return made

    monkeypatch.setattr(parts, "make", make_and_withdraw)
    jobs.run(job_id)
    after = services.find(sharing.download.uuid)
    assert (after.state, after.error) == (Download.State.CANCELLED, "This download was cancelled.")
    assert Build.objects.get().state == Build.State.CANCELLED
    assert making.keys() == []
    assert BuildPart.objects.count() == 0
    with pytest.raises(errors.Conflict, match="This download has already finished"):
        services.withdraw(str(sharing.download.uuid), token=sharing.token)
    monkeypatch.undo()
    assert making.built({}).uuid not in (placed.download.uuid, sharing.download.uuid)


def test_cancel_stops_a_count_under_way(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D31: the statement that counts is cancelled; left alone it would divide by zero in the end."""
    build = making.place({}).download.build
    assert build is not None
    endless = sqltext.Sql("SELECT 1 / length(pg_sleep(30)::text)")
    monkeypatch.setattr(selection.Selection, "shares", lambda *_: endless)

    def check() -> None:
        raise jobs.Cancelled

    with pytest.raises(jobs.Cancelled):
        plan.count(plan.load(build), check)


def test_an_attempt_that_died_is_gone_on_with_from_its_parts(
    store_of_samples: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D27: Worker killed mid-build: finished from kept parts, same members."""
    whole = making.members(making.built({}))
    settings.DOWNLOADS_PART_ROWS = 30
    placed = making.place({}, force=True)
    assert placed.download.build is not None
    job_id = placed.download.build.job_id
    assert job_id is not None
    made: list[str] = []
    make = parts.make

    def note(plan: Any, stretch: parts.Stretch, *more: Any) -> bool:
        if len(made) == 4:
            raise SystemExit("killed")
        made.append(f"{stretch.group[0].name} {stretch.number}")
        return make(plan, stretch, *more)

    monkeypatch.setattr(parts, "make", note)
    with pytest.raises(SystemExit):
        jobs.run(job_id)
    Job.objects.filter(pk=job_id).update(lease_until=timezone.now() - timedelta(seconds=1))
    jobs.sweep()
    first = list(made)
    made.clear()
    made.extend(["the first attempt's"] * 5)
    jobs.run(job_id)
    assert not set(first) & set(made)
    files = making.members(services.find(placed.download.uuid))
    for name in list(whole)[:4]:
        assert files[name] == whole[name]
    assert len(making.keys()) == 2


def test_five_deaths_without_progress_end_a_build(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D27: five attempts without progress, and no fewer, end a build."""
    placed = making.place({})
    assert placed.download.build is not None
    job_id = placed.download.build.job_id
    assert job_id is not None
    monkeypatch.setattr(plan, "count", lambda *_: (_ for _ in ()).throw(SystemExit("killed")))
    for _ in range(5):
        assert services.find(placed.download.uuid).state == Download.State.WAITING
        with pytest.raises(SystemExit):
            jobs.run(job_id)
        Job.objects.filter(pk=job_id).update(lease_until=timezone.now() - timedelta(seconds=1))
        jobs.sweep()
    jobs.run(job_id)
    after = services.find(placed.download.uuid)
    assert (after.state, after.error) == (Download.State.FAILED, "The build was interrupted too often.")


def test_a_stale_worker_publishes_nothing(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D28: A stale worker publishes nothing; no partial file is reachable."""
    placed = making.place({})
    build = placed.download.build
    assert build is not None
    job_id = build.job_id
    assert job_id is not None
    verify = blobs.verify
    taken_over: list[bool] = []

    def lose_the_lease(key: str, **sums: Any) -> Any:
        if not taken_over:
            taken_over.append(True)
            Job.objects.filter(pk=job_id).update(lease_until=timezone.now() - timedelta(seconds=1))
            jobs.sweep()
            with pytest.raises(errors.Conflict):
                services.deliver(str(placed.download.uuid), "zip")
            jobs.run(job_id)
        return verify(key, **sums)

    monkeypatch.setattr(blobs, "verify", lose_the_lease)
    jobs.run(job_id)
    build.refresh_from_db()
    assert build.state == Build.State.DONE
    assert making.keys() == [build.blob_key]
    assert Job.objects.get(pk=job_id).attempt == 2


def test_storage_away_then_back(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D29: Storage down: `waiting_for_storage`, then SUCCESS on return or FAILURE after 30 min."""
    from downloads.jobs import status

    placed, doomed = making.place({}), making.place({"genus": "acer"})
    real = blobs.writer

    def away(*_args: Any, **_more: Any) -> Any:
        raise blobs.StoreUnavailable("The file store does not answer.")

    monkeypatch.setattr(blobs, "writer", away)
    for each in (placed, doomed):
        assert each.download.build is not None
        assert each.download.build.job_id is not None
        jobs.run(each.download.build.job_id)
        waiting = services.find(each.download.uuid)
        assert status.task_status(waiting) == "PENDING"
        assert status.progress(waiting).stage == "waiting_for_storage"
    assert doomed.download.build is not None
    assert doomed.download.build.job_id is not None
    for minutes in (29, 31):
        assert services.find(doomed.download.uuid).state == Download.State.WAITING
        Build.objects.filter(pk=doomed.download.build.pk).update(
            storage_away_since=timezone.now() - timedelta(minutes=minutes)
        )
        Job.objects.update(available_at=timezone.now())
        jobs.run(doomed.download.build.job_id)
        next_try = Job.objects.get(pk=doomed.download.build.job_id).available_at
        assert next_try < timezone.now() + timedelta(seconds=61), "never more than a minute apart"
    after = services.find(doomed.download.uuid)
    assert (after.state, after.error) == (Download.State.FAILED, "The file could not be stored.")
    monkeypatch.setattr(blobs, "writer", real)
    assert placed.download.build is not None
    assert placed.download.build.job_id is not None
    Job.objects.update(available_at=timezone.now())
    jobs.run(placed.download.build.job_id)
    assert services.find(placed.download.uuid).state == Download.State.DONE


def test_cancel_while_waiting_for_the_store_removes_the_parts(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D31: a build cancelled while nobody works on it leaves no parts either."""
    placed = making.place({})
    build = placed.download.build
    assert build is not None
    assert build.job_id is not None

    def away(*_args: Any, **_more: Any) -> Any:
        raise blobs.StoreUnavailable("The file store does not answer.")

    monkeypatch.setattr(blobs, "writer", away)
    jobs.run(build.job_id)
    monkeypatch.undo()
    part = f"downloads/parts/{build.pk}/occurrence.csv/00001-x"
    blobs.put(part, b"x", "application/octet-stream")
    BuildPart.objects.create(build=build, member="occurrence.csv", number=1, blob_key=part)
    services.withdraw(str(placed.download.uuid), token=placed.token)
    jobs.run_queued()
    assert (making.keys(), BuildPart.objects.count()) == ([], 0)


def test_quota_and_lanes(acers: Path, settings: Settings) -> None:
    """D32: Quota 429; a whole-store build does not delay a 10-row one."""
    settings.DOWNLOADS_QUEUED_PER_CALLER = 4
    for number in range(4):
        making.place({"genus": f"g{number}"})
    with pytest.raises(errors.Throttled) as refused:
        making.place({"genus": "g9"})
    assert refused.value.message == "You have 4 downloads waiting; the limit is 4."
    assert refused.value.retry_after > 0
    making.place({"genus": "g1"})  # reuse is free
    assert making.place({"genus": "g9"}, caller=services.Caller(address="192.0.2.8")).is_new
    assert Build.objects.filter(caller="address:192.0.2.7", job__isnull=False).count() == 3
    first = Build.objects.filter(job__isnull=False).order_by("created_at")[0]
    assert first.job_id is not None
    jobs.run(first.job_id)
    assert Build.objects.filter(caller="address:192.0.2.7", job__isnull=False).count() == 4

    settings.DOWNLOADS_SHORT_ROWS = 4
    settings.DOWNLOADS_QUEUED_PER_CALLER = 40
    other = services.Caller(address="192.0.2.9")
    long_ones = [making.place(query, caller=other).download.build for query in ({}, {"not": {"genus": "nothing"}})]
    assert [build.lane for build in long_ones if build] == ["long", "long"]
    kinds = [build.job.kind if build and build.job else None for build in long_ones]
    assert kinds == ["downloads.build_long", None]
    short = making.place({"uuid": "0c7f5f9e-6a43-4b0e-9e5f-2d9a3a1f4c55"}, caller=other).download.build
    assert short is not None
    assert short.job is not None
    assert jobs.kind_of(short.job.kind).queue != jobs.kind_of("downloads.build_long").queue
    assert lanes.ahead_of(short) == Build.objects.filter(state="waiting", lane="short").count() - 1


def test_callers_take_turns(acers: Path, settings: Settings) -> None:
    """D32: the long lane is shared in turn; a caller who may run nothing keeps nobody from it."""
    settings.DOWNLOADS_SHORT_ROWS = 0

    def place(caller: services.Caller, number: int) -> str:
        build = making.place({"not": {"genus": f"g{number}"}}, caller=caller).download.build
        assert build is not None
        assert build.lane == Build.Lane.LONG
        return str(build.pk)

    idle = User.objects.create_user("idle")
    Quota.objects.create(user=idle, running=0, queued=5)
    place(services.Caller(user=idle), 0)
    ada, bob, eve = (services.Caller(address=f"192.0.2.{n}") for n in (11, 12, 13))
    placed = [place(ada, 1), place(ada, 2), place(ada, 3), place(bob, 4), place(bob, 5), place(eve, 6)]
    begun: list[str] = []
    for _ in placed:
        (build,) = Build.objects.filter(job__isnull=False, state=Build.State.WAITING)
        assert build.job_id is not None
        jobs.run(build.job_id)
        begun.append(str(build.pk))
    assert [placed.index(each) + 1 for each in begun] == [1, 4, 6, 2, 5, 3]
    assert place(eve, 7) == str(Build.objects.get(job__isnull=False, state=Build.State.WAITING).pk)


def test_many_builds_of_one_caller_keep_no_other_waiting(acers: Path, settings: Settings) -> None:
    """D32: who waits behind hundreds of another caller's builds has the next turn; two places are two callers'."""
    now = timezone.now()

    def build(caller: str, number: int, **more: Any) -> Build:
        asked = making.asked({"not": {"genus": f"g{number}"}})
        return Build(
            build_key=f"{number}", request=asked.to_json(), data_version=1, snapshot_at=now, lane=Build.Lane.LONG,
            caller=caller, created_at=now + timedelta(seconds=number), **more
        )  # fmt: skip

    served = build("ada", 0, state=Build.State.DONE, started_at=now)
    Build.objects.bulk_create([served, *(build("ada", n) for n in range(1, 131)), build("bob", 200)])

    def begun() -> list[str]:
        found = Build.objects.filter(job__isnull=False).order_by("created_at")
        return list(found.values_list("build_key", flat=True))

    lanes.let_in("eve")
    assert begun() == ["200"]
    settings.DOWNLOADS_LONG_BUILDS = 3
    Build.objects.bulk_create([build("cyd", 201), build("cyd", 202)])
    lanes.let_everybody_in()
    assert begun() == ["1", "200", "201"]


def test_expiry_deletes_the_file(acers: Path) -> None:
    """D26: Expiry deletes the blob, then 410 with hint."""
    one, two, pinned = making.built({"genus": "Acer"}), making.built({"genus": "acer"}), making.built({})
    services.pin(pinned, is_pinned=True)
    past = timezone.now() - timedelta(minutes=16)
    Download.objects.filter(pk__in=[one.pk, pinned.pk]).update(expires_at=past)
    run_expiry()
    assert len(making.keys()) == 2  # the other spelling still offers the file
    assert services.find(pinned.uuid).state == Download.State.DONE
    with pytest.raises(errors.Gone) as gone:
        services.find(one.uuid)
    assert gone.value.message.startswith("This download expired on ")
    assert gone.value.message.endswith(" and its file was deleted.")
    assert gone.value.details["hint"] == "Send the same query again to build a new one."
    assert services.expire_now(two)
    jobs.run_queued()
    assert len(making.keys()) == 1
    with pytest.raises(errors.Gone):
        services.deliver(str(two.uuid), "zip")
    for days, fault in ((364, errors.Gone), (366, errors.NotFound), (401, errors.NotFound)):
        Download.objects.filter(pk=one.pk).update(expired_at=timezone.now() - timedelta(days=days))
        run_expiry()
        with pytest.raises(fault):
            services.find(one.uuid)
    assert not Download.objects.filter(pk=one.pk).exists(), "nobody can ask about it any more"


def test_a_file_that_is_not_gone_yet(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D26: a download counts as expired once the store confirms that its file is gone; until then it is tried again."""
    download = making.built({})
    Download.objects.update(expires_at=timezone.now() - timedelta(minutes=16))
    monkeypatch.setattr(blobs, "delete", lambda *_keys: None)
    run_expiry()
    assert Download.objects.get().state == Download.State.DONE
    assert Build.objects.get().state == Build.State.DONE
    monkeypatch.undo()
    run_expiry()
    assert Download.objects.get(pk=download.pk).state == Download.State.EXPIRED
    assert making.keys() == []


def run_expiry() -> None:
    job, _created = jobs.submit("downloads.expire", {}, fingerprint="expire")
    jobs.run(job.pk)


def test_a_missing_blob_is_gone_and_built_anew(acers: Path) -> None:
    download = making.built({})
    assert download.build is not None
    blobs.delete(download.build.blob_key)
    with pytest.raises(errors.Gone) as gone:
        services.deliver(str(download.uuid), "zip")
    assert gone.value.details["hint"]
    assert making.built({}).uuid != download.uuid


def test_live_blobs(acers: Path) -> None:
    download = making.built({})
    assert download.build is not None
    waiting = making.place({"genus": "acer"}).download.build
    assert waiting is not None
    part = f"downloads/parts/{waiting.pk}/occurrence.csv/00001-x"
    dead = "downloads/parts/0c7f5f9e-6a43-4b0e-9e5f-2d9a3a1f4c55/occurrence.csv/00001-x"
    assert expiry.live_blobs([download.build.blob_key, part, dead]) == {download.build.blob_key, part}


def test_a_hidden_recordset_is_out_of_new_versions_only(acers: Path) -> None:
    before = making.place({})
    recordset = Recordset.objects.get()
    assert services.set_public(recordset, is_public=False)
    assert not services.set_public(recordset, is_public=False)
    assert Hiding.objects.get().v_to is None
    after = making.built({})
    assert making.ids(making.members(after)["occurrence.csv"]) == []
    assert before.download.build is not None
    assert before.download.build.job_id is not None
    jobs.run(before.download.build.job_id)
    assert len(making.ids(making.members(services.find(before.download.uuid))["occurrence.csv"])) == 8
    services.set_public(recordset, is_public=True)
    assert len(making.ids(making.members(making.built({}))["occurrence.csv"])) == 8


def test_old_versions_are_pruned_once_nobody_needs_them(acers: Path, tmp_path: Path) -> None:
    making.bring_in(making.archive(tmp_path, making.specimens(6), name="b.zip"), allow_mass_delete=True)
    assert Record.objects.exclude(v_to=None).count() == 3
    run_expiry()
    assert Record.objects.exclude(v_to=None).count() == 3
    StoreVersion.objects.update(created_at=timezone.now() - timedelta(days=29))
    run_expiry()
    assert Record.objects.exclude(v_to=None).count() == 3
    StoreVersion.objects.update(created_at=timezone.now() - timedelta(days=31))
    run_expiry()
    assert Record.objects.exclude(v_to=None).count() == 0
    assert list(StoreVersion.objects.order_by("number").values_list("pruned", flat=True)) == [True, False]


def test_a_fault_of_a_lenient_request_fails_the_build(acers: Path) -> None:
    download = making.built({}, fault="The query is not valid JSON: a reason at character 1.")
    assert download.state == Download.State.FAILED
    assert download.error == "The query is not valid JSON: a reason at character 1."


def test_a_term_and_its_source_together(tmp_path: Path, running_house: house.House) -> None:
    """D38, D35: an index term and the provider term it comes from both reach a file that holds both, by two names."""
    place = {"dwc:decimalLatitude": "1.5", "dwc:decimalLongitude": "2"}
    making.bring_in(making.archive(tmp_path, [row | place for row in making.specimens(2)]))
    fields = ["genus", "data.dwc:genus"]
    (feature, _) = json.loads(making.content(making.built({}, form="geojson", record_fields=fields)))["features"]
    assert feature["properties"] == {"dwc:genus": "acer", "data.dwc:genus": "Acer"}
    table = pq.read_table(io.BytesIO(making.content(making.built({}, form="parquet", record_fields=fields))))
    assert table.column_names == ["coreid", "dwc:genus", "data.dwc:genus"]
    assert table.to_pylist()[0] | {"coreid": ""} == {"coreid": "", "dwc:genus": "acer", "data.dwc:genus": "Acer"}


@pytest.mark.parametrize("form", ["csv", "tsv", "dwca-csv", "parquet", "geojson"])
def test_terms_no_row_has(acers: Path, form: str) -> None:
    """D38: a provider term that may be named, though no record has it yet, is an empty column in each form."""
    terms = ["genus", "data.dwc:bed", "data.dwc:genus"]
    done = making.built({"genus": "acer"}, form=form, record_fields=terms)
    assert done.state == Download.State.DONE, done.error
    if form in ("csv", "tsv"):
        delimiter = "\t" if form == "tsv" else ","
        rows = making.rows(making.content(done), delimiter)
        assert [tuple(row.values())[1:] for row in rows] == [("acer", "", "Acer")] * 5
        assert [*rows[0]] == ["coreid", "dwc:genus", "dwc:bed", "data.dwc:genus"]
    if form == "dwca-csv":
        raw = making.rows(making.members(done)["occurrence_raw.csv"])
        assert [(row["dwc:bed"], row["dwc:genus"]) for row in raw] == [("", "Acer")] * 5
