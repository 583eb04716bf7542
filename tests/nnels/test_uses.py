"""Use reports (contract 10.8)."""

from __future__ import annotations

import csv
import datetime
import io
import pathlib
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from core.models import User
from nnels import models
from nnels.jobs import catalogue, upkeep
from tests.nnels import conftest as house

pytestmark = pytest.mark.django_db


@pytest.fixture
def used(client: Client, token: str, reader: User) -> models.Item:
    """Moby-Dick handed out thrice by the API (twice long ago, folded), once by OPDS; a deleted title once."""
    item, other = house.moby(), house.make_item("Gone", nid=9, files={"txt": b"x"})
    headers = {"access-token": token}
    for nid in (6804, 6804, 6804, 9):
        assert client.get(f"/api/repo_items/{nid}", headers=headers).status_code == 200
    assert client.get(f"/opds/publications/{item.uuid}/files/epub", headers=headers).status_code == 303
    old = datetime.datetime(2020, 1, 31, 23, 59, tzinfo=datetime.UTC)
    first, second = models.UrlIssue.objects.filter(item_id=6804).order_by("id")[:2]
    models.UrlIssue.objects.filter(pk=first.pk).update(at=old)
    models.UrlIssue.objects.filter(pk=second.pk).update(at=old + datetime.timedelta(minutes=1))
    upkeep.purge()
    catalogue.remove([other])
    return item


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def report(**options: Any) -> list[dict[str, str]]:
    out = io.StringIO()
    call_command("report_uses", stdout=out, **options)
    return rows(out.getvalue())


def test_report(used: models.Item, reader: User) -> None:
    """Beyond 8: one row per title and month, from the totals and the log, in UTC months."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y-%m}"
    found = report()
    assert [(row["month"], row["nid"], row["api"], row["opds"], row["total"]) for row in found] == [
        ("2020-01", "6804", "1", "0", "1"),
        ("2020-02", "6804", "1", "0", "1"),
        (now, "9", "1", "0", "1"),
        (now, "6804", "1", "1", "2"),
    ]
    assert found[0]["title"] == "Moby-Dick"
    assert found[0]["isbn"] == "9780142437247"
    assert (found[2]["title"], found[2]["uuid"]) == ("", ""), "a deleted title is known by its nid"
    assert [row["month"] for row in report(first="2020-02", last="2020-12")] == ["2020-02"]
    assert report(first="2021-01", last="2021-02") == []


def test_no_personal_data(used: models.Item, reader: User, tmp_path: pathlib.Path) -> None:
    """Beyond 8: no account, address or time of day is in the report, written as a file too."""
    call_command("report_uses", output=tmp_path / "uses.csv")
    text = (tmp_path / "uses.csv").read_bytes().decode()
    assert text.startswith("month,nid,uuid,isbn,title,api,opds,page,total,admin\r\n2020-01,6804,")
    assert reader.username not in text
    assert "127.0" not in text
    assert ":" not in text


def test_formula(client: Client, token: str) -> None:
    """Beyond 8: a title that a spreadsheet would take for a formula gets an apostrophe."""
    house.make_item("=1+1", nid=9, files={"txt": b"x"})
    client.get("/api/repo_items/9", headers={"access-token": token})
    (row,) = report()
    assert row["title"] == "'=1+1"


@pytest.mark.parametrize("month", ["2020", "2020-13", "x", "0000-01"])
def test_bad_months(month: str) -> None:
    """Beyond 8: what is no month ends the command with 2."""
    with pytest.raises(SystemExit) as end:
        report(first=month)
    assert end.value.code == 2


def test_download(client: Client, used: models.Item, operator: User) -> None:
    """Beyond 8: staff download the report of some months; who may not see totals gets nothing."""
    page = client.get("/admin/nnels/issuetotal/").content.decode()
    assert 'action="/admin/nnels/issuetotal/report/"' in page
    answer = client.get("/admin/nnels/issuetotal/report/?from=2020-01&to=2020-01")
    assert answer["Content-Disposition"] == 'attachment; filename="uses.csv"'
    assert [row["month"] for row in rows(answer.getvalue().decode())] == ["2020-01"]
    refused = client.get("/admin/nnels/issuetotal/report/?from=x", follow=True)
    assert "A month is YYYY-MM." in refused.content.decode()
    operator.is_superuser = False
    operator.save()
    assert client.get("/admin/nnels/issuetotal/report/").status_code == 403
