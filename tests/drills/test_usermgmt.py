"""User management survives its servers: decisions stand and mails leave later; searches say when they cannot."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from django.db import connection

from core.embedded import server
from core.models import Mail
from tests import house, mailbox
from tests.usermgmt import world
from usermgmt.models import ApiClient
from usermgmt.services import clients

pytestmark = pytest.mark.django_db(transaction=True)


def test_decisions_stand_while_broker_and_mail_server_are_away(
    valkey: server.Server,
    start_worker: Callable[..., house.Worker],
    start_beat: Callable[..., house.Beat],
    smtp: mailbox.Mailbox,
) -> None:
    """UM43: With broker or SMTP down decisions succeed and mails go out later."""
    smtp.refuse = "451 later"
    valkey.kill()
    client = world.pending()
    clients.approve(client, actor=world.reviewer())
    assert ApiClient.objects.get(pk=client.pk).state == "approved"
    assert Mail.objects.filter(kind="usermgmt.approved", state="queued").count() == 1
    smtp.refuse = None
    valkey.start()
    start_worker()
    start_beat(JOB_SWEEP_SECONDS="1")
    texts = [message.get_content() for message in smtp.wait(3)]
    assert sum(bool(re.search(r"/portal/reveal/[\w-]{43}", text)) for text in texts) == 1
    house.wait_for(lambda: not Mail.objects.filter(state="queued").exists(), what="the rows to say so")
    assert not any("/portal/reveal/" in body for body in Mail.objects.values_list("body", flat=True))


def test_searches_go_on_without_valkey_and_say_when_the_database_is_away(
    valkey: server.Server, postgres: server.Server, start_web: Callable[..., house.Web]
) -> None:
    """UM36: without Valkey searches go on; UM6: database away is 503 in this API's words, and passes."""
    world.seed_people()
    program = world.program(world.person("owner"))
    web = start_web()

    def search() -> requests.Response:
        return requests.get(
            f"{web.base_url}/api/v1/users/username/mgatt", auth=(program.key, program.secret), timeout=30
        )

    assert search().status_code == 200
    valkey.kill()
    assert search().status_code == 200
    postgres.kill()
    away = search()
    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
    assert away.json() == {"error": {"Exception": {"code": 0, "message": "Service Unavailable"}}}
    postgres.start()
    valkey.start()
    house.wait_for(lambda: search().status_code == 200, what="the search to answer again")
    connection.close()  # this process's own is dead too
