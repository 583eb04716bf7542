"""The operators' pages."""

from __future__ import annotations

import pathlib
import re
import urllib.request
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import blobs, jobs
from core.models import Job, User
from nnels import models
from nnels.services import files
from tests.nnels import conftest as house
from tests.nnels import shelf
from tests.nnels.conftest import LogIn

pytestmark = pytest.mark.django_db


def act(client: Client, model: str, action: str, ids: list[Any], **more: str) -> Any:
    response = client.post(
        f"/admin/nnels/{model}/", {"action": action, "_selected_action": [str(one) for one in ids], **more}, follow=True
    )
    assert response.status_code == 200
    return response


ITEM = {
    "label": "The Whale", "creators": "Melville, Herman\nKent, R.", "languages": "en\nfre", "isbn": "0-14-243724-7",
    "published_date": "1851", "subjects": "", "description": "", "publisher": "", "publisher_place": "",
    "narrators": "", "narration": "", "duration": "", "series": "", "edition": "", "audience": "", "rights": "open",
    "accessibility": "{}", "published": "on", "files-TOTAL_FORMS": "1", "files-INITIAL_FORMS": "0",
    "files-0-format": "epub", "files-0-part": "1",
}  # fmt: skip


def test_add_item_with_file(client: Client, operator: User) -> None:
    """N51: a title with an upload: streamed, checked by content, derived columns and version follow."""
    upload = SimpleUploadedFile("x.epub", shelf.simple_epub("X"))
    response = client.post(
        "/admin/nnels/item/add/", {**ITEM, "uuid": str(house.MOBY_UUID), "files-0-upload": upload}, follow=True
    )
    assert "errorlist" not in response.content.decode()
    item = models.Item.objects.get()
    assert (item.creators, item.languages, item.isbn) == (
        ["Melville, Herman", "Kent, R."],
        ["eng", "fra"],
        ["9780142437247"],
    )
    assert (item.formats, item.label_sort) == (["epub"], "the whale")
    file = item.files.get()
    assert file.name == "The_Whale_9780142437247.epub"
    found = blobs.stat(file.blob_key)
    assert found is not None
    assert found.size == file.bytes
    wrong = SimpleUploadedFile("x.epub", b"%PDF-1.7")
    refused = client.post("/admin/nnels/item/add/", {**ITEM, "uuid": shelf.UUID, "files-0-upload": wrong})
    assert "errorlist" in refused.content.decode()
    bad = client.post("/admin/nnels/item/add/", {**ITEM, "uuid": shelf.UUID, "isbn": "123", "languages": "??"})
    assert bad.content.decode().count("errorlist") >= 2
    assert models.Item.objects.count() == 1


def test_edit_and_delete_file(client: Client, operator: User) -> None:
    """N51: an edit moves revision and tombstone; a deleted file retires its blob."""
    item = house.moby()
    file = item.files.get()
    data = {
        **ITEM, "uuid": str(item.uuid), "files-INITIAL_FORMS": "1", "files-0-id": str(file.pk),
        "files-0-item": str(item.pk), "files-0-DELETE": "on",
    }  # fmt: skip
    del data["published"]
    response = client.post(f"/admin/nnels/item/{item.pk}/change/", data, follow=True)
    assert "errorlist" not in response.content.decode()
    item.refresh_from_db()
    assert (item.label, item.published, item.formats) == ("The Whale", False, [])
    assert models.RetiredBlob.objects.get().blob_key == file.blob_key
    assert models.Tombstone.objects.get().item_id == item.pk


def test_item_actions(client: Client, operator: User, token: str) -> None:
    """N51: publish, unpublish and rights act at once and are recorded."""
    one, two = house.make_item("One", nid=1), house.make_item("Two", nid=2)

    def listed() -> list[int]:
        body = client.get("/api/repo_items", headers={"access-token": token}).json()
        return [row["id"] for row in body["data"]]

    assert listed() == [1, 2]
    act(client, "item", "unpublish", [1])
    assert listed() == [2]
    act(client, "item", "publish", [1, 2])
    assert listed() == [1, 2]
    act(client, "item", "open_rights", [2])
    two.refresh_from_db()
    assert two.rights == "open"
    assert '"rights":"open"' in two.doc
    act(client, "item", "restrict_rights", [2])
    history = LogEntry.objects.filter(content_type__model="item", object_id="2").values_list(
        "change_message", flat=True
    )
    assert sorted(history) == ["Set rights to open.", "Set rights to restricted."]
    act(client, "item", "delete_selected", [one.pk], post="yes")
    assert listed() == [2]
    assert models.Tombstone.objects.get().item_id == 1


def test_search_and_filters(client: Client, operator: User) -> None:
    """N51: titles are found by title, creator, ISBN and UUID, and filtered; statements do not grow with rows."""
    house.moby(files={"epub": b"x"}, accessibility={"accessibilityFeature": ["tableOfContents"]})
    house.make_item("Un été", languages=["fra"])
    for term in ("MOBY", "melville", "0-14-243724-7", str(house.MOBY_UUID)):
        page = client.get("/admin/nnels/item/", {"q": term}).content.decode()
        assert "Moby-Dick" in page
        assert "Un été" not in page
    for query, seen in (("language=fra", "Un été"), ("format=epub", "Moby-Dick"), ("file=none", "Un été"),
                        ("feature=tableofcontents", "Moby-Dick"), ("q=moby", "Moby-Dick")):  # fmt: skip
        assert seen in client.get(f"/admin/nnels/item/?{query}").content.decode()

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/admin/nnels/item/").status_code == 200
        return len(captured)

    few = statements()
    for number in range(20):
        house.make_item(f"t{number}")
    assert statements() == few


def test_signed_link(client: Client, operator: User) -> None:
    """N51: the signed-link preview redirects to the store and is logged as `admin`."""
    item = house.moby(files={"epub": b"x", "txt": b"y"})
    file = item.files.get(format="txt")
    page = client.get(f"/admin/nnels/item/{item.pk}/change/").content.decode()
    href = f"/admin/nnels/item/link/{file.pk}/"
    assert href in page
    response = client.get(href)
    assert response.status_code == 302
    assert "X-Amz-Signature=" in response["Location"]
    issue = models.UrlIssue.objects.get()
    assert (issue.purpose, issue.files, issue.user_id) == ("admin", [file.pk], operator.pk)
    assert client.get("/admin/nnels/item/link/999/")["Location"] == "/admin/nnels/item/"


def test_reader_actions(client: Client, operator: User, reader: User, token: str) -> None:
    """N51: verify, withdraw and expiry act on the next request and are kept in the history."""
    house.moby()

    def links() -> int:
        body = client.get("/api/repo_items/6804", headers={"access-token": token}).json()
        return len(body["data"][0]["file_resources"])

    assert links() == 1
    act(client, "reader", "withdraw", [reader.pk])
    assert links() == 0
    act(client, "reader", "verify", [reader.pk])
    assert links() == 1
    found = models.Reader.objects.get(user=reader)
    assert found.verified_by == operator
    assert found.verified_at is not None
    act(client, "reader", "set_expiry", [reader.pk], until="2020-01-31")
    assert links() == 0
    act(client, "reader", "set_expiry", [reader.pk], until="")
    assert links() == 1
    act(client, "reader", "set_expiry", [reader.pk], until="soon")
    assert links() == 1
    history = (
        LogEntry.objects.filter(content_type__model="reader").order_by("id").values_list("change_message", flat=True)
    )
    assert list(history) == ["Withdrawn.", "Verified.", "Verified until 2020-01-31.", "Verified until None."]


def test_tokens_page(client: Client, operator: User, reader: User, log_in: LogIn) -> None:
    """N51: tokens are listed and revoked, and no page shows a value."""
    body = log_in()
    pair = models.TokenPair.objects.get()
    pages = [
        client.get("/admin/nnels/tokenpair/").content.decode(),
        client.get(f"/admin/nnels/tokenpair/{pair.pk}/change/").content.decode(),
    ]
    secrets = [body["access_token"], body["refresh_token"], bytes(pair.access_digest).hex(), bytes(pair.nonce).hex()]
    for page in pages:
        assert "test-account" in page
        assert not any(secret in page for secret in secrets)

    def state() -> str:
        (shown,) = re.findall(r"field-state[^>]*>([^<]*)<", client.get("/admin/nnels/tokenpair/").content.decode())
        return str(shown)

    assert state() == "live"
    now = timezone.now()
    models.TokenPair.objects.update(expires_at=now)
    assert state() == "refreshable"
    models.TokenPair.objects.update(refresh_expires_at=None)
    assert state() == "refreshable"
    models.TokenPair.objects.update(refresh_expires_at=now)
    assert state() == "expired"
    models.TokenPair.objects.update(expires_at=pair.expires_at, refresh_expires_at=pair.refresh_expires_at)
    User.objects.filter(pk=reader.pk).update(is_active=False)
    assert state() == "dead (account blocked)"
    User.objects.filter(pk=reader.pk).update(is_active=True, password="another")
    assert state() == "dead (password changed)"
    User.objects.filter(pk=reader.pk).update(password=reader.password)
    act(client, "tokenpair", "revoke", [pair.pk])
    assert state() == "revoked (by staff)"
    me = client.get("/api/users/me", headers={"access-token": body["access_token"]}).json()
    assert me["data"][0]["id"] == 0
    assert LogEntry.objects.filter(content_type__model="tokenpair").count() == 1


def test_read_only_pages(client: Client, operator: User, token: str) -> None:
    """N51: the issue log and import runs can be looked at and not changed."""
    house.moby()
    client.get("/api/repo_items/6804", headers={"access-token": token})
    issue = models.UrlIssue.objects.get()
    page = client.get("/admin/nnels/urlissue/?q=moby").content.decode()
    assert "Moby-Dick" in page
    for name, own in (("item_id", issue.item_id), ("user_id", issue.user_id)):
        assert own is not None
        assert f'href="?{name}={own}"' in page
        for value, rows in ((own, 1), (own + 1, 0), ("9" * 30, 0), ("x", 0)):
            chosen = client.get(f"/admin/nnels/urlissue/?{name}={value}")
            assert chosen.context["cl"].result_count == rows, (name, value)
    assert client.get(f"/admin/nnels/urlissue/{issue.pk}/change/").status_code == 200
    assert client.post(f"/admin/nnels/urlissue/{issue.pk}/change/", {}).status_code == 403
    assert client.post(f"/admin/nnels/urlissue/{issue.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/nnels/urlissue/add/").status_code == 403
    run = models.ImportRun.objects.create(folder="/books", state="succeeded")
    assert client.post(f"/admin/nnels/importrun/{run.pk}/delete/", {"post": "yes"}).status_code == 403


def test_import_from_admin(client: Client, operator: User, tmp_path: pathlib.Path, settings: Settings) -> None:
    """N51: staff ask for the import of a folder below the root."""
    settings.NNELS_IMPORT_ROOT = str(tmp_path)
    (tmp_path / "books").mkdir()
    refused = client.post("/admin/nnels/importrun/add/", {"folder": "../x", "rights": "", "is_published": "on"})
    assert "no such folder" in refused.content.decode()
    response = client.post("/admin/nnels/importrun/add/", {"folder": "books", "rights": "open", "is_published": "on"})
    assert response.status_code == 302, response.content
    run = models.ImportRun.objects.get()
    assert run.who == operator
    assert run.job_id is not None
    assert Job.objects.get(pk=run.job_id).params["rights"] == "open"


@pytest.mark.django_db(transaction=True)
def test_import_runs_page(client: Client, operator: User, tmp_path: pathlib.Path, settings: Settings) -> None:
    """N51: staff read the report of an import that ran and cancel one that waits; the history keeps it."""
    settings.NNELS_IMPORT_ROOT = str(tmp_path)
    for name in ("first", "second"):
        shelf.write(tmp_path / name, {f"{name}.txt": "text"})
    first = files.request_import("first", requested_by=operator)
    assert jobs.run_queued() == 1
    page = client.get("/admin/nnels/importrun/").content.decode()
    assert f'<a href="/admin/nnels/importrun/{first.pk}/report/">report.csv</a>' in page
    answer = client.get(f"/admin/nnels/importrun/{first.pk}/report/")
    assert answer.status_code == 302
    with urllib.request.urlopen(answer["Location"]) as report:
        assert b"first.txt" in report.read()
    second = files.request_import("second", requested_by=operator)
    missing = client.get(f"/admin/nnels/importrun/{second.pk}/report/", follow=True)
    assert "The report is not kept any more." in missing.content.decode()
    act(client, "importrun", "cancel", [first.pk, second.pk])
    second.refresh_from_db()
    assert (second.state, models.Item.objects.count()) == ("cancelled", 1)
    assert LogEntry.objects.filter(content_type__model="importrun").count() == 1
    operator.is_superuser = False
    operator.save()
    assert client.get(f"/admin/nnels/importrun/{first.pk}/report/").status_code == 403


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("creators", "x" * 600, "has 600 characters; 500 can be kept."),
        ("subjects", "\n".join(map(str, range(201))), "At most 200 lines can be kept, not 201."),
        ("accessibility", '{"accessibilitySummary": "\\u0000"}', "holds characters that cannot be stored."),
        ("accessibility", '{"accessibilitySummary": "\\ud800"}', "holds characters that cannot be stored."),
        ("accessibility", '{"accessMode": "textual"}', "accessMode is a list of texts."),
        ("accessibility", '{"accessibilitySummary": ["x"]}', "accessibilitySummary is a text."),
        ("accessibility", '{"mood": "x"}', "mood is not known; there are accessMode, "),
    ],
)
def test_what_cannot_be_stored_is_told_at_its_field(
    client: Client, operator: User, field: str, value: str, told: str
) -> None:
    """N51: nothing typed is lost to an error page, cut or dropped without a word."""
    upload = SimpleUploadedFile("x.epub", shelf.simple_epub("X"))
    sent = {**ITEM, "uuid": str(house.MOBY_UUID), "files-0-upload": upload, field: value}
    response = client.post("/admin/nnels/item/add/", sent)
    assert response.status_code == 200
    form = response.context["adminform"].form
    assert list(form.errors) == [field]
    assert told in form.errors[field][0]
    assert form[field].value() == value
    assert not models.Item.objects.exists()


def test_names_as_long_as_they_may_be(client: Client, operator: User) -> None:
    """N51: what the form takes the indexes take, in any script."""
    upload = SimpleUploadedFile("x.epub", shelf.simple_epub("X"))
    long = "".join(chr(0x20000 + number) for number in range(500))
    sent = {**ITEM, "uuid": str(house.MOBY_UUID), "files-0-upload": upload}
    assert client.post("/admin/nnels/item/add/", {**sent, "creators": long, "subjects": long}).status_code == 302
    assert models.Item.objects.get().creators == [long]


def test_the_page_of_an_import_leads_to_its_report(client: Client, operator: User) -> None:
    """N51: a run's page has the way to its report, not a key of the store."""
    run = models.ImportRun.objects.create(folder="/books", state="succeeded", report_key="nnels/reports/x/report.csv")
    page = client.get(f"/admin/nnels/importrun/{run.pk}/change/").content.decode()
    assert f'<a href="/admin/nnels/importrun/{run.pk}/report/">report.csv</a>' in page
    assert run.report_key not in page


def test_an_import_says_what_to_do_next(
    client: Client, operator: User, tmp_path: pathlib.Path, settings: Settings
) -> None:
    """N51: without a root the form says so before it is sent; with one the list says how to follow the import."""
    settings.NNELS_IMPORT_ROOT = ""
    page = client.get("/admin/nnels/importrun/add/").content.decode()
    assert "NNELS_IMPORT_ROOT is not set. Until it is, nothing can be imported here." in page
    settings.NNELS_IMPORT_ROOT = str(tmp_path)
    (tmp_path / "books").mkdir()
    assert "is not set" not in client.get("/admin/nnels/importrun/add/").content.decode()
    listed = client.post("/admin/nnels/importrun/add/", {"folder": "books", "rights": ""}, follow=True)
    assert "books was asked for. Load this list again to see its state." in listed.content.decode()


def test_a_lost_file_is_told_in_words(client: Client, operator: User) -> None:
    """N51: a title's page says of each file whether the store has it, and nothing of the row for a new one."""
    item = house.make_item(files={"txt": b"one", "brf": b"two"})
    item.files.filter(format="brf").update(missing=True)
    page = client.get(f"/admin/nnels/item/{item.pk}/change/").content.decode()
    said = re.findall(r'<td class="field-in_store">\s*<p>(.*?)</p>', page)
    assert sorted(said) == ["", "", "missing or damaged", "yes"]


def test_a_date_that_is_none_is_told(client: Any, operator: User, reader: User) -> None:
    """N51: an expiry that cannot be read says so and changes nothing."""
    (one,) = models.Reader.objects.all()
    for day in ("tomorrow", "2027-02-30"):
        page = act(client, "reader", "set_expiry", [one.pk], until=day).content.decode()
        assert "That is no date; write YYYY-MM-DD. Nothing was changed." in page
        assert models.Reader.objects.get().verified_until is None
    assert "1 changed." in act(client, "reader", "set_expiry", [one.pk], until="2027-02-28").content.decode()
    assert str(models.Reader.objects.get().verified_until) == "2027-02-28"


def test_an_empty_upload_has_one_fault(client: Any, operator: User) -> None:
    """N51: what is wrong with an upload is said once."""
    sent = {**ITEM, "uuid": str(house.MOBY_UUID), "files-0-upload": SimpleUploadedFile("x.epub", b"")}
    (files_of,) = client.post("/admin/nnels/item/add/", sent).context["inline_admin_formsets"]
    assert files_of.formset.errors == [{"upload": ["The submitted file is empty."]}]
