"""Limits to the last value that passes and the first that does not (contract §2.4, §2.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import auth
from core.models import User
from downloads.models import Claim, Download
from downloads.selectors import suggest

pytestmark = pytest.mark.django_db

JSON = "application/json"


def nested(levels: int) -> dict[str, Any]:
    query: dict[str, Any] = {"genus": "acer"}
    for _ in range(levels - 1):
        query = {"not": query}
    return query


def corners(count: int) -> dict[str, Any]:
    value = [{"lat": n / 1000, "lon": n / 100} for n in range(count)]
    return {"geopoint": {"type": "geo_polygon", "value": value}}


@pytest.mark.parametrize(
    ("fits", "beyond", "limit"),
    [
        (nested(16), nested(17), 16),
        ({"genus": ["x"] * 20_000}, {"genus": ["x"] * 20_001}, 20_000),
        ({"or": [{"genus": "x"}] * 20_000}, {"or": [{"genus": "x"}] * 20_001}, 20_000),
        (corners(5_000), corners(5_001), 5_000),
    ],
    ids=["levels", "values", "groups", "points"],
)
def test_sizes_of_a_query(client: Client, fits: dict[str, Any], beyond: dict[str, Any], limit: int) -> None:
    """D15: 16 levels, 20,000 values and 5,000 points are taken, one more is refused; both faces check alike."""
    for path, name in (("/", "query"), ("/v2/download", "rq")):
        assert client.head(path, {name: json.dumps(fits)}).status_code == 200
        refused = client.get(path, {name: json.dumps(beyond)})
        assert (refused.status_code, refused.json()["limit"]) == (400, limit)
        assert str(limit) in refused.json()["error"]


@pytest.mark.parametrize("kind", [JSON, "application/x-www-form-urlencoded", "text/plain"])
@pytest.mark.parametrize("path", ["/", "/v2/download"])
def test_bytes_of_a_body(client: Client, path: str, kind: str) -> None:
    """D15: a body of 2 MiB is read, one byte more is 413."""
    query = b'{"genus":"acer"}'
    fits = query + b" " * (2_097_152 - len(query))
    assert client.post(path, fits, content_type=kind).status_code == 200
    refused = client.post(path, fits + b" ", content_type=kind)
    assert refused.status_code == 413
    assert refused.json() == {"error": "The request is larger than 2097152 bytes."}
    assert refused["Access-Control-Allow-Origin"] == "*"


def test_length_of_an_address(client: Client) -> None:
    """D23: an address of 254 characters is taken, one of 255 is not valid."""
    address = "a" * 242 + "@example.org"
    assert len(address) == 254
    assert client.head("/", {"query": "{}", "email": address}).status_code == 200
    refused = client.get("/", {"query": "{}", "email": "a" + address})
    assert refused.json() == {"error": "The email address is not valid.", "parameter": "email"}


def test_length_of_a_source(client: Client) -> None:
    """D15: free text of 200 characters is stored, of 201 refused."""
    assert client.get("/v2/download", {"rq": "{}", "source": "é" * 200}).status_code == 200
    assert Claim.objects.get().source == "é" * 200
    refused = client.get("/v2/download", {"rq": "{}", "source": "é" * 201})
    assert (refused.status_code, refused.json()["limit"]) == (400, 200)


@pytest.mark.parametrize(
    ("query", "status", "shown"),
    [
        ("", 200, 3),
        ("limit=100", 200, 3),
        ("limit=1", 200, 1),
        ("limit=0", 200, 0),
        ("offset=2", 200, 1),
        ("limit=101", 400, "limit"),
        ("limit=-1", 400, "limit"),
        ("offset=x", 400, "offset"),
        ("offset=999999999999999999", 400, "offset"),
    ],
)
def test_pages_of_the_list(client: Client, query: str, status: int, shown: Any) -> None:
    """D47: up to 100 downloads at a time; what is no such number is a 400 that names it."""
    _, secret = auth.issue_token(User.objects.create_user("ada"), audience="downloads")
    headers = {"Authorization": f"Token {secret}"}
    for n in range(3):
        client.get("/", {"query": json.dumps({"genus": f"g{n}"})}, headers=headers)
    answer = client.get(f"/v2/downloads?{query}", headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert (answer.json()["itemCount"], len(answer.json()["items"])) == (3, shown)
    else:
        assert answer.json()["parameter"] == shown


def test_twenty_are_listed_unless_asked(client: Client, settings: Settings) -> None:
    """D47: the list shows the newest twenty."""
    settings.DOWNLOADS_QUEUED_PER_CALLER = 50
    _, secret = auth.issue_token(User.objects.create_user("ada"), audience="downloads")
    headers = {"Authorization": f"Token {secret}"}
    for n in range(21):
        client.get("/", {"query": json.dumps({"genus": f"g{n}"})}, headers=headers)
    found = client.get("/v2/downloads", headers=headers).json()
    genera = [item["query"]["rq"]["genus"] for item in found["items"]]
    assert (found["itemCount"], genera) == (21, [f"g{n}" for n in range(20, 0, -1)])


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("genuxx", "genus"),
        ("genxxx", None),
        ("LOCALITY", "locality"),
        ("locaxxxy", None),
        ("localxxxy", "locality"),
        ("locaxxxxy", None),
        ("dwc:scientificname", "scientificname"),
        ("dwc:vernacularName", "commonname"),
        ("idigbio:hasImage", "hasImage"),
    ],
)
def test_suggestions(client: Client, name: str, suggestion: str | None) -> None:
    """D15: the nearest name within two edits, three beyond eight letters, ignoring case; a header suggests its term."""
    answer = client.get("/", {"query": json.dumps({name: "x"})})
    assert (answer.status_code, answer.json()["suggestion"]) == (400, suggestion)
    assert answer.json()["field"] == name
    assert not Download.objects.exists()


@pytest.mark.parametrize(
    ("one", "two", "edits"),
    [("acer", "acer", 0), ("acer", "acre", 2), ("genus", "genuss", 1), ("abc", "", 3), ("kitten", "sitting", 3)],
)
def test_edits(one: str, two: str, edits: int) -> None:
    """D15: edits are counted as Levenshtein does, and no further than asked."""
    assert suggest.distance(one, two, 9) == suggest.distance(two, one, 9) == edits
    if edits:
        assert suggest.distance(one, two, edits - 1) == edits
