"""The servers and processes the tests stand on."""

import email.message
import smtplib
import urllib.error
import urllib.request

import pytest
from django.contrib.auth.models import Permission
from django.db import connection

from core import models, process
from tests import house, mailbox, network


def test_trigrams_know_letters_beyond_ascii(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute("SELECT cardinality(show_trgm('أحمد')), 'É' ILIKE 'é'")
        trigrams, folds = cursor.fetchone()
    assert trigrams > 0
    assert folds


@pytest.mark.parametrize("round_", [1, 2])
def test_what_a_test_committed_is_gone_for_the_next(transactional_db: None, round_: int) -> None:
    assert not models.User.objects.exists()
    assert Permission.objects.filter(codename="add_user").exists()
    user = models.User.objects.create_user("somebody", email="somebody@example.org")
    user.user_permissions.add(Permission.objects.get(codename="add_user"))


def test_nothing_leaves_the_machine() -> None:
    with pytest.raises(network.Closed):
        urllib.request.urlopen("http://192.0.2.1/", timeout=1)
    with pytest.raises(network.Closed):
        urllib.request.urlopen("http://example.org/", timeout=1)


def test_web_answers_and_comes_back_after_kill(web: house.Web) -> None:
    web.kill()
    assert not web.is_running
    web.start()
    with urllib.request.urlopen(f"{web.base_url}/livez") as response:
        assert response.status == 200


def test_long_request_lines_work_and_endless_ones_do_not(web: house.Web) -> None:
    with urllib.request.urlopen(f"{web.base_url}/livez?{'q' * 32 * 1024}") as response:
        assert response.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{web.base_url}/livez?{'q' * 41 * 1024}")
    refused.value.close()
    assert refused.value.code == 414


def test_worker_comes_back_after_kill(worker: house.Worker) -> None:
    pool = worker.children()
    assert pool
    worker.kill()
    worker.start()
    assert worker.children()
    assert not set(pool) & set(worker.children())


def test_mail_sink_keeps_and_refuses(smtp: mailbox.Mailbox) -> None:
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = "one", "a@example.org", "b@example.org"
    with smtplib.SMTP("127.0.0.1", _smtp_port()) as client:
        client.send_message(message)
        smtp.refuse = "451 later"
        with pytest.raises(smtplib.SMTPDataError):
            client.send_message(message)
    assert [mail["Subject"] for mail in smtp.wait(1)] == ["one"]
    assert smtp.refused == 1


def _smtp_port() -> int:
    from django.conf import settings

    return settings.EMAIL_PORT


@pytest.mark.parametrize("name", ["postgres", "valkey", "store"])
def test_a_server_taken_down_runs_again_for_the_next_test(servers: house.House, name: str) -> None:
    server = getattr(servers.stack, name)
    server.kill()
    assert not server.is_running
    with pytest.raises(process.Failed):
        process.await_until(server.is_ready, what=name, timeout=0.1)
    servers.start()
    assert server.is_ready()
