"""The library under fire: a worker killed in the middle of an import, the store away, Valkey away."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from pytest_django import Settings

from core import blobs, jobs
from core.models import Job
from nnels import models
from nnels.jobs.importing import store, work
from nnels.services import files
from tests import house as servers_of
from tests.nnels import conftest as house
from tests.nnels import shelf
from tests.nnels.test_surface import check_problem
from tests.nnels.test_tokens import fetch

TITLES = 40


def check_whole() -> None:
    """Every title has its files, every blob a row, and nothing else is in the store."""
    stored = {file.blob_key: file for file in models.File.objects.all()}
    kept = {entry.key: entry.size for entry in blobs.keys("nnels/") if "/reports/" not in entry.key}
    assert set(stored) <= set(kept)
    assert all(kept[key] == file.bytes for key, file in stored.items())
    assert not models.Item.objects.filter(formats=[]).exists()


def test_worker_killed_during_import(
    drill_stack: servers_of.House, start_worker: Callable[..., Any], tmp_path: pathlib.Path, settings: Settings
) -> None:
    """N47: killed at any point only whole titles exist; another worker completes the import, once."""
    settings.NNELS_IMPORT_ROOT = str(tmp_path)
    shelf.write(tmp_path / "books", {f"{n:02}.txt": f"title {n} " * 200_000 for n in range(TITLES)})
    made = files.request_import("books", requested_by=house.make_user("keeper", is_staff=True))
    worker = start_worker(queues=["imports"], concurrency=1, JOB_LEASE_SECONDS="2")
    servers_of.wait_for(lambda: models.Item.objects.count() >= 3, what="three titles")
    worker.kill()
    assert models.Item.objects.count() < TITLES, "the worker was too quick to be killed in the middle"
    check_whole()
    start_worker(queues=["imports"], concurrency=1, JOB_LEASE_SECONDS="2")

    job_id = made.job_id
    assert job_id is not None

    def is_done() -> bool:
        jobs.sweep()
        return Job.objects.get(pk=job_id).is_final

    servers_of.wait_for(is_done, what="the import")
    made.refresh_from_db()
    assert made.state == "succeeded"
    assert made.created_count + made.unchanged_count == TITLES
    assert models.Item.objects.count() == TITLES
    check_whole()
    again = work.run(tmp_path / "books", sidecar_path=None, options=store.Options())
    assert again.counts == {"unchanged": TITLES}


@pytest.mark.django_db(transaction=True)
def test_store_away(drill_stack: servers_of.House, client: Client, tmp_path: pathlib.Path) -> None:
    """N48: with the store away items and links are still answered (no bytes are needed); an import rejects its titles
    and leaves nothing, and works when the store is back."""
    house.moby()
    house.make_user("test-account", verified=True)
    shelf.write(tmp_path, {"a.txt": "a"})
    basic = {"authorization": house.basic("test-account", "notReal")}
    drill_stack.store.stop()
    answer = client.get("/api/repo_items/6804", headers=basic)
    assert len(answer.json()["data"][0]["file_resources"]) == 1
    (line,) = work.run(tmp_path, sidecar_path=None, options=store.Options()).lines
    assert (line.outcome, line.reason) == ("rejected", "storage_unavailable")
    assert models.Item.objects.count() == 1
    drill_stack.store.start()
    (line,) = work.run(tmp_path, sidecar_path=None, options=store.Options()).lines
    assert line.outcome == "created"


@pytest.mark.django_db(transaction=True)
def test_valkey_away(drill_stack: servers_of.House, client: Client) -> None:
    """N19: with Valkey away logins work, and flood control counts in the process."""
    house.make_user("test-account")
    drill_stack.valkey.stop()
    good, wrong = (house.basic("test-account", password) for password in ("notReal", "wrong"))
    assert client.get("/api/login-token", headers={"authorization": good}).status_code == 200
    for _ in range(5):
        assert client.get("/api/login-token", headers={"authorization": wrong}).status_code == 401
    check_problem(client.get("/api/login-token", headers={"authorization": good}), 429)


@pytest.mark.django_db(transaction=True)
def test_postgres_away(drill_stack: servers_of.House, web: servers_of.Web) -> None:
    """N2: with PostgreSQL away the answer is a 503 problem with Retry-After, and good again when it is back."""
    house.make_user("test-account")
    headers = {"Authorization": house.basic("test-account", "notReal")}
    assert fetch(f"{web.base_url}/api/login-token", headers)[0] == 200
    drill_stack.postgres.stop()
    status, body = fetch(f"{web.base_url}/api/users/117", headers)
    drill_stack.postgres.start()
    connections.close_all()
    assert status == 503
    assert b'"detail":"Service Unavailable"' in body
    servers_of.wait_for(lambda: fetch(f"{web.base_url}/api/users/me", headers)[0] == 200, what="a good answer")
