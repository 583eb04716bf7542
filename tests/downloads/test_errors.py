"""Every row of the table of faults (contract §2.6), over HTTP."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings

from core import jobs
from downloads import dialect, services
from downloads.models import Claim, Download
from downloads.selectors import parse
from tests import house
from tests.downloads import specimens

pytestmark = pytest.mark.django_db

DEEP: dict[str, Any] = {"genus": "acer"}
for _ in range(17):
    DEEP = {"not": DEEP}
MANY = [{"lat": round(n / 1000, 3), "lon": n / 100} for n in range(5001)]
RECORD_SUGGESTION = {"field": "genuss", "fields": ["genuss"], "suggestion": "genus"}


def geo(**operator: Any) -> dict[str, Any]:
    return {"geopoint": operator}


def box(lat: Any, lon: Any = 0) -> dict[str, Any]:
    corner = {"lat": lat, "lon": lon}
    return geo(type="geo_bounding_box", top_left=corner, bottom_right={"lat": 0, "lon": 0})


FAULTS: list[tuple[Any, str, dict[str, Any]]] = [
    ([1], "The query must be a JSON object, not a list.", {}),
    ("text", "The query must be a JSON object, not a text.", {}),
    ({"genuss": "x"}, "The field genuss is not known.", RECORD_SUGGESTION),
    (
        {"genuss": "x", "not": {"zzz": 1}},
        "The field genuss is not known.",
        RECORD_SUGGESTION | {"fields": ["genuss", "zzz"]},
    ),
    ({"hasimage": True}, "The field hasimage is not known.", {"field": "hasimage", "suggestion": "hasImage"}),
    ({"dwc:scientificName": "x"}, "The field dwc:scientificName is not known.", {"suggestion": "scientificname"}),
    ({"wholly_else": 1}, "The field wholly_else is not known.", {"suggestion": None}),
    (
        {"data.dwc:genuss": "x"},
        "No record has the provider term dwc:genuss.",
        {"field": "data.dwc:genuss", "suggestion": "data.dwc:genus"},
    ),
    (
        {"genus": None},
        "The field genus has no value to look for.",
        {"field": "genus", "suggestion": {"type": "missing"}},
    ),
    ({"genus": ["a", None]}, "The field genus has no value to look for.", {"suggestion": {"type": "missing"}}),
    (
        {"genus": {"value": "a"}},
        'The condition on genus has no "type".',
        {"field": "genus", "allowed": sorted(parse.OPERATORS)},
    ),
    (
        {"genus": {"type": "prefx", "value": "a"}},
        "The operator prefx is not known.",
        {"field": "genus", "operator": "prefx", "suggestion": "prefix", "allowed": sorted(parse.OPERATORS)},
    ),
    ({"genus": {"type": 5}}, "The operator 5 is not known.", {"suggestion": None}),
    (
        {"minelevation": {"type": "range"}},
        "The operator range needs at least one of gte, gt, lte, lt.",
        {"field": "minelevation", "operator": "range"},
    ),
    (
        {"genus": {"type": "prefix", "valeu": "a"}},
        "The operator prefix has no key valeu.",
        {"field": "genus", "operator": "prefix", "suggestion": "value"},
    ),
    ({"genus": {"type": "prefix"}}, "The operator prefix needs the key value.", {"operator": "prefix"}),
    ({"x": {"type": "fulltext"}}, "The operator fulltext needs the key value.", {"operator": "fulltext"}),
    ({"minelevation": "abc"}, 'The field minelevation needs a number, not "abc".', {"field": "minelevation"}),
    ({"minelevation": True}, "The field minelevation needs a number, not true.", {}),
    ({"minelevation": {"type": "range", "gte": "x"}}, 'The field minelevation needs a number, not "x".', {}),
    ({"hasImage": "maybe"}, 'The field hasImage needs true or false, not "maybe".', {}),
    ({"datecollected": "soon"}, 'The field datecollected needs a date, not "soon".', {}),
    ({"datecollected": "2016-02-30"}, 'The field datecollected needs a date, not "2016-02-30".', {}),
    ({"genus": [["acer"]]}, "The field genus needs a text, not a list.", {"field": "genus"}),
    ({"genus": [{}]}, "The field genus needs a text, not an object.", {}),
    (
        {"genus": {"type": "geo_distance", "distance": 1, "lat": 0, "lon": 0}},
        "The operator geo_distance works only on geopoint.",
        {"field": "genus", "operator": "geo_distance"},
    ),
    (
        {"minelevation": {"type": "prefix", "value": "1"}},
        "The operator prefix works only on text fields.",
        {"field": "minelevation", "operator": "prefix"},
    ),
    ({"geopoint": "1,2"}, "The field geopoint needs a geo operator.", {"field": "geopoint"}),
    (geo(type="range", gte=1), "The field geopoint needs a geo operator.", {"operator": "range"}),
    (box(95), "The latitude 95 is outside -90 to 90.", {"field": "geopoint", "operator": "geo_bounding_box"}),
    (box(5, "-181"), "The longitude -181 is outside -180 to 180.", {}),
    (box("x"), 'The latitude "x" is not a number.', {}),
    (
        geo(type="geo_bounding_box", top_left={"lat": 1, "lon": 2}, bottom_right=3),
        "The corner bottom_right needs lat and lon.",
        {},
    ),
    (
        geo(type="geo_distance", distance="5 parsecs", lat=0, lon=0),
        "The distance 5 parsecs is not understood.",
        {"field": "geopoint", "operator": "geo_distance"},
    ),
    (geo(type="geo_distance", distance="-5km", lat=0, lon=0), "The distance -5km is not understood.", {}),
    (
        geo(type="geo_polygon", value=[{"lat": 0, "lon": 0}, {"lat": 1, "lon": 1}]),
        "The polygon has 2 points; it needs 3.",
        {"field": "geopoint", "operator": "geo_polygon"},
    ),
    (geo(type="geo_polygon", value=MANY), "The polygon has 5001 points; the limit is 5000.", {"limit": 5000}),
    (geo(type="geo_shape", value={"type": "Point", "coordinates": [0, 0]}), "The shape Point is not known.", {}),
    (geo(type="geo_shape", value="POLYGON((0 0, 1"), "The coordinates of the shape are not understood.", {}),
    (geo(type="geo_shape", value="CIRCLE(1 2)"), 'The shape "CIRCLE(1 2)" is not known.', {}),
    ({"and": {"genus": "a"}}, "The group and needs a list of queries, not an object.", {}),
    ({"or": ["a"]}, "The group or needs a list of queries, not of a text.", {}),
    ({"not": []}, "The group not needs a query, not a list.", {}),
    ({"genus": "a\0b"}, "The query contains a character that cannot be stored.", {}),
    ({"genus": "\ud800"}, "The query contains a character that cannot be stored.", {}),
    ({"\0": "b"}, "The query contains a character that cannot be stored.", {}),
    ({"genus": ["x"] * 25_000}, "The query has 25000 values; the limit is 20000.", {"limit": 20_000}),
    ({"or": [{"genus": []}] * 30_000}, "The query has 30000 values; the limit is 20000.", {"limit": 20_000}),
    ({"genus": [{}] * 20_001}, "The query has 20001 values; the limit is 20000.", {"limit": 20_000}),
    (DEEP, "The query has 18 levels; the limit is 16.", {"limit": 16}),
]


@pytest.mark.parametrize(("query", "sentence", "keys"), FAULTS, ids=[sentence for _, sentence, _ in FAULTS])
def test_queries(client: Client, query: Any, sentence: str, keys: dict[str, Any]) -> None:
    """D15: status, sentence and keys of every fault of a query, on both faces; nothing is queued."""
    text = json.dumps(query)
    answers = [
        client.post("/", json.dumps({"query": text}), content_type="application/json"),
        client.post("/", {"query": text}),
        client.post("/v2/download", json.dumps({"rq": query}), content_type="application/json"),
    ]
    if len(text) < 4000:
        answers.append(client.get("/?" + urllib.parse.urlencode({"query": text})))
    for answer in answers:
        assert answer.status_code == 400, answer.content
        body = answer.json()
        if isinstance(query, str) and answer is answers[2]:
            continue  # a bare word there is text that is no JSON
        assert body["error"] == sentence
        assert {name: body[name] for name in keys} == keys
        assert answer["Access-Control-Allow-Origin"] == "*"
    assert not Download.objects.exists()


BROKEN = [
    (b'{"a":x}', 6),
    (b'{"genus":"acer"', 16),
    (b"{'genus':'acer'}", 2),
    (b'{"a":NaN}', 6),
    (b'{"NaN":[-Infinity]}', 9),
    (b'{"a":1e999}', 6),
    (b'{"a":"\xff"}', 7),
    ('{"ñ":"'.encode() + b'\xff"}', 7),
]


@pytest.mark.parametrize(("text", "position"), BROKEN)
def test_broken_json(client: Client, text: bytes, position: int) -> None:
    """D15: bad JSON, NaN, Infinity and invalid UTF-8, with the place."""
    for answer in (
        client.get("/?query=" + urllib.parse.quote_from_bytes(text)),
        client.post("/", text, content_type="application/json"),
        client.post("/v2/download", text, content_type="application/json"),
    ):
        assert answer.status_code == 400
        body = answer.json()
        assert body["error"].startswith("The query is not valid JSON: ")
        assert body["error"].endswith(f" at character {position}.")
        assert body["position"] == position
        assert body["parameter"] == "query"


def test_very_deep_json(client: Client) -> None:
    """D15: the limit holds before anything recurses."""
    text = '{"not":' * 100_000 + "1" + "}" * 100_000
    answer = client.post("/", text, content_type="application/json")
    assert (answer.status_code, answer.json()["limit"]) == (400, 16)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"genus":"a","genus":"b"}', "/genus"),
        ('{"or":[{"x/y":1,"genus":1,"genus":2}]}', "/or/0/genus"),
        ('{"a/b~":1,"a/b~":1}', "/a~1b~0"),
    ],
)
def test_duplicate_keys(client: Client, text: str, path: str) -> None:
    """D15: a key given twice, with its place."""
    name = path.rsplit("/", 1)[1].replace("~1", "/").replace("~0", "~")
    answer = client.get("/", {"query": text})
    assert answer.status_code == 400
    assert answer.json() == {"error": f"The key {name} appears twice.", "path": path}


UNSTORABLE = [
    '{"rq":{"\\ud800":1,"\\ud800":2}}',
    '{"rq":{"genus":"a"},"\\udfff":1}',
    '{"rq":{"genus":"a"},"form":"\\ud800"}',
    '{"rq":{"genus":"a"},"core_type":"\\ud800"}',
    '{"rq":{"genus":"a"},"core_source":"x\\u0000"}',
    '{"rq":{"genus":"a"},"compression":["\\ud800"]}',
    '{"rq":{"genus":"a"},"source":"\\ud800"}',
    '{"rq":{"genus":"a"},"since":"\\ud800"}',
    '{"rq":{"genus":"a"},"webhook":"https://example.org/\\ud800"}',
    '{"rq":"{\\"\\ud800\\":1}"}',
]


@pytest.mark.parametrize("body", UNSTORABLE)
def test_unstorable_characters(client: Client, body: str) -> None:
    """D15: half a surrogate pair or U+0000 anywhere in a body, names included, is a plain 400; nothing is queued."""
    answer = client.post("/v2/download", body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json() == {"error": "The query contains a character that cannot be stored."}
    assert not Download.objects.exists()


def test_nul_in_a_url(client: Client) -> None:
    """D15: U+0000 in an option of the URL is a plain 400."""
    answer = client.get("/v2/download?rq={}&form=a%00b")
    assert answer.status_code == 400
    assert answer.json() == {"error": "The query contains a character that cannot be stored."}


def test_surrogates_are_written_escaped() -> None:
    """D15: as a last resort half a surrogate pair is answered as its JSON escape, never a 500."""
    answer = dialect.respond({"error": "a\ud800", "query": {"río": 1}})
    assert answer.content == '{"error":"a\\ud800","query":{"río":1}}'.encode()


@pytest.mark.parametrize(("body", "kind"), [("true", "a boolean"), ("1", "a number"), ("null", "null")])
def test_bodies_that_are_no_object(client: Client, body: str, kind: str) -> None:
    """D15: a body that is no object is named by its kind, on both faces."""
    for path, sent in (
        ("/", body),
        ("/v2/download", body),
        ("/v2/download", f'{{"rq":[{body}]}}'),
        ("/", f'{{"query":[{body}]}}'),
    ):
        answer = client.post(path, sent, content_type="application/json")
        expected = kind if sent == body else "a list"
        assert answer.status_code == 400
        assert answer.json() == {"error": f"The query must be a JSON object, not {expected}."}


def test_no_query(client: Client) -> None:
    """D15: empty query, POST without one, bare {}."""
    for answer in (
        client.get("/?query="),
        client.get("/?query"),
        client.post("/"),
        client.post("/", "{}", content_type="application/json"),
        client.post("/", '{"query":null}', content_type="application/json"),
        client.post("/", {"email": "a@example.org"}),
    ):
        assert answer.status_code == 400
        assert answer.json() == {"error": "Please supply a query.", "parameter": "query"}


def test_repeated_parameter(client: Client) -> None:
    """D15: a parameter given twice."""
    answer = client.get("/?query={}&query={}&x=1&x=2")
    assert answer.status_code == 400
    assert answer.json() == {"error": "The parameter query was given 2 times.", "parameter": "query"}


DELTA_FORMS = {"parameter": "since", "allowed": ["dwca-csv", "dwca-tsv"]}
OPTIONS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"form": "xml"}, "The form xml is not known.", {"parameter": "form", "suggestion": None}),
    ({"form": "dwca-csw"}, "The form dwca-csw is not known.", {"suggestion": "dwca-csv"}),
    ({"core_type": "record"}, "The core_type record is not known.", {"suggestion": "records"}),
    ({"core_source": "x"}, "The core_source x is not known.", {"allowed": ["indexterms", "raw"]}),
    ({"compression": "best"}, "The compression best is not known.", {"allowed": ["fast", "small"]}),
    (
        {"record_fields": ["genus", "genuss"]},
        "The field genuss is not known.",
        {"parameter": "record_fields", "fields": ["genuss"], "suggestion": "genus"},
    ),
    (
        {"mediarecord_fields": ["genus"]},
        "The field genus is not known.",
        {"parameter": "mediarecord_fields"},
    ),
    ({"record_fields": []}, "Name at least one record field.", {"parameter": "record_fields"}),
    ({"record_fields": [1]}, "The parameter record_fields needs a list of names.", {}),
    *(
        ({"since": "nothing", "form": form}, f"The parameter since does not work with form {form}.", DELTA_FORMS)
        for form in ("csv", "tsv", "parquet", "geojson")
    ),
    *(
        ({"since": "nothing", "core_type": core}, f"The parameter since does not work with core_type {core}.", {})
        for core in ("uniquenames", "uniquelocality")
    ),
    ({"since": "nothing"}, "There is no download with the id given in since.", {"parameter": "since"}),
    ({"source": "x" * 201}, "The source has 201 characters; the limit is 200.", {"limit": 200}),
    ({"form": "geojson", "core_type": "uniquenames"}, "The form geojson works only with core_type records.", {}),
]


@pytest.mark.parametrize(("options", "sentence", "keys"), OPTIONS, ids=[sentence for _, sentence, _ in OPTIONS])
def test_options(client: Client, options: dict[str, Any], sentence: str, keys: dict[str, Any]) -> None:
    """D15: bad options of the v2 face."""
    sent = json.dumps({"rq": {}, **options})
    answer = client.post("/v2/download", sent, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"] == sentence
    assert {name: answer.json()[name] for name in keys} == keys
    assert not Download.objects.exists()


HOOKS = ["ftp://example.org/x", "nonsense", "http://169.254.169.254/latest", "http://hooks.example.org/x"]


@pytest.mark.parametrize("hook", HOOKS)
def test_webhooks(client: Client, hook: str, settings: Settings) -> None:
    """D48: webhooks that may not be called, or not by https, are refused."""
    settings.ALLOW_PRIVATE_NETWORKS = False
    sent = json.dumps({"rq": {}, "webhook": hook})
    answer = client.post("/v2/download", sent, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "webhook"
    assert not Download.objects.exists()


@pytest.mark.parametrize(
    "email",
    [
        "nobody",
        "a@example.org,b@example.org",
        "a@example.org b@example.org",
        "Ada <a@example.org>",
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\n",
        "a" * 250 + "@example.org",
    ],
)
def test_bad_emails(client: Client, email: str) -> None:
    """D23: malformed and CR/LF addresses are 400."""
    for answer in (
        client.get("/?" + urllib.parse.urlencode({"query": "{}", "email": email})),
        client.post("/v2/download", json.dumps({"rq": {}, "email": email}), content_type="application/json"),
        client.post("/", json.dumps({"query": {}, "email": email}), content_type="application/json"),
    ):
        assert answer.status_code == 400
        assert answer.json() == {"error": "The email address is not valid.", "parameter": "email"}
    assert not Download.objects.exists()


def test_email_of_another_type(client: Client) -> None:
    sent = json.dumps({"query": {}, "email": ["a@example.org"]})
    assert client.post("/", sent, content_type="application/json").status_code == 400


def test_no_email(client: Client) -> None:
    """D23: absent, empty and null are no mail."""
    for email in ("", None):
        sent = json.dumps({"query": {}, "email": email})
        assert client.post("/", sent, content_type="application/json").status_code == 200
    assert client.get("/?query={}&email=").status_code == 200


def test_too_large(client: Client) -> None:
    """D15: a body over 2 MiB is 413; one of 1.9 MiB is read."""
    large = '{"genus":"' + "a" * 2_100_000 + '"}'
    answer = client.post("/", large, content_type="application/json")
    assert answer.status_code == 413
    assert answer.json() == {"error": "The request is larger than 2097152 bytes."}
    fits = '{"genus":"' + "a" * 1_900_000 + '"}'
    assert client.post("/", fits, content_type="application/json").status_code == 200


def test_quota(client: Client, settings: Settings) -> None:
    """D32: 429 with Retry-After and the numbers."""
    settings.DOWNLOADS_RUNNING_PER_CALLER, settings.DOWNLOADS_QUEUED_PER_CALLER = 0, 2
    for n in range(2):
        assert client.get("/", {"query": json.dumps({"catalognumber": str(n)})}).status_code == 200
    refused = client.get("/", {"query": '{"genus":"acer"}'})
    assert refused.status_code == 429
    assert refused.json() == {"error": "You have 2 downloads waiting; the limit is 2.", "limit": 2}
    assert int(refused["Retry-After"]) > 0


def test_unavailable(client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """D30: database down or queue full is 503 in our words."""
    settings.DOWNLOADS_QUEUE_LENGTH = 0
    answers = [client.get("/?query={}")]

    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(services, "request_download", broken)
    answers.append(client.get("/?query={}"))
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json() == {"error": "The download service cannot take requests right now."}
        assert int(answer["Retry-After"]) > 0


def test_database_away(client: Client) -> None:
    """D30: while the database is away every path of both faces is a 503 that says when to come again."""

    def away(*_args: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    key = "00000000-0000-4000-8000-000000000000"
    paths = ["/?query={}", "/v2/download?rq={}", "/v2/download?rq={}&dry_run=1", f"/status/{key}"]
    paths += [f"/v2/download/{key}", f"/v2/download/{key}/citation", f"/downloads/{key}.zip"]
    token = {"Authorization": "Token " + "x" * 43}
    with connection.execute_wrapper(away):
        answers = [client.get(path) for path in paths]
        answers += [client.head(f"/downloads/{key}.zip"), client.delete(f"/v2/download/{key}")]
        answers += [client.get("/v2/downloads", headers=token)]
        answers += [client.post("/", "{}", content_type="application/json", headers=token)]
    for answer in answers[:-1]:
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) > 0
        assert answer["Access-Control-Allow-Origin"] == "*"
        if answer.request["REQUEST_METHOD"] != "HEAD":
            assert answer.json() == {"error": "The download service cannot take requests right now."}
    assert answers[-1].status_code == 400, "what is wrong without a look at the database is said"


def test_unknown_paths(client: Client) -> None:
    """D11: what is not there is a 404 in JSON."""
    for path in ("/status", "/status/", "/v2/download/a/b", "/downloads/nothing/else", "/v2/downloads/x"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json() == {"error": "There is nothing at this address."}


@pytest.mark.django_db(transaction=True)
def test_not_strict(client: Client, settings: Settings, running_house: house.House) -> None:
    """D16: without STRICT a bad query is 200, then FAILURE with the sentence; an unknown field finds nothing."""
    settings.DOWNLOADS_STRICT = False
    specimens.build()
    bad = client.get("/", {"query": '{"genus":{"type":"prefx"}}'})
    assert (bad.status_code, bad.json()["task_status"]) == (200, "PENDING")
    text = client.get("/", {"query": "not json"}).json()
    assert (text["query"], text["task_status"]) == ("not json", "PENDING")
    unknown = client.get("/", {"query": '{"genuss":"acer"}'}).json()
    first = client.get("/?query=%7B%22genus%22%3A%22acer%22%7D&query=x").json()
    assert first["query"] == {"genus": "acer"}
    jobs.run_queued()
    ended = [client.get(body["status_url"].removeprefix("http://testserver")).json() for body in (bad.json(), text)]
    assert [body["task_status"] for body in ended] == ["FAILURE", "FAILURE"]
    assert ended[0]["error"] == "The operator prefx is not known."
    assert ended[1]["error"].startswith("The query is not valid JSON: ")
    none = client.get("/v2/download/" + unknown["status_url"].rsplit("/", 1)[1]).json()
    assert none["task_status"] == "SUCCESS"
    assert none["rows"]["occurrence.csv"] == 0
    for refused in (client.get("/?query={}&email=x"), client.get("/?query=")):
        assert refused.status_code == 400


NOT_JSON = [
    (b'{"genus":"acer"', "The query is not valid JSON: "),
    (b'{"query":{"genus":NaN}}', "The query is not valid JSON: "),
    (b'{"query":{"genus":"\xff"}}', "The query is not valid JSON: invalid UTF-8 at character 20."),
    (b'{"query":{"genus":1,"genus":2}}', "The key genus appears twice."),
    (b'[{"genus":"acer"}]', "The query must be a JSON object, not a list."),
]


@pytest.mark.parametrize(("body", "sentence"), NOT_JSON)
@pytest.mark.django_db(transaction=True)
def test_broken_bodies_when_not_strict(
    client: Client, settings: Settings, running_house: house.House, body: bytes, sentence: str
) -> None:
    """D16: without STRICT a body that is no JSON or no UTF-8 is 200 PENDING on both faces, then FAILURE."""
    settings.DOWNLOADS_STRICT = False
    answers = [client.post(path, body, content_type="application/json") for path in ("/", "/v2/download")]
    assert [(answer.status_code, answer.json()["task_status"]) for answer in answers] == [(200, "PENDING")] * 2
    jobs.run_queued()
    for answer in answers:
        ended = client.get(answer.json()["status_url"].removeprefix("http://testserver")).json()
        assert ended["task_status"] == "FAILURE"
        assert ended["error"].startswith(sentence)


@pytest.mark.django_db(transaction=True)
def test_broken_urls_when_not_strict(client: Client, settings: Settings, running_house: house.House) -> None:
    """D16: a query of the URL that is no UTF-8 fails the job, an email that is none the request."""
    settings.DOWNLOADS_STRICT = False
    answer = client.get("/?query=%7B%22genus%22:%22%ff%22%7D")
    assert (answer.status_code, answer.json()["task_status"]) == (200, "PENDING")
    jobs.run_queued()
    ended = client.get(answer.json()["status_url"].removeprefix("http://testserver")).json()
    assert ended["error"] == "The query is not valid JSON: invalid UTF-8 at character 11."
    assert client.get("/?query={}&email=%ff").status_code == 400


OPTIONS_LET_PASS = [
    ({"since": "nothing"}, "There is no download with the id given in since."),
    ({"since": "00000000-0000-4000-8000-000000000000"}, "There is no download with the id given in since."),
    ({"form": "xml"}, "The form xml is not known."),
    ({"record_fields": []}, "Name at least one record field."),
    ({"webhook": "ftp://example.org/x"}, ""),
    ({"mq": {"format": {"type": "prefx"}}}, "The operator prefx is not known."),
]


@pytest.mark.parametrize(("options", "sentence"), OPTIONS_LET_PASS)
@pytest.mark.django_db(transaction=True)
def test_bad_options_when_not_strict(
    client: Client, settings: Settings, running_house: house.House, options: dict[str, Any], sentence: str
) -> None:
    """D16: without STRICT bad options are 200 PENDING, then FAILURE; a dry run, which has no job, says them at once."""
    settings.DOWNLOADS_STRICT = False
    sent = {"rq": {"genus": "acer"}, **options}
    assert client.head("/v2/download?since=nothing&rq={}").status_code == 200
    answer = client.post("/v2/download", json.dumps(sent), content_type="application/json")
    assert (answer.status_code, answer.json().get("task_status")) == (200, "PENDING")
    assert answer.json()["query"]["rq"] == {"genus": "acer"}
    jobs.run_queued()
    ended = client.get(answer.json()["status_url"].removeprefix("http://testserver")).json()
    assert ended["task_status"] == "FAILURE"
    assert ended["error"] == sentence or (not sentence and ended["error"])
    guess = client.post("/v2/download", json.dumps(sent | {"dry_run": 1}), content_type="application/json")
    assert (guess.status_code, guess.json()) == (400, {"error": ended["error"]})


STAY = [
    {"email": "x"},
    {"email": "a@example.org\r\nBcc: b@example.org"},
    {"source": "x" * 201},
    {"rq": json.loads("[" * 17 + "]" * 17)},
    {"rq": {"genus": ["a"] * 20_001}},
]


@pytest.mark.parametrize("options", STAY)
def test_faults_of_email_and_size_when_not_strict(client: Client, settings: Settings, options: dict[str, Any]) -> None:
    """D16: without STRICT faults of the email and of size are still refused."""
    settings.DOWNLOADS_STRICT = False
    sent = json.dumps({"rq": {"genus": "acer"}, **options})
    assert client.post("/v2/download", sent, content_type="application/json").status_code == 400
    huge = client.post("/", b"{" + b" " * 2_097_152, content_type="application/json")
    assert huge.status_code == 413
    assert not Download.objects.exists()


def multipart(*fields: tuple[str, bytes]) -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + text for name, text in fields]
    return b"\r\n".join([*parts, b"--b--\r\n"])


def test_multipart(client: Client) -> None:
    """D15: a multipart body is read up to 2 MiB, and like any other may not hold broken UTF-8 or end early."""
    kind = "multipart/form-data; boundary=b"
    fits = b'{"genus":"' + b"a" * 1_900_000 + b'"}'
    assert client.post("/", multipart(("query", fits)), content_type=kind).status_code == 200
    large = client.post("/", multipart(("query", fits * 2)), content_type=kind)
    assert large.status_code == 413
    assert large.json() == {"error": "The request is larger than 2097152 bytes."}
    broken = client.post("/", multipart(("query", b'{"genus":"\xff"}')), content_type=kind)
    assert broken.status_code == 400
    assert broken.json()["error"] == "The query is not valid JSON: invalid UTF-8 at character 11."
    twice = client.post("/", multipart(("query", b"{}"), ("query", b"{}")), content_type=kind)
    assert twice.json()["error"] == "The parameter query was given 2 times."
    file = b'--b\r\nContent-Disposition: form-data; name="query"; filename="q.json"\r\n\r\n{}\r\n--b--\r\n'
    assert client.post("/", file, content_type=kind).json()["error"] == "Please supply a query."
    whole = multipart(("query", b"{}"))
    for body, given in ((whole[:-10], kind), (b"x", kind), (whole, "multipart/form-data")):
        unreadable = client.post("/", body, content_type=given)
        assert unreadable.status_code == 400
        assert unreadable.json() == {"error": "The multipart body cannot be read.", "parameter": "query"}


def test_head_checks_since(client: Client) -> None:
    """D10: HEAD answers for `since` as GET does, and creates nothing."""
    for since in ("nothing", "00000000-0000-4000-8000-000000000000"):
        assert client.head("/v2/download", {"rq": "{}", "since": since}).status_code == 400
    asked = client.get("/v2/download", {"rq": "{}"}).json()["status_url"].rsplit("/", 1)[1]
    assert client.head("/v2/download", {"rq": "{}", "since": asked}).status_code == 200
    assert Download.objects.count() == 1


def test_options_spelt_as_json(client: Client) -> None:
    """D13: an option that is text is tried as JSON and else kept as text."""
    plain = {"rq": "{}", "form": "csv", "core_type": "mediarecords", "core_source": "raw", "compression": "small"}
    plain |= {"record_fields": "genus", "email": "a@example.org", "source": "desk"}
    quoted = {name: value if name == "rq" else json.dumps(value) for name, value in plain.items()}
    answers = [client.get("/v2/download", sent).json() for sent in (plain, quoted)]
    assert answers[0]["status_url"] == answers[1]["status_url"]
    assert answers[0]["query"] == answers[1]["query"]
    assert set(Claim.objects.values_list("source", flat=True)) == {"desk"}
    unforced = client.get("/v2/download", quoted | {"force": '"false"', "dry_run": '""'}).json()
    assert unforced["status_url"] == answers[0]["status_url"]
    kept = client.get("/v2/download", {"rq": "{}", "form": '"csv'})
    assert kept.json()["error"] == 'The form "csv is not known.'
