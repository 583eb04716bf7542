"""Whole runs against a source with every habit and fault (contract 4)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import blobs, jobs
from core.jobs import attempts
from core.models import Job, Mail, User
from registry import selectors
from registry.demo import source as demo_source
from registry.formats import samples, validation
from registry.jobs import edit, fetch, request, stage
from registry.jobs import harvest as harvest_job
from registry.models import Harvest, HarvestRun, Organization, Record, RunChange, RunIssue, StagedRecord
from registry.services import harvests
from tests import house
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]


def codes(made: HarvestRun) -> set[str]:
    return set(made.issues.values_list("code", flat=True))


def state_of(harvest: Harvest) -> dict[str, tuple[str, bool]]:
    return {record.identity: (record.content_sha256, record.valid) for record in harvest.records.all()}


def test_the_demo_catalogue_holds_what_fits_into_one(add_harvest: Add, source: demo_source.Source) -> None:
    """X50: the generated documents come as a catalogue too, but for the malformed one and the one with a document type,
    which no page of XML can hold."""
    source.files.clear()
    source.fill(samples.collection())
    harvest = add_harvest("csw")
    made = run(harvest)
    assert (made.state, made.failure_message) == ("ok", "")
    assert (harvest.last_record_count, harvest.last_bad_count) == (58, 2)


# --- listing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", [*demo_source.STYLES, "erddap", "csw"])
def test_styles(style: str, add_harvest: Add, source: demo_source.Source) -> None:
    """X30: all listing styles, an ERDDAP page and a catalogue yield the same documents, and dates where printed."""
    if style == "erddap":
        source.files = {name.rpartition("/")[2]: document for name, document in source.files.items()}
    harvest = add_harvest(style)
    made = run(harvest)
    assert (made.state, made.failure_code, made.failure_message) == ("ok", "", "")
    assert (harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (6, 6, 0)
    titles = set(Record.objects.values_list("file_id", flat=True))
    assert titles == {samples.identifier(number) for number in range(6)}
    dated = Record.objects.exclude(listed_date=None)
    assert dated.count() == (0 if style in ("python", "csw") else 6)
    modified = {document.modified.replace(second=0) for document in source.files.values()}
    assert {record.listed_date.replace(second=0) for record in dated if record.listed_date} <= modified
    sized = {"nginx", "iis", "erddap"}
    assert all((record.listed_size == record.size) is (style in sized) for record in dated)


def test_depth(add_harvest: Add, source: demo_source.Source) -> None:
    """X32: folders deeper than the limit give a warning with their count; cycles and repeats are fetched once."""
    source.put("a/b/c/deep.xml", samples.iso19139(90))
    source.put("a/b/near.xml", samples.iso19139(91))
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, made.listed) == ("ok", 7)
    warning = made.issues.get(code="depth")
    assert "1 folders" in warning.message
    assert len(source.paths()) == len(set(source.paths()))
    Harvest.objects.update(max_depth=3)
    assert run(Harvest.objects.get()).listed == 8


def test_cycle(add_harvest: Add, source: demo_source.Source) -> None:
    """X32: a folder that redirects to its parent is listed once more and ends."""
    source.put("loop/inside.xml", samples.iso19139(92))
    source.redirects["/nginx/loop/"] = "/nginx/"
    made = run(add_harvest())
    assert (made.state, made.listed) == ("ok", 6)


@pytest.mark.parametrize(
    ("fault", "good", "pages", "warning"),
    [
        ("", 7, 3, None),
        ("next0", 3, 1, "short_delivery"),
        ("beyond", 7, 3, None),
        ("absent", 7, 3, None),
        ("stuck", 3, 1, "short_delivery"),
        ("duplicates", 7, 4, "duplicate"),
    ],
)
def test_csw_faults(
    fault: str, good: int, pages: int, warning: str | None, add_harvest: Add, source: demo_source.Source
) -> None:
    """X33: each CSW fault ends with the right count and no page too many, never a loop."""
    source.put("z.xml", samples.iso19139(6))
    source.csw_page, source.csw_fault = 3, fault
    harvest = add_harvest("csw")
    made = run(harvest)
    assert (made.state, harvest.last_record_count, harvest.last_good_count) == ("ok", good, good)
    assert codes(made) == ({warning} if warning else set())
    assert len(source.posts) == pages


@pytest.mark.parametrize("fault", ["exception2", "500", "truncated", "html"])
def test_csw_exceptions(fault: str, add_harvest: Add, source: demo_source.Source) -> None:
    """X33: an exception report on a later page, and pages that are none, end as `csw_exception`."""
    source.csw_page = 2
    if fault == "exception2":
        source.csw_fault = fault
    else:
        source.faults["/csw"] = fault
    harvest = add_harvest("csw")
    made = run(harvest)
    assert (made.state, made.failure_code, harvest.last_status) == ("fail", "csw_exception", "fail")
    assert not Record.objects.exists()
    assert not StagedRecord.objects.exists()


def test_csw_newer_schema(add_harvest: Add, source: demo_source.Source) -> None:
    """X33: a catalogue that offers only ISO 19115-3 is asked for that."""
    source.files.clear()
    source.put("a.xml", samples.iso19115_3(1))
    source.csw_schema = "http://standards.iso.org/iso/19115/-3/mdb/2.0"
    harvest = add_harvest("csw")
    assert run(harvest).good == 1
    assert source.csw_schema.encode() in source.posts[0]


def die(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, nth: int) -> None:
    """Lose the lease the `nth` time the run comes to a step, as if its worker had been killed there."""
    step, calls = getattr(owner, name), iter(range(1, 1000))

    def dying(*args: object, **kwargs: object) -> object:
        if next(calls) == nth:
            raise jobs.LeaseLost
        return step(*args, **kwargs)

    monkeypatch.setattr(owner, name, dying)


@pytest.mark.parametrize("fault", ["", "duplicates"])
@pytest.mark.parametrize(
    ("owner", "name", "nth", "asked"),
    [
        (harvest_job._Harvesting, "_stored", 2, [1, 4, 7, 10]),
        (harvest_job._Harvesting, "_stored", 4, [1, 4, 7, 10]),
        (harvest_job._Harvesting, "_guard", 1, [1, 4, 7, 10]),
        (stage.Stage, "store", 2, [1, 4, 4, 7, 10]),
        (stage.Stage, "store", 4, [1, 4, 7, 10, 10]),
    ],
)
def test_csw_takeover(
    owner: type,
    name: str,
    nth: int,
    asked: list[int],
    fault: str,
    add_harvest: Add,
    source: demo_source.Source,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """X27: a run over a catalogue goes on behind the last page that was stored, and counts and reports all once."""
    if not fault:
        for number in range(6, 10):
            source.put(f"more_{number}.xml", samples.iso19139(number))
    else:
        source.put("more.xml", samples.iso19139(6))  # of seven records three come twice
    source.csw_page, source.csw_fault = 3, fault
    made, _ = request.run_of(add_harvest("csw"), trigger="cli")
    die(monkeypatch, owner, name, nth=nth)
    assert jobs.run_queued() == 1
    Job.objects.filter(pk=made.job_id).update(lease_until=timezone.now() - timedelta(minutes=1))
    jobs.sweep()
    assert jobs.run_queued() == 1
    made.refresh_from_db()
    assert (made.state, made.job.attempt) == ("ok", 2)
    assert (made.listed, made.good) == ((7, 7) if fault else (10, 10))
    told = list(made.issues.values_list("message", flat=True))
    assert told == (["3 records came more than once and count once."] if fault else [])
    assert [int(place) for post in source.posts for place in re.findall(rb'startPosition="(\d+)"', post)] == asked
    assert made.bytes == sum(Record.objects.values_list("size", flat=True))
    assert made.requests == len(source.requests)


def test_folder_takeover(harvest: Harvest, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """X27: a run over a folder counts the bytes, requests and progress of the worker that died with its own."""
    made, _ = request.run_of(harvest, trigger="cli")
    monkeypatch.setattr(stage, "BATCH", 4)
    monkeypatch.setattr(harvest_job, "IN_FLIGHT", 4)
    source.put("bad.xml", b"<a>")
    die(monkeypatch, harvest_job._Harvesting, "_stored", nth=1)
    assert jobs.run_queued() == 1
    made.refresh_from_db()
    first = made.good + made.bad
    assert 0 < first < 7
    assert made.bytes == sum(StagedRecord.objects.values_list("size", flat=True)) > 0
    Job.objects.filter(pk=made.job_id).update(lease_until=timezone.now() - timedelta(minutes=1))
    jobs.sweep()
    assert jobs.run_queued() == 1
    made.refresh_from_db()
    assert (made.state, made.good, made.bad, made.job.attempt) == ("ok", 6, 1, 2)
    assert made.bytes == sum(Record.objects.values_list("size", flat=True))
    assert made.requests == len(source.requests) == 9
    told = {name: made.job.progress[name] for name in ("done", "good", "bad", "bytes", "requests")}
    assert told == {"done": 7, "good": 6, "bad": 1, "bytes": made.bytes, "requests": 9}


def test_failed_runs_tell_what_they_did(
    harvest: Harvest, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X24: a run that fails keeps the counts of its requests and of what it got, for its history."""
    source.faults["/nginx/moored/"] = "404"
    listing = run(harvest)
    assert (listing.state, listing.requests, listing.bytes) == ("fail", len(source.requests), 0)
    source.faults.clear()
    source.requests.clear()

    def failing(_self: harvest_job._Harvesting) -> None:
        raise jobs.Failure("storage", "The document store did not answer.")

    monkeypatch.setattr(harvest_job._Harvesting, "_commit", failing)
    late = run(harvest)
    assert (late.state, late.listed, late.good, late.requests) == ("fail", 6, 6, len(source.requests))
    assert late.bytes == sum(len(document.body) for document in source.files.values())
    assert not Record.objects.exists()


# --- counts -------------------------------------------------------------------------------------------------------


def test_mixed(add_harvest: Add, source: demo_source.Source) -> None:
    """X23: good + bad equals count for any mix: good, invalid, malformed, empty, HTML, 404, 500, time-out, reset."""
    source.put("malformed.xml", samples.iso19139(7)[:-30])
    source.put("invalid.xml", samples.iso19139(8).replace(b"gmd:dateStamp", b"gmd:dateOfStamp"))
    for name, fault in {"empty": "empty", "html": "html", "gone": "404", "broken": "500", "cut": "truncated"}.items():
        source.put(f"{name}.xml", samples.iso19139(20))
        source.faults[f"/nginx/{name}.xml"] = fault
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, harvest.last_status) == ("ok", "ok")
    assert (harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (13, 6, 7)
    assert Record.objects.count() == 13


def test_dead_links(add_harvest: Add, source: demo_source.Source) -> None:
    """X23: six dead links give 6/0/6 and the status ok."""
    source.faults = {f"/nginx/{name}": "404" for name in source.files}
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, harvest.last_status) == ("ok", "ok")
    assert (harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (6, 0, 6)


# --- outages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["404", "500", "503", "truncated", "html-less", "refused"])
@pytest.mark.parametrize("folder", ["", "moored/"])
def test_broken_listing(
    fault: str, folder: str, add_harvest: Add, source: demo_source.Source, served: demo_source.Server
) -> None:
    """X24: a root or sub-folder that cannot be listed fails the run; no record, file or counter changes."""
    harvest = add_harvest()
    run(harvest)
    before = state_of(harvest)
    source.put("new.xml", samples.iso19139(50))
    if fault == "refused" and not folder:
        Harvest.objects.update(url="http://127.0.0.1:9/nginx/")
    elif fault == "refused":
        source.redirects[f"/nginx/{folder}"] = "http://127.0.0.1:9/"
    else:
        source.faults[f"/nginx/{folder}"] = "empty" if fault == "html-less" else fault
    made = run(harvest)
    assert (made.state, made.failure_code, harvest.last_status) == ("fail", "listing_failed", "fail")
    assert "secret of the remote host" not in made.failure_message
    assert state_of(harvest) == before
    assert (harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (6, 6, 0)
    assert not StagedRecord.objects.exists()


def test_broken_folder_carried(add_harvest: Add, source: demo_source.Source) -> None:
    """X24: with the option a broken sub-folder's records are carried over and counted."""
    harvest = add_harvest(skip_broken_folders=True)
    run(harvest)
    before = state_of(harvest)
    source.faults["/nginx/moored/"] = "500"
    made = run(harvest)
    assert (made.state, harvest.last_record_count, harvest.last_good_count) == ("ok", 6, 6)
    assert state_of(harvest) == before
    assert "broken_folder" in codes(made)


def test_empty_listing(add_harvest: Add, source: demo_source.Source) -> None:
    """X25: an empty listing fails where there were documents, unless allowed; a first one may be empty."""
    files = source.files
    source.files = {"readme.txt": files["station_000.xml"]}
    harvest = add_harvest()
    assert (run(harvest).state, harvest.last_record_count) == ("ok", 0)
    source.files = files
    run(harvest)
    source.files = {"readme.txt": files["station_000.xml"]}
    assert run(harvest).failure_code == "empty_listing"
    assert Record.objects.count() == 6
    Harvest.objects.update(allow_empty=True)
    assert run(harvest).state == "ok"
    assert Record.objects.count() == 0


def test_shrink_guard(add_harvest: Add, source: demo_source.Source) -> None:
    """X25: losing more than half fails, exactly half passes; the waiver works once."""
    for number in range(100):
        source.put(f"more_{number:03d}.xml", samples.iso19139(100 + number))
    source.files = {name: file for name, file in source.files.items() if name.startswith("more")}
    harvest = add_harvest()
    run(harvest)
    everything = dict(source.files)
    source.files = dict(list(everything.items())[:49])
    made = run(harvest)
    assert (made.state, made.failure_code, Record.objects.count()) == ("fail", "shrink_guard", 100)
    source.files = dict(list(everything.items())[:50])
    assert (run(harvest).state, Record.objects.count()) == ("ok", 50)
    source.files = dict(list(everything.items())[:20])
    assert run(harvest).failure_code == "shrink_guard"
    Harvest.objects.update(waive_guard_once=True)
    assert (run(harvest).state, Record.objects.count()) == ("ok", 20)
    assert not harvest.waive_guard_once
    source.files = dict(list(everything.items())[:5])
    assert run(harvest).failure_code == "shrink_guard"


def test_store_down(servers: house.House, add_harvest: Add, source: demo_source.Source) -> None:
    """X29: a storage outage fails the run and swaps nothing."""
    harvest = add_harvest()
    run(harvest)
    before = state_of(harvest)
    source.put("new.xml", samples.iso19139(51))
    servers.store.stop()
    made = run(harvest)
    assert (made.state, made.failure_code) == ("fail", "storage")
    assert state_of(harvest) == before


@pytest.mark.parametrize("found_by", ["re-validation", "a new validator"])
def test_lost_bytes_come_back(
    found_by: str, add_harvest: Add, source: demo_source.Source, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X29, X36: a document whose stored bytes were lost is fetched again, although its source says it is unchanged."""
    harvest = add_harvest()
    run(harvest)
    record = Record.objects.get(url__endswith="station_000.xml")
    key, path = fetch.blob_key(record.content_sha256), f"/waf/PacIOOS/{record.waf_name}"
    blobs.delete(key)
    assert client.get(path).status_code == 503
    if found_by == "re-validation":
        for _ in range(2):
            stored = run(harvest, mode="stored")
            assert (stored.good, stored.bad, stored.stale) == (5, 1, 1)
            assert stored.issues.get(severity="error").code == "blob_missing"
    else:
        monkeypatch.setattr(validation, "VALIDATOR_VERSION", "next")
    made = run(harvest)
    assert (made.state, made.good, made.bad, made.changed) == ("ok", 6, 0, 0)
    assert (client.get(path).status_code, client.get(path).content) == (200, source.files["station_000.xml"].body)


def test_too_many_documents(add_harvest: Add, settings: Settings) -> None:
    """X24: a source beyond the limit of documents fails."""
    settings.REGISTRY_MAX_DOCUMENTS = 5
    assert run(add_harvest()).failure_code == "too_many_documents"


def test_deadline(add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """X28: a run over its time ends as `deadline`, whatever its documents do."""
    harvest = add_harvest()
    made, _ = request.run_of(harvest, trigger="cli")
    attempt = jobs.claim(made.job_id)
    assert attempt is not None
    attempt.deadline = 0
    attempts._work(attempt)
    made.refresh_from_db()
    assert (made.state, made.failure_code) == ("fail", "deadline")


# --- incremental --------------------------------------------------------------------------------------------------


def test_unchanged_by_listing(add_harvest: Add, source: demo_source.Source) -> None:
    """X34: an unchanged source costs only listing requests."""
    harvest = add_harvest()
    run(harvest)
    source.requests.clear()
    made = run(harvest)
    assert source.paths() == ["/nginx/", "/nginx/moored/"]
    assert (made.unchanged, made.added, made.changed, made.removed, made.bytes) == (6, 0, 0, 0, 0)
    assert harvest.last_good_count == 6


@pytest.mark.parametrize("style", ["python", "apache"])
def test_unchanged_by_validators(style: str, add_harvest: Add, source: demo_source.Source) -> None:
    """X34: without dates or with rounded sizes conditional GETs prove documents unchanged."""
    harvest = add_harvest(style)
    run(harvest)
    source.requests.clear()
    made = run(harvest)
    assert len(source.paths()) == 8
    conditional = [headers for _m, path, headers in source.requests if path.endswith(".xml")]
    assert all("If-None-Match" in headers and "If-Modified-Since" in headers for headers in conditional)
    assert (made.unchanged, made.bytes) == (6, 0)


def test_unchanged_by_hash(add_harvest: Add, source: demo_source.Source) -> None:
    """X34: without validators equal bytes are unchanged, and are not stored again."""
    source.validators = False
    harvest = add_harvest("python")
    run(harvest)
    stored = [entry.modified for entry in blobs.keys("registry/docs/")]
    made = run(harvest)
    assert (made.unchanged, made.changed) == (6, 0)
    assert [entry.modified for entry in blobs.keys("registry/docs/")] == stored


def test_change_within_a_minute(add_harvest: Add, source: demo_source.Source) -> None:
    """X35: a file changed twice in one listing minute, same size, is noticed by the next run."""
    source.put("hot.xml", samples.iso19139(60, revision=1), age=timedelta(seconds=20))
    harvest = add_harvest()
    run(harvest)
    first = Record.objects.get(file_id=samples.identifier(60)).content_sha256
    listed = source.files["hot.xml"].modified
    source.files["hot.xml"] = demo_source.Document(samples.iso19139(60, revision=2), listed)
    made = run(harvest)
    assert made.changed == 1
    assert Record.objects.get(file_id=samples.identifier(60)).content_sha256 != first


def test_full_check(add_harvest: Add, source: demo_source.Source) -> None:
    """X34: after `full_check_days` no listing is trusted."""
    harvest = add_harvest()
    run(harvest)
    Harvest.objects.update(last_full_check=timezone.now() - timedelta(days=8))
    harvest.refresh_from_db()
    source.requests.clear()
    made = run(harvest)
    assert (made.full_check, len(source.paths()), made.unchanged) == (True, 8, 6)


def test_delisted_and_gone(add_harvest: Add, source: demo_source.Source) -> None:
    """X36: a delisted document is removed; a listed one that is 404 stays, stale and bad, until it is delisted."""
    harvest = add_harvest("python")
    run(harvest)
    del source.files["station_000.xml"]
    source.faults["/python/station_001.xml"] = "404"
    made = run(harvest)
    assert (made.removed, made.stale, harvest.last_good_count, harvest.last_bad_count) == (1, 1, 4, 1)
    stale = Record.objects.get(file_id=samples.identifier(1))
    assert stale.stale_since is not None
    assert stale.content_sha256
    since = stale.stale_since
    run(harvest)
    stale.refresh_from_db()
    assert stale.stale_since == since
    source.faults.clear()
    made = run(harvest)
    stale = Record.objects.get(pk=stale.pk)
    assert (stale.stale_since, made.stale, harvest.last_bad_count) == (None, 0, 0)


def test_stale_until_fetched(add_harvest: Add, source: demo_source.Source) -> None:
    """X36: a stale document stays stale and bad while nobody asks for it: re-validated, or its folder broken."""
    harvest = add_harvest("python", skip_broken_folders=True)
    run(harvest)
    source.faults["/python/station_001.xml"] = "404"
    source.faults["/python/moored/station_002.xml"] = "404"
    run(harvest)
    assert (harvest.last_good_count, harvest.last_bad_count) == (4, 2)
    source.faults = {"/python/moored/": "500", "/python/station_001.xml": "404"}
    for options in ({"mode": "stored"}, {}):
        assert run(harvest, **options).state == "ok"
        assert (harvest.last_good_count, harvest.last_bad_count) == (4, 2)
        stale = Record.objects.filter(stale_since__isnull=False, fetch_issue__code="status")
        assert sorted(stale.values_list("file_id", flat=True)) == [samples.identifier(1), samples.identifier(2)]


def test_moved_during_a_run(
    add_harvest: Add, source: demo_source.Source, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X26: a harvest moved while its run is on has all its records in the new folder, none in the old one."""
    harvest = add_harvest()
    other = Organization.objects.create(name="NANOOS", slug="NANOOS")
    guard = harvest_job._Harvesting._guard

    def moved_meanwhile(self: harvest_job._Harvesting) -> None:
        guard(self)
        edit.save(selectors.harvest(harvest.uid), {"organization": other}, access=selectors.Access(is_admin=True))

    monkeypatch.setattr(harvest_job._Harvesting, "_guard", moved_meanwhile)
    assert run(harvest).state == "ok"
    assert set(Record.objects.values_list("organization__name", flat=True)) == {"NANOOS"}
    assert b".xml" not in b"".join(client.get("/waf/PacIOOS/"))
    assert b".xml" in b"".join(client.get("/waf/NANOOS/"))


def test_edit_keeps_the_counters(add_harvest: Add) -> None:
    """X10: an edit that began before a run ended does not undo the counters and the date the run wrote."""
    harvest = add_harvest()
    seen = selectors.harvest(harvest.uid)
    run(harvest)
    edit.save(seen, {"name": "Renamed"}, access=selectors.Access(is_admin=True))
    harvest.refresh_from_db()
    assert (harvest.name, harvest.last_status, harvest.last_record_count) == ("Renamed", "ok", 6)
    assert harvest.last_finished is not None


def test_changes_are_told(add_harvest: Add, source: demo_source.Source) -> None:
    """X36: a run tells what it added, changed and removed, with the hashes before and after."""
    harvest = add_harvest("python")
    assert run(harvest).added == 6
    del source.files["station_000.xml"]
    source.put("station_001.xml", samples.iso19139(1, revision=2))
    source.put("brand_new.xml", samples.iso19139(70))
    made = run(harvest)
    found = {change.kind: change for change in RunChange.objects.filter(run=made)}
    assert set(found) == {"added", "changed", "removed"}
    assert (found["added"].old_sha256, found["removed"].new_sha256) == ("", "")
    assert found["changed"].old_sha256 != found["changed"].new_sha256
    assert (made.added, made.changed, made.removed) == (1, 1, 1)


def test_new_validator(add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """X34: a new validator version validates the stored bytes again, without a request for any document."""
    harvest = add_harvest()
    run(harvest)
    Record.objects.update(validator_version="older", valid=False, error_count=3)
    source.requests.clear()
    made = run(harvest)
    assert source.paths() == ["/nginx/", "/nginx/moored/"]
    assert (made.changed, harvest.last_good_count) == (0, 6)
    assert not Record.objects.filter(validator_version="older").exists()


def test_validate_stored(add_harvest: Add, source: demo_source.Source) -> None:
    """X34: re-validating the stored documents asks the source nothing."""
    harvest = add_harvest()
    run(harvest)
    Record.objects.update(valid=False, error_count=3)
    source.requests.clear()
    made = run(harvest, mode="stored")
    assert source.paths() == []
    assert (made.state, harvest.last_good_count, Record.objects.filter(valid=True).count()) == ("ok", 6, 6)


# --- runs ---------------------------------------------------------------------------------------------------------


def test_cancel_queued(add_harvest: Add) -> None:
    """X28: cancelling a queued run leaves all as it was."""
    harvest = add_harvest()
    run(harvest)
    finished = harvest.last_finished
    made, _ = request.run_of(harvest, trigger="api")
    assert jobs.cancel(made.job_id)
    made.refresh_from_db()
    harvest.refresh_from_db()
    assert (made.state, harvest.last_status, harvest.last_finished) == ("cancelled", "ok", finished)


def test_failure_mail(add_harvest: Add, add_person: Callable[..., object], source: demo_source.Source) -> None:
    """X24: a failure is mailed to contact and members, one mail per address and hour."""
    add_person("maria")
    add_person("idle", approved=False)
    harvest = add_harvest(harvest_contact="contact@example.org", name="Buoys\nBcc: x@example.org")
    source.faults["/nginx/"] = "500"
    run(harvest)
    run(harvest)
    mails = list(Mail.objects.filter(kind="registry.failed").order_by("to"))
    assert [mail.to for mail in mails] == ["contact@example.org", "maria@example.org"]
    assert "listing_failed" in mails[0].body
    assert "\n" not in mails[0].subject


def test_schedule(add_harvest: Add, source: demo_source.Source) -> None:
    """X46: due published harvests start once per interval; unpublished, paused and on-demand ones never."""
    past = timezone.now() - timedelta(minutes=1)
    due = add_harvest("nginx", next_due=past)
    add_harvest("apache", next_due=past, publish=False)
    add_harvest("iis", next_due=past, paused=True)
    add_harvest("lighttpd", next_due=past, harvest_interval=0)
    add_harvest("python", next_due=timezone.now() + timedelta(hours=1))
    assert request.queue_due() == 1
    assert request.queue_due() == 0
    jobs.run_queued()
    assert request.queue_due() == 0
    assert list(HarvestRun.objects.values_list("harvest_id", "trigger")) == [(due.pk, "schedule")]
    due.refresh_from_db()
    assert due.next_due is not None
    assert due.last_finished is not None
    assert timedelta(hours=21) < due.next_due - due.last_finished < timedelta(hours=27)


def test_first_run_cancelled(organization: Organization, owner: User) -> None:
    """X46: a new published source whose first run is cancelled is started by the clock one interval later."""
    access = selectors.access_of(owner)
    made = harvests.add(
        Harvest(name="New", url="http://h.example/", organization=organization, publish=True), access=access
    )
    harvests.cancel(made.runs.get())
    assert request.queue_due() == 0
    Harvest.objects.filter(next_due__gt=timezone.now(), next_due__lt=timezone.now() + timedelta(hours=27)).update(
        next_due=timezone.now()
    )
    assert request.queue_due() == 1


def test_backoff(add_harvest: Add, source: demo_source.Source) -> None:
    """X46: after failures the next try is after 1 h, doubling up to the interval."""
    harvest = add_harvest(harvest_interval=1)
    source.faults["/nginx/"] = "404"
    waits = []
    for _ in range(7):
        run(harvest)
        assert harvest.next_due is not None
        assert harvest.last_finished is not None
        waits.append(round((harvest.next_due - harvest.last_finished).total_seconds() / 3600))
    assert waits == [1, 2, 4, 8, 16, 24, 24]


def test_issues(add_harvest: Add, source: demo_source.Source) -> None:
    """X40: each error has URL, stage and line; an incremental run reports what is still wrong."""
    source.put("invalid.xml", samples.iso19139(8).replace(b"gmd:dateStamp", b"gmd:dateOfStamp"))
    source.put("malformed.xml", samples.iso19139(9)[:-30])
    harvest = add_harvest()
    for _ in range(2):
        made = run(harvest)
        found = {issue.stage: issue for issue in RunIssue.objects.filter(run=made, severity="error")}
        assert set(found) == {"schema", "parse"}
        assert all(issue.url.endswith(".xml") and issue.line for issue in found.values())


def test_reports_repeat_what_could_not_be_fetched(add_harvest: Add, source: demo_source.Source) -> None:
    """X40: a report tells of documents that could not be fetched also where a run did not ask for them again."""
    harvest = add_harvest("python", skip_broken_folders=True)
    run(harvest)
    source.faults["/python/moored/station_002.xml"] = "404"
    assert run(harvest).stale == 1
    source.faults["/python/moored/"] = "500"
    carried = run(harvest)
    assert (carried.state, carried.stale) == ("ok", 1)
    told = carried.issues.get(stage="fetch")
    assert (told.severity, told.code, told.url) == ("error", "status", f"{harvest.url}moored/station_002.xml")
    stored = run(harvest, mode="stored")
    assert (stored.state, stored.issues.filter(stage="fetch", code="status").count()) == ("ok", 1)


def test_duplicate_identifiers(add_harvest: Add, source: demo_source.Source) -> None:
    """X40: a file identifier used twice is a warning naming the other address."""
    source.put("copy.xml", samples.iso19139(0))
    made = run(add_harvest())
    warnings = list(made.issues.filter(code="duplicate_identifier").order_by("url"))
    assert [issue.url.rpartition("/")[2] for issue in warnings] == ["copy.xml", "station_000.xml"]
    assert warnings[0].message.endswith("station_000.xml")
    assert made.good == 7


def test_statements(add_harvest: Add, source: demo_source.Source, served: demo_source.Server) -> None:
    """X53: at most 4 statements per 500 documents fetched, and a swap of at most 15 whatever the size."""
    counts = []
    for size in (5, 900):
        source.files.clear()
        for number in range(size):
            source.put(f"d_{number:05d}.xml", samples.iso19139(number))
        harvest = add_harvest(name=f"size {size}", url=f"{served.url('nginx')}?{size}")
        made, _ = request.run_of(harvest, trigger="cli")
        with CaptureQueriesContext(connection) as queries:
            jobs.run_queued()
        made.refresh_from_db()
        assert (made.state, made.good) == ("ok", size)
        about = [query["sql"] for query in queries.captured_queries if "registry_" in query["sql"]]
        fetching = [sql for sql in about if "jsonb_to_recordset" in sql and "UPDATE registry_stagedrecord" in sql]
        reading = [sql for sql in about if "s.outcome = ''" in sql and sql.lstrip().startswith("SELECT s.id")]
        counts.append((len(about), len(fetching) + len(reading)))
    assert counts[1][0] - counts[0][0] <= 10
    assert counts[1][1] <= 2 * 4
    assert counts[0][0] <= 30


def test_statistics_of_many_documents(
    add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X53: before what was staged is compared with what is stored the planner is told how much of both there is."""
    monkeypatch.setattr(harvest_job, "MANY", len(source.files))
    harvest = add_harvest()
    for _ in range(2):
        made, _ = request.run_of(harvest, trigger="cli")
        with CaptureQueriesContext(connection) as queries:
            jobs.run_queued()
        made.refresh_from_db()
        assert made.state == "ok"
        said = [query["sql"] for query in queries.captured_queries]
        told = [number for number, sql in enumerate(said) if sql.startswith("ANALYZE registry_stagedrecord")]
        (compared,) = (number for number, sql in enumerate(said) if "FILTER (WHERE s.id IS NULL)" in sql)
        assert told[0] < compared < told[1]
        assert sum(sql.startswith("ANALYZE registry_record ") for sql in said) == 2


def test_blob_is_the_document(add_harvest: Add, source: demo_source.Source) -> None:
    """X41: the stored bytes are the fetched ones, under their hash."""
    run(add_harvest())
    record = Record.objects.get(file_id=samples.identifier(0))
    with blobs.reader(fetch.blob_key(record.content_sha256)) as reader:
        assert reader.read() == source.files["station_000.xml"].body


def test_localised_titles(add_harvest: Add, source: demo_source.Source, client: Client) -> None:
    """X37, X51: translations of a title are stored, shown, found by search, and carried by a run that asks nothing."""
    said = {"fre": "Houle <100%> du large", "gre": "Κυματισμός"}
    source.put("station_000.xml", samples.iso19139(0, titles=said))
    harvest = add_harvest()
    for _ in range(2):
        assert run(harvest).state == "ok"
        found = client.get(f"/registry/api/harvests/{harvest.uid}/records?q=κυματ").json()
        assert found["total"] == 1
        told = [{"language": name, "title": words} for name, words in said.items()]
        assert found["data"][0]["titles"] == told
    for q, total in (("100%>", 1), ("100_", 0), ("language", 0), ("houle", 1)):
        assert client.get(f"/registry/api/harvests/{harvest.uid}/records", {"q": q}).json()["total"] == total
    page = client.get(f"/registry/records/{found['data'][0]['id']}").content.decode()
    assert "<dt>Title, fre</dt>" in page
    assert "Houle &lt;100%&gt; du large" in page


def test_single_document(add_harvest: Add, served: demo_source.Server) -> None:
    """X30: a source may be one document."""
    harvest = add_harvest(url=f"{served.url('nginx')}station_000.xml", harvest_type="DOCUMENT")
    made = run(harvest)
    assert (made.state, harvest.last_record_count, harvest.last_good_count) == ("ok", 1, 1)


def test_sitemap(add_harvest: Add, source: demo_source.Source, served: demo_source.Server) -> None:
    """X30: a sitemap, or an index of sitemaps, names the documents; a page that is none fails the run."""
    space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
    index = f"<sitemapindex {space}><sitemap><loc>{served.url('nginx')}map.xml</loc></sitemap></sitemapindex>"
    urls = "".join(f"<url><loc>{served.url('nginx')}{name}</loc></url>" for name in list(source.files))
    source.put("map.xml", f"<urlset {space}>{urls}<url><loc>ftp://x/y.xml</loc></url></urlset>".encode())
    source.put("index.xml", index.encode())
    harvest = add_harvest(url=f"{served.url('nginx')}index.xml", harvest_type="SITEMAP")
    made = run(harvest)
    assert (made.state, made.failure_message, harvest.last_good_count) == ("ok", "", 6)
    source.put("map.xml", b"<html/>")
    assert run(harvest).failure_code == "listing_failed"
    assert Record.objects.count() == 6


def test_packed_sitemap(
    add_harvest: Add, source: demo_source.Source, served: demo_source.Server, settings: Settings
) -> None:
    """X30, X44: a sitemap may be a gzip file; a damaged or too large one fails the run."""
    urls = "".join(f"<url><loc>{served.url('nginx')}{name}</loc></url>" for name in list(source.files))
    whole = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}{" " * 90_000}</urlset>'.encode()
    packed = gzip.compress(whole)
    source.put("map.xml.gz", packed)
    harvest = add_harvest(url=f"{served.url('nginx')}map.xml.gz", harvest_type="SITEMAP")
    assert run(harvest).good == 6
    for damaged in (packed[:-20], packed[:30] + b"x" * 30 + packed[60:]):
        source.put("map.xml.gz", damaged)
        assert run(harvest).failure_code == "listing_failed"
    source.put("map.xml.gz", packed)
    settings.REGISTRY_MAX_LISTING_BYTES = 80_000
    made = run(harvest)
    assert (made.failure_code, "larger than 80000 bytes" in made.failure_message) == ("listing_failed", True)


THREDDS = """<?xml version="1.0"?>
<catalog xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink">
<service name="all" serviceType="Compound" base=""><service name="odap" serviceType="OpenDAP" base="/nginx/dodsC/"/>
<service name="records" serviceType="ISO" base="/nginx/thredds/iso/"/></service>
<service name="files" serviceType="HTTPServer" base="/nginx/files/"/>%s</catalog>"""


def test_thredds(add_harvest: Add, source: demo_source.Source, served: demo_source.Server) -> None:
    """X30, X32: a THREDDS catalogue gives the ISO records of its datasets and of the catalogues it refers to."""
    source.files.clear()
    for name, number in (("a.nc", 0), ("b c.nc", 1), ("deep/d.nc", 2), ("not.nc", 3)):
        source.put(f"thredds/iso/{name}", samples.iso19139(number))
    inner = """<dataset name="all"><metadata inherited="true"><serviceName>all</serviceName></metadata>
    <dataset name="a" urlPath="a.nc"/><dataset name="again" urlPath="a.nc"/><dataset name="b" urlPath="b c.nc"/>
    <dataset name="plain" urlPath="not.nc" serviceName="files"/></dataset>
    <catalogRef xlink:href="sub/catalog.xml" xlink:title="sub"/><catalogRef xlink:href="catalog.xml"/>
    <catalogRef xlink:href="http://elsewhere.example.org/catalog.xml"/><catalogRef xlink:href="mailto:x@y"/>"""
    sub = """<dataset name="d" urlPath="deep/d.nc" serviceName="records"/>
    <catalogRef xlink:href="deeper.xml"/>"""
    source.put("catalog.xml", (THREDDS % inner).encode())
    source.put("sub/catalog.xml", (THREDDS % sub).encode())
    source.put("sub/deeper.xml", (THREDDS % "<catalogRef xlink:href='deepest.xml'/>").encode())
    harvest = add_harvest(url=f"{served.url('nginx')}catalog.xml", harvest_type="THREDDS")
    made = run(harvest)
    assert (made.state, made.failure_message, harvest.last_good_count, harvest.last_bad_count) == ("ok", "", 3, 0)
    assert set(harvest.records.values_list("url", flat=True)) == {
        f"{served.url('nginx')}thredds/iso/{name}" for name in ("a.nc", "b%20c.nc", "deep/d.nc")
    }
    assert "1 folders" in made.issues.get(code="depth").message
    again = run(harvest)
    assert (again.unchanged, again.bytes) == (3, 0)
    source.put("sub/catalog.xml", b"<html/>")
    failed = run(harvest)
    assert (failed.failure_code, Record.objects.count()) == ("listing_failed", 3)
