"""Webhooks of a repository (contract §10.5)."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import jobs, webhooks
from core.models import WebhookDelivery
from exports.models import Repo, Webhook
from exports.services import webhooks as services
from tests.exports.conftest import World, person

URL = "https://hooks.example.org/ocl"


class Receiver:
    """Somebody's web server: keeps what it is sent and says 204, or what ``status`` says."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                """Quiet."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append((dict(self.headers.items()), body))
                self.send_response(receiver.status)
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ocl"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.ALLOW_PRIVATE_NETWORKS = True
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def cut(world: World) -> World:
    world.fill()
    world.cut("v1")
    return world


def test_delivered(cut: World, receiver: Receiver) -> None:
    """W1: a ready export is told to the receiver, signed with the secret shown at registration, once."""
    made = cut.api.post(f"{cut.path}webhooks/", {"url": receiver.url})
    assert made.status_code == 201
    secret = made.json()["secret"]
    cut.build(f"{cut.path}v1/")
    jobs.run_queued()
    ((headers, body),) = receiver.seen
    assert webhooks.verify(webhooks.key_of(secret), body, headers["Export-Signature"])
    assert not webhooks.verify(webhooks.key_of("another"), body, headers["Export-Signature"])
    told = json.loads(body)
    status = cut.api.get(f"{cut.path}v1/export/status/").json()
    assert (told["event"], told["repository"], told["version"]) == ("export.ready", cut.path, "v1")
    assert told["url"].endswith(f"{cut.path}v1/export/")
    assert told["counts"] == status["counts"]
    assert [one["sha256"] for one in told["archives"]] == [one["sha256"] for one in status["archives"]]
    assert told["error"] is None
    assert WebhookDelivery.objects.get().state == "sent"


def test_variants(cut: World, receiver: Receiver) -> None:
    """W2: deltas and packages are told as well, with their own addresses."""
    cut.cut("v2")
    assert cut.api.post(f"{cut.path}webhooks/", {"url": receiver.url}).status_code == 201
    for tail in ("delta/?since=v1", "csv.zip/"):
        assert cut.api.post(f"{cut.path}v2/export/{tail}").status_code == 202
    jobs.run_queued()
    told = {one["variant"]: one["url"] for one in (json.loads(body) for _, body in receiver.seen)}
    assert {variant: url[url.index("/orgs/") :] for variant, url in told.items()} == {
        "delta_v1": f"{cut.path}v2/export/delta/?since=v1", "csv": f"{cut.path}v2/export/csv.zip/",
    }  # fmt: skip


def test_failed(cut: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """W3: a failed build is told with its error, to those who want that event; a cancelled one is not."""

    def fail(*_: Any, **__: Any) -> None:
        raise jobs.Failure("too_large", "It is too large.")

    assert cut.api.post(f"{cut.path}webhooks/", {"url": receiver.url, "events": ["failed"]}).status_code == 201
    other = {"url": f"{receiver.url}?ready", "events": ["ready"]}
    assert cut.api.post(f"{cut.path}webhooks/", other).status_code == 201
    assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
    assert cut.api.delete(f"{cut.path}v1/export/").status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr("exports.jobs.build._write", fail)
        assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
        jobs.run_queued()
    ((_, body),) = receiver.seen
    assert json.loads(body)["error"] == {"code": "too_large", "message": "It is too large."}
    assert json.loads(body)["event"] == "export.failed"


def test_secret_once(cut: World) -> None:
    """W4: the secret is shown by the POST alone and stored only hashed."""
    made = cut.api.post(f"{cut.path}webhooks/", {"url": URL})
    secret, place = made.json()["secret"], made["Location"]
    assert made["Cache-Control"] == "no-store"
    assert len(secret) == 64
    assert Webhook.objects.get().key == webhooks.key_of(secret)
    path = place[place.index("/orgs/") :]
    for read in (cut.api.get(path).json(), cut.api.get(f"{cut.path}webhooks/").json()[0]):
        assert read == {key: value for key, value in made.json().items() if key != "secret"}
    assert cut.api.delete(path).status_code == 204
    assert cut.api.get(path).status_code == 404
    assert cut.api.get(f"{cut.path}webhooks/").json() == []


def test_rights(cut: World) -> None:
    """W5: only administrators of the repository see or change its webhooks; another repository's are not found."""
    made = cut.api.post(f"{cut.path}webhooks/", {"url": URL}).json()
    one = f"{cut.path}webhooks/{made['id']}/"
    other = cut.repo("Other")
    assert cut.api.get(f"{other.uri}webhooks/{made['id']}/").status_code == 404
    Repo.objects.filter(pk=cut.source.pk).update(public_access="Edit")
    for method, path in (
        ("GET", f"{cut.path}webhooks/"),
        ("POST", f"{cut.path}webhooks/"),
        ("GET", one),
        ("DELETE", one),
    ):
        assert cut.anonymous(method, path, {"url": URL}).status_code == 401
        assert cut.stranger(method, path, {"url": URL}).status_code == 403
    assert cut.boss.get(one).status_code == 200
    assert cut.api.put(one, {}).status_code == 405
    assert cut.api.get(f"{cut.path}webhooks/not-a-uuid/").status_code == 404


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.org/", "https://127.0.0.1/x", "https://10.1.2.3/", "https://[::1]/", "https://169.254.169.254/",
     "https://user:pw@example.org/", "ftp://example.org/", "nothing", "", 7, None, "https://example.org/" + "x" * 2000],
)  # fmt: skip
def test_refused(cut: World, settings: Settings, url: Any) -> None:
    """W6: what is no https address, or one in a private network, is 400 naming the field."""
    settings.ALLOW_PRIVATE_NETWORKS = False
    answer = cut.api.post(f"{cut.path}webhooks/", {"url": url})
    assert (answer.status_code, list(answer.json())) == (400, ["url"])
    assert not Webhook.objects.exists()


def test_private_at_delivery(cut: World, receiver: Receiver, settings: Settings) -> None:
    """W6: the addresses are checked at each delivery too; the build does not suffer."""
    assert cut.api.post(f"{cut.path}webhooks/", {"url": receiver.url}).status_code == 201
    secure = Webhook.objects.get()
    settings.ALLOW_PRIVATE_NETWORKS = False
    cut.build(f"{cut.path}v1/")
    assert cut.api.get(f"{cut.path}v1/export/").status_code == 303
    assert not WebhookDelivery.objects.exists()
    # a name that leads into a private network is refused when it is reached
    secure.url = "https://localhost/ocl"
    secure.save()
    assert cut.api.post(f"{cut.path}v1/export/?force=true").status_code == 202
    jobs.run_queued()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts, receiver.seen) == ("queued", 1, [])
    assert "not fetched" in delivery.last_error


def test_limits(cut: World, settings: Settings) -> None:
    """W7: one webhook per address and EXPORTS_MAX_WEBHOOKS per repository; unknown events are 400."""
    settings.EXPORTS_MAX_WEBHOOKS = 2
    assert cut.api.post(f"{cut.path}webhooks/", {"url": URL}).status_code == 201
    assert cut.api.post(f"{cut.path}webhooks/", {"url": URL}).status_code == 409
    assert cut.api.post(f"{cut.path}webhooks/", {"url": f"{URL}/2"}).status_code == 201
    assert cut.api.post(f"{cut.path}webhooks/", {"url": f"{URL}/3"}).status_code == 409
    for events in ([], ["gone"], "ready", [1]):
        answer = cut.api.post(f"{cut.path}webhooks/", {"url": f"{URL}/4", "events": events})
        assert (answer.status_code, list(answer.json())) == (400, ["events"])
    refused = cut.api.post(f"{cut.path}versions/", {"id": "webhooks"})
    assert (refused.status_code, list(refused.json())) == (400, ["id"])


def test_admin(cut: World) -> None:
    """W8: the admin registers a webhook and shows its secret once; refused addresses are told in the form."""
    person("root", is_staff=True, is_superuser=True)
    client = Client()
    assert client.login(username="root", password="a-long-secret-9")
    form = {"repo": cut.source.pk, "url": URL, "on_ready": "on"}
    shown = client.post("/admin/exports/webhook/add/", form, follow=True).content.decode()
    made = Webhook.objects.get()
    assert (made.events, made.created_by) == (["ready"], "root")
    secret = shown.partition("The secret is ")[2][:64]
    assert webhooks.key_of(secret) == made.key
    assert secret not in client.get("/admin/exports/webhook/").content.decode()
    refused = client.post("/admin/exports/webhook/add/", {**form, "url": "ftp://example.org/"})
    assert "Only http and https" in refused.content.decode()
    assert Webhook.objects.count() == 1
    services.remove(made)
    assert client.post("/admin/exports/webhook/add/", {"repo": cut.source.pk, "url": URL}).status_code == 200
    assert not Webhook.objects.exists()


def test_gone_with_the_repository(world: World) -> None:
    """W9: deleting a repository removes its webhooks."""
    empty = world.repo("Empty")
    assert world.api.post(f"{empty.uri}webhooks/", {"url": URL}).status_code == 201
    assert world.api.delete(empty.uri).status_code == 204
    assert not Webhook.objects.exists()
