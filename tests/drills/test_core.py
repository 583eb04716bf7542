"""The house survives its servers: whatever dies, work that was accepted is done once it is back."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar

import pytest
import requests
from django.db import InterfaceError, OperationalError, connection

from core import jobs, mail
from core.embedded import server
from core.models import Job, Mail, User
from tests import house, mailbox

pytestmark = pytest.mark.django_db(transaction=True)


def ask_for_reset(web: house.Web, address: str) -> int:
    """Fill in the form for a forgotten password as a browser would; the final status."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = f"{web.base_url}/accounts/password/forgot"
    form = opener.open(page, timeout=20).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token is not None
    data = urllib.parse.urlencode({"email": address, "csrfmiddlewaretoken": token[1]}).encode()
    with opener.open(page, data, timeout=20) as answer:
        return int(answer.status)


def status(web: house.Web, path: str) -> int:
    try:
        with urllib.request.urlopen(web.base_url + path, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


@pytest.fixture
def amal() -> User:
    return User.objects.create_user("amal", "amal@example.org", "correct horse", is_validated=True)


def test_a_mail_goes_from_the_form_through_the_worker_to_the_server(
    web: house.Web, worker: house.Worker, smtp: mailbox.Mailbox, amal: User
) -> None:
    assert ask_for_reset(web, "amal@example.org") == 200
    (message,) = smtp.wait(1)
    assert message["To"] == "amal@example.org"
    house.wait_for(lambda: Mail.objects.filter(state="sent").exists(), what="the row to say so")


def test_valkey_dead_requests_are_taken_and_done_when_it_is_back(
    web: house.Web,
    valkey: server.Server,
    start_worker: Callable[..., house.Worker],
    start_beat: Callable[..., house.Beat],
    smtp: mailbox.Mailbox,
    amal: User,
) -> None:
    valkey.kill()
    assert ask_for_reset(web, "amal@example.org") == 200
    assert Mail.objects.get().state == "queued"
    valkey.start()
    start_worker()
    start_beat(JOB_SWEEP_SECONDS="1")
    smtp.wait(1)
    house.wait_for(lambda: Mail.objects.get().state == "sent", what="the mail")


def test_valkey_restarted_under_a_worker_the_worker_recovers_alone(
    valkey: server.Server,
    start_worker: Callable[..., house.Worker],
    start_beat: Callable[..., house.Beat],
    smtp: mailbox.Mailbox,
) -> None:
    worker, _beat = start_worker(), start_beat(JOB_SWEEP_SECONDS="1")
    pid = worker.pid
    mail.queue("drill", "a@example.org", "before", "text")
    smtp.wait(1)
    valkey.kill()
    mail.queue("drill", "b@example.org", "during", "text")
    valkey.start()
    mail.queue("drill", "c@example.org", "after", "text")
    smtp.wait(3)
    assert (worker.is_running, worker.pid) == (True, pid)
    assert sorted(str(message["Subject"]) for message in smtp.messages) == ["after", "before", "during"]


def test_postgresql_restarted_under_a_worker_no_job_is_lost(
    postgres: server.Server,
    start_worker: Callable[..., house.Worker],
    start_beat: Callable[..., house.Beat],
    smtp: mailbox.Mailbox,
) -> None:
    worker, _beat = start_worker(), start_beat(JOB_SWEEP_SECONDS="1")
    mail.queue("drill", "a@example.org", "before", "text")
    smtp.wait(1)
    postgres.restart()
    house.wait_for(lambda: queue_when_up("after"), what="the database")
    smtp.wait(2)
    assert worker.is_running
    house.wait_for(lambda: not Job.objects.filter(state__in=jobs.ACTIVE).exists(), what="every job to end")


FREEZE_IN_A_TRANSACTION = """
import os, signal, uuid
from core import jobs
with jobs.claim(uuid.UUID("{job}")).fenced():
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_job_is_taken_from_a_worker_that_froze_with_its_row_locked(
    start_shell: Callable[..., house.Program],
    start_worker: Callable[..., house.Worker],
    start_beat: Callable[..., house.Beat],
    smtp: mailbox.Mailbox,
) -> None:
    mail.queue("drill", "a@example.org", "held", "text")
    frozen = start_shell(FREEZE_IN_A_TRANSACTION.format(job=Job.objects.get().pk), IDLE_TRANSACTION_SECONDS="2")
    _pid, state = os.waitpid(frozen.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(state), frozen.log_text()
    start_worker()
    start_beat()
    smtp.wait(1)


def queue_when_up(subject: str) -> bool:
    try:
        mail.queue("drill", "b@example.org", subject, "text")
    except (OperationalError, InterfaceError):
        connection.close()
        return False
    return True


def test_database_down_pages_and_probes_say_so(web: house.Web, postgres: server.Server) -> None:
    postgres.stop()
    assert [status(web, "/readyz"), status(web, "/livez"), status(web, "/metrics")] == [503, 200, 200]
    for path in ("/", "/docs/", "/accounts/login", "/accounts/", "/admin/", "/portal/", "/nosuch"):
        # A visitor whose session must be looked up.
        headers = {"Cookie": f"sessionid={'x' * 32}", "Accept": "text/html"}
        page = requests.get(web.base_url + path, headers=headers, allow_redirects=False, timeout=20)
        assert (page.status_code, page.headers["Retry-After"], "try again" in page.text) == (503, "30", True), path
        plain = requests.get(web.base_url + path, headers={"Cookie": headers["Cookie"]}, timeout=20)
        assert (plain.status_code, plain.headers["Content-Type"]) in (
            (503, "application/problem+json"),
            (404, "application/problem+json"),  # needs no session
        )
    request = requests.get(web.base_url + "/?query={}", headers={"Accept": "text/html"}, timeout=20)
    assert (request.status_code, request.headers["Content-Type"]) == (503, "application/json"), (
        "an API's, for any client"
    )
    postgres.start()
    assert status(web, "/readyz") == 200
