"""Undoing a harvest's last swap, and the list of what was removed (contract 10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core import errors
from core.models import User
from registry import selectors
from registry.demo import source as demo_source
from registry.formats import samples
from registry.jobs import fetch, request, undo
from registry.models import Harvest, HarvestRun, Organization, RunChange
from tests.registry.conftest import PASSWORD, run
from tests.registry.test_api import pair

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]


def rows_of(harvest: Harvest) -> list[dict[str, Any]]:
    """All columns of all records but when they were last seen and when their bytes last changed here."""
    rows = harvest.records.order_by("id").values()
    return [{name: value for name, value in row.items() if name not in ("changed_at", "last_seen")} for row in rows]


@pytest.fixture
def changed(add_harvest: Add, source: demo_source.Source) -> tuple[Harvest, list[dict[str, Any]], HarvestRun]:
    """A harvest, its records of the first run, and a second run that added, changed, removed and failed some."""
    harvest = add_harvest()
    run(harvest)
    before = rows_of(harvest)
    source.put("fresh.xml", samples.iso19139(30))
    source.put("dead.xml", samples.iso19139(31))
    source.faults["/nginx/dead.xml"] = "404"
    source.put("station_000.xml", samples.iso19139(0, revision=1), age=timedelta(days=3))
    del source.files["station_001.xml"]
    made = run(harvest)
    assert (made.state, made.added, made.changed, made.removed) == ("ok", 1, 1, 1)
    return harvest, before, made


def test_undo_of_rows_noted_before_a_column_came(changed: Any, client: Client, owner: User) -> None:
    """X36: what was noted before records had these columns comes back too."""
    harvest, before, made = changed
    for change in RunChange.objects.filter(before__isnull=False):
        assert change.before is not None
        for name in ("titles", "repaired_sha256", "repaired_size"):
            del change.before[name]
        change.save()
    assert client.post(f"/registry/api/runs/{made.pk}/undo", **pair(client)).status_code == 200
    assert rows_of(harvest) == before


def test_undo(changed: Any, client: Client, owner: User) -> None:
    """X36, X41: undoing the last swap brings every record back as it was, serves it again, and pauses the source."""
    harvest, before, made = changed
    listing = client.get("/waf/PacIOOS/")
    old = [record for record in before if record["url"].endswith(("station_000.xml", "station_001.xml"))]
    keys = {fetch.blob_key(record["content_sha256"]) for record in old}
    assert selectors.live_blobs(keys) == keys, "the sweep leaves what an undo would serve"
    answer = client.post(f"/registry/api/runs/{made.pk}/undo", **pair(client))
    assert (answer.status_code, answer.content) == (200, b'{"status":"success","data":{"state":"undone"}}')
    assert rows_of(harvest) == before
    harvest.refresh_from_db()
    assert (harvest.paused, harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (
        True,
        6,
        6,
        0,
    )
    for record in old:
        assert client.get(f"/waf/PacIOOS/{record['waf_name']}").status_code == 200
    assert client.get("/waf/PacIOOS/")["ETag"] != listing["ETag"]
    assert client.get(f"/registry/api/runs/{made.pk}").json()["data"]["undone_at"]
    again = client.post(f"/registry/api/runs/{made.pk}/undo", **pair(client))
    assert (again.status_code, again.json()["status"]) == (409, "error")
    repeated = run(harvest)
    assert (repeated.state, repeated.added, repeated.changed, repeated.removed) == ("ok", 1, 1, 1)


def test_what_cannot_be_undone(changed: Any) -> None:
    """X36: only the last swap, of the last seven days, with no run going on, that changed something, can be undone."""
    harvest, _before, made = changed
    first = harvest.runs.order_by("id")[0]
    assert not undo.may_undo(first)
    active, _ = request.run_of(harvest, trigger="cli")
    with pytest.raises(errors.Conflict):
        undo.undo(made)
    HarvestRun.objects.filter(pk=active.pk).update(state="cancelled")
    HarvestRun.objects.filter(pk=made.pk).update(finished_at=timezone.now() - timedelta(days=7, hours=1))
    made.refresh_from_db()
    with pytest.raises(errors.Conflict):
        undo.undo(made)
    assert RunChange.objects.filter(before__isnull=False).count() == 2
    assert undo.prune() == 2
    assert not RunChange.objects.filter(before__isnull=False).exists()
    assert RunChange.objects.filter(run=made).count() == 3, "the history stays"


def test_moved_meanwhile(changed: Any) -> None:
    """X42: records come back to the organisation that has the harvest now."""
    harvest, before, made = changed
    other = Organization.objects.create(name="AOOS", slug="AOOS")
    from registry.jobs import edit

    edit.save(selectors.harvest(harvest.uid), {"organization": other}, access=selectors.Access(is_admin=True))
    undo.undo(made)
    assert set(harvest.records.values_list("organization_id", flat=True)) == {other.pk}
    assert harvest.records.count() == len(before)


def test_page_admin_and_strangers(changed: Any, client: Client, owner: User, add_person: Callable[..., User]) -> None:
    """X51: a run's page and admin undo it, for who manages the source only."""
    harvest, before, made = changed
    path = f"/registry/runs/{made.pk}"
    add_person("zoe", member=False)
    assert client.post(f"/registry/api/runs/{made.pk}/undo").status_code == 401
    assert client.post(f"/registry/api/runs/{made.pk}/undo", **pair(client, "zoe")).status_code == 403
    client.login(username="zoe", password=PASSWORD)
    assert b"Undo this run" not in client.get(path).content
    assert client.post(f"{path}/undo").status_code == 403
    client.force_login(User.objects.create_superuser("root", "root@example.org", PASSWORD))
    action = {"action": "undo", "_selected_action": [made.pk, harvest.runs.order_by("id")[0].pk]}
    told = client.post("/admin/registry/harvestrun/", action, follow=True).content
    assert b"was undone" in told
    assert b"can be undone" in told
    assert rows_of(harvest) == before
    again = run(harvest)
    client.force_login(owner)
    assert b"Undo this run" in client.get(f"/registry/runs/{again.pk}").content
    assert b"are back" in client.post(f"/registry/runs/{again.pk}/undo", follow=True).content
    assert rows_of(harvest) == before


def test_removed(changed: Any, client: Client, source: demo_source.Source) -> None:
    """X36: removed documents are listed until they come back, on the page and in the API."""
    harvest, _before, made = changed
    path = f"/registry/api/harvests/{harvest.uid}/removed"
    body = client.get(path).json()
    assert body["total"] == 1
    item = body["data"][0]
    assert (item["identity"], item["run"]) == (f"{harvest.url}station_001.xml", made.pk)
    assert list(item) == ["identity", "title", "hash", "run", "removed_at"]
    page = f"/registry/sources/{harvest.uid}/removed"
    assert b"station_001.xml" in client.get(page).content
    source.put("station_001.xml", samples.iso19139(1))
    run(harvest)
    assert client.get(path).json()["total"] == 0
    assert b"Nothing was removed." in client.get(page).content
    Harvest.objects.update(publish=False)
    assert client.get(path).status_code == 404
