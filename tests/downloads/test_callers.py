"""Callers over HTTP: keys, staff, cookies, quotas, and where links lead (contract §2.1, §2.2, §2.4, §4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import auth, jobs
from core.models import Mail, User
from downloads.models import Build, Claim, Download, Notification
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

ACER = '{"genus":"acer"}'
JSON = "application/json"


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, running_house: house.House) -> None:
    making.bring_in(making.archive(tmp_path, making.specimens(2)))


def key_of(name: str, **fields: Any) -> dict[str, str]:
    """The header of a fresh API key of a new account."""
    user = User.objects.create_user(name, **fields)
    return {"Authorization": f"Token {auth.issue_token(user, audience='downloads')[1]}"}


def ask(client: Client, genus: str = "acer", **more: Any) -> Any:
    return client.get("/v2/download", {"rq": json.dumps({"genus": genus})}, **more)


def path_of(answer: Any) -> str:
    return "/v2/download/" + str(answer.json()["status_url"]).rsplit("/", 1)[1]


def test_cookies_count_for_nothing() -> None:
    """D31: no form token is asked for, and who is logged in on the pages owns and cancels nothing here."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("olga", "olga@example.org", "correct horse battery"))
    assert client.post("/", ACER, content_type=JSON).status_code == 200
    asked = client.post("/v2/download", '{"rq":{"genus":"x"}}', content_type=JSON)
    assert asked.status_code == 200
    assert client.get("/v2/downloads").status_code == 401
    assert client.delete(path_of(asked)).status_code == 403
    assert set(Claim.objects.values_list("user", flat=True)) == {None}
    bearer = {"Authorization": f"Bearer {asked['Download-Token']}"}
    assert client.delete(path_of(asked), headers=bearer).status_code == 200


def test_withdrawal_by_the_owner_of_the_key(client: Client) -> None:
    """D31: the key a download was asked with cancels it, no other key does; a token works as Bearer only."""
    ada, bob = key_of("ada"), key_of("bob")
    asked = ask(client, headers=ada)
    path, token = path_of(asked), asked["Download-Token"]
    assert client.delete(path, headers=bob).status_code == 403
    assert client.delete(path, headers={"Authorization": f"Token {token}"}).status_code == 401
    assert client.delete(f"{path}?token={token}").status_code == 403
    assert client.delete(path, headers={"Download-Token": token}).status_code == 403
    assert Download.objects.get().state == Download.State.WAITING
    gone = client.delete(path, headers=ada)
    assert gone.status_code == 200
    body = gone.json()
    assert (body["complete"], body["task_status"], body["progress"]["stage"]) == (True, "FAILURE", "cancelled")
    seed = client.get(path.replace("v2/download", "status")).json()
    assert (seed["complete"], seed["task_status"]) == (True, "FAILURE")
    assert seed["error"] == body["error"] == "This download was cancelled."


def test_withdrawal_by_staff(client: Client) -> None:
    """D31: staff cancel a download for everybody who waits for it; one of several callers only leaves."""
    first = ask(client, REMOTE_ADDR="192.0.2.1")
    ask(client, REMOTE_ADDR="192.0.2.2")
    path = path_of(first)
    left = client.delete(path, headers={"Authorization": f"Bearer {first['Download-Token']}"})
    assert (left.status_code, left.json()["task_status"]) == (200, "PENDING")
    ended = client.delete(path, headers=key_of("carol", is_staff=True))
    assert (ended.status_code, ended.json()["error"]) == (200, "This download was cancelled.")
    assert not Claim.objects.filter(withdrawn_at=None).exists()


def test_a_key_doubles_the_quota(client: Client, settings: Settings) -> None:
    """D32: with an API key twice as many builds run and wait, wherever its owner asks from."""
    settings.DOWNLOADS_RUNNING_PER_CALLER, settings.DOWNLOADS_QUEUED_PER_CALLER = 1, 2
    ada = key_of("ada")
    answers = [ask(client, f"g{n}", headers=ada, REMOTE_ADDR=f"192.0.2.{n}") for n in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert answers[4].json() == {"error": "You have 4 downloads waiting; the limit is 4.", "limit": 4}
    assert Build.objects.filter(job__isnull=False).count() == 2
    bare = [ask(client, f"h{n}", REMOTE_ADDR="192.0.2.1").status_code for n in range(3)]
    assert bare == [200, 200, 429]
    assert Build.objects.filter(job__isnull=False).count() == 3


def test_links_lead_to_the_public_address(client: Client, settings: Settings) -> None:
    """D3: links in both bodies and in mails have the public address, or the host that was asked where none is set."""
    assert ask(client).json()["status_url"].startswith("http://testserver/v2/download/")
    settings.PUBLIC_BASE_URL = "https://specimens.example.org"
    first = client.get("/", {"query": ACER, "email": "a@example.org"}).json()
    uuid = first["status_url"].removeprefix("https://specimens.example.org/status/")
    assert Download.objects.filter(pk=uuid).exists()
    jobs.run_queued()
    link = f"https://specimens.example.org/downloads/{uuid}.zip"
    assert client.get(f"/status/{uuid}").json()["download_url"] == link
    found = client.get(f"/v2/download/{uuid}").json()
    assert (found["download_url"], found["status_url"]) == (
        link,
        f"https://specimens.example.org/v2/download/{uuid}",
    )
    assert f"\n{link}\n" in Mail.objects.get().body


def test_where_the_email_stands(client: Client) -> None:
    """D1: a body that is the query takes the address of the URL; one of the body wins over one of the URL."""
    one, two = "one@example.org", "two@example.org"
    whole = json.dumps({"query": {"genus": "acer"}, "email": two})
    for path, body, kind, address in (
        (f"/?email={one}", ACER, JSON, one),
        (f"/?email={one}", whole, JSON, two),
        ("/", f"query={ACER}&email={two}", "application/x-www-form-urlencoded", two),
        (f"/v2/download?email={one}", ACER, JSON, one),
        (f"/v2/download?email={one}&rq={{}}", whole.replace("query", "rq"), JSON, two),
    ):
        Notification.objects.all().delete()
        assert client.post(path, body, content_type=kind).status_code == 200, path
        assert list(Notification.objects.values_list("address", flat=True)) == [address], (path, body)
    Notification.objects.all().delete()
    assert client.post("/", {"query": ACER, "email": two}).status_code == 200  # multipart
    assert Notification.objects.get().address == two
