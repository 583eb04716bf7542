"""core.webhooks: signed, tried again, never redirected, never to an address we do not go to."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from core import egress, errors, jobs, outbox, webhooks
from core.models import Job, WebhookDelivery
from tests.core.test_egress import Site, says

pytestmark = pytest.mark.django_db(transaction=True)
# Nothing commits, so the tables need no emptying.
cheaply = pytest.mark.django_db(transaction=False)
KEY = hashlib.sha256(b"token").hexdigest()


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    settings.ALLOW_PRIVATE_NETWORKS = True
    served = Site()
    served.answers["/hook"] = says(b"", 204)
    yield served
    served.close()


@pytest.fixture
def event() -> Iterator[Any]:
    """Registers an event for one test."""
    names: list[str] = []

    def make(name: str, **options: Any) -> str:
        names.append(name)
        webhooks.register(webhooks.Event(name, **options))
        return name

    yield make
    for name in names:
        del webhooks._events[name]


def deliver_now(row: WebhookDelivery) -> WebhookDelivery:
    """Make the next try due, and do it."""
    WebhookDelivery.objects.filter(pk=row.pk).update(next_at=timezone.now())
    webhooks.BOX.attempt(row.pk)
    row.refresh_from_db()
    return row


def test_a_delivery_is_signed_as_documented(site: Site) -> None:
    """t=<unix>,v1=<hex HMAC-SHA256 of t.body>, the key being the hex SHA-256 of the caller's secret."""
    row = webhooks.queue("done", f"{site.url}/hook", {"a": "ü", "n": 1}, "token", header="Download-Signature")
    assert row.key == KEY
    assert jobs.run_queued() == 1
    ((method, _, headers, body),) = site.seen
    assert (method, body, headers["Content-Type"]) == ("POST", '{"a":"ü","n":1}'.encode(), "application/json")
    stamp, _, mac = headers["Download-Signature"].removeprefix("t=").partition(",v1=")
    assert abs(time.time() - int(stamp)) < 300
    expected = hmac.new(KEY.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert mac == expected
    assert webhooks.verify(KEY, body, headers["Download-Signature"])
    row.refresh_from_db()
    assert (row.state, row.attempts, row.last_status) == ("sent", 1, 204)


def test_no_secret_is_stored(site: Site) -> None:
    webhooks.queue("done", f"{site.url}/hook", {}, "s3cret-value")
    webhooks.queue("done", f"{site.url}/hook", {}, key=KEY)
    assert "s3cret-value" not in str(list(WebhookDelivery.objects.values()))
    assert set(WebhookDelivery.objects.values_list("key", flat=True)) == {KEY, webhooks.key_of("s3cret-value")}
    for wrong in ({}, {"secret": "a", "key": KEY}):
        with pytest.raises(ValueError, match="either"):
            webhooks.queue("done", f"{site.url}/hook", {}, **wrong)


def test_a_text_payload_goes_out_as_it_is(site: Site) -> None:
    webhooks.queue("done", f"{site.url}/hook", '{"b": 1, "a": 2}', "x")
    jobs.run_queued()
    assert site.seen[0][3] == b'{"b": 1, "a": 2}'


@pytest.mark.parametrize("status", [302, 307, 400, 404, 410, 429, 500, 503])
def test_other_answers_are_tried_again_and_redirects_not_followed(site: Site, status: int) -> None:
    site.answers["/hook"] = says(b"secret of the host", status, Location="/elsewhere")
    row = deliver_now(webhooks.queue("done", f"{site.url}/hook", {}, "x"))
    assert (row.state, row.attempts, row.last_status) == ("queued", 1, status)
    assert row.last_error == f"The answer was {status}."
    assert len(site.seen) == 1
    for _ in range(7):
        deliver_now(row)
    assert (row.state, row.attempts, len(site.seen)) == ("failed", 8, 8)
    site.answers["/hook"] = says(b"", 200)
    assert webhooks.retry(row)
    jobs.run_queued()
    row.refresh_from_db()
    assert row.state == "sent"


def test_addresses_are_checked_at_each_delivery(site: Site, settings: Settings) -> None:
    row = webhooks.queue("done", f"{site.url}/hook", {}, "x")
    settings.ALLOW_PRIVATE_NETWORKS = False
    assert deliver_now(row).last_error == "A webhook needs an https address."
    WebhookDelivery.objects.update(url=f"https://127.0.0.1:{site.port}/hook")
    assert deliver_now(row).last_error == "Addresses of this network are not fetched."
    settings.ALLOW_PRIVATE_NETWORKS = True
    WebhookDelivery.objects.update(url="http://169.254.169.254/latest")
    assert deliver_now(row).last_error == "Addresses of this network are not fetched."
    assert (row.state, site.seen) == ("queued", [])


@cheaply
@pytest.mark.parametrize(
    "url",
    ["http://hooks.example/x", "ftp://hooks.example/", "https://u:p@hooks.example/", "", "https://h/" + "a" * 2000],
)
def test_urls_that_cannot_be_webhooks(url: str, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_NETWORKS = False
    with pytest.raises(errors.Invalid):
        webhooks.queue("done", url, {}, "x")
    assert not WebhookDelivery.objects.exists()


def test_long_answers_are_refused_and_short_ones_reach_the_app(site: Site, event: Any) -> None:
    bodies: list[bytes] = []

    def answered(row: WebhookDelivery, response: egress.Response) -> None:
        bodies.append(response.body)
        if response.body != b'{"granted":true}':
            raise outbox.Undelivered("not granted yet", status=response.status)

    name = event("grant", answered=answered)
    site.answers["/hook"] = says(b"x" * (webhooks.ANSWER_LIMIT + 1))
    row = deliver_now(webhooks.queue(name, f"{site.url}/hook", {}, "x"))
    assert (row.state, bodies) == ("queued", [])
    site.answers["/hook"] = says(b"{}", 202)
    deliver_now(row)
    assert (row.state, row.last_error, row.last_status) == ("queued", "not granted yet", 202)
    site.answers["/hook"] = says(b'{"granted":true}')
    deliver_now(row)
    assert (row.state, bodies) == ("sent", [b"{}", b'{"granted":true}'])


def test_one_delivery_per_dedupe_key_and_the_end_is_told(site: Site, event: Any) -> None:
    gone: list[int] = []
    name = event("end", patience=outbox.Patience(tries=1), given_up=lambda row: gone.append(row.pk))
    site.answers["/hook"] = says(b"", 500)
    first = webhooks.queue(name, f"{site.url}/hook", {"n": 1}, "x", dedupe="k")
    assert webhooks.queue(name, f"{site.url}/hook", {"n": 2}, "x", dedupe="k") == first
    jobs.run_queued()
    assert (gone, len(site.seen)) == ([first.pk], 1)


def test_a_lost_delivery_is_found(site: Site) -> None:
    row = webhooks.queue("done", f"{site.url}/hook", {}, "x")
    Job.objects.all().delete()
    assert webhooks.sweep() == 0  # its own job would still be on the way
    WebhookDelivery.objects.update(next_at=timezone.now() - outbox._PATIENCE)
    assert webhooks.sweep() == 1
    jobs.run_queued()
    row.refresh_from_db()
    assert row.state == "sent"


@cheaply
@given(body=st.binary(max_size=100), at=st.integers(0, 2**33), drift=st.integers(-400, 400), flip=st.integers(0, 63))
def test_signatures_hold_for_their_body_and_time(body: bytes, at: int, drift: int, flip: int) -> None:
    value = webhooks.sign(KEY, body, at=at)
    assert webhooks.verify(KEY, body, value, now=at + drift) == (abs(drift) <= 300)
    assert not webhooks.verify(KEY, body + b"x", value, now=at)
    assert not webhooks.verify(webhooks.key_of("other"), body, value, now=at)
    forged = value[: len(value) - 64] + "".join(
        ("0" if char != "0" else "1") if place == flip else char for place, char in enumerate(value[-64:])
    )
    assert not webhooks.verify(KEY, body, forged, now=at)


@cheaply
@pytest.mark.parametrize("value", ["", "t=", "t=x,v1=", "v1=abc", "t=1", "t=²,v1=a"])
def test_odd_signature_headers_are_not_valid(value: str) -> None:
    assert not webhooks.verify(KEY, b"", value)
