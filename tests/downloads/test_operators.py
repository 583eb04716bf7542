"""What people are told and what operators do: mails, webhooks, admin."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import errors, jobs
from core.models import Mail, User, WebhookDelivery
from downloads import services
from downloads.jobs import notices
from downloads.jobs.build import plan
from downloads.models import BuildPart, Download, IngestRun, MediaRecord, Notification, Record, Recordset, RejectedRow
from downloads.services import ask
from tests import house, mailbox
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acers(tmp_path: Path, running_house: house.House) -> Path:
    path = making.archive(tmp_path, [*making.specimens(5), *making.specimens(1)])
    making.bring_in(path)
    return path


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("olga", "olga@example.org", "correct horse battery"))
    return client


def test_one_mail_with_the_link(acers: Path, smtp: mailbox.Mailbox) -> None:
    """D24: One mail per (job, address), exact subject and link; failure mail; none on cancel; job unharmed."""
    query = {"or": [{"genus": "acer"}, {"locality": "http://bad.example.org/x"}]}
    first = making.built(query, email="a@example.org", face="seed")
    for address in ("a@example.org", "b@example.org"):
        making.built(query, email=address, face="seed")
    assert notices.send_late() == 1
    jobs.run_queued()
    messages = smtp.wait(2)
    assert sorted(str(message["To"]) for message in messages) == ["a@example.org", "b@example.org"]
    assert {str(message["Subject"]) for message in messages} == {"iDigBio Download Ready"}
    body = messages[0].get_content()
    assert f"\n{making.BASE}/downloads/{first.uuid}.zip\n" in body.replace("\r\n", "\n")
    assert first.build is not None
    assert first.build.sha256 in body
    assert "http://bad" not in body
    assert "occurrence.csv: 5" in body

    failed = making.built({}, fault="The query must be a JSON object, not a list.", email="a@example.org")
    cancelled = making.place({"genus": "puma"}, email="a@example.org")
    services.withdraw(str(cancelled.download.uuid), token=cancelled.token)
    jobs.run_queued()
    messages = smtp.wait(3)
    assert failed.state == Download.State.FAILED
    (bad,) = [message for message in messages if message["Subject"] == "iDigBio Download Failed"]
    assert "The query must be a JSON object, not a list." in bad.get_content()
    assert Mail.objects.count() == 3


def test_a_dead_mail_server_harms_no_download(acers: Path, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    download = making.built({}, email="a@example.org")
    jobs.run_queued()
    mail = Mail.objects.get()
    assert (mail.state, mail.attempts) == ("queued", 1)
    assert services.find(download.uuid).state == Download.State.DONE
    assert Notification.objects.get().attempts == 1


def test_a_webhook_is_signed_with_the_hash_of_the_token(acers: Path) -> None:
    placed = making.place({}, webhook="https://hooks.example.org/done")
    assert placed.download.build is not None
    assert placed.download.build.job_id is not None
    jobs.run(placed.download.build.job_id)
    delivery = WebhookDelivery.objects.get()
    assert delivery.header == "Download-Signature"
    assert delivery.key == ask.hashed(placed.token)
    assert f'"status_url":"{making.BASE}/v2/download/{placed.download.uuid}"' in delivery.body
    assert '"task_status":"SUCCESS"' in delivery.body


def test_a_download_that_ends_while_somebody_joins(acers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D24: who asks just as the download is finished is told too, and sees it finished."""
    first = making.place({})
    look = ask._is_reusable

    def just_then(download: Download) -> bool:
        is_reusable = look(download)
        assert download.state == Download.State.WAITING
        assert first.download.build is not None
        assert first.download.build.job_id is not None
        jobs.run(first.download.build.job_id)
        return is_reusable

    monkeypatch.setattr(ask, "_is_reusable", just_then)
    second = making.place({}, email="a@example.org")
    monkeypatch.undo()
    assert second.download.uuid == first.download.uuid
    assert second.download.state == Download.State.DONE
    assert notices.send_late() == 1
    assert [mail.to for mail in Mail.objects.all()] == ["a@example.org"]
    making.place({}, email="a@example.org")
    assert notices.send_late() == 0
    assert Mail.objects.count() == Notification.objects.count() == 1


def test_mail_floods_are_refused(acers: Path, settings: Settings) -> None:
    settings.DOWNLOADS_MAILS_PER_CALLER = 2
    for n in range(2):
        making.place({}, email=f"a{n}@example.org")
    with pytest.raises(errors.Throttled, match="2 mails today"):
        making.place({}, email="a9@example.org")


def act(operator: Client, action: str, *rows: Any) -> None:
    """Choose an action in a list of admin."""
    model = rows[0]._meta.model_name
    values = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    answer = operator.post(f"/admin/downloads/{model}/", values, follow=True)
    assert answer.status_code == 200


def test_admin_lists_and_pages(acers: Path, operator: Client) -> None:
    """D50: Admin actions of 3.4 work and are logged."""
    download = making.built({"genus": "acer"}, email="a@example.org")
    for page in ("download", "build", "recordset", "record", "mediarecord", "ingestrun", "rejectedrow", "notification",
                 "quota", "storeversion"):  # fmt: skip
        assert operator.get(f"/admin/downloads/{page}/").status_code == 200, page
    assert b"done" in operator.get(f"/admin/downloads/download/?q={download.uuid}").content
    assert download.build is not None
    BuildPart.objects.create(build=download.build, member="occurrence<.csv", number=7, rows=4711)
    shown = operator.get(f"/admin/downloads/download/{download.pk}/change/").content.decode()
    assert f"/admin/downloads/build/{download.build.pk}/change/" in shown
    assert download.build.sha256 in shown
    assert "<td>occurrence&lt;.csv</td>" in shown
    assert "<td>4711</td>" in shown
    assert operator.get(f"/admin/downloads/build/{download.build.pk}/change/").status_code == 200
    record = Record.objects.order_by("id")[0]
    page = operator.get(f"/admin/downloads/record/{record.pk}/change/").content.decode()
    assert "dwc:specificEpithet" in page
    assert "scientificname" in page


def test_admin_lists_scan_no_table(acers: Path, operator: Client) -> None:
    """D50: lists group, de-duplicate and cast nothing, and ask no question per row; their searches and filters work."""
    done = making.built({"genus": "acer"}, email="a@example.org")
    record = Record.objects.order_by("id")[0]
    path = "/admin/downloads"
    wanted = {
        f"{path}/download/?q={str(done.uuid).upper()}&form=dwca-csv&core_type=records": str(done.uuid),
        f"{path}/download/?q={done.hash}": str(done.uuid),
        f"{path}/build/?q={done.build_id}": str(done.build_id),
        f"{path}/record/?q={record.uuid}": str(record.uuid),
        f"{path}/notification/?q={done.uuid}": str(done.uuid),
        f"{path}/notification/?q=a@exam": str(done.uuid),
        f"{path}/rejectedrow/?reason=duplicate_row&run={IngestRun.objects.latest('id').pk}": "occurrence.csv",
    }
    for address, shown in wanted.items():
        with CaptureQueriesContext(connection) as captured:
            page = operator.get(address).content.decode()
        rows = page.partition('id="result_list"')[2].partition("</table>")[0]
        assert shown in rows, address
        asked = [each["sql"] for each in captured if 'FROM "downloads_' in each["sql"]]
        assert asked
        assert not [sql for sql in asked if "DISTINCT" in sql or re.search(r"(uuid|_id)\"::|CAST\(", sql)], address
    for missing in ("download/?q=x", "download/?form=csv", "record/?q=x", "rejectedrow/?reason=row_too_long"):
        assert 'id="result_list"' not in operator.get(f"{path}/{missing}").content.decode(), missing

    def questions() -> int:
        with CaptureQueriesContext(connection) as captured:
            operator.get(f"{path}/notification/")
        return len(captured)

    before = questions()
    for n in range(3):
        making.built({"genus": f"g{n}"}, email="a@example.org")
    assert questions() == before


def test_admin_actions_on_downloads(acers: Path, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, done = making.place({"genus": "x"}).download, making.built({"genus": "acer"}, email="a@example.org")
    act(operator, "cancel", waiting)
    assert services.find(waiting.uuid).state == Download.State.CANCELLED
    act(operator, "pin", done)
    assert services.find(done.uuid).is_pinned
    act(operator, "unpin", done)
    assert not services.find(done.uuid).is_pinned
    monkeypatch.setattr(plan, "count", lambda *_: (_ for _ in ()).throw(ValueError("a bug")))
    failed = making.built({"genus": "y"})
    assert failed.error == "The download could not be built."
    monkeypatch.undo()
    act(operator, "retry_failed", failed)
    jobs.run_queued()
    assert services.find(failed.uuid).state == Download.State.DONE
    Mail.objects.update(state="failed")
    act(operator, "resend", done)
    assert Mail.objects.get().state == "queued"
    act(operator, "expire", done)
    jobs.run_queued()
    assert Download.objects.get(pk=done.pk).state == Download.State.EXPIRED
    assert [entry.change_message for entry in LogEntry.objects.order_by("id")] == [
        "cancelled",
        "pinned",
        "unpinned",
        "retried",
        "told again",
        "expired",
    ]


def test_admin_of_the_store(acers: Path, operator: Client) -> None:
    recordset = Recordset.objects.get()
    act(operator, "withdraw", recordset)
    assert not Recordset.objects.get().is_public
    act(operator, "show", recordset)
    assert Recordset.objects.get().is_public
    act(operator, "reingest", recordset)  # it has no source URL: said, not done
    with acers.open("rb") as stream:
        answer = operator.post("/admin/downloads/recordset/upload/", {"file": stream, "dry_run": "on"}, follow=True)
    assert answer.status_code == 200
    jobs.run_queued()
    run = IngestRun.objects.latest("id")
    assert (run.state, run.report["unchanged"], run.report["dry_run"]) == (IngestRun.State.DONE, 5, True)
    assert b"Give a file or a URL" in operator.post("/admin/downloads/recordset/upload/", {}).content
    reject = RejectedRow.objects.order_by("id")[0]
    values = {"action": "export_csv", "_selected_action": [reject.pk]}
    answer = operator.post("/admin/downloads/rejectedrow/", values)
    text = answer.getvalue().decode()
    assert text.splitlines()[0] == "run_id,file,line,reason,message,row"
    assert "duplicate_row" in text
    assert MediaRecord.objects.count() == 0
    assert LogEntry.objects.count() == 3


def test_addresses_are_erased_after_thirty_days(acers: Path) -> None:
    """D26: who asked is kept for 30 days, and the file no shorter for it."""
    download = making.built({})
    for days, address in ((29, making.CALLER.address), (31, None)):
        download.claims.update(created_at=timezone.now() - timedelta(days=days))
        job, _created = jobs.submit("downloads.expire", {}, fingerprint="expire")
        jobs.run(job.pk)
        assert download.claims.get().address == address
    assert io.BytesIO(making.content(download)).read(2) == b"PK"


@pytest.mark.parametrize(
    ("file", "url", "told"),
    [
        (None, "", {"__all__": ["Give a file or a URL."]}),
        (b"id\nx\n", "https://example.org/a.zip", {"__all__": ["Give a file or a URL, not both."]}),
        (None, "nonsense", {"url": ["Enter a valid URL."]}),
        (b"", "", {"file": ["The submitted file is empty."]}),
    ],
)
def test_the_upload_form_names_one_fault_once(
    operator: Client, file: bytes | None, url: str, told: dict[str, list[str]]
) -> None:
    """D50: the fault at its field and no second one that follows from it."""
    sent: dict[str, Any] = {"url": url, "name": "kept"}
    if file is not None:
        sent["file"] = SimpleUploadedFile("x.csv", file)
    answer = operator.post("/admin/downloads/recordset/upload/", sent)
    assert answer.context["form"].errors == told
    assert 'value="kept"' in answer.content.decode()


def test_the_page_of_an_ingest_looks_again_until_it_is_done(operator: Client) -> None:
    """D50: a run that is active has a page that renews itself."""
    run = IngestRun.objects.create(source="x.zip")
    assert operator.get(f"/admin/downloads/ingestrun/{run.pk}/change/")["Refresh"] == "3"
    IngestRun.objects.update(state=IngestRun.State.DONE)
    assert "Refresh" not in operator.get(f"/admin/downloads/ingestrun/{run.pk}/change/")
