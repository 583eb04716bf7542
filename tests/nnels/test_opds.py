"""OPDS 2.0, and facets."""

from __future__ import annotations

import json
import pathlib
import urllib.request
from typing import Any

import pytest
import yaml
from django.test import Client
from django.urls import resolve

from core.models import User
from nnels import apps, models, urls
from nnels.views import opds
from tests.nnels import conftest as house
from tests.nnels.conftest import LogIn
from tests.nnels.test_surface import check_problem

pytestmark = pytest.mark.django_db

FEED = "application/opds+json"


@pytest.fixture
def shelf(db: None) -> None:
    house.moby(
        files={"epub": b"e", "txt": b"t"},
        narrators=["Reader, A."],
        accessibility={"accessMode": ["textual"], "accessModeSufficient": ["textual,auditory"],
                       "accessibilityFeature": ["tableOfContents"]},
    )  # fmt: skip
    house.make_item("Un été", nid=1, languages=["fra"], rights="open", files={"txt": b"x"})
    house.make_item("Hidden", nid=2, published=False)


def check_links(links: list[dict[str, Any]]) -> None:
    for link in links:
        assert link["href"].startswith("http://testserver/opds")
        assert "/" in link["type"]
        assert isinstance(link["rel"], str)


def check_publication(publication: dict[str, Any]) -> None:
    """The rules of OPDS 2.0 for a publication: a title, a self link, acquisition links."""
    metadata = publication["metadata"]
    assert metadata["title"]
    assert metadata["identifier"].startswith("urn:uuid:")
    assert metadata["@type"] == "http://schema.org/Book"
    check_links(publication["links"])
    rels = [link["rel"] for link in publication["links"]]
    assert rels[0] == "self"
    assert all(rel.startswith("http://opds-spec.org/acquisition") for rel in rels[1:])


def check_feed(response: Any) -> dict[str, Any]:
    """The rules of OPDS 2.0 for a feed: a title, a self link, and a collection."""
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == FEED
    assert response["Cache-Control"] == "private, no-cache"
    assert b"X-Amz" not in response.content
    body: dict[str, Any] = response.json()
    assert body["metadata"]["title"]
    assert [link for link in body["links"] if link["rel"] == "self"]
    check_links(body["links"])
    assert ("publications" in body) != ("navigation" in body)
    for publication in body.get("publications", []):
        check_publication(publication)
    for group in body.get("facets", []):
        assert group["metadata"]["title"]
        check_links(group["links"])
    return body


def test_feeds(client: Client, token: str, shelf: None) -> None:
    """N55: feeds are valid, hold no signed link and carry a tag."""
    headers = {"access-token": token}
    for path in (
        "/opds",
        "/opds/",
        "/opds/publications",
        "/opds/publications?range=1&page=2",
        "/opds/search?query=moby",
    ):
        response = client.get(path, headers=headers)
        check_feed(response)
        again = client.get(path, headers={**headers, "if-none-match": response["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    start = client.get("/opds", headers=headers).json()
    (search,) = [link for link in start["links"] if link["rel"] == "search"]
    assert search["templated"] is True
    assert search["href"].endswith("/opds/search{?query}")
    feed = client.get("/opds/publications?range=1", headers=headers).json()
    assert feed["metadata"] == {"title": "All titles", "numberOfItems": 2, "itemsPerPage": 1, "currentPage": 1}
    (following,) = [link["href"] for link in feed["links"] if link["rel"] == "next"]
    assert following.endswith("/opds/publications?page=2&range=1")


def test_publication(client: Client, token: str, shelf: None) -> None:
    """N55: a publication with accessibility metadata; hidden and unknown ones are 404."""
    response = client.get(f"/opds/publications/{house.MOBY_UUID}", headers={"access-token": token})
    assert response["Content-Type"] == "application/opds-publication+json"
    body = response.json()
    check_publication(body)
    assert body["metadata"]["language"] == ["en"]
    assert body["metadata"]["accessibility"] == {
        "accessMode": ["textual"],
        "accessModeSufficient": [["textual", "auditory"]],
        "feature": ["tableOfContents"],
    }
    assert [link["type"] for link in body["links"][1:]] == ["application/epub+zip", "text/plain"]
    hidden = models.Item.objects.get(pk=2).uuid
    for path in (
        f"publications/{hidden}",
        f"publications/{house.MOBY_UUID.int}",
        "nope",
        "publications/x/files/epub/y",
    ):
        check_problem(client.get(f"/opds/{path}", headers={"access-token": token}), 404)


def test_authentication_document(client: Client, shelf: None) -> None:
    """N55: 401 is an OPDS authentication document."""
    for path in ("/opds", "/opds/publications", f"/opds/publications/{house.MOBY_UUID}/files/epub"):
        response = client.get(path)
        assert response.status_code == 401
        assert response["Content-Type"] == "application/opds-authentication+json"
        body = response.json()
        assert body["id"] == "http://testserver/opds"
        assert body["authentication"][0]["type"] == "http://opds-spec.org/auth/basic"
        assert "Basic realm" in response["WWW-Authenticate"]


def test_acquisition(client: Client, reader: User, shelf: None, log_in: LogIn) -> None:
    """N55: acquisition is 303 to a working link only for the entitled, and logged."""
    path = f"/opds/publications/{house.MOBY_UUID}/files/txt"
    house.make_user("guest")
    guest = {"authorization": house.basic("guest", "notReal")}
    check_problem(client.get(path, headers=guest), 403)
    assert not models.UrlIssue.objects.exists()
    response = client.get(path, headers={"authorization": house.basic("test-account", "notReal")})
    assert (response.status_code, response["Cache-Control"]) == (303, "private, no-store")
    with urllib.request.urlopen(response["Location"]) as answer:
        assert answer.read() == b"t"
    issue = models.UrlIssue.objects.get()
    assert (issue.purpose, issue.item_id, len(issue.files)) == ("opds", 6804, 1)
    # HEAD hands out the same working link in its header: it is logged as well.
    head = client.head(path, headers={"authorization": house.basic("test-account", "notReal")})
    assert (head.status_code, head.content) == (303, b"")
    with urllib.request.urlopen(head["Location"]) as answer:
        assert answer.read() == b"t"
    assert models.UrlIssue.objects.filter(purpose="opds", item_id=6804).count() == 2
    open_uuid = models.Item.objects.get(pk=1).uuid
    assert client.get(f"/opds/publications/{open_uuid}/files/txt", headers=guest).status_code == 303
    for missing in ("epub", "nope", "txt?part=2", "txt?part=x"):
        check_problem(client.get(f"/opds/publications/{open_uuid}/files/{missing}", headers=guest), 404)


def test_facets_of_feed(client: Client, token: str, shelf: None) -> None:
    """N55: facets of the feed narrow it and count."""
    feed = check_feed(client.get("/opds/publications", headers={"access-token": token}))
    groups = {group["metadata"]["title"]: group["links"] for group in feed["facets"]}
    assert [(link["title"], link["properties"]["numberOfItems"]) for link in groups["Language"]] == [
        ("English", 1),
        ("French", 1),
    ]
    narrowed = client.get(groups["Language"][1]["href"], headers={"access-token": token}).json()
    assert narrowed["metadata"]["numberOfItems"] == 1
    assert narrowed["facets"][0]["links"][0]["rel"] == "self"


def test_facets_of_listings(client: Client, token: str, shelf: None) -> None:
    """N55: `facets=` on listing and search counts under the current filters and follows changes."""
    headers = {"access-token": token}
    body = client.get("/api/repo_items?facets=languages,formats&x=1", headers=headers).json()
    assert list(body)[-1] == "facets"
    assert [(one["value"], one["label"], one["count"]) for one in body["facets"]["languages"]] == [
        ("eng", "English", 1),
        ("fra", "French", 1),
    ]
    assert [(one["value"], one["count"]) for one in body["facets"]["formats"]] == [("txt", 2), ("epub", 1)]
    href = body["facets"]["formats"][1]["href"]
    assert [row["id"] for row in client.get(href, headers=headers).json()["data"]] == [6804]
    filtered = client.get("/api/repo_items?facets=formats&filter[languages]=fr", headers=headers).json()
    assert [(one["value"], one["count"]) for one in filtered["facets"]["formats"]] == [("txt", 1)]
    found = client.get("/api/basic_search/moby?facets=languages", headers=headers).json()
    assert json.dumps([one["value"] for one in found["facets"]["languages"]]) == '["eng"]'
    # What only a description mentions is found and counted alike.
    house.make_item("Typee", nid=40, languages=["deu"], description="Islands and a harpoon.")
    found = client.get("/api/basic_search/harpoon?facets=languages", headers=headers).json()
    assert [row["id"] for row in found["data"]] == [40]
    assert [(one["value"], one["count"]) for one in found["facets"]["languages"]] == [("deu", 1)]
    house.make_item("New", nid=50, languages=["fra"])
    again = client.get("/api/repo_items?facets=languages", headers=headers).json()
    assert again["facets"]["languages"][0]["count"] == 2
    refused = client.get("/api/repo_items?facets=label", headers=headers)
    check_problem(refused, 400, "The facet label is not allowed for this path.")


def test_facet_links_replace_every_spelling(client: Client, token: str, shelf: None) -> None:
    """N55: a facet's link works under a filter with an operator and leads to the first page, however that was asked."""
    headers = {"access-token": token}
    query = "filter[languages][value]=deu&filter[languages][operator]=%3C%3E&page[number]=1&page[size]=1"
    listed = client.get(f"/api/repo_items?facets=languages&{query}", headers=headers).json()
    hrefs = {one["value"]: one["href"] for one in listed["facets"]["languages"]}
    feed = check_feed(client.get(f"/opds/publications?{query}", headers=headers))
    narrowing = {link["title"]: link["href"] for group in feed["facets"] for link in group["links"]}
    assert "page" not in hrefs["fra"] + narrowing["French"]
    assert [row["id"] for row in client.get(hrefs["fra"], headers=headers).json()["data"]] == [1]
    narrowed = client.get(narrowing["French"], headers=headers).json()
    assert [one["metadata"]["title"] for one in narrowed["publications"]] == ["Un été"]


def test_documented(client: Client, token: str, shelf: None) -> None:
    """N55: `openapi.yaml` names every OPDS route with its media type, `facets` and `suggest`."""
    paths = yaml.safe_load((pathlib.Path(apps.__file__).parent / "openapi.yaml").read_text("utf-8"))["paths"]
    routes = {
        pattern.callback.view_class for pattern in urls.urlpatterns if pattern.callback.__module__ == opds.__name__
    }
    described = {path for path in paths if path.startswith("/opds")}
    filled = {path: path.format(uuid=house.MOBY_UUID, format="txt") for path in described}
    assert {getattr(resolve(path).func, "view_class", None) for path in filled.values()} == routes
    for path, real in filled.items():
        answer = client.get(f"{real}?query=moby", headers={"access-token": token})
        assert str(answer.status_code) in paths[path]["get"]["responses"], path
    search = paths["/api/v1.1/basic_search/{keywords}"]["get"]["parameters"]
    assert {"$ref": "#/components/parameters/Facets"} in search
    assert "suggest" in [parameter.get("name") for parameter in search]


@pytest.mark.parametrize(
    "query",
    [
        "facets=languages,creators",
        "filter[languages]=fr&facets=languages",
        "filter[languages][value]=fra&facets=languages,creators&range=1&page=2",
        "filter[languages][value][]=fra&filter[languages][value][]=eng&filter[languages][operator][]=IN&facets=languages",
        "filter[languages][value][]=spa&filter[languages][value][]=deu&filter[languages][operator]=NOT IN"
        "&facets=languages",
        "filter[creators][value]=roy&filter[creators][operator]=CONTAINS&facets=creators,languages",
        "filter[creators][value][0]=a&filter[creators][operator][0]=>&filter[creators][value][1]=z"
        "&filter[creators][operator][1]=<&facets=creators",
    ],
)
@pytest.mark.parametrize("path", ["/api/repo_items", "/api/basic_search/roman"])
def test_facets_lead_to_what_they_count(client: Client, token: str, path: str, query: str) -> None:
    """N55: under the current filters, the field's own too, each value leads to as many titles as it counts."""
    headers = {"access-token": token}
    house.make_item("Roman un", languages=["fra"], creators=["Roy, Gabrielle"])
    house.make_item("Roman deux", languages=["fra", "eng"], creators=["Roy, Gabrielle", "Royer, Paul"])
    house.make_item("Roman three", languages=["eng"], creators=["Royer, Paul"])
    house.make_item("Roman four", languages=["fra", "spa"], creators=["Leroy, B."])
    body = client.get(f"{path}?{query}", headers=headers).json()
    assert body["facets"]
    for values in body["facets"].values():
        assert values
        for one in values:
            assert 0 < one["count"] <= body["count"]
            there = client.get(one["href"], headers=headers).json()
            assert (there["count"], len(there["data"])) == (one["count"], min(one["count"], 50)), one


def test_facet_beside_its_own_filter(client: Client, token: str) -> None:
    """N55: counts stay under the field's own filter."""
    house.make_item("Un", languages=["fra"])
    house.make_item("Deux", languages=["fra", "eng"])
    house.make_item("Three", languages=["eng"])
    headers = {"access-token": token}
    body = client.get("/api/repo_items?filter[languages]=fr&facets=languages", headers=headers).json()
    assert [(one["value"], one["count"]) for one in body["facets"]["languages"]] == [("fra", 2), ("eng", 1)]
