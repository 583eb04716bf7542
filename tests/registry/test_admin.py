"""What operators do with the registry in admin (contract 3, Admin)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core import jobs
from core.models import User
from registry.demo import source as demo_source
from registry.models import Account, Harvest, HarvestRun, Organization, Record
from tests.registry.conftest import PASSWORD, run
from tests.registry.test_api import pair

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root", "root@example.org", PASSWORD))
    return client


def act(client: Client, model: str, action: str, *rows: Any) -> Any:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(f"/admin/registry/{model}/", data)


def test_pages_answer(staff: Client, add_harvest: Add, owner: User) -> None:
    """X51: lists and forms of every model answer, with the chart of good and bad."""
    harvest = add_harvest()
    made = run(harvest)
    record = Record.objects.first()
    rows = {"harvest": harvest, "harvestrun": made, "record": record, "organization": harvest.organization}
    rows["account"] = owner.registry_account
    for model, row in rows.items():
        assert staff.get(f"/admin/registry/{model}/").status_code == 200
        assert staff.get(f"/admin/registry/{model}/{row.pk}/change/").status_code == 200  # type: ignore[union-attr]
    assert b"<meter" in staff.get(f"/admin/registry/harvest/{harvest.pk}/change/").content


def test_actions(staff: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X52: harvest now, cancel, pause, accept shrink, re-validate, export and delete work from admin."""
    harvest = add_harvest()
    act(staff, "harvest", "harvest_now", harvest)
    assert HarvestRun.objects.get().trigger == "admin"
    act(staff, "harvest", "cancel", harvest)
    assert HarvestRun.objects.get().state == "cancelled"
    act(staff, "harvest", "pause", harvest)
    harvest.refresh_from_db()
    assert harvest.paused
    act(staff, "harvest", "resume", harvest)
    run(harvest)
    source.files = dict(list(source.files.items())[:1])
    assert run(harvest).failure_code == "shrink_guard"
    act(staff, "harvest", "accept_shrink", harvest)
    jobs.run_queued()
    assert Record.objects.count() == 1
    source.requests.clear()
    act(staff, "harvest", "revalidate", harvest)
    jobs.run_queued()
    assert source.requests == []
    exported = b"".join(act(staff, "harvest", "export_csv", harvest).streaming_content).decode()
    assert exported.splitlines()[0].startswith("_id,name,url,harvest_type,organization")
    assert harvest.uid in exported
    act(staff, "harvest", "remove", harvest)
    jobs.run_queued()
    assert not Harvest.objects.exists()
    assert not Record.objects.exists()


def test_accounts(staff: Client, client: Client, add_person: Callable[..., User]) -> None:
    """X18: approving, revoking tokens and deactivating work; the last administrator stays."""
    waiting = add_person("maria", approved=False)
    boss = add_person("boss", admin=True)
    act(staff, "account", "approve", waiting.registry_account)
    assert Account.objects.get(user=waiting).approved
    headers = pair(Client())
    act(staff, "account", "revoke_tokens", waiting.registry_account)
    assert Client().get("/api/v2/logout", **headers).status_code == 401
    act(staff, "account", "deactivate", waiting.registry_account, boss.registry_account)
    active = dict(User.objects.values_list("username", "is_active"))
    assert (active["maria"], active["boss"]) == (False, True)


def test_organizations(staff: Client) -> None:
    """X41: a new organisation gets its folder name once; with harvests it cannot be deleted."""
    values = {"name": "Māmala Bay", "description": "", "url": "", "logo_url": "", "ckan_harvest_url": ""}
    staff.post("/admin/registry/organization/add/", values)
    made = Organization.objects.get()
    assert made.slug == "M-mala-Bay"
    Harvest.objects.create(name="x", url="http://x.example.org/", organization=made)
    staff.post(f"/admin/registry/organization/{made.pk}/delete/", {"post": "yes"})
    assert Organization.objects.exists()


def test_cancel_of_a_run_that_just_ended(staff: Client, add_harvest: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """X52: a run that ends between the look and the cancellation is told of, not a 500."""
    harvest = add_harvest()
    act(staff, "harvest", "harvest_now", harvest)
    monkeypatch.setattr(jobs, "cancel", lambda _job: False)
    assert act(staff, "harvest", "cancel", harvest).status_code == 302
    assert "has just ended" in staff.get("/admin/registry/harvest/").content.decode()
