"""`basic_search`."""

from __future__ import annotations

import contextlib
import random
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from core import errors
from core.models import User
from nnels.formats import text
from nnels.selectors import listing, search
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn
from tests.nnels.test_surface import check_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelf(db: None) -> None:
    house.moby(files={})
    house.make_item("Un été québécois", nid=1, creators=["Anonyme"], languages=["fra"])
    house.make_item("Killer whales", nid=2, creators=["Smith, Ann"])
    house.make_item("La baleine blanche", nid=3, languages=["fra"])
    house.make_item("吾輩は猫である", nid=4, languages=["jpn"], creators=["夏目, 漱石"])
    house.make_item("Typee", nid=5, creators=["Melville, Herman"], description="Islands and a whale or two.")
    house.make_item("Hidden whale", nid=6, published=False)
    house.make_item("Plain whales of the sea", nid=7)


def find(client: Client, token: str, keywords: str, query: str = "") -> list[int]:
    response = client.get(f"/api/basic_search/{keywords}?{query}", headers={"access-token": token})
    assert response.status_code == 200, (keywords, response.content)
    return [row["id"] for row in response.json()["data"]]


@pytest.mark.parametrize(
    ("keywords", "nid"),
    [
        ("ete+quebecois", 1), ("%C3%89T%C3%89", 1), ("whales", 2), ("whale", 2), ("baleines", 3), ("baleine", 3),
        ("melville+whales", 5), ("%E7%8C%AB", 4), ("%E7%8C%AB%E3%81%A7%E3%81%82%E3%82%8B", 4), ("Moby-Dick", 6804),
        ("moby+dick", 6804), ("moby%20dick", 6804), ("dick/moby", 6804), ("dick,moby", 6804), ("whaling", 6804),
        ("melville", 6804),
    ],
)  # fmt: skip
def test_words(client: Client, token: str, shelf: None, keywords: str, nid: int) -> None:
    """N40: accents, inflections of both languages, authors with inflected words, Japanese, hyphens."""
    assert nid in find(client, token, keywords)


def test_author_and_inflected_title_word(client: Client, token: str, shelf: None) -> None:
    """N40: an author with an inflected title word finds the title."""
    house.make_item("The Whale", nid=50, creators=["Melville, Herman"])
    assert 50 in find(client, token, "melville+whales")


def test_operators(client: Client, token: str, shelf: None) -> None:
    """N41: phrase, or, exclusion."""
    assert find(client, token, quote('"killer whales"')) == [2]
    assert find(client, token, quote('"whales killer"')) == []
    assert find(client, token, quote('"whales killers"')) == []
    assert set(find(client, token, "typee+or+baleine")) == {3, 5}
    assert find(client, token, "whales+-killers") == find(client, token, "whales+-killer")
    assert 2 not in find(client, token, "whales+-killers")
    assert 7 in find(client, token, "whales+-killers")
    assert 7 not in find(client, token, quote('whales -"of the sea"'))
    assert find(client, token, "whale+-whales") == []


def test_stop_word_with_exclusion_does_not_scan(shelf: None) -> None:
    """N41: `the -whale` is not "all but whale": an index serves it."""
    query = text.query("the -whale")
    match = search._tsquery(query)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT querytree({match.text}), querytree(!!nnels_query('\"whale\"'))", match.bound)
        with_positive, without = cursor.fetchone()
    # PostgreSQL's word for "no index can serve this" is T.
    assert without == "T"
    assert "the" in with_positive


def test_only_exclusions(client: Client, token: str, shelf: None) -> None:
    """N41: only exclusions or punctuation find nothing."""
    for keywords in ("-whale", quote('-"white whale"'), "-whale+-moby", "%21%3F", "...", "-", "%F0%9F%90%8B",
                     "'%25_%5C", "%3A*%26%7C!()", quote('"')):  # fmt: skip
        assert find(client, token, keywords) == []


def test_longest_keywords(client: Client, token: str) -> None:
    """N42: 500 characters and 32 terms are looked for, with a slash at the end as well; `or` and `-` are no terms."""
    terms = [f"w{number}" for number in range(33)]
    fits = ["x" * 500, "+".join(terms[:32]), "+or+".join(terms[:32]), "+-".join(terms[:32])]
    fits.append("%22w0+w1%22+" * 32)
    refused = ["x" * 501, "+".join(terms), "+or+".join(terms), "+-".join(terms), "%22w0+w1%22+" * 33]
    for status, several in ((200, fits), (400, refused)):
        for keywords in several:
            for path in (f"/api/basic_search/{keywords}", f"/api/basic_search/{keywords}/"):
                answer = client.get(path, headers={"access-token": token})
                assert answer.status_code == status, (keywords, answer.content)


@pytest.mark.parametrize("isbn", ["9780142437247", "978-0-14-243724-7", "0142437247", "0-14-243724-7",
                                  "ISBN+0142437247", "978%200%2014%20243724%207"])  # fmt: skip
def test_isbn(client: Client, token: str, shelf: None, isbn: str) -> None:
    """N42: a lone ISBN in any form is an equality look-up."""
    assert find(client, token, isbn) == [6804]


def test_bad_keywords(client: Client, token: str) -> None:
    """N42: no keywords and too long ones are 400, NUL is 400, invalid UTF-8 is no error."""
    for path in ("/api/basic_search", "/api/basic_search/", "/api/basic_search/%20"):
        check_problem(client.get(path, headers={"access-token": token}), 400, "Search keywords are required.")
    for keywords in ("x" * 501, "+".join("abcdefghijklmnopqrstuvwxyz0123456789")):
        response = client.get(f"/api/basic_search/{keywords}", headers={"access-token": token})
        check_problem(response, 400, "Search keywords are too long.")
    assert client.get("/api/basic_search/a%00b", headers={"access-token": token}).status_code == 400
    for odd in ("%FF%FE", "%ED%A0%80", "a%0Ab"):
        assert client.get(f"/api/basic_search/{odd}", headers={"access-token": token}).status_code == 200


def test_noise(shelf: None) -> None:
    """N42: 10,000 random strings raise nothing but the documented refusals."""
    chance = random.Random(1)
    marks = "abcé猫か ה'\"-–+*&|!():<>\\%_/.,;?\t\u0301\u200d😀ﬁİſ0９\u0600" + "whale or -"
    asked = listing.Listing(range=5, page=1)
    queries = []
    for _ in range(10_000):
        raw = "".join(chance.choice(marks) for _ in range(chance.randrange(1, 30)))
        with contextlib.suppress(errors.Invalid):
            queries.append(text.query(raw))
    assert len(queries) > 9_000
    with connection.cursor() as cursor:
        asked_for = [(query.positive, query.negative) for query in queries if query.positive]
        cursor.execute(
            "SELECT count(nnels_query(p) && !!nnels_query(n)) FROM unnest(%s::text[], %s::text[]) AS said(p, n)",
            [[positive for positive, _ in asked_for], [negative for _, negative in asked_for]],
        )
        assert cursor.fetchone()[0] == len(asked_for)
    for query in queries[:200]:
        search.find(query, asked)


def test_rows(client: Client, shelf: None, reader: User, log_in: LogIn) -> None:
    """N43: flat rows, integer count, links that keep the keywords, no signed link; by Basic and by token."""
    for headers in (
        {"authorization": house.basic("test-account", "notReal")},
        {"access-token": log_in()["access_token"]},
    ):
        response = client.get("/api/basic_search/moby+dick?range=1", headers=headers)
        body = response.json()
        (row,) = body["data"]
        assert list(row) == [
            "id", "entity_id", "label", "creators", "languages", "isbn", "uuid", "published_date", "formats",
            "relevance", "self",
        ]  # fmt: skip
        assert (row["id"], row["entity_id"], body["count"]) == (6804, 6804, 1)
        assert 0 < row["relevance"] <= 1
        assert row["self"] == "http://testserver/api/v1.0/repo_items/6804"
        assert b"X-Amz" not in response.content
        assert response["Cache-Control"] == "private, no-cache"
        href = "http://testserver/api/v1.1/basic_search/moby+dick"
        assert body["self"]["href"] == href
        assert body["links"]["first"] == f"{href}?page=1&range=1"
    assert client.get("/api/basic_search/moby").status_code == 401


def test_pages_are_confirmed(client: Client, token: str, shelf: None) -> None:
    """N43: a page of hits may be kept by its reader and is confirmed by its tag until it changes."""
    headers = {"access-token": token}
    first = client.get("/api/basic_search/whales", headers=headers)
    assert first["Cache-Control"] == "private, no-cache"
    same = client.get("/api/basic_search/whales", headers={**headers, "if-none-match": first["ETag"]})
    assert (same.status_code, same.content, same["Cache-Control"]) == (304, b"", "private, no-cache")
    house.make_item("More whales", nid=8)
    again = client.get("/api/basic_search/whales", headers={**headers, "if-none-match": first["ETag"]})
    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


def test_order_and_paging(client: Client, token: str, shelf: None) -> None:
    """N43: relevance descending, then id; sort, filter, range, page and fields work as in listings."""
    body = client.get("/api/basic_search/whale", headers={"access-token": token}).json()
    ranks = [row["relevance"] for row in body["data"]]
    assert ranks == sorted(ranks, reverse=True)
    found = [row["id"] for row in body["data"]]
    assert found[-1] == 5, "a hit in the description comes after those in titles"
    assert 6 not in found
    assert find(client, token, "whale", "sort=id") == sorted(found)
    assert find(client, token, "whale", "sort=-relevance") == found
    assert find(client, token, "whale", "range=2&page=2") == found[2:4]
    assert find(client, token, "whale", "filter[creators]=smith,%20ann") == [2]
    only = client.get("/api/basic_search/whale?fields=id", headers={"access-token": token}).json()["data"]
    assert all(list(row) == ["id"] for row in only)
    check_problem(client.get("/api/basic_search/x?sort=nosuch", headers={"access-token": token}), 400)


def test_exact_title_first(client: Client, token: str, shelf: None, settings: Settings) -> None:
    """N43: an exact title leads, also where hits are too many to be ranked."""
    for number in range(12):
        house.make_item(f"Whale whale whale {number}", nid=100 + number)
    house.make_item("Whale", nid=900)
    assert find(client, token, "whale")[0] == 900
    settings.NNELS_RANK_LIMIT = 5
    found = find(client, token, "whale")
    assert found[0] == 900
    assert found[1:] == sorted(found[1:])


def test_suggestions(client: Client, token: str, shelf: None) -> None:
    """N43: `?suggest=` gives titles and creators that begin with or resemble the text; a search without hits too."""
    headers = {"access-token": token}

    def suggest(text_: str, most: str = "10") -> list[dict[str, Any]]:
        body = client.get(f"/api/basic_search/{text_}?suggest={most}", headers=headers).json()
        assert body["count"] == len(body["data"])
        found: list[dict[str, Any]] = body["data"]
        return found

    assert suggest("mob")[0] == {
        "label": "Moby-Dick", "kind": "title", "href": "http://testserver/api/v1.0/repo_items/6804",
    }  # fmt: skip
    assert suggest("MELV")[0] == {
        "label": "Melville, Herman", "kind": "creator",
        "href": "http://testserver/api/v1.1/basic_search/Melville%2C+Herman",
    }  # fmt: skip
    assert "Moby-Dick" in [one["label"] for one in suggest("mobi")]
    assert len(suggest("whale", "1")) == 1
    assert "Hidden whale" not in [one["label"] for one in suggest("hidden")]
    assert suggest("%25") == []
    for bad in ("0", "x", "", "9" * 19):
        title = '"Suggest" property should be numeric and equal or higher than 1.'
        check_problem(client.get(f"/api/basic_search/a?suggest={bad}", headers=headers), 400, title)
    nothing = client.get("/api/basic_search/mobydikc", headers=headers).json()
    assert nothing["count"] == 0
    assert "Moby-Dick" in [one["label"] for one in nothing["suggestions"]]
