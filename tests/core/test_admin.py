"""Admin: people found by any spelling, tokens revoked, jobs cancelled and started again, messages sent again."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory

from core import auth, jobs
from core.jobs import families
from core.models import Job, Mail, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("staff", "staff@example.org"))
    return client


def act(client: Client, model: str, action: str, pk: object) -> str:
    form = {"action": action, "_selected_action": str(pk)}
    return client.post(f"/admin/core/{model}/", form, follow=True).content.decode()


@pytest.mark.parametrize("model", ["user", "apitoken", "job", "mail", "webhookdelivery"])
def test_every_list_opens(staff: Client, model: str) -> None:
    assert staff.get(f"/admin/core/{model}/").status_code == 200


def test_people_are_found_without_regard_to_accents(staff: Client) -> None:
    User.objects.create_user("jm", "jose@example.org", first_name="José", last_name="Müller")
    for term in ("jose", "MULLER", "jose@example"):
        assert "Müller" in staff.get("/admin/core/user/", {"q": term}).content.decode()


def test_a_person_is_created_and_edited(staff: Client) -> None:
    form = {"username": "Neu", "email": "neu@example.org", "usable_password": "false"}
    inline = {"addresses-TOTAL_FORMS": "0", "addresses-INITIAL_FORMS": "0"}
    answer = staff.post("/admin/core/user/add/", form | inline)
    assert answer.status_code == 302
    assert User.objects.get(username="neu").addresses.get().address == "neu@example.org"


def edited(staff: Client, user: User, **changes: str) -> str:
    """The page that answers when these fields of a person's form are changed; empty when it was stored."""
    rows = list(user.addresses.order_by("-is_primary", "pk"))
    inline = {"addresses-TOTAL_FORMS": str(len(rows)), "addresses-INITIAL_FORMS": str(len(rows))}
    for place, row in enumerate(rows):
        inline |= {
            f"addresses-{place}-{name}": str(value)
            for name, value in (("id", row.pk), ("user", user.pk), ("address", row.address))
        }
        inline |= {f"addresses-{place}-is_verified": "on"} if row.is_verified else {}
    form = {"username": user.username, "email": user.email, "is_active": "on", "is_validated": "on"}
    answer = staff.post(f"/admin/core/user/{user.pk}/change/", form | inline | changes)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_addresses_stay_in_step(staff: Client) -> None:
    """Whatever staff change of the addresses, the account's `email` is its primary row, and nothing fails."""
    user = User.objects.create_user("amal", "amal@example.org", is_validated=True)
    User.objects.create_user("other", "taken@example.org")
    rows = user.addresses.order_by("pk").values_list("address", "is_primary", "is_verified")
    for address, told in (("TAKEN@example.org", "Somebody else has this address."), ("none", "Enter a valid email")):
        assert told in edited(staff, user, email=address)
        assert edited(staff, user, **{"addresses-0-address": address})
    form = {"username": "new", "email": "Taken@example.org", "usable_password": "false"}
    inline = {"addresses-TOTAL_FORMS": "0", "addresses-INITIAL_FORMS": "0"}
    assert staff.post("/admin/core/user/add/", form | inline).status_code == 200
    # the address of the primary row itself
    assert not edited(staff, user, **{"addresses-0-address": "second@example.org"})
    user.refresh_from_db()
    assert (user.email, list(rows.all())) == ("second@example.org", [("second@example.org", True, True)])
    # another address for the account, while its row is changed too
    assert not edited(staff, user, email="third@example.org", **{"addresses-0-is_verified": ""})
    user.refresh_from_db()
    assert user.email == "third@example.org"
    assert list(rows.all()) == [("second@example.org", False, False), ("third@example.org", True, True)]
    assert not edited(staff, user, **{"addresses-0-DELETE": "on"})
    user.refresh_from_db()
    assert (user.email, list(rows.all())) == ("", [("second@example.org", False, False)])


def test_a_user_name_of_other_letters_is_the_same(staff: Client) -> None:
    user = User.objects.create_user("amal")
    User.objects.create_user("other")
    assert "already exists" in edited(staff, user, username="OTHER")
    assert not edited(staff, user, username="AMAL2")
    assert User.objects.get(pk=user.pk).username == "amal2"


def test_tokens_are_revoked_and_never_shown(staff: Client) -> None:
    token, secret = auth.issue_token(User.objects.get(), audience="exports")
    page = staff.get(f"/admin/core/apitoken/{token.pk}/change/").content.decode()
    assert secret not in page
    assert token.sha256 not in page
    assert "1 token was revoked" in act(staff, "apitoken", "revoke", token.pk)
    assert auth.resolve_token("exports", secret) is None


def test_jobs_are_cancelled_and_started_again(staff: Client) -> None:
    jobs.register(jobs.Kind("test.admin", lambda run: None))
    job, _ = jobs.submit("test.admin", {"n": 1})
    assert "1 job was asked to stop" in act(staff, "job", "cancel", job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert "was started again" in act(staff, "job", "retry", job.pk)
    assert Job.objects.filter(kind="test.admin", state="queued", params={"n": 1}).exists()
    del families._kinds["test.admin"]


def test_failed_mails_are_sent_again(staff: Client) -> None:
    mail = Mail.objects.create(kind="k", to="a@example.org", subject="s", body="b", state="failed", attempts=8)
    assert "1 message was queued again" in act(staff, "mail", "send_again", mail.pk)
    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == ("queued", 0)


HARMLESS = {"export_csv"}
REFUSES_ITSELF = {"undo"}  # of the registry's runs: asks for another table's permission
EVERY_STAFF_DECIDES = "usermgmt"  # contract usermgmt 3: reviewing is what staff are for


@pytest.fixture
def viewer() -> User:
    """Staff who may look at everything and change nothing."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return user


def test_who_may_only_look_is_offered_no_action_that_changes_something(viewer: User) -> None:
    request = RequestFactory().get("/admin/")
    request.user = viewer
    offered = {
        (model._meta.label, action)
        for model, table in admin.site._registry.items()
        if model._meta.app_label != EVERY_STAFF_DECIDES
        for action in table.get_actions(request)
    }
    assert {pair for pair in offered if pair[1] not in HARMLESS | REFUSES_ITSELF} == set()
    assert ("downloads.RejectedRow", "export_csv") in offered


def test_who_may_only_look_revokes_and_cancels_nothing(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    token, secret = auth.issue_token(viewer, audience="exports")
    assert "revoked" not in act(client, "apitoken", "revoke", token.pk).partition("<table")[0]
    assert auth.resolve_token("exports", secret) is not None
    mail = Mail.objects.create(kind="k", to="a@example.org", subject="s", body="b", state="failed", attempts=8)
    act(client, "mail", "send_again", mail.pk)
    mail.refresh_from_db()
    assert mail.state == "failed"
    assert client.post("/admin/downloads/recordset/upload/", {}).status_code == 403
