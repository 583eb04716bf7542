"""core.mail and core.outbox: written with the work, sent by a job, tried again, never twice, never in the way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from core import errors, jobs, mail, outbox
from core.models import Job, Mail
from tests import house, mailbox, together

pytestmark = pytest.mark.django_db(transaction=True)
# Nothing commits, so the tables need no emptying.
cheaply = pytest.mark.django_db(transaction=False)


@pytest.fixture
def kind() -> Iterator[Any]:
    """Registers a kind of mail for one test."""
    names: list[str] = []

    def make(name: str, **options: Any) -> str:
        names.append(name)
        mail.register(mail.Kind(name, **options))
        return name

    yield make
    for name in names:
        del mail._kinds[name]


def send_now(row: Mail) -> Mail:
    """Make the next try due, and do it."""
    Mail.objects.filter(pk=row.pk).update(next_at=timezone.now())
    mail.BOX.attempt(row.pk)
    row.refresh_from_db()
    return row


def test_a_mail_is_sent_after_the_commit(smtp: mailbox.Mailbox) -> None:
    with transaction.atomic():
        row = mail.queue("test", "jo@example.org", "Grüße", "Zeile\n.\nEnde\n", headers={"Reply-To": "a@example.org"})
        assert not Job.objects.filter(kind="core.mail").exists()
    assert jobs.run_queued() == 1
    (message,) = smtp.messages
    assert (message["To"], message["From"], message["Subject"]) == ("jo@example.org", "quincunx@example.org", "Grüße")
    assert message["Reply-To"] == "a@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert message.get_content().replace("\r\n", "\n") == "Zeile\n.\nEnde\n"
    row.refresh_from_db()
    assert (row.state, row.attempts, row.last_error) == ("sent", 1, "")
    assert row.sent_at is not None


def test_a_rollback_takes_the_mail_with_it(smtp: mailbox.Mailbox) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 - the exit is the point
        mail.queue("test", "jo@example.org", "s", "b")
        raise RuntimeError
    assert not Mail.objects.exists()
    assert jobs.run_queued() == 0


def test_a_server_that_refuses_never_fails_the_work(smtp: mailbox.Mailbox) -> None:
    """Eight tries, the waits growing fourfold and adding up to a day; then it is given up and shown."""
    smtp.refuse = "451 4.3.0 later"
    row = mail.queue("test", "jo@example.org", "s", "b")
    jobs.run_queued()
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("queued", 1)
    assert "451" in row.last_error
    waits = []
    for _ in range(6):
        before = timezone.now()
        row = send_now(row)
        waits.append((row.next_at - before).total_seconds())
    assert all(3.9 < later / earlier < 4.1 for earlier, later in itertools.pairwise(waits))
    assert (row.state, row.attempts) == ("queued", 7)
    assert send_now(row).state == "failed"
    assert (row.attempts, smtp.refused, smtp.messages) == (8, 8, [])
    assert send_now(row).attempts == 8


@cheaply
def test_patience_adds_up() -> None:
    for patience in (outbox.Patience(), outbox.Patience(tries=2), outbox.Patience(12, timedelta(days=3))):
        waits = [patience.wait(attempt) for attempt in range(1, patience.tries)]
        assert abs(sum((wait for wait in waits if wait), timedelta()) - patience.over) < timedelta(seconds=1)
        assert patience.wait(patience.tries) is None
    assert outbox.Patience(tries=1).wait(1) is None


def test_a_server_that_is_away_is_tried_again(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    row = mail.queue("test", "jo@example.org", "s", "b")  # the tests' mail server runs only with its fixture
    assert jobs.run_queued() == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("queued", 1)
    assert "ConnectionRefusedError" in row.last_error
    job = Job.objects.get(kind="core.mail")
    assert job.state == "queued"  # the next try is near, so its job waits for it
    assert abs(job.available_at - row.next_at) < timedelta(seconds=2)


def test_a_far_next_try_is_left_to_the_sweep(smtp: mailbox.Mailbox) -> None:
    smtp.refuse = "451 later"
    row = mail.queue("test", "jo@example.org", "s", "b")
    Mail.objects.filter(pk=row.pk).update(attempts=4)
    jobs.run_queued()
    job = Job.objects.get(kind="core.mail")
    assert (job.state, list(job.result)) == ("succeeded", ["again_at"])
    smtp.refuse = None
    assert mail.sweep() == 0
    Mail.objects.filter(pk=row.pk).update(next_at=timezone.now() - timedelta(minutes=1))
    assert mail.sweep() == 1
    assert mail.sweep() == 1  # still due; the same job serves it
    assert jobs.run_queued() == 1
    row.refresh_from_db()
    assert row.state == "sent"


def test_a_lost_announcement_never_fails_the_work(
    smtp: mailbox.Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "submit", fail)
        row = mail.queue("test", "jo@example.org", "s", "b")
    assert "the database went away" in caplog.text
    assert Mail.objects.get(pk=row.pk).state == "queued"
    assert not Job.objects.exists()


def test_a_mail_whose_job_was_lost_is_found(smtp: mailbox.Mailbox) -> None:
    row = mail.queue("test", "jo@example.org", "s", "b")
    Job.objects.all().delete()
    Mail.objects.filter(pk=row.pk).update(next_at=timezone.now() - timedelta(minutes=1))
    mail.sweep()
    jobs.run_queued()
    assert len(smtp.messages) == 1


def test_one_mail_per_dedupe_key(smtp: mailbox.Mailbox) -> None:
    first = mail.queue("test", "jo@example.org", "s", "b", dedupe="ready|1|jo")
    assert mail.queue("test", "jo@example.org", "other", "b", dedupe="ready|1|jo") == first
    jobs.run_queued()
    assert mail.queue("test", "jo@example.org", "s", "b", dedupe="ready|1|jo") == first
    jobs.run_queued()
    assert [message["Subject"] for message in smtp.messages] == ["s"]


def test_simultaneous_equal_mails_are_one(smtp: mailbox.Mailbox) -> None:
    def work() -> int:
        with transaction.atomic():
            return mail.queue("test", "jo@example.org", "s", "b", dedupe="once").pk

    assert len(set(together.at_once([work] * 6))) == 1


def test_two_workers_send_a_mail_once(smtp: mailbox.Mailbox, kind: Any) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def render(row: Mail) -> str:
        inside.set()
        assert go_on.wait(60)
        return row.body

    row = mail.queue(kind("slow", render=render), "jo@example.org", "s", "b")
    thread = together.in_background(lambda: mail.BOX.attempt(row.pk))
    assert inside.wait(60)
    assert mail.BOX.attempt(row.pk) is None  # held by the first, and not waited for
    go_on.set()
    thread.join()
    assert mail.BOX.attempt(row.pk) is None
    assert len(smtp.messages) == 1


def test_a_rendered_secret_commits_with_the_mail_or_not_at_all(smtp: mailbox.Mailbox, kind: Any) -> None:
    """What ``render`` writes is rolled back when the server refuses, and the body is never stored."""
    made: list[str] = []

    def render(row: Mail) -> str:
        made.append(f"secret-{len(made)}")
        row.headers = {"X-Hash": made[-1]}
        Job.objects.create(kind="core.mail", params={"hash": made[-1]}, state="succeeded")
        return made[-1]

    row = mail.queue(kind("secret", render=render), "jo@example.org", "s", "")
    smtp.refuse = "451 later"
    send_now(row)
    assert not Job.objects.filter(params__hash="secret-0").exists()
    smtp.refuse = None
    assert send_now(row).state == "sent"
    assert Job.objects.filter(params__hash="secret-1").exists()
    assert smtp.messages[0].get_content().strip() == "secret-1"
    assert row.body == ""


def test_a_hook_that_crashes_counts_as_a_try(smtp: mailbox.Mailbox, kind: Any) -> None:
    def render(row: Mail) -> str:
        raise ZeroDivisionError

    gone: list[int] = []
    name = kind("bad", render=render, patience=outbox.Patience(tries=2), given_up=lambda row: gone.append(row.pk))
    row = mail.queue(name, "jo@example.org", "s", "b")
    assert send_now(row).last_error == "internal error: ZeroDivisionError"
    assert gone == []
    assert send_now(row).state == "failed"
    assert gone == [row.pk]


def test_a_failed_mail_can_be_sent_again(smtp: mailbox.Mailbox, kind: Any) -> None:
    smtp.refuse = "550 no"
    row = send_now(mail.queue(kind("once", patience=outbox.Patience(tries=1)), "jo@example.org", "s", "b"))
    assert row.state == "failed"
    smtp.refuse = None
    assert mail.retry(row)
    jobs.run_queued()
    assert len(smtp.messages) == 1
    assert not mail.retry(row)
    assert jobs.run_queued() == 0


@cheaply
@pytest.mark.parametrize(
    "address", ["", "jo", "jo@", "@x.org", "jo@example.org\nBcc: a@b.org", "a@b.org, c@d.org", "<a@b.org>"]
)
def test_only_one_plain_address(address: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        mail.queue("test", address, "s", "b")
    assert caught.value.field == "to"
    assert not Mail.objects.exists()


@cheaply
@given(text=st.text(max_size=20), cut=st.sampled_from(["\r", "\n", "\0", "\r\n"]), place=st.integers(0, 20))
def test_line_breaks_never_enter_a_header(text: str, cut: str, place: int) -> None:
    evil = text[:place] + cut + text[place:]
    for arguments in (
        {"subject": evil},
        {"subject": "s", "headers": {"X-A": evil}},
        {"subject": "s", "headers": {evil: "v"}},
    ):
        with pytest.raises(errors.Invalid):
            mail.queue("test", "jo@example.org", body="b", **arguments)


def test_a_real_worker_sends_it(smtp: mailbox.Mailbox, worker: house.Worker) -> None:
    mail.queue("test", "jo@example.org", "from a worker", "b")
    (message,) = smtp.wait(1)
    assert message["Subject"] == "from a worker"
    assert house.wait_for(lambda: Mail.objects.filter(state="sent").exists())
