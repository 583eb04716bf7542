"""The life of a client: registration, review, keys, changes (contract 3, 4 and 7)."""

from __future__ import annotations

import re
import threading
import types
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.test import Client, override_settings
from django.utils import timezone

from core import errors, jobs
from core.models import Mail, User
from tests import house, together
from tests.usermgmt import world
from usermgmt.formats import secrets
from usermgmt.jobs import housekeeping, pairs
from usermgmt.models import ApiClient, ClientCredential, ClientEvent, RevealTicket
from usermgmt.services import clients, credentials, leaks

pytestmark = pytest.mark.django_db
SEARCH = "/api/v1/users/username/mgatto"


def login(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


FIELDS = {
    "name": "Finder",
    "description": "Finds <b>people</b>.",
    "url": "https://example.org",
    "networks": "10.0.0.1, 2001:db8::/48",
    "data_use": "To find them.",
}


def test_registration() -> None:
    """UM40: Registration needs all five fields, is pending, mails staff and owner, shows no key."""
    world.api()
    owner = world.person("amal", email="amal@example.org")
    browser = login(owner)
    for missing in FIELDS:
        response = browser.post("/portal/api-clients/new/user-api", {**FIELDS, missing: ""})
        assert response.status_code == 400
        assert "This field is required." in response.content.decode()
    response = browser.post("/portal/api-clients/new/user-api", FIELDS, follow=True)
    assert response.redirect_chain == [("/portal/api-clients", 302)]
    page = response.content.decode()
    assert "Your client was successfully registered" in page
    assert "Pending Client Registrations (1)" in page
    client = ApiClient.objects.get()
    assert (client.state, client.credentials.count()) == ("pending", 0)
    assert sorted(Mail.objects.values_list("kind", "to")) == [
        ("usermgmt.submitted-owner", "amal@example.org"),
        ("usermgmt.submitted-staff", "support@localhost"),
    ]
    staff = Mail.objects.get(kind="usermgmt.submitted-staff").body
    for text in ("Finds <b>people</b>.", "10.0.0.1, 2001:db8::/48", "amal", f"/admin/usermgmt/apiclient/{client.pk}/"):
        assert text in staff
    assert "Note:" not in staff
    receipt = Mail.objects.get(kind="usermgmt.submitted-owner").body
    assert "within 2 business days" in receipt
    assert "10.0.0.1, 2001:db8::/48" in receipt
    assert "Finds &lt;b&gt;people" in browser.get(f"/portal/api-clients/{client.pk}").content.decode()


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("10.0.0.1, 300.1.2.3", "300.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("224.0.0.1", "224.0.0.1"),
        ("ff02::1", "ff02::1"),
        ("0.0.0.0", "0.0.0.0"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("10.0.0.1/33", "10.0.0.1/33"),
        (", ".join(f"10.0.0.{n}" for n in range(1, 22)), "20"),
    ],
)
def test_refused_networks(typed: str, named: str) -> None:
    """UM35: `/0`, multicast, syntax errors name the item."""
    with pytest.raises(errors.Invalid) as refused:
        world.pending(networks=typed)
    assert named in refused.value.message
    assert refused.value.field == "networks"


@pytest.mark.parametrize(
    ("cidr", "is_wide"),
    [("10.0.0.0/16", False), ("10.0.0.0/15", True), ("2001:db8::/48", False), ("2001:db8::/47", True)],
)
def test_wide_networks(cidr: str, is_wide: bool) -> None:
    """UM35: what is wider than /16 or /48 is pointed out to staff, in the mail and on the page."""
    client = world.pending(networks=f"192.0.2.1, {cidr}")
    told = Mail.objects.get(kind="usermgmt.submitted-staff").body
    assert (f"Note: {cidr} is a wide network." in told) == is_wide
    page = login(world.reviewer()).get(f"/admin/usermgmt/apiclient/{client.pk}/change/").content.decode()
    assert page.count("warning: a wide network") == is_wide


def test_networks_are_merged() -> None:
    """UM35: comma and space separate; duplicates merge; host bits clear."""
    client = world.pending(networks="10.0.0.1,10.0.0.1, 10.0.0.1/32 ::ffff:10.0.0.1, 192.0.2.77/24")
    assert [network.cidr for network in client.networks.all()] == ["10.0.0.1/32", "192.0.2.0/24"]


def test_names_are_unique_per_owner() -> None:
    owner = world.person()
    world.pending(owner, name="Same")
    with pytest.raises(errors.Invalid) as refused:
        world.pending(owner, name="sAME")
    assert refused.value.field == "name"
    assert world.pending(name="Same").name == "Same"


@pytest.mark.django_db(transaction=True)
def test_two_reviewers() -> None:
    """UM41: Two reviewers at once: one decision."""
    client, staff = world.pending(), [world.person(is_staff=True) for _ in range(2)]

    def review(decide: Callable[[], object]) -> str:
        try:
            decide()
        except errors.Conflict:
            return "late"
        return "decided"

    def approve() -> str:
        return review(lambda: clients.approve(client, actor=staff[0]))

    def deny() -> str:
        return review(lambda: clients.deny(client, actor=staff[1], reason="No."))

    assert sorted(together.at_once([approve, deny])) == ["decided", "late"]
    assert ClientEvent.objects.filter(action__in=["approved", "denied"]).count() == 1


def test_refused_decisions() -> None:
    """UM41: denial without reason and self-approval are refused."""
    staff = world.person("boss", is_staff=True)
    own, other = world.pending(staff), world.pending()
    with pytest.raises(errors.Denied):
        clients.approve(own, actor=staff)
    for reason in ("", "  "):
        with pytest.raises(errors.Invalid):
            clients.deny(other, actor=staff, reason=reason)
    assert set(ApiClient.objects.values_list("state", flat=True)) == {"pending"}


def test_moves() -> None:
    """UM41: illegal or repeated transitions change nothing."""
    staff = world.reviewer()
    client = world.pending()
    for act in (clients.suspend, clients.reinstate, clients.revoke):
        with pytest.raises(errors.Conflict):
            act(client, actor=staff)
    clients.approve(client, actor=staff)
    with pytest.raises(errors.Conflict):
        clients.approve(client, actor=staff)
    with pytest.raises(errors.Conflict):
        clients.deny(client, actor=staff, reason="x")
    clients.suspend(client, actor=staff)
    clients.reinstate(client, actor=staff)
    clients.revoke(client, actor=staff)
    with pytest.raises(errors.Conflict):
        clients.reinstate(client, actor=staff)
    states = list(client.events.values_list("to_state", flat=True))
    assert states == ["pending", "approved", "suspended", "approved", "revoked"]


def test_denied_and_resubmitted() -> None:
    """UM41: the owner reads the reason, edits and resubmits; then the registration is pending as at first."""
    client = world.pending()
    clients.deny(client, actor=world.reviewer(), reason="Say more.")
    denial = Mail.objects.get(kind="usermgmt.denied").body
    assert "Say more." in denial
    assert f"/portal/api-clients/{client.pk}" in denial
    browser = login(client.owner)
    assert "Say more." in browser.get("/portal/api-clients").content.decode()
    browser.post(f"/portal/api-clients/{client.pk}", {**FIELDS, "name": "Better"})
    client.refresh_from_db()
    assert (client.state, client.name) == ("pending", "Better")
    # It waits for a new decision; the old one is history.
    assert (client.decision_reason, client.decided_by, client.decided_at) == ("", None, None)
    assert "Say more." not in browser.get("/portal/api-clients").content.decode()
    assert "Say more." in browser.get(f"/portal/api-clients/{client.pk}").content.decode()
    assert Mail.objects.filter(kind="usermgmt.submitted-staff").count() == 2


def sent(kind: str) -> Any:
    """The mail of a kind that went out, once every queued job ran."""
    from django.core import mail as django_mail

    jobs.run_queued()
    subjects = list(Mail.objects.filter(kind=kind).values_list("subject", flat=True))
    (message,) = [message for message in django_mail.outbox if message.subject in subjects]
    return message


@pytest.mark.django_db(transaction=True)
def test_approval_and_reveal() -> None:
    """UM42: The approval mail has key and reveal link; GET does not consume it, POST by the owner shows the secret
    once."""
    client = world.pending(world.person("amal"))
    clients.approve(client, actor=world.reviewer())
    message = sent("usermgmt.approved")
    key = client.credentials.get().key
    assert re.fullmatch("[0-9a-z]{22}", key)
    assert key in message.body
    assert message.extra_headers["From"].startswith("CyVerse Support <")
    (path,) = re.findall(r"(/portal/reveal/[\w-]{43})", message.body)
    assert path not in Mail.objects.get(kind="usermgmt.approved").body
    owner, stranger = login(client.owner), login(world.person())
    assert Client().get(path).status_code == 302
    assert stranger.get(path).status_code == 404
    assert stranger.post(path).status_code == 404
    for _ in range(3):
        assert owner.get(path).status_code == 200
    response = owner.post(path)
    assert response["Cache-Control"] == "no-store"
    (secret,) = re.findall(r"cvs_\w{42}", response.content.decode())
    assert secrets.is_secret(secret)
    assert Client().get(SEARCH, HTTP_AUTHORIZATION=world.basic(key, secret)).status_code == 404
    assert owner.post(path).status_code == 404
    assert "cvs_" not in re.sub(r"cvs_\w{4}…\w{4}", "", owner.get("/portal/api-clients").content.decode())


def test_a_link_ends_after_seven_days() -> None:
    """UM42: the reveal link is valid for seven days, and a link whose pair was revealed shows nothing."""
    client = world.pending()
    clients.approve(client, actor=world.reviewer())
    credential = client.credentials.get()
    first, second = pairs.ticket(credential), pairs.ticket(credential)
    ends = [ticket.expires_at - timezone.now() for ticket in credential.tickets.all()]
    assert all(timedelta(days=6, hours=23) < end <= timedelta(days=7) for end in ends)
    RevealTicket.objects.update(expires_at=F("expires_at") - timedelta(days=7))
    assert login(client.owner).post(f"/portal/reveal/{first}").status_code == 404
    RevealTicket.objects.update(expires_at=F("expires_at") + timedelta(days=7))
    shown = credentials.reveal(first, owner=client.owner)
    for _ in range(2):
        assert login(client.owner).post(f"/portal/reveal/{second}").status_code == 404
    works = Client().get(SEARCH, HTTP_AUTHORIZATION=world.basic(shown.credential.key, shown.secret))
    assert works.status_code == 404


@pytest.mark.django_db(transaction=True)
def test_link_and_button_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """UM42: the mailed link and the dashboard's button at the same moment show one secret, and neither dies of it."""
    client = world.pending()
    clients.approve(client, actor=world.reviewer())
    credential = client.credentials.get()
    token = pairs.ticket(credential)
    shown: list[Any] = []

    def follow() -> None:
        try:
            shown.append(credentials.reveal(token, owner=client.owner))
        except errors.NotFound:
            shown.append(None)
        finally:
            connection.close()

    following = threading.Thread(target=follow)

    def now() -> datetime:
        if not following.ident:
            following.start()  # our transaction has the pair, and next the links to it
            house.wait_for(together.is_waiting, what="the link to wait for the button", timeout=20)
        return timezone.now()

    monkeypatch.setattr(credentials, "timezone", types.SimpleNamespace(now=now))
    button = credentials.reveal_own(credential.pk, owner=client.owner)
    following.join(30)
    assert shown == [None]
    works = Client().get(SEARCH, HTTP_AUTHORIZATION=world.basic(button.credential.key, button.secret))
    assert works.status_code == 404


@pytest.mark.django_db(transaction=True)
def test_the_secret_by_mail() -> None:
    """UM42: with `USERMGMT_EMAIL_SECRET` the mailed pair works."""
    client = world.pending()
    with override_settings(USERMGMT_EMAIL_SECRET=True):
        clients.approve(client, actor=world.reviewer())
        message = sent("usermgmt.approved")
    key, secret = re.search(r"Key: (\S+)\nSecret: (\S+)", message.body).groups()  # type: ignore[union-attr]
    assert Client().get(SEARCH, HTTP_AUTHORIZATION=world.basic(key, secret)).status_code == 404
    assert_nowhere(secret)


def assert_nowhere(*clear: str) -> None:
    """No table of the database holds one of these texts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            for text in clear:
                cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{text}%"])
                assert cursor.fetchone() == (0,), f"{table} holds a secret"


@pytest.mark.django_db(transaction=True)
def test_no_secret_is_kept(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """UM28: No clear secret or token in dump, log, outbox or mail by default."""
    from django.core import mail as django_mail

    client = world.pending(world.person("amal"))
    clients.approve(client, actor=world.reviewer())
    message = sent("usermgmt.approved")
    (link,) = re.findall(r"/portal/reveal/([\w-]{43})", message.body)
    page = login(client.owner).post(f"/portal/reveal/{link}").content.decode()
    (secret,) = re.findall(r"cvs_\w{42}", page)
    program = world.Program(client, client.credentials.get(), client.credentials.get().key, secret)
    token = world.token(program).json()["access_token"]
    assert Client().get(SEARCH, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 404
    world.post_form("/oauth2/introspect", {"token": token}, HTTP_AUTHORIZATION=program.basic)
    credentials.regenerate(client, seen=program.credential.pk, actor=client.owner)
    jobs.run_queued()
    logged = caplog.text + "".join(capfd.readouterr())
    for clear in (secret, token, link):
        assert clear not in logged
        assert clear not in "".join(str(mail.body) for mail in django_mail.outbox if mail is not message)
    assert secret not in message.body
    assert_nowhere(secret, token, link)


def test_regenerate() -> None:
    """UM29: Regenerate replaces key and secret; old pair and tokens fail at once; new pair shown once; a re-submit
    rotates nothing."""
    program = world.program(world.person("amal"))
    browser = login(program.client.owner)
    path = f"/portal/api-clients/{program.client.pk}/regenerate"
    seen = str(program.credential.pk)
    assert f'name="seen" value="{seen}"' in browser.get(path).content.decode()
    response = browser.post(path, {"seen": seen})
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    page = response.content.decode()
    assert "My API Clients" in page
    (secret,) = re.findall(r"cvs_\w{42}", page)
    fresh = ClientCredential.objects.get(client=program.client, revoked_at=None)
    assert fresh.key in page
    assert fresh.key != program.key
    assert program.get(SEARCH).status_code == 401
    assert Client().get(SEARCH, HTTP_AUTHORIZATION=world.basic(fresh.key, secret)).status_code == 404
    again = browser.post(path, {"seen": seen}, follow=True)
    assert "sent before" in again.content.decode()
    assert "cvs_" not in re.sub(r"cvs_\w{4}…\w{4}", "", again.content.decode())
    assert ClientCredential.objects.get(client=program.client, revoked_at=None) == fresh
    body = Mail.objects.get(kind="usermgmt.regenerated").body
    assert secret not in body


def test_rotate() -> None:
    """UM30: Overlap rotation: both pairs work until the deadline, never three; approving or saving leaves keys
    unchanged."""
    program = world.program()
    owner = program.client.owner

    def works(key: str, secret: str) -> bool:
        return bool(Client().get(SEARCH, HTTP_AUTHORIZATION=world.basic(key, secret)).status_code == 404)

    second = credentials.rotate(program.client, seen=program.credential.pk, overlap=timedelta(hours=24), actor=owner)
    assert second is not None
    assert works(program.key, program.secret)
    assert works(second.credential.key, second.secret)
    third = credentials.rotate(program.client, seen=second.credential.pk, overlap=timedelta(days=7), actor=owner)
    assert third is not None
    assert [works(program.key, program.secret), works(second.credential.key, second.secret)] == [False, True]
    assert program.client.credentials.filter(revoked_at=None).count() == 2
    ClientCredential.objects.filter(pk=second.credential.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not works(second.credential.key, second.secret)
    assert works(third.credential.key, third.secret)
    assert housekeeping.clean_up()["overlapped"] == 1
    keys = list(program.client.credentials.values_list("key", flat=True))
    client = program.fresh()
    client.save()
    clients.suspend(client, actor=world.reviewer())
    clients.reinstate(client, actor=world.reviewer())
    assert list(program.client.credentials.values_list("key", flat=True)) == keys
    assert works(third.credential.key, third.secret)


def test_rotating_never_lengthens_a_pair() -> None:
    """UM30: A pair that ends sooner than the overlap still ends then."""
    program = world.program()
    soon = timezone.now() + timedelta(hours=1)
    ClientCredential.objects.filter(pk=program.credential.pk).update(expires_at=soon)
    seen, owner = program.credential.pk, program.client.owner
    assert credentials.rotate(program.client, seen=seen, overlap=timedelta(hours=24), actor=owner) is not None
    assert ClientCredential.objects.get(pk=seen).expires_at == soon


def test_rotate_page() -> None:
    program = world.program()
    browser = login(program.client.owner)
    path = f"/portal/api-clients/{program.client.pk}/rotate"
    assert browser.post(path, {"seen": program.credential.pk, "overlap": "9"}).status_code == 400
    response = browser.post(path, {"seen": program.credential.pk, "overlap": "0"})
    assert len(re.findall(r"cvs_\w{42}", response.content.decode())) == 1
    assert program.get(SEARCH).status_code == 401


@pytest.mark.parametrize(("overlap", "hours"), [("24", 24), ("168", 7 * 24)])
def test_rotate_page_with_overlap(overlap: str, hours: int) -> None:
    """UM30: the old pair is valid 24 hours or 7 days more; a re-submit rotates nothing; the mail tells until when."""
    program = world.program()
    browser = login(program.client.owner)
    path = f"/portal/api-clients/{program.client.pk}/rotate"
    response = browser.post(path, {"seen": program.credential.pk, "overlap": overlap})
    assert response["Cache-Control"] == "no-store"
    assert len(re.findall(r"cvs_\w{42}", response.content.decode())) == 1
    old = ClientCredential.objects.get(pk=program.credential.pk)
    assert old.expires_at is not None
    assert abs(old.expires_at - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=1)
    assert program.get(SEARCH).status_code == 404
    browser.post(path, {"seen": program.credential.pk, "overlap": overlap})
    assert program.client.credentials.filter(revoked_at=None).count() == 2
    (notice,) = Mail.objects.filter(kind="usermgmt.rotated")
    assert f"{old.expires_at:%Y-%m-%d %H:%M} UTC" in notice.body
    assert "cvs_" not in notice.body


def test_a_change_of_an_approved_client() -> None:
    """UM41: old values stay live until staff accept."""
    program = world.program(name="Finder")
    browser = login(program.client.owner)
    changed = {**FIELDS, "name": "Renamed", "networks": "192.0.2.7"}
    page = browser.post(f"/portal/api-clients/{program.client.pk}", changed, follow=True).content.decode()
    assert "Change waiting for staff" in page
    assert program.get(SEARCH).status_code == 404
    assert program.get(SEARCH, REMOTE_ADDR="192.0.2.7").status_code == 401
    client = program.fresh()
    assert client.name == "Renamed"
    with pytest.raises(errors.Denied):
        clients.decide_change(client.changes.get(), actor=client.owner, accept=True)
    clients.decide_change(client.changes.get(), actor=world.reviewer(), accept=True)
    assert program.get(SEARCH).status_code == 401
    assert program.get(SEARCH, REMOTE_ADDR="192.0.2.7").status_code == 404
    with pytest.raises(errors.Conflict):
        clients.decide_change(client.changes.get(), actor=world.reviewer(), accept=False, reason="Late.")


def test_history_cannot_be_changed() -> None:
    client = world.pending()
    for statement in ("UPDATE usermgmt_clientevent SET action = 'x'", "DELETE FROM usermgmt_clientevent"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert client.events.get().action == "registered"


def test_a_leaked_secret() -> None:
    """UM28: a reported secret suspends its client and mails the owner; the answer never tells a match."""
    program = world.program()
    answers = [
        Client().post("/api/v1/secrets/report", {"secret": secret}, content_type="application/json")
        for secret in (program.secret, "cvs_nothing", secrets.new_secret())
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b'{"received":true}')}
    assert program.fresh().state == "suspended"
    assert Mail.objects.filter(kind="usermgmt.leaked", to=program.client.owner.email).count() == 1
    leaks.report(program.secret, address=None)
    assert Mail.objects.filter(kind="usermgmt.leaked", to=program.client.owner.email).count() == 1
    assert Client().post("/api/v1/secrets/report", b"[]", content_type="application/json").status_code == 400


def test_an_expired_ticket() -> None:
    client = world.pending()
    clients.approve(client, actor=world.reviewer())
    token = pairs.ticket(client.credentials.get())
    RevealTicket.objects.update(expires_at=timezone.now())
    with pytest.raises(errors.NotFound):
        credentials.reveal(token, owner=client.owner)
