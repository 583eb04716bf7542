"""Harvesting by `changed`, with tombstones (contract 10.5)."""

from __future__ import annotations

from typing import Any
from urllib import parse

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from nnels import models
from nnels.jobs import catalogue
from nnels.services import editing
from tests.nnels import conftest as house
from tests.nnels.conftest import ago
from tests.nnels.test_surface import check_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def gone(db: None) -> dict[str, models.Item]:
    """Five titles, of which one was unpublished, one deleted and one unpublished and published again."""
    made = {name: house.make_item(name, nid=nid) for nid, name in enumerate(("kept", "hidden", "deleted", "back"), 10)}
    for number, item in enumerate(made.values()):
        models.Item.objects.filter(pk=item.pk).update(changed=ago(days=10 - number))
    editing.change([made["hidden"].pk, made["back"].pk], published=False)
    editing.change([made["back"].pk], published=True)
    catalogue.remove([made["deleted"]])
    made["never"] = house.make_item("never published", nid=20, published=False)
    return made


def harvest(client: Client, token: str, query: str = "") -> Any:
    answer = client.get(f"/api/v1.0/repo_items?deleted=1&{query}", headers={"access-token": token})
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_tombstones(client: Client, token: str, gone: dict[str, models.Item]) -> None:
    """Beyond 5: with `deleted=1` what left the published set is listed as a tombstone, without it nothing changes."""
    body = harvest(client, token)
    assert [(row["id"], row.get("deleted", False)) for row in body["data"]] == [
        (10, False), (11, True), (12, True), (13, False),
    ]  # fmt: skip
    assert body["count"] == 4
    tombstone = body["data"][2]
    assert list(tombstone) == ["id", "self", "uuid", "deleted", "changed"]
    assert tombstone["uuid"] == str(gone["deleted"].uuid)
    assert tombstone["self"] == "http://testserver/api/v1.0/repo_items/12"
    assert "label" in body["data"][0]
    plain = client.get("/api/v1.0/repo_items?deleted=0", headers={"access-token": token}).json()
    assert [row["id"] for row in plain["data"]] == [10, 13]


def test_by_changed(client: Client, token: str, gone: dict[str, models.Item]) -> None:
    """Beyond 5: sorted and filtered by `changed`, titles and tombstones follow each other, page by page."""
    since = parse.quote(ago(minutes=5).isoformat())
    query = f"sort=changed&filter[changed][value]={since}&filter[changed][operator]=>="
    body = harvest(client, token, query)
    assert [row["id"] for row in body["data"]] == [11, 13, 12]
    moments = [row["changed"] for row in harvest(client, token, "sort=changed")["data"]]
    assert moments == sorted(moments)
    found, page = [], harvest(client, token, "sort=-changed&range=1")
    assert page["count"] == 4
    while True:
        found += [row["id"] for row in page["data"]]
        if "next" not in page["links"]:
            break
        assert "deleted=1" in page["links"]["next"]
        page = client.get(page["links"]["next"], headers={"access-token": token}).json()
    assert found == [12, 13, 11, 10]
    assert harvest(client, token, "page=9")["data"] == []
    assert [row["id"] for row in harvest(client, token, f"filter[uuid]={gone['hidden'].uuid}")["data"]] == [11]


def test_tombstones_know_little(client: Client, token: str, gone: dict[str, models.Item]) -> None:
    """Beyond 5: only what a tombstone knows can be sorted and filtered, so that no deletion is missed."""
    for query in ("filter[label]=x", "sort=label"):
        answer = client.get(f"/api/repo_items?deleted=1&{query}", headers={"access-token": token})
        check_problem(answer, 400)
        assert "label is not allowed for this path." in answer.json()["title"]
    check_problem(client.get("/api/repo_items?deleted=1"), 401)


def test_harvest_without_links_may_be_kept(client: Client, token: str, gone: dict[str, models.Item]) -> None:
    """Beyond 5: without link fields the answer has a tag, which a new tombstone changes."""
    path = "/api/repo_items?deleted=1&fields=id,changed"
    headers = {"access-token": token}
    first = client.get(path, headers=headers)
    assert first.json()["data"][1].keys() == {"id", "changed"}
    assert client.get(path, headers={**headers, "if-none-match": first["ETag"]}).status_code == 304
    editing.change([gone["kept"].pk], published=False)
    assert client.get(path, headers={**headers, "if-none-match": first["ETag"]}).status_code == 200


def test_harvest_formats(client: Client, token: str, gone: dict[str, models.Item]) -> None:
    """Beyond 5: tombstones are rows in every format; few statements for any number of rows."""
    for media_type, rows in (
        ("application/vnd.api+json", lambda body: [one["id"] for one in body["data"]]),
        ("application/hal+json", lambda body: [str(one["id"]) for one in body["_embedded"]["hal:repo_items"]]),
    ):
        answer = client.get("/api/repo_items?deleted=1", headers={"access-token": token, "accept": media_type})
        assert rows(answer.json()) == ["10", "11", "12", "13"]


def test_harvest_statements(
    client: Client, token: str, gone: dict[str, models.Item], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    """Beyond 5: five statements at most, as any listing."""
    harvest(client, token)
    with django_assert_max_num_queries(5):
        harvest(client, token)
