"""Purges, retired blobs, file checks, log masking."""

from __future__ import annotations

import logging
import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core import blobs, jobs
from core.models import User
from nnels import models, tasks
from nnels.formats import text
from nnels.jobs import catalogue, doctor, upkeep
from nnels.selectors import listing, search
from nnels.services import files
from tests import house as servers_of
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn

pytestmark = pytest.mark.django_db


def test_purge_tokens(reader: User, log_in: LogIn) -> None:
    """N54: pairs of blocked accounts are revoked; rows dead for 30 days go."""
    log_in()
    User.objects.filter(pk=reader.pk).update(is_active=False)
    assert upkeep.purge()["revoked"] == 1
    pair = models.TokenPair.objects.get()
    assert pair.revoked_why == "blocked"
    assert upkeep.purge()["pairs"] == 0
    models.TokenPair.objects.update(revoked_at=timezone.now() - timedelta(days=29, hours=23))
    assert upkeep.purge()["pairs"] == 0
    models.TokenPair.objects.update(revoked_at=timezone.now() - timedelta(days=30, hours=1))
    assert upkeep.purge()["pairs"] == 1
    assert not models.TokenPair.objects.exists()


def test_purge_issues(client: Client, token: str, settings: Settings) -> None:
    """N54: issues beyond the retention go; totals per item and day stay; younger rows stay."""
    house.moby()
    for _ in range(3):
        client.get("/api/repo_items/6804", headers={"access-token": token})
    models.UrlIssue.objects.update(at=timezone.now() - timedelta(days=89, hours=23))
    assert upkeep.purge()["issues"] == 0
    day = timezone.now() - timedelta(days=90, hours=1)
    old = models.UrlIssue.objects.order_by("id")[:2]
    models.UrlIssue.objects.filter(pk__in=[one.pk for one in old]).update(at=day)
    assert upkeep.purge()["issues"] == 2
    assert models.UrlIssue.objects.count() == 1
    total = models.IssueTotal.objects.get()
    assert (total.item_id, total.day, total.purpose, total.issues) == (6804, day.date(), "api", 2)
    models.UrlIssue.objects.update(at=day)
    assert upkeep.purge()["issues"] == 1
    assert models.IssueTotal.objects.get().issues == 3


def test_history_outlives_titles_and_accounts(client: Client, token: str, reader: User, operator: User) -> None:
    """N54: deleting a title or an account leaves the log until its end and the totals for good."""
    item = house.moby()
    client.get("/api/repo_items/6804", headers={"access-token": token})
    client.get("/api/repo_items/6804", headers={"access-token": token})
    issue = models.UrlIssue.objects.order_by("id")[0]
    models.UrlIssue.objects.filter(pk=issue.pk).update(at=timezone.now() - timedelta(days=91))
    upkeep.purge()
    catalogue.remove([item])
    reader.delete()
    (left,) = models.UrlIssue.objects.all()
    assert (left.item_id, left.user_id) == (6804, None)
    assert "6804 (deleted)" in client.get("/admin/nnels/urlissue/").content.decode()
    assert client.get(f"/admin/nnels/urlissue/{left.pk}/change/").status_code == 200
    models.UrlIssue.objects.update(at=timezone.now() - timedelta(days=91))
    assert upkeep.purge()["issues"] == 1
    assert models.IssueTotal.objects.get().issues == 2


def test_replaced_file(client: Client, token: str) -> None:
    """N54: a replaced file's old link works until it expires; the blob goes after the grace."""
    item = house.moby(files={"txt": b"old"})
    url = client.get("/api/repo_items/6804", headers={"access-token": token}).json()["data"][0]["file_resources"][0]
    old = models.File.objects.get().blob_key
    new = catalogue.blob_key(item.uuid, "f" * 64, "txt")
    blobs.put(new, b"new!", "text/plain")
    catalogue.place_file(
        item, format_code="txt", part=1, media_type="text/plain", size=4, sha256="f" * 64, key=new
    )  # fmt: skip
    assert upkeep.sweep_retired() == 0
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"old"
    assert files.live_blobs([old, new, "nnels/zz"]) == {old, new}
    models.RetiredBlob.objects.update(at=timezone.now() - timedelta(days=2))
    assert upkeep.sweep_retired() == 1
    assert blobs.stat(old) is None
    assert blobs.stat(new) is not None
    assert not models.RetiredBlob.objects.exists()


def test_a_retired_blob_in_use_stays(running_house: servers_of.House) -> None:
    """N54: a blob that a file names again is not deleted."""
    item = house.moby(files={"txt": b"old"})
    key = item.files.get().blob_key
    catalogue.retire([key])
    models.RetiredBlob.objects.update(at=timezone.now() - timedelta(days=2))
    upkeep.sweep_retired()
    assert blobs.stat(key) is not None


def test_orphans(running_house: servers_of.House) -> None:
    """N47: the sweep of unknown blobs removes only orphans."""
    item = house.moby(files={"txt": b"old"})
    blobs.put("nnels/zz/orphan.txt", b"x")
    kept = item.files.get().blob_key
    assert blobs.sweep_orphans("nnels", files.live_blobs) == 0, "younger than a day"
    blobs.sweep_orphans("nnels", files.live_blobs, grace=timedelta(seconds=-60))
    assert blobs.stat("nnels/zz/orphan.txt") is None
    assert blobs.stat(kept) is not None


@pytest.mark.django_db(transaction=True)
def test_verify() -> None:
    """N36: the weekly check hides files the store has lost or changed and shows them again when they are back."""
    item = house.moby(files={"txt": b"text", "epub": b"epub", "brf": b"brf"})
    keys = {file.format: file.blob_key for file in item.files.all()}
    blobs.delete(keys["txt"])
    blobs.put(keys["epub"], b"EPUB", "application/epub+zip")
    tasks.request_verify()
    tasks.request_verify()
    assert jobs.run_queued() == 1
    item.refresh_from_db()
    assert item.formats == ["brf"]
    assert set(models.File.objects.filter(missing=True).values_list("format", flat=True)) == {"txt", "epub"}
    blobs.put(keys["txt"], b"text", "text/plain")
    tasks.request_verify()
    assert jobs.run_queued() == 1
    item.refresh_from_db()
    assert item.formats == ["brf", "txt"]


@pytest.mark.django_db(transaction=True)
def test_no_secret_in_logs(web: servers_of.Web) -> None:
    """N52: no token, password or signature is in any log line of the web process."""
    import json

    house.moby()
    house.make_user("test-account", verified=True)
    base = web.base_url

    def fetch(path: str, **headers: str) -> Any:
        request = urllib.request.Request(base + path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    basic = house.basic("test-account", "notReal")
    pair = fetch("/api/login-token", Authorization=basic)
    fetch(f"/api/users/me?access_token={pair['access_token']}", access_token=pair["access_token"])
    item = fetch("/api/repo_items/6804", Authorization=f"Bearer {pair['access_token']}")
    (url,) = item["data"][0]["file_resources"]
    new = fetch(f"/api/refresh-token/{pair['refresh_token']}")
    logged = web.log_text()
    assert "/api/refresh-token/***" in logged
    secrets = [
        pair["access_token"], pair["refresh_token"], new["access_token"], new["refresh_token"], "notReal",
        basic.split()[1], url.rpartition("X-Amz-Signature=")[2],
    ]  # fmt: skip
    assert not [secret for secret in secrets if secret in logged]


def test_warnings_hold_no_secret(client: Client, token: str, caplog: pytest.LogCaptureFixture) -> None:
    """N52: nor is one in what the service logs itself."""
    house.moby()
    with caplog.at_level(logging.DEBUG):
        client.get("/api/repo_items/6804", headers={"access-token": token, "authorization": "Basic bm90UmVhbDp4"})
    assert token not in caplog.text
    assert "X-Amz-Signature=" not in caplog.text


def test_doctor(running_house: servers_of.House) -> None:
    """N47: what is derived agrees with titles and files; each breach is told."""
    item = house.moby(files={"txt": b"x", "epub": b"y"})
    house.make_item("Hidden", published=False)
    house.make_item("No files")
    assert list(doctor.invariants()) == []
    entry = models.SearchEntry.objects.filter(item=item)
    entry.update(title="else")
    models.Item.objects.filter(label="No files").update(published=False, formats=["pdf"])
    models.Tombstone.objects.create(item_id=item.pk, uuid=item.uuid)
    catalogue.retire([item.files.get(format="txt").blob_key])
    assert list(doctor.invariants()) == [
        "1 published titles cannot be found by keyword",
        "1 titles that are not published can be found by keyword",
        "1 published titles have a tombstone",
        "1 titles list other formats than those of their files",
        "1 blobs of files count as retired",
    ]


@pytest.mark.django_db(transaction=True)
def test_search_entries_are_filled_by_the_migration() -> None:
    """N40: an older database finds the same titles after the migration, and can go back."""
    item = house.moby()
    house.make_item("Hidden", published=False)
    try:
        call_command("migrate", "nnels", "0002", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM nnels_item WHERE search @@ nnels_query('whaling')")
            assert cursor.fetchall() == [(item.pk,)]
    finally:
        call_command("migrate", "nnels", verbosity=0)
    (entry,) = models.SearchEntry.objects.all()
    assert (entry.item_id, entry.title) == (item.pk, "moby-dick")
    hits, count = search.find(text.query("whaling"), listing.Listing(range=5, page=1))
    assert (count, [hit.id for hit in hits]) == (1, [item.pk])
