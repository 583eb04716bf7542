"""What happens by the clock and after commit (contract 4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail as django_mail
from django.test import Client, override_settings
from django.utils import timezone

from core import jobs, mail
from core.models import Job, Mail, User
from tests.usermgmt import world
from usermgmt.formats import secrets, workdays
from usermgmt.jobs import calls, housekeeping, pairs
from usermgmt.models import (
    AccessToken,
    AddressCheck,
    ApiClient,
    ClientDailyUsage,
    FoundCount,
    RevealTicket,
    SearchAudit,
)
from usermgmt.services import accounts, clients

pytestmark = pytest.mark.django_db
SEARCH = "/api/v1/users/username/mgatto"


@pytest.mark.django_db(transaction=True)
def test_mail_server_down() -> None:
    """UM43: With broker or SMTP down decisions succeed and mails go out later."""
    with override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=9
    ):
        client = world.pending()
        clients.approve(client, actor=world.reviewer())
        jobs.run_queued()
    assert ApiClient.objects.get(pk=client.pk).state == "approved"
    waiting = Mail.objects.filter(kind__startswith="usermgmt.")
    assert set(waiting.values_list("state", "attempts")) == {("queued", 1)}
    assert not client.credentials.get().tickets.exists()
    assert not django_mail.outbox
    waiting.update(next_at=timezone.now() - timedelta(minutes=1))
    Job.objects.update(available_at=timezone.now())
    mail.sweep()
    jobs.run_queued()
    kinds = set(Mail.objects.filter(state="sent").values_list("kind", flat=True))
    assert kinds == {"usermgmt.submitted-staff", "usermgmt.submitted-owner", "usermgmt.approved"}
    assert client.credentials.get().tickets.count() == 1
    assert len(django_mail.outbox) == 3


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_is_given_up() -> None:
    """UM43: after three days staff are told."""
    with override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=9
    ):
        clients.deny(world.pending(), actor=world.reviewer(), reason="No.")
        Mail.objects.update(attempts=9)
        jobs.run_queued()
    assert Mail.objects.get(kind="usermgmt.denied").state == "failed"
    alert = Mail.objects.filter(kind="usermgmt.mail-undeliverable").first()
    assert alert is not None
    assert "usermgmt.denied" in alert.body


@override_settings(USERMGMT_STAFF_EMAIL=["staff@example.org"], USERMGMT_ESCALATION_EMAIL=["boss@example.org"])
def test_reminders() -> None:
    """UM43: each reminder once: after one business day to staff, after two to the escalation address."""
    client = world.pending()
    kinds = ("usermgmt.reminder", "usermgmt.escalation")
    seen = []
    for days, minutes in ((1, 5), (1, -5), (1, -5), (2, 5), (2, -5), (2, -5)):
        # Five minutes short of so many business days, or past them.
        waiting_since = workdays.before(timezone.now(), days) + timedelta(minutes=minutes)
        ApiClient.objects.update(submitted_at=waiting_since)
        housekeeping.remind()
        seen.append(list(Mail.objects.filter(kind__in=kinds).order_by("pk").values_list("kind", "to")))
    first, second = (kinds[0], "staff@example.org"), (kinds[1], "boss@example.org")
    assert seen == [[], [first], [first], [first], [first, second], [first, second]]
    clients.approve(client, actor=world.reviewer())
    ApiClient.objects.update(reminded_at=None)
    assert housekeeping.remind() == 0


def test_the_book_of_calls() -> None:
    """UM24: no SQL write per search; counters, last use and audit reach SQL by the clock, without terms."""
    people = world.seed_people()
    program = world.program(world.person("owner"))
    token = world.token(program).json()["access_token"]
    world.service("coge")
    assert program.get(SEARCH).status_code == 200
    assert Client().get(SEARCH, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 200
    assert program.get("/api/v1/users/username/nobodyhere").status_code == 404
    assert program.get("/api/v1/users/username/ab").status_code == 400
    assert program.get(SEARCH, REMOTE_ADDR="192.0.2.7").status_code == 401
    assert program.call("post", "/api/v1/service/coge/add/mgatto10").status_code == 200
    assert ClientDailyUsage.objects.count() == SearchAudit.objects.count() == 0
    assert calls.flush() == 6
    assert calls.flush() == 0
    today = datetime.now(UTC).date()
    usage = ClientDailyUsage.objects.values_list("day", "scheme", "endpoint", "ok", "failed")
    assert set(usage) == {
        (today, "basic", "users", 2, 2),
        (today, "bearer", "users", 1, 0),
        (today, "basic", "service", 1, 0),
    }
    audit = list(SearchAudit.objects.order_by("at").values_list("type", "rows", "status"))
    assert audit == [("username", 2, 200), ("username", 2, 200), ("username", 0, 404), ("username", 0, 400)]
    terms = list(SearchAudit.objects.order_by("at").values_list("term", flat=True))
    assert terms[0] == terms[1] != terms[2]
    assert not any("mgatto" in term for term in terms)
    client = program.fresh()
    assert client.last_used_at is not None
    assert client.last_used_ip == "127.0.0.1"
    assert set(FoundCount.objects.values_list("user", "times")) == {(user.pk, 2) for user in people}
    program.get(SEARCH)
    calls.flush()
    assert ClientDailyUsage.objects.get(scheme="basic", endpoint="users").ok == 3
    page = Client()
    page.force_login(program.client.owner)
    assert "bearer" in page.get(f"/portal/api-clients/{program.client.pk}").content.decode()


def test_no_search_type_spoils_the_book() -> None:
    """UM24: a type that is none, even one with a NUL, is counted and audited like any other failure."""
    program = world.program()
    for kind in ("a%00b", "a-type-of-more-than-eight-letters"):
        assert program.get(f"/api/v1/users/{kind}/mgatto").status_code == 400
    assert calls.flush() == 2
    assert list(SearchAudit.objects.values_list("type", "status")) == [("other", 400), ("other", 400)]
    assert ClientDailyUsage.objects.get().failed == 2


def test_volume_alert() -> None:
    program = world.program()
    with override_settings(USERMGMT_VOLUME_ALERT=1):
        for _ in range(3):
            program.get(SEARCH)
            calls.flush()
    assert Mail.objects.filter(kind="usermgmt.volume").count() == 1


def test_calls_without_valkey(monkeypatch: pytest.MonkeyPatch) -> None:
    """UM36: searches go on while Valkey is away."""
    program = world.program()
    with override_settings(REDIS_URL="redis://127.0.0.1:9/0"):
        assert [program.get(SEARCH).status_code for _ in range(3)] == [404] * 3
        assert calls.flush() == 0
    monkeypatch.setattr(calls, "_silent_until", 0.0)


def test_clean_up() -> None:
    """UM30: expired tokens, tickets, registrations, old audit and usage go; what lives stays."""
    program = world.program()
    world.token(program)
    world.token(program)
    AccessToken.objects.filter(pk=AccessToken.objects.latest("pk").pk).update(expires_at=timezone.now())
    for age in (89, 91):
        at = timezone.now() - timedelta(days=age)
        SearchAudit.objects.create(at=at, client=program.client, type="name", term="x", rows=0, status=404)
    for age in (399, 401):
        day = timezone.now().date() - timedelta(days=age)
        ClientDailyUsage.objects.create(client=program.client, day=day, scheme="basic", endpoint="users")
    for name in ("newcomer", "lateone"):
        accounts.register(accounts.Registration(name, "A", "B", f"{name}@x.org", "", "", "pw"))
    for name, since in (("lateone", timedelta(days=7, hours=1)), ("newcomer", timedelta(days=6, hours=23))):
        AddressCheck.objects.filter(user__username=name).update(created_at=timezone.now() - since)
    open_ticket, ended = pairs.ticket(program.credential), pairs.ticket(program.credential)
    RevealTicket.objects.filter(token_sha256=secrets.token_digest(ended)).update(expires_at=timezone.now())
    gone = housekeeping.clean_up()
    assert (gone["tokens"], gone["tickets"], gone["audit"], gone["usage"]) == (1, 1, 1, 1)
    assert RevealTicket.objects.get().token_sha256 == secrets.token_digest(open_ticket)
    assert not User.objects.filter(username="lateone").exists()
    assert User.objects.filter(username="newcomer").exists()
    assert AccessToken.objects.count() == SearchAudit.objects.count() == 1
    assert program.get(SEARCH).status_code == 404
    assert housekeeping.clean_up()["tokens"] == 0


def test_ticks_and_mails_are_registered() -> None:
    from core import clock

    names = {tick.name for tick in clock.ticks() if tick.name.startswith("usermgmt.")}
    assert names == {f"usermgmt.{name}" for name in ("calls", "requests", "reminders", "clean_up")}


def test_every_mail_has_a_text() -> None:
    from django.template import loader

    from usermgmt.jobs import mails

    for kind in mails.kinds():
        loader.get_template(f"usermgmt/mail/{kind.name.partition('.')[2]}.txt")
