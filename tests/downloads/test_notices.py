"""Who is told what, and when: after a retry, on an operator's word, and not after withdrawing (contract 3.4, 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from core import announce, clock, jobs
from core.models import Mail, WebhookDelivery
from downloads import services
from downloads.jobs import notices
from downloads.jobs.build import plan
from downloads.models import Build, Download, Notification
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

HOOK = "https://hooks.example.org/done"


@pytest.fixture(autouse=True)
def _acers(tmp_path: Path, running_house: house.House) -> None:
    making.bring_in(making.archive(tmp_path, making.specimens(2)))


def subjects() -> list[str]:
    return list(Mail.objects.order_by("id").values_list("subject", flat=True))


def run(build: Build | None) -> None:
    assert build is not None
    assert build.job_id is not None
    jobs.run(build.job_id)


def test_a_retried_download_tells_of_its_new_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """D50: who heard of the failure hears of the success after an operator's retry, by mail and by webhook."""
    monkeypatch.setattr(plan, "count", lambda *_: (_ for _ in ()).throw(ValueError("a bug")))
    failed = making.built({}, email="a@example.org", webhook=HOOK)
    assert subjects() == ["iDigBio Download Failed"]
    monkeypatch.undo()
    assert services.retry_failed(failed)
    assert {each.state for each in Notification.objects.all()} == {"waiting"}
    run(services.find(failed.uuid).build)
    assert subjects() == ["iDigBio Download Failed", "iDigBio Download Ready"]
    words = [delivery.body for delivery in WebhookDelivery.objects.order_by("id")]
    assert ['"task_status":"FAILURE"' in words[0], '"task_status":"SUCCESS"' in words[1]] == [True, True]


def test_sending_again_writes_a_new_mail(settings: Settings) -> None:
    """D50: a mail that went out is sent again as a new one, a failed one is tried anew; the answer is the truth."""
    download = making.built({}, email="a@example.org", webhook=HOOK)
    Mail.objects.update(state=Mail.State.SENT)
    WebhookDelivery.objects.update(state=WebhookDelivery.State.SENT)
    for notification in Notification.objects.all():
        assert services.resend(notification)
    assert [mail.state for mail in Mail.objects.order_by("id")] == ["sent", "queued"]
    assert [each.state for each in WebhookDelivery.objects.order_by("id")] == ["sent", "queued"]
    Mail.objects.update(state=Mail.State.FAILED)
    mailed = Notification.objects.get(channel="mail")
    assert services.resend(mailed)
    assert [mail.state for mail in Mail.objects.order_by("id")] == ["failed", "queued"]
    Mail.objects.update(state=Mail.State.SENT)
    settings.DOWNLOADS_MAILS_PER_ADDRESS = 2
    assert not services.resend(mailed)
    Download.objects.filter(pk=download.pk).update(state=Download.State.EXPIRED)
    assert not services.resend(Notification.objects.get(channel="webhook"))
    assert (Mail.objects.count(), WebhookDelivery.objects.count()) == (2, 2)


def test_late_comers_are_told_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """D24: who asks for a ready download is told by the clock, which is rung for: once per address and channel."""
    rung: list[str] = []

    def heard(task: str, *_args: Any, **_more: Any) -> bool:
        rung.append(task)
        return True

    monkeypatch.setattr(announce, "message", heard)
    making.built({}, email="a@example.org")
    rung.clear()
    equal: dict[str, Any] = {"and": [{}]}  # another download on the same build
    to_b: dict[str, Any] = {"email": "b@example.org", "webhook": HOOK}
    to_c: dict[str, Any] = {"email": "c@example.org"}
    for query, told in (({}, to_b), (equal, to_c)):
        placed = making.place(query, **told)
        assert placed.download.state == Download.State.DONE
        making.place(query, **told)
    assert rung == ["tick.downloads.notices"] * 2
    assert (Mail.objects.count(), WebhookDelivery.objects.count()) == (1, 0)
    (tick,) = (tick for tick in clock.ticks() if tick.task == rung[0])
    for downloads in (2, 0):
        assert tick.act() == downloads
        assert list(Mail.objects.order_by("to").values_list("to", "subject")) == [
            (f"{name}@example.org", "iDigBio Download Ready") for name in "abc"
        ]
        assert WebhookDelivery.objects.count() == 1
    assert {each.state for each in Notification.objects.all()} == {"queued"}


def test_who_waits_is_not_told_by_the_clock() -> None:
    """D24, D31: of a download that waits, or was cancelled, there is nothing to tell."""
    placed = making.place({}, email="a@example.org")
    assert notices.send_late() == 0
    assert services.cancel_all(placed.download)
    assert notices.send_late() == 0
    assert not Mail.objects.exists()


def test_the_bell_is_heard(start_worker: Any) -> None:
    """D24: a worker tells a late comer at once, although nobody keeps the clock."""
    making.built({})
    start_worker(queues=["default"], concurrency=1)
    making.place({}, email="b@example.org")
    house.wait_for(lambda: Mail.objects.filter(to="b@example.org").exists(), what="the mail")


def test_who_withdraws_is_not_told() -> None:
    """D31: the shared build goes on, its mail only to those who still wait."""
    other = services.Caller(address="192.0.2.8")
    first = making.place({}, email="a@example.org", webhook=HOOK)
    again = making.place({}, email="a@example.org")
    making.place({}, email="b@example.org", caller=other)
    services.withdraw(str(first.download.uuid), token=first.token)
    assert Notification.objects.count() == 3, "the same caller still waits under another token"
    services.withdraw(str(first.download.uuid), token=again.token)
    run(first.download.build)
    assert list(Mail.objects.values_list("to", flat=True)) == ["b@example.org"]
    assert not WebhookDelivery.objects.exists()


def test_what_a_mail_says(settings: Settings) -> None:
    """D24: link, rows, size, checksum, query and expiry; the query is short, escaped, and nothing in it is a link."""
    evil = {"genus": ["http://evil.example.org/\r\nBcc: x@example.org", "Ñ" * 2000]}
    download = making.built({"or": [{"genus": "acer"}, evil]}, form="csv", email="a@example.org")
    assert download.build is not None
    (text,) = Mail.objects.values_list("body", flat=True)
    link = f"{making.BASE}/downloads/{download.uuid}.csv"
    for said in (link, f"  {download.uuid}.records.csv: 2\n", f"Size: {download.build.size} bytes"):
        assert said in text
    assert f"SHA-256: {download.build.sha256}" in text
    assert f"{download.expires_at:%Y-%m-%d}" in text
    assert text.count("://") == 1, "the download's own link and no other"
    (query,) = (line for line in text.splitlines() if line.startswith("Query: "))
    assert "http:/ /evil.example.org/\\r\\nBcc" in query
    assert "\\u00d1" in query
    assert len(query) <= len("Query: ") + 1000
