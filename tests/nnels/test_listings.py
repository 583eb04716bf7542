"""`repo_items` as a listing: paging, sorting, filtering."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from pytest_django import Settings

from nnels.formats import text
from nnels.jobs import catalogue
from tests.nnels import conftest as house
from tests.nnels.test_surface import check_problem

pytestmark = pytest.mark.django_db

RANGE = '"Range" property should be numeric and equal or higher than 1.'
PAGE = '"Page" property should be numeric and equal or higher than 1.'


@pytest.fixture
def shelf(db: None) -> None:
    """Twelve titles that differ in every filterable field."""
    languages = ["eng", "fra", "deu"]
    creators = ["Brontë, Charlotte", "Melville, Herman", "Verne, Jules", "Émile Zola"]
    dates = ["1851", "1851-05", "1851-05-03", "1999", None, "2001-02"]
    for number in range(1, 13):
        house.make_item(
            ["Été", "ete", "Whale 100%", "whale_x", "Zoo", "œuvre"][number % 6] + f" {number}",
            nid=number * 10,
            creators=[creators[number % 4]] + ([creators[0]] if number % 3 == 0 else []),
            languages=[languages[number % 3]],
            published_date=dates[number % 6],
            subjects=["Whaling", "Océan"][: number % 3],
            publisher=["Harper", "", "Éditions"][number % 3],
            narration=[None, "human", "synthetic"][number % 3],
            narrators=["Ann"] if number % 2 else [],
            rights=["open", "restricted"][number % 2],
            series="Sea" if number % 4 == 0 else "",
            accessibility={
                "accessibilityFeature": ["tableOfContents"] if number % 2 else [],
                "accessMode": ["textual"],
            },
            published=number != 12,
            files={"txt": b"%d" % number} if number == 1 else {},
        )


def page(client: Client, token: str, query: str = "") -> dict[str, Any]:
    response = client.get(f"/api/v1.0/repo_items/?{query}", headers={"access-token": token})
    assert response.status_code == 200, (query, response.content)
    body: dict[str, Any] = response.json()
    return body


def ids(client: Client, token: str, query: str = "") -> list[int]:
    return [row["id"] for row in page(client, token, query)["data"]]


def filtered(client: Client, token: str, field: str, value: str, operator: str | None = None) -> list[int]:
    pairs = {f"filter[{field}]": value}
    if operator:
        pairs = {f"filter[{field}][value]": value, f"filter[{field}][operator]": operator}
    return ids(client, token, urlencode(pairs))


def test_first_page(client: Client, token: str, shelf: None) -> None:
    """N5: published items by id; root `self first last`, string `links`, no previous on the first page."""
    body = page(client, token, "range=4&x=1")
    assert [row["id"] for row in body["data"]] == [10, 20, 30, 40]
    assert list(body) == ["data", "count", "self", "first", "next", "last", "links"]
    assert body["count"] == 11
    base = "http://testserver/api/v1.0/repo_items"
    assert body["self"] == {"title": "Self", "href": base}
    assert body["next"] == {"title": "Next", "href": f"{base}?x=1&page=2&range=4"}
    assert body["links"] == {
        "self": f"{base}?x=1&page=1&range=4",
        "first": f"{base}?x=1&page=1&range=4",
        "last": f"{base}?x=1&page=3&range=4",
        "next": f"{base}?x=1&page=2&range=4",
    }
    assert list(body["links"]) == ["self", "first", "last", "next"]
    middle = page(client, token, "range=4&page=2")
    assert list(middle) == ["data", "count", "self", "first", "previous", "next", "last", "links"]
    assert list(middle["links"]) == ["self", "first", "previous", "last", "next"]
    assert "next" not in page(client, token, "range=4&page=3")


def test_following_links(client: Client, token: str, shelf: None) -> None:
    """N6: `next` yields every published item once, `previous` likewise, whatever the range."""
    expected = [number * 10 for number in range(1, 12)]
    for size in (1, 3, 7, 50):
        found: list[int] = []
        url: str | None = f"/api/v1.0/repo_items/?range={size}"
        last = ""
        while url:
            body = client.get(url, headers={"access-token": token}).json()
            found += [row["id"] for row in body["data"]]
            last, url = url, body.get("next", {}).get("href")
        assert found == expected
        back: list[list[int]] = []
        url = last
        while url:
            body = client.get(url, headers={"access-token": token}).json()
            back.insert(0, [row["id"] for row in body["data"]])
            url = body.get("previous", {}).get("href")
        assert [one for some in back for one in some] == expected


def test_anchors_follow_changes(client: Client, token: str) -> None:
    """N6: cached counts and anchors follow every change of the published set."""
    items = [house.make_item(f"t{number}") for number in range(120)]
    assert page(client, token, "range=7&page=9")["count"] == 120
    assert ids(client, token, "range=7&page=9") == [item.pk for item in items[56:63]]
    catalogue.remove(items[3:5])
    del items[3:5]
    assert page(client, token, "range=7&page=9")["count"] == 118
    assert ids(client, token, "range=7&page=9") == [item.pk for item in items[56:63]]
    assert ids(client, token, "range=50&page=3") == [item.pk for item in items[100:]]


@pytest.mark.parametrize("bad", ["0", "-1", "abc", "1.5", "", "٣", " 1"])
def test_bad_range_and_page(client: Client, token: str, bad: str) -> None:
    """N38: range and page must be whole numbers from 1."""
    for name, title in (("range", RANGE), ("page[size]", RANGE), ("page", PAGE), ("page[number]", PAGE)):
        query = urlencode({name: bad})
        check_problem(client.get(f"/api/repo_items?{query}", headers={"access-token": token}), 400, title)


def test_range_and_page(client: Client, token: str, shelf: None, settings: Settings) -> None:
    """N38: the cap is silent, `page[…]` wins, the last of repeated parameters wins, far pages are empty."""
    assert page(client, token, "range=1000000")["links"]["self"].endswith("range=50")
    settings.NNELS_RANGE = 5
    assert len(ids(client, token)) == 5
    assert ids(client, token, "page[number]=2&page[size]=3&page=9&range=1") == [40, 50, 60]
    assert ids(client, token, "range=2&range=3&page=1&page=2") == [40, 50, 60]
    for far in ("4", "99999999999", "9" * 300):
        body = page(client, token, f"range=5&page={far}")
        assert (body["data"], body["count"]) == ([], 11)
        assert body["previous"]["href"].endswith("page=3&range=5")
        assert "next" not in body
    empty = page(client, token, "filter[label]=nothing")
    assert (empty["data"], empty["count"]) == ([], 0)
    assert empty["first"]["href"].endswith("page=1&range=5")
    assert empty["last"]["href"].endswith("page=1&range=5")


def test_sorts(client: Client, token: str, shelf: None) -> None:
    """N38: every sortable field, both directions, nulls last, ties by id; others are 400."""
    rows = page(client, token)["data"]
    by_label = sorted(rows, key=lambda row: (text.plain(row["label"]), row["id"]))
    assert ids(client, token, "sort=label") == [row["id"] for row in by_label]
    assert ids(client, token, "sort=-label,id") == [row["id"] for row in reversed(by_label)]
    assert ids(client, token, "sort=-id") == sorted((row["id"] for row in rows), reverse=True)
    for direction in ("", "-"):
        found = page(client, token, f"sort={direction}published_date")["data"]
        assert [row["published_date"] for row in found][-1] is None
        for name in ("creators", "changed", "uuid"):
            assert sorted(ids(client, token, f"sort={direction}{name}")) == sorted(row["id"] for row in rows)
    bad = client.get("/api/repo_items?sort=file_resources", headers={"access-token": token})
    check_problem(bad, 400, "The sort file_resources is not allowed for this path.")


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("filter[nosuch]=1", "The filter nosuch is not allowed for this path."),
        ("filter[file_resources]=1", "The filter file_resources is not allowed for this path."),
        ("filter=x", "The filter x is malformed."),
        ("filter[id]=abc", "The filter id is malformed."),
        ("filter[published_date]=1851-13", "The filter published_date is malformed."),
        ("filter[changed]=yesterday", "The filter changed is malformed."),
        ("filter[label][operator]==", "The filter label is malformed."),
        ("filter[id][value]=1&filter[id][operator]=BETWEEN", "The filter id is malformed."),
        ("filter[label][value]=a&filter[label][conjunction]=OR", "The filter label is malformed."),
        ("filter[label][value][0]=a&filter[label][value][1]=b&filter[label][operator][0]=LIKE",
         "The filter label is malformed."),
        ("filter[label][deep][deeper]=a", "The filter label is malformed."),
        ("filter[label]=%00", "The filter label is malformed."),
        ("filter[id][operator]=IN" + "&filter[id][value][]=1" * 101, "The filter id is malformed."),
    ],
)  # fmt: skip
def test_bad_filters(client: Client, token: str, query: str, title: str) -> None:
    """N38: unknown and malformed filters are 400; malformed ones say why."""
    body = check_problem(client.get(f"/api/repo_items?{query}", headers={"access-token": token}), 400, title)
    assert ("errors" in body) == title.endswith("malformed.")


def test_bad_operator(client: Client, token: str) -> None:
    """N38: another operator is 400 with the list of those there are."""
    query = "filter[label][value]=a&filter[label][operator]=REGEXP"
    check_problem(
        client.get(f"/api/repo_items?{query}", headers={"access-token": token}),
        400,
        'Operator "REGEXP" is not allowed for filtering on this resource. Allowed operators are: =, >, <, >=, <=, <>, '
        "!=, BETWEEN, CONTAINS, IN, LIKE, NOT IN, STARTS_WITH",
    )
    many = "&".join(f"filter[label][value][{n}]=a&filter[label][operator][{n}]=CONTAINS" for n in range(21))
    assert client.get(f"/api/repo_items?{many}", headers={"access-token": token}).status_code == 400


def test_most_filters(client: Client, token: str, shelf: None) -> None:
    """N38: twenty filters and a hundred values are taken, one more is not."""
    for count, status in ((20, 200), (21, 400)):
        pairs = "&".join(f"filter[label][value][{n}]=e&filter[label][operator][{n}]=CONTAINS" for n in range(count))
        answer = client.get(f"/api/repo_items?{pairs}", headers={"access-token": token})
        assert answer.status_code == status
    for count, status in ((100, 200), (101, 400)):
        values = "&".join(f"filter[id][value][]={n}" for n in range(count))
        answer = client.get(f"/api/repo_items?filter[id][operator]=IN&{values}", headers={"access-token": token})
        assert answer.status_code == status
    check_problem(answer, 400, "The filter id is malformed.")


ODD = ("%00", "%FF", "%ED%A0%80", "%0A", "%E2%82%AC", "%F0%9F%90%8B", "'%22%5C", "(", "9" * 400)


@pytest.mark.parametrize("odd", ODD)
def test_odd_bytes_in_parameters(client: Client, token: str, shelf: None, odd: str) -> None:
    """N38: NUL, bytes that are not UTF-8, halves of surrogate pairs and signs in any parameter break nothing."""
    for query in (
        f"filter[label]={odd}", f"filter[creators][value]={odd}&filter[creators][operator]=CONTAINS",
        f"filter[label][value]={odd}&filter[label][operator]=LIKE", f"filter[{odd}]=1", f"sort={odd}", f"fields={odd}",
        f"range={odd}", f"page={odd}", f"facets={odd}", f"all={odd}", f"{odd}={odd}", f"filter[isbn]={odd}",
        f"filter[languages]={odd}", f"filter[published_date]={odd}", f"filter[changed]={odd}", f"filter[uuid]={odd}",
        f"filter[id]={odd}", f"filter[id][operator]={odd}", f"access_token={odd}",
    ):  # fmt: skip
        for path in ("/api/repo_items", "/api/basic_search/e", "/api/users/me", "/api"):
            answer = client.get(f"{path}?{query}", headers={"access-token": token})
            assert answer.status_code in (200, 400), (path, query, answer.content)
    for field in ("uuid", "isbn", "label", "id", odd):
        answer = client.get(f"/api/repo_items/{odd}?loadByFieldName={field}", headers={"access-token": token})
        assert answer.status_code in (400, 422), (field, answer.content)


def test_text_filters(client: Client, token: str, shelf: None) -> None:
    """N39: text ignores case and accents; wildcards only in LIKE."""
    assert filtered(client, token, "label", "ete 6") == filtered(client, token, "label", "ÉTÉ 6") == [60]
    assert filtered(client, token, "label", "ete", "STARTS_WITH") == [10, 60, 70]
    assert filtered(client, token, "label", "Oeuv", "STARTS_WITH") == [50, 110]
    assert filtered(client, token, "label", "100%", "CONTAINS") == [20, 80]
    assert filtered(client, token, "label", "E_X", "CONTAINS") == [30, 90]
    assert filtered(client, token, "label", "%", "=") == []
    assert filtered(client, token, "label", "whale%", "LIKE") == [20, 30, 80, 90]
    assert filtered(client, token, "label", "whale_x _", "LIKE") == [30, 90]
    assert filtered(client, token, "label", "\\", "LIKE") == []
    assert filtered(client, token, "publisher", "editions") == [20, 50, 80, 110]
    for field, values, found in (("label", ["ete 6", "ZOO 4"], [40, 60]), ("id", ["20", "40"], [20, 40])):
        pairs = {f"filter[{field}][value][{place}]": value for place, value in enumerate(values)}
        assert ids(client, token, urlencode({**pairs, f"filter[{field}][operator][0]": "IN"})) == found
        listed = "&".join(f"filter[{field}][value][]={value}" for value in values)
        assert ids(client, token, f"{listed}&filter[{field}][operator][]=in") == found
    assert ids(client, token, urlencode({"filter[id][value][0]": 30, "filter[id][value][1]": 50,
                                         "filter[id][operator][0]": "BETWEEN"})) == [30, 40, 50]  # fmt: skip
    assert filtered(client, token, "id", "100", ">") == [110]
    assert filtered(client, token, "uuid", page(client, token)["data"][2]["uuid"].upper()) == [30]


def test_list_filters(client: Client, token: str, shelf: None) -> None:
    """N39: on lists a positive operator needs one matching value, a negative one none; fre = fra = fr."""
    french = filtered(client, token, "languages", "fra")
    assert french == [10, 40, 70, 100]
    assert filtered(client, token, "languages", "fre") == filtered(client, token, "languages", "FR") == french
    others = filtered(client, token, "languages", "fr", "!=")
    assert sorted([*french, *others]) == [number * 10 for number in range(1, 12)]
    bronte = filtered(client, token, "creators", "BRONTE, charlotte")
    assert bronte == [30, 40, 60, 80, 90]
    assert filtered(client, token, "creators", "bront", "CONTAINS") == bronte
    assert filtered(client, token, "creators", "%zola", "LIKE") == [30, 70, 110]
    assert not set(bronte) & set(filtered(client, token, "creators", "brontë, charlotte", "NOT IN"))
    assert filtered(client, token, "formats", "txt") == [10]
    assert filtered(client, token, "accessibilityFeature", "tableofcontents") == [10, 30, 50, 70, 90, 110]
    assert filtered(client, token, "subjects", "ocean") == [20, 50, 80, 110]


def test_date_filters(client: Client, token: str, shelf: None) -> None:
    """N39: on dates `=` means within that period."""
    assert filtered(client, token, "published_date", "1851") == [10, 20, 60, 70, 80]
    assert filtered(client, token, "published_date", "1851-05") == [10, 20, 70, 80]
    assert filtered(client, token, "published_date", "1851-05-03") == [20, 80]
    assert filtered(client, token, "published_date", "1851", ">") == [30, 50, 90, 110]
    assert filtered(client, token, "published_date", "1851", "<=") == [10, 20, 60, 70, 80]
    assert filtered(client, token, "published_date", "1851", "!=") == [30, 40, 50, 90, 100, 110]
    assert len(filtered(client, token, "changed", "2020", ">")) == 11
    assert filtered(client, token, "changed", "2020") == []
    changed = page(client, token)["data"][0]["changed"]
    assert 10 in filtered(client, token, "changed", changed)


def test_filters_are_anded(client: Client, token: str, shelf: None) -> None:
    """N38: filters of several fields, and several conditions of one, are ANDed; unknown parameters are ignored."""
    assert ids(client, token, "filter[languages]=fr&filter[rights]=open&whatever=1") == [40, 100]
    query = urlencode({
        "filter[id][value][0]": 20, "filter[id][value][1]": 60, "filter[id][operator][0]": ">",
        "filter[id][operator][1]": "<", "filter[id][conjunction]": "and",
    })  # fmt: skip
    assert ids(client, token, query) == [30, 40, 50]


def test_count_equals_rows(client: Client, token: str, shelf: None) -> None:
    """N38: `count` equals the rows paged for 20 random filters."""
    chance = random.Random(6804)
    choices = {
        "id": ["30", "70"], "label": ["ete 1", "w", "z"], "creators": ["zola", "melville, herman"],
        "languages": ["fr", "eng"], "subjects": ["whaling", "x"], "publisher": ["harper", "e"],
        "narration": ["human", "x"], "rights": ["open"], "published_date": ["1851", "2000"], "formats": ["txt", "epub"],
        "series": ["sea"], "narrators": ["ann"], "isbn": ["9780142437247"], "accessMode": ["textual"],
        "accessibilityHazard": ["none"], "uuid": ["a"], "changed": ["2026"],
    }  # fmt: skip
    operators = ["=", ">", "<", ">=", "<=", "<>", "!=", "CONTAINS", "IN", "LIKE", "NOT IN", "STARTS_WITH"]
    for _ in range(20):
        pairs = {}
        for field in chance.sample(sorted(choices), 2):
            pairs[f"filter[{field}][value]"] = chance.choice(choices[field])
            pairs[f"filter[{field}][operator]"] = chance.choice(operators)
        query = urlencode(pairs)
        count = page(client, token, query)["count"]
        paged = [nid for number in range(1, 8) for nid in ids(client, token, f"{query}&range=2&page={number}")]
        assert len(paged) == len(set(paged)) == count, pairs
