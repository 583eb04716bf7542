"""What operators do with the registry in admin (contract 3, Admin)."""

from __future__ import annotations

import getpass
import hashlib
import io
import re
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models import Model
from django.test import Client
from pytest_django import Settings

from core import jobs
from core.models import Job, User, WebhookDelivery
from registry import selectors
from registry.demo import source as demo_source
from registry.formats import samples
from registry.models import Account, Harvest, HarvestRun, Organization, Record, Subscription
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
    assert record is not None
    account, organization = owner.registry_account, harvest.organization
    rows: dict[str, Model] = {
        "harvest": harvest, "harvestrun": made, "record": record, "organization": organization, "account": account,
    }  # fmt: skip
    for model, row in rows.items():
        assert staff.get(f"/admin/registry/{model}/").status_code == 200
        assert staff.get(f"/admin/registry/{model}/{row.pk}/change/").status_code == 200
    assert b"<meter" in staff.get(f"/admin/registry/harvest/{harvest.pk}/change/").content


def test_viewers_change_nothing(
    client: Client, add_harvest: Add, add_person: Callable[..., User], organization: Organization
) -> None:
    """X51: staff that may only look get no action that changes something, neither on harvests nor on accounts."""
    viewer = User.objects.create_user("viewer", "viewer@example.org", PASSWORD, is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=("view_harvest", "view_account")))
    client.force_login(viewer)
    harvest, stranger = add_harvest(), add_person("eve", approved=False).registry_account
    for action in ("harvest_now", "cancel", "pause", "resume", "accept_shrink", "revalidate", "remove"):
        act(client, "harvest", action, harvest)
    for action in ("approve", "revoke_tokens", "deactivate"):
        act(client, "account", action, stranger)
    for row in (harvest, stranger, stranger.user):
        row.refresh_from_db()
    assert not HarvestRun.objects.exists()
    assert (harvest.paused, harvest.deleting, stranger.approved, stranger.user.is_active) == (False, False, False, True)
    exported = act(client, "harvest", "export_csv", harvest)
    assert harvest.uid.encode() in exported.getvalue()


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
    exported = act(staff, "harvest", "export_csv", harvest).getvalue().decode()
    assert exported.splitlines()[0].startswith("_id,name,url,harvest_type,organization")
    assert harvest.uid in exported
    act(staff, "harvest", "remove", harvest)
    jobs.run_queued()
    assert not Harvest.objects.exists()
    assert not Record.objects.exists()


def test_actions_say_what_they_did(staff: Client, add_harvest: Add, add_person: Callable[..., User]) -> None:
    """X51: cancelling and deactivating say how many, also when there was nothing to do."""
    harvest, person = add_harvest(), add_person("eve").registry_account
    for model, action, row, said in (
        ("harvest", "cancel", harvest, "0 runs are being cancelled."),
        ("harvest", "harvest_now", harvest, "1 queued."),
        ("harvest", "cancel", harvest, "1 run is being cancelled."),
        ("account", "revoke_tokens", person, "0 tokens revoked."),
        ("account", "deactivate", person, "1 deactivated."),
    ):
        act(staff, model, action, row)
        assert said in staff.get(f"/admin/registry/{model}/").content.decode(), (action, said)


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


def test_nobody_demotes_themselves(staff: Client, add_person: Callable[..., User]) -> None:
    """X18: neither one's own account nor the last administrator's can be disapproved or demoted; others can."""
    root = User.objects.get(username="root")
    own = Account.objects.create(user=root, approved=True, is_registry_admin=True)
    boss, other = (add_person(name, admin=True).registry_account for name in ("boss", "other"))

    def demote(account: Account) -> tuple[bool, bool]:
        values = {"user": account.user_id, "poc_name": "", "poc_email": ""}
        answer = staff.post(f"/admin/registry/account/{account.pk}/change/", values)
        assert answer.status_code == 302, answer.content
        account.refresh_from_db()
        return account.approved, account.is_registry_admin

    assert demote(own) == (True, True)
    assert demote(other) == (False, False)
    Account.objects.filter(pk=own.pk).update(is_registry_admin=False)
    add_person("gone", admin=True, is_active=False)
    add_person("new", admin=True, approved=False)
    assert demote(boss) == (True, True), "the last one that can do anything"
    assert staff.post(f"/admin/registry/account/{own.pk}/delete/", {"post": "yes"}).status_code == 403
    act(staff, "account", "deactivate", own, boss, other)
    active = dict(User.objects.values_list("username", "is_active"))
    assert active == {"root": True, "boss": True, "other": False, "gone": False, "new": True}


def test_password_change_by_admin_and_command(
    staff: Client, client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X18: a password changed in admin or by command revokes all tokens; a silent re-hash does not."""
    other = Client()
    headers = pair(other)
    path = f"/admin/core/user/{owner.pk}/password/"
    fresh = "tide-and-reef-77"
    answer = staff.post(path, {"password1": fresh, "password2": fresh, "usable_password": "true", "set-password": "1"})
    assert answer.status_code == 302, answer.content
    assert other.get("/api/v2/logout", **headers).status_code == 401
    headers = pair(other, password=fresh)
    assert other.head("/api/v2/logout", **headers).status_code == 200
    monkeypatch.setattr(getpass, "getpass", lambda *_args, **_options: "moon-and-wave-88")
    call_command("changepassword", "maria", stdout=io.StringIO())
    assert other.head("/api/v2/logout", **headers).status_code == 401
    headers = pair(other, password="moon-and-wave-88")
    User.objects.filter(pk=owner.pk).update(password=make_password("moon-and-wave-88", hasher="pbkdf2_sha256"))
    pair(other, password="moon-and-wave-88")
    assert User.objects.get(pk=owner.pk).password.startswith("bcrypt_sha256$"), "re-hashed"
    assert other.head("/api/v2/logout", **headers).status_code == 200


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


# --- uploads ------------------------------------------------------------------------------------------------------


def uploaded(client: Client, path: str, name: str, content: str | bytes, **fields: str) -> Any:
    """Send a file to one of the pages that take one, do the job, and show what became of it."""
    body = content.encode() if isinstance(content, str) else content
    answer = client.post(path, {"file": SimpleUploadedFile(name, body), **fields})
    assert answer.status_code == 302, answer.content
    jobs.run_queued()
    return client.get(answer["Location"])


def report_of(client: Client, page: Any) -> str:
    address = re.search(r'href="([^"]+report\.csv)"', page.content.decode())
    assert address, page.content
    answer = client.get(address[1])
    assert answer["Content-Type"] == "text/csv"
    return answer.getvalue().decode()


def test_upload_organizations(staff: Client) -> None:
    """X48: admin takes files of organisations as the command does, tells the counts and keeps the whole report."""
    assert b"/admin/registry/organization/import/" in staff.get("/admin/registry/organization/").content
    path = "/admin/registry/organization/import/"
    assert staff.get(path).status_code == 200
    rows = "name,url\nPacIOOS,http://p.example.org/\nBad,ftp://x/\n"
    page = uploaded(staff, path, "o.csv", rows)
    assert b"<strong>succeeded</strong>" in page.content
    assert Organization.objects.get().name == "PacIOOS"
    lines = report_of(staff, page).splitlines()
    assert lines[0] == "line,key,outcome,reason"
    assert lines[1] == "2,PacIOOS,created,"
    assert lines[2].startswith("3,Bad,rejected,url: ")
    assert b"must be an http or https URL" in page.content
    again = uploaded(staff, path, "o.csv", rows, strict="on")
    assert b"Nothing was written." in again.content
    unreadable = uploaded(staff, path, "o.csv", b"\xff\xfe\x00")
    assert b"the file is not UTF-8" in unreadable.content
    assert staff.post(path).status_code == 200, "no file, no job"
    assert Organization.objects.count() == 1


def test_upload_harvests_and_users(staff: Client, organization: Organization) -> None:
    """X48: admin takes files of harvests and people with the commands' flags; importing starts no harvest."""
    harvests = '[{"_id":"n3N6xBLyZIs9LGwEF","name":"W","url":"http://w.example.org/","organization":"New"}]'
    refused = uploaded(staff, "/admin/registry/harvest/import/", "h.json", harvests)
    assert b"is unknown" in refused.content
    tried = uploaded(
        staff, "/admin/registry/harvest/import/", "h.json", harvests, create_organizations="on", dry_run="on"
    )
    assert b"Nothing was written." in tried.content
    assert not Harvest.objects.exists()
    uploaded(staff, "/admin/registry/harvest/import/", "h.json", harvests, create_organizations="on")
    assert Harvest.objects.get().organization.name == "New"
    people = "email,name,organizations,approved\nnina@example.org,Nina Kai,PacIOOS,true\n"
    uploaded(staff, "/admin/registry/account/import/", "u.csv", people)
    assert Account.objects.get(user__email="nina@example.org").approved
    assert not HarvestRun.objects.exists()


def test_upload_documents(staff: Client, add_harvest: Add) -> None:
    """X48: admin takes a zip of documents for a harvest; a run makes them its records."""
    harvest = add_harvest()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(3):
            archive.writestr(f"d{number}.xml", samples.iso19139(number))
    path = f"/admin/registry/harvest/{harvest.pk}/documents/"
    page = uploaded(staff, path, "d.zip", packed.getvalue())
    made = HarvestRun.objects.get()
    assert (page.status_code, made.state, made.trigger, made.good) == (200, "ok", "import", 3)
    assert b"the file is no zip" in staff.post(path, {"file": SimpleUploadedFile("d.zip", b"no zip")}).content
    assert HarvestRun.objects.count() == 1


def test_check(staff: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X48: admin checks a document, a zip and a source with a report, and stores none of it."""
    path = "/admin/registry/harvest/check/"
    invalid = samples.iso19139(8).replace(b"gmd:dateStamp", b"gmd:dateOfStamp")
    page = uploaded(staff, path, "one.xml", invalid)
    assert re.search(rb"<th[^>]*>bad</th><td>1</td>", page.content)
    assert report_of(staff, page).splitlines()[1].startswith("schema,error,schema,one.xml,")
    source.put("invalid.xml", invalid)
    harvest = add_harvest()
    answer = staff.post(path, {"url": harvest.url, "harvest_type": "WAF"})
    jobs.run_queued()
    shown = staff.get(answer["Location"]).content
    assert re.search(rb"<th[^>]*>documents</th><td>7</td>", shown)
    assert re.search(rb"<th[^>]*>good</th><td>6</td>", shown)
    refused = staff.post(path, {"url": "ftp://example.org/", "harvest_type": "WAF"})
    assert b"must be an http or https URL" in refused.content
    assert b"Give a file or an address." in staff.post(path, {"harvest_type": "WAF"}).content
    assert not Record.objects.exists()


def test_uploads_are_for_operators(client: Client, add_harvest: Add, owner: User) -> None:
    """X51: who has no right to the tables can neither upload, nor read reports, nor press a harvest's buttons."""
    harvest = add_harvest()
    owner.is_staff = True
    owner.save()
    client.force_login(owner)
    paths = ["harvest/import/", "organization/import/", "account/import/", "harvest/check/"]
    paths += [f"harvest/{harvest.pk}/documents/", f"harvest/{harvest.pk}/act/harvest_now/"]
    paths += [f"harvest/errands/{uuid.uuid4()}/", f"harvest/errands/{uuid.uuid4()}/report.csv"]
    for path in paths:
        assert client.post(f"/admin/registry/{path}").status_code == 403, path
    assert not Job.objects.exists()


def test_buttons_of_a_harvest(staff: Client, add_harvest: Add) -> None:
    """X52: the page of a harvest has buttons that run, cancel and pause it, and shows its last runs."""
    harvest = add_harvest()
    page = f"/admin/registry/harvest/{harvest.pk}/change/"
    act = f"/admin/registry/harvest/{harvest.pk}/act"
    assert staff.get(f"{act}/harvest_now/").status_code == 404, "not by GET"
    assert staff.post(f"{act}/remove/").status_code == 404
    assert staff.post(f"{act}/harvest_now/")["Location"] == page
    assert HarvestRun.objects.get().state == "queued"
    staff.post(f"{act}/cancel/")
    assert HarvestRun.objects.get().state == "cancelled"
    for name, paused in (("pause", True), ("resume", False)):
        staff.post(f"{act}/{name}/")
        harvest.refresh_from_db()
        assert harvest.paused is paused
    made = run(harvest)
    shown = staff.get(page).content.decode()
    assert f"/admin/registry/harvestrun/{made.pk}/change/" in shown
    assert "6 of 6" in shown


def test_reports_outlive_the_sweep(staff: Client) -> None:
    """X48: the sweep keeps reports for as long as their jobs are kept, and uploads until they were read."""
    page = uploaded(staff, "/admin/registry/organization/import/", "o.csv", "name\nPacIOOS\n")
    report = Job.objects.get().result["report"]
    staff.post("/admin/registry/organization/import/", {"file": SimpleUploadedFile("p.csv", b"name\nAOOS\n")})
    waiting = Job.objects.get(state="queued").params["upload"]
    keys = {report, waiting, "registry/reports/gone.csv", "registry/uploads/gone.csv", "registry/docs/aa/aa"}
    assert selectors.live_blobs(keys) == {report, waiting}
    assert page.status_code == 200
    jobs.run_queued()
    Job.objects.all().delete()
    assert selectors.live_blobs(keys) == set()


def test_webhook_subscription(
    staff: Client, add_harvest: Add, owner: User, source: demo_source.Source, settings: Settings
) -> None:
    """X19: of a webhook's secret only the signing key is stored; none is shown, and what is refused stops no run."""
    settings.ALLOW_PRIVATE_NETWORKS = False
    harvest = add_harvest()
    values = {"user": owner.pk, "harvest": harvest.pk, "event": "always", "webhook_url": "https://127.0.0.1:9/"}
    add = "/admin/registry/subscription/add/"
    assert "https address" in staff.post(add, {**values, "webhook_url": "http://example.org/", "secret": "s"}).text
    settings.ALLOW_PRIVATE_NETWORKS = True
    assert "needs a secret" in staff.post(add, values).text
    assert staff.post(add, {**values, "secret": "open-sesame"}).status_code == 302
    made = Subscription.objects.get()
    assert made.key == hashlib.sha256(b"open-sesame").hexdigest()
    change = f"/admin/registry/subscription/{made.pk}/change/"
    page = staff.get(change).text
    assert "open-sesame" not in page
    assert made.key not in page
    assert staff.post(change, {**values, "event": "change"}).status_code == 302
    assert Subscription.objects.get().key == made.key
    assert run(harvest).state == "ok"
    delivery = WebhookDelivery.objects.get()
    assert (delivery.url, delivery.key) == (made.webhook_url, made.key)
    Subscription.objects.update(webhook_url="gopher://example.org/", event="always")
    assert run(harvest).state == "ok"
    assert WebhookDelivery.objects.count() == 1
