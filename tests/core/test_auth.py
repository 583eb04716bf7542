"""Credentials: tokens are stored hashed, belong to one audience, and die with the password."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import auth
from core.models import ApiToken, EmailAddress, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def amal() -> User:
    return User.objects.create_user("Amal", "Amal@Example.org", "correct horse", is_validated=True)


def test_a_token_is_stored_only_as_its_digest(amal: User) -> None:
    token, secret = auth.issue_token(amal, audience="exports", shape="hex40")
    assert len(secret) == 40
    assert secret == secret.lower()
    row = ApiToken.objects.values().get(pk=token.pk)
    assert secret not in str(row)
    found = auth.resolve_token("exports", secret)
    assert found is not None
    assert found.user == amal


def test_a_token_works_for_its_audience_only(amal: User) -> None:
    _, secret = auth.issue_token(amal, audience="exports")
    assert auth.resolve_token("registry", secret) is None


def test_expired_revoked_and_inactive_tokens_are_dead(amal: User) -> None:
    _, expired = auth.issue_token(amal, audience="registry", expires=timedelta(seconds=-1))
    token, revoked = auth.issue_token(amal, audience="registry")
    ApiToken.objects.filter(pk=token.pk).update(revoked_at=timezone.now())
    _, orphan = auth.issue_token(amal, audience="registry")
    User.objects.filter(pk=amal.pk).update(is_active=False)
    assert [auth.resolve_token("registry", secret) for secret in (expired, revoked, orphan)] == [None, None, None]


def test_only_the_newest_tokens_are_kept(amal: User) -> None:
    secrets = [auth.issue_token(amal, audience="exports", keep=2)[1] for _ in range(4)]
    assert [auth.resolve_token("exports", secret) is not None for secret in secrets] == [False, False, True, True]


def test_last_use_is_written_at_most_every_five_minutes(amal: User) -> None:
    _, secret = auth.issue_token(amal, audience="exports")
    long_ago = timezone.now() - timedelta(hours=1)

    def use(last: datetime | None) -> tuple[list[str], datetime | None]:
        """The words of the one statement, and the last use that is noted then."""
        ApiToken.objects.update(last_used_at=last)
        with CaptureQueriesContext(connection) as queries:
            found = auth.resolve_token("exports", secret)
        assert found is not None
        assert found.user == amal
        (query,) = queries.captured_queries
        return [word for word in ("SELECT", "UPDATE") if word in query["sql"]], ApiToken.objects.get().last_used_at

    for last in (None, long_ago):
        auth.USES.forget()
        words, noted = use(last)
        assert words == ["SELECT", "UPDATE"]
        assert noted is not None
        assert noted > long_ago
        assert use(long_ago) == (["SELECT"], long_ago), "this process has noted it"
    auth.USES.forget()
    recent = timezone.now() - timedelta(minutes=4)
    assert use(recent) == (["SELECT", "UPDATE"], recent), "another process has noted it"
    assert use(recent) == (["SELECT"], recent)


def test_a_use_is_due_five_minutes_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    uses, now = auth.Uses(most=2), timezone.now()
    assert uses.is_due("a", now)
    uses.noted("a", now, last=None)
    uses.noted("b", now, last=now - timedelta(minutes=4))
    later = now + timedelta(minutes=1)
    assert [uses.is_due(key, later) for key in ("a", "b", "c")] == [False, True, True]
    assert uses.is_due("a", now + timedelta(minutes=5))
    uses.noted("c", now, last=now - timedelta(hours=1))
    assert [uses.is_due(key, later) for key in ("a", "c")] == [True, False], "only so many are remembered"


def test_a_new_password_revokes_tokens_and_a_silent_rehash_does_not(amal: User) -> None:
    _, secret = auth.issue_token(amal, audience="registry")
    User.objects.filter(pk=amal.pk).update(password=make_password("correct horse", hasher="pbkdf2_sha256"))
    again = User.objects.get(pk=amal.pk)
    assert again.check_password("correct horse"), "checking re-hashes with the first hasher"
    assert User.objects.get(pk=amal.pk).password.startswith("bcrypt_sha256$")
    assert auth.resolve_token("registry", secret) is not None
    again.set_password("another one")
    again.save()
    assert auth.resolve_token("registry", secret) is None


def test_usernames_are_lower_case_and_addresses_follow(amal: User) -> None:
    assert amal.username == "amal"
    assert list(amal.addresses.values_list("address", "is_primary")) == [("Amal@Example.org", True)]
    amal.email = "new@example.org"
    amal.save()
    primary = EmailAddress.objects.get(user=amal, is_primary=True)
    assert primary.address == "new@example.org"


def test_people_log_in_by_name_or_address(amal: User) -> None:
    for name in ("amal", "AMAL", "amal@example.org"):
        assert authenticate(username=name, password="correct horse") == amal
    assert authenticate(username="amal", password="wrong") is None
    assert authenticate(username="nobody", password="wrong") is None
    assert authenticate(username="am\0al", password="x") is None


def basic(text: bytes) -> tuple[str, str] | None:
    header = "bAsIc " + base64.b64encode(text).decode()
    return auth.basic(RequestFactory().get("/", headers={"Authorization": header}))


def test_basic_credentials_are_split_at_the_first_colon() -> None:
    assert basic(b"name:pass:word") == ("name", "pass:word")
    assert basic("é:ü".encode()) == ("é", "ü")
    assert basic("é:ü".encode("latin-1")) == ("é", "ü")
    assert basic(b"no colon") is None
    assert auth.basic(RequestFactory().get("/", headers={"Authorization": "Basic !!!"})) is None
    assert auth.basic(RequestFactory().get("/")) is None


def test_bearer_and_other_schemes_are_kept_apart() -> None:
    request = RequestFactory().get("/", headers={"Authorization": "Token abc"})
    assert auth.bearer(request) is None
    assert auth.authorization(request, "token") == "abc"
