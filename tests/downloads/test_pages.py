"""The pages, without JavaScript (contract §7)."""

from __future__ import annotations

import datetime
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core import jobs
from core.models import User
from downloads.formats import terms
from downloads.jobs import status
from downloads.models import Download, Recordset
from downloads.selectors import parse
from tests import house
from tests.downloads import making

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = {
    **dict.fromkeys(("name", "genus", "family", "country", "recordset", "date_from", "date_to"), ""),
    **dict.fromkeys(("north", "south", "west", "east", "query", "mq", "fields_", "email"), ""),
    "form": "dwca-csv",
}


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, running_house: house.House) -> None:
    """Three maples and two oaks."""
    making.bring_in(making.archive(tmp_path, making.specimens(3) + making.specimens(2, genus="Quercus", start=3)))


def send(client: Client, button: str = "request", **values: Any) -> Any:
    return client.post("/downloads/", {**FIELDS, **values, button: "1"})


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def test_form(client: Client) -> None:
    """D49: every field of §7 is there, labelled, with both buttons and no script."""
    page = client.get("/downloads/")
    assert page.status_code == 200
    content = page.content.decode()
    for name in (*FIELDS, "has_image"):
        assert f'name="{name}"' in content
    assert 'name="estimate"' in content
    assert 'name="request"' in content
    assert "csrfmiddlewaretoken" in content
    assert "<script" not in content
    assert client.get("/downloads").content.count(b"<label") == page.content.count(b"<label")
    assert "default-src 'self'" in page["Content-Security-Policy"]


def test_landing_page_links_here(client: Client) -> None:
    """D49: all pages are linked from the landing page."""
    content = client.get("/").content.decode()
    for path in ("/downloads/", "/downloads/fields", "/downloads/recordsets"):
        assert f'href="{path}"' in content


def test_request(client: Client) -> None:
    """D49: a request leads by 303 to its page, which follows it and then shows the file."""
    answer = send(client, genus="Acer", email="")
    assert answer.status_code == 303
    page = client.get(answer["Location"])
    assert 'http-equiv="refresh"' in page.content.decode()
    assert "Cancel" in page.content.decode()
    assert '"genus": "Acer"' in text_of(page)
    jobs.run_queued()
    done = text_of(client.get(answer["Location"]))
    download = Download.objects.get()
    assert f"/downloads/{download.uuid}.zip" in done
    assert download.build is not None
    assert download.build.sha256 in done
    assert "occurrence.csv: 3" in done
    assert f"/v2/download/{download.uuid}/citation?format=bibtex" in done
    assert 'http-equiv="refresh"' not in done
    assert "Cancel" not in done


def test_every_field_narrows(client: Client) -> None:
    """D49: the fields of the form together make one query."""
    recordset = Recordset.objects.get()
    send(
        client,
        name="Acer rubrum",
        genus="Acer",
        family="Sapindaceae",
        country="Canada",
        recordset=str(recordset.pk),
        has_image="on",
        date_from="1987",
        date_to="1990-05",
        north="50",
        south="40",
        west="-10.5",
        east="20",
        query='{"county": "x"}',
        form="csv",
        fields_="genus, data.dwc:locality",
    )
    asked = status.asked(Download.objects.get())
    assert asked is not None
    assert asked.rq == {
        "county": "x",
        "scientificname": "Acer rubrum",
        "genus": "Acer",
        "family": "Sapindaceae",
        "country": "Canada",
        "recordset": str(recordset.pk),
        "hasImage": True,
        "datecollected": {"type": "range", "gte": "1987", "lte": "1990-05"},
        "geopoint": {
            "type": "geo_bounding_box",
            "top_left": {"lat": 50.0, "lon": -10.5},
            "bottom_right": {"lat": 40.0, "lon": 20.0},
        },
    }
    assert (asked.form, asked.record_fields) == ("csv", ["genus", "data.dwc:locality"])


def test_json_and_fields_on_the_same_key(client: Client) -> None:
    send(client, genus="Acer", query='{"genus": "quercus"}')
    asked = status.asked(Download.objects.get())
    assert asked is not None
    assert asked.rq == {"and": [{"genus": "quercus"}, {"genus": "Acer"}]}


def test_estimate(client: Client) -> None:
    """D49: an estimate is shown above the form, and nothing is made."""
    page = send(client, "estimate", genus="acer")
    assert page.status_code == 200
    assert re.search(r"Exactly\s*<strong>3</strong> records", page.content.decode())
    assert 'value="acer"' in page.content.decode()
    assert not Download.objects.exists()


@pytest.mark.parametrize(
    ("values", "place", "sentence"),
    [
        ({"query": "{oops"}, "query", "The query is not valid JSON"),
        ({"query": '{"genuss": "a"}'}, "query", "The field genuss is not known."),
        ({"query": '["a"]'}, "query", "The query must be a JSON object."),
        ({"email": "nobody"}, "email", "The email address is not valid."),
        ({"fields_": "genuss"}, "fields_", "The field genuss is not known."),
        ({"date_from": "soon"}, "date_from", "needs a date"),
        ({"date_from": "1987", "date_to": "soon"}, "date_to", 'not "soon"'),
        ({"query": '{"datecollected": "soon"}'}, "query", "needs a date"),
        ({"query": '{"geopoint": "here"}'}, "query", "needs a geo operator"),
        ({"mq": '{"genus": "acer"}'}, "mq", "The field genus is not known."),
        ({"mq": "{oops"}, "mq", "The query is not valid JSON"),
        ({"mq": '["a"]'}, "mq", "The query must be a JSON object, not a list."),
        ({"query": "{}", "mq": '{"format": {"type": "prefx"}}'}, "mq", "The operator prefx is not known."),
        ({"north": "95", "south": "1", "west": "1", "east": "1"}, "north", "90"),
        ({"north": "5"}, "north", "A box needs all four edges."),
        ({"north": "1", "south": "2", "west": "1", "east": "1"}, "south", "lies north of the north edge"),
        ({"date_from": "2020", "date_to": "1990"}, "date_to", "before “Collected from”"),
        ({"date_from": "1987-08-10", "date_to": "1987-08-09"}, "date_to", "before “Collected from”"),
        ({"form": "xml"}, "form", "xml"),
    ],
)
def test_faults(client: Client, values: dict[str, str], place: str, sentence: str) -> None:
    """D49: a fault re-shows the form with the message at its field, 400, input kept."""
    page = send(client, genus="Kept <b>", **values)
    assert page.status_code == 400
    content = page.content.decode()
    assert 'value="Kept &lt;b&gt;"' in content
    field = re.search(rf'<div class="field wrong">\s*<label for="id_{place}">.*?</div>', content, re.DOTALL)
    assert field, content
    assert sentence in html.unescape(field[0])
    if place not in ("form",):
        assert html.escape(values[place], quote=True) in content
    assert not Download.objects.exists()


@pytest.mark.parametrize(("first", "last"), [("1987-08-10", "1987"), ("1987", "1987-01"), ("1987-08", "1987-08-01")])
def test_dates_of_unequal_length(client: Client, first: str, last: str) -> None:
    """D49: a period may end in the year or month it begins in."""
    assert send(client, date_from=first, date_to=last).status_code == 303


def test_csrf() -> None:
    """D49: the form refuses a request without its token."""
    strict = Client(enforce_csrf_checks=True)
    assert send(strict, genus="acer").status_code == 403
    assert not Download.objects.exists()


def test_cancel(client: Client) -> None:
    """D49: the browser that asked may cancel; another may not."""
    path = send(client, genus="acer")["Location"]
    stranger = Client()
    assert "Cancel" not in stranger.get(path).content.decode()
    assert stranger.post(f"{path}/cancel").status_code == 403
    answer = client.post(f"{path}/cancel")
    assert (answer.status_code, answer["Location"]) == (303, path)
    page = client.get(path).content.decode()
    assert "<strong>Cancelled.</strong> This download was cancelled." in page
    assert "Failed" not in page
    assert 'name="query" value="{&quot;genus&quot;: &quot;acer&quot;}"' in page
    assert "<button>Request again</button>" in page
    assert client.post(f"{path}/cancel").status_code == 409


def test_expired(client: Client) -> None:
    """D49: an expired download is a 410 page with a way to ask again."""
    path = send(client, genus="acer")["Location"]
    jobs.run_queued()
    Download.objects.update(expires_at=timezone.now() - datetime.timedelta(minutes=16))
    jobs.submit("downloads.expire", {})
    jobs.run_queued()
    page = client.get(path)
    assert page.status_code == 410
    assert 'name="query" value="{&quot;genus&quot;: &quot;acer&quot;}"' in page.content.decode()
    again = text_of(client.get("/downloads/", {"query": '{"genus": "acer"}'}))
    assert '{"genus": "acer"}</textarea>' in again


def test_the_same_again(client: Client) -> None:
    """D49: the page of an expired download asks for all of it again: both queries, form, core and fields."""
    options = {
        "rq": {"genus": "acer"},
        "mq": {"rights": "CC0"},
        "form": "dwca-tsv",
        "core_type": "mediarecords",
        "core_source": "raw",
        "record_fields": ["genus", "data.dwc:genus"],
        "mediarecord_fields": [],
    }
    for sent in (options, {"mq": {"rights": "BY"}}, {"rq": {}, "form": "tsv"}):
        first = client.post("/v2/download", json.dumps(sent), content_type="application/json").json()
        key = first["status_url"].rsplit("/", 1)[1]
        Download.objects.filter(pk=key).update(state=Download.State.EXPIRED, expired_at=timezone.now())
        gone = client.get(f"/downloads/{key}")
        assert gone.status_code == 410
        form = gone.content.decode().partition('<form method="get" action="/downloads/">')[2].partition("</form>")[0]
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))
        shown = client.get("/downloads/", {name: html.unescape(value) for name, value in hidden.items()})
        initial = {field.name: field.value() for field in shown.context["form"]}
        again = send(client, **{name: value for name, value in initial.items() if value not in (None, "", False)})
        assert again.status_code == 303, again.content
        asked = client.get("/v2/download/" + again["Location"].rsplit("/", 1)[1]).json()
        assert asked["query"] == first["query"]


def test_database_away(client: Client) -> None:
    """D30: while the database is away every page is a 503 that says so and when to come again."""

    def away(*_args: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    key = "00000000-0000-4000-8000-000000000000"
    client.force_login(User.objects.create_user("ada"))
    with connection.execute_wrapper(away):
        answers = [
            client.get("/downloads/"),
            client.get(f"/downloads/{key}"),
            client.get("/downloads/recordsets"),
            client.get(f"/downloads/recordsets/{key}"),
            client.post(f"/downloads/{key}/cancel"),
            send(client, genus="acer"),
        ]
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) > 0
        assert "The download service cannot take requests right now." in answer.content.decode()


def test_refused_for_now(client: Client, settings: Settings) -> None:
    """D32: a form refused over quota or by a full queue keeps its input and says when to come again."""
    settings.DOWNLOADS_RUNNING_PER_CALLER, settings.DOWNLOADS_QUEUED_PER_CALLER = 0, 0
    throttled = send(client, genus="acer")
    settings.DOWNLOADS_QUEUED_PER_CALLER, settings.DOWNLOADS_QUEUE_LENGTH = 9, 0
    full = send(client, genus="acer")
    assert (throttled.status_code, full.status_code) == (429, 503)
    for answer in (throttled, full):
        assert int(answer["Retry-After"]) > 0
        assert 'value="acer"' in answer.content.decode()


def test_unknown(client: Client) -> None:
    for path in (
        "/downloads/0001a2b3-0000-4000-8000-000000000001",
        "/downloads/recordsets/" + "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
    ):
        assert client.get(path, headers={"Accept": "text/html"}).status_code == 404


def test_fields_page(client: Client) -> None:
    """D49: every term and every operator is explained."""
    content = text_of(client.get("/downloads/fields/"))
    for term in (*terms.RECORD_TERMS, *terms.MEDIA_TERMS):
        assert f"<code>{term.name}</code>" in content
        assert term.header in content
    for operator in parse.OPERATORS:
        assert f'"type": "{operator}"' in content


def test_recordsets(client: Client) -> None:
    """D49: names from data are escaped; hidden recordsets are not shown."""
    recordset = Recordset.objects.get()
    evil = '<script>alert("x")</script>'
    Recordset.objects.update(name=evil, licence="CC0", citation=evil)
    Recordset.objects.create(name="Hidden one", is_public=False)
    listed = client.get("/downloads/recordsets").content.decode()
    assert html.escape(evil) in listed
    assert "<script>" not in listed
    assert "Hidden one" not in listed
    page = client.get(f"/downloads/recordsets/{recordset.pk}").content.decode()
    assert "<script>" not in page
    assert "<dd>5</dd>" in page
    assert "CC0" in page
    assert f'name="recordset" value="{recordset.pk}"' in page
    chosen = client.get("/downloads/", {"recordset": str(recordset.pk)}).content.decode()
    assert f'<option value="{recordset.pk}" selected>' in chosen
