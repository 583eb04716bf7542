"""The preview and the checks ask a source the way a run asks it (contract 6, 7; 10, items 7 and 12)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import jobs
from core.models import User
from registry.demo import source as demo_source
from registry.formats import samples
from registry.jobs import credentials
from registry.models import Harvest, Organization, Record
from tests.registry.conftest import PASSWORD, command

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]
BASIC = "Basic " + base64.b64encode(b"reader:salt").decode()


def sealed(url: str) -> str:
    return credentials.seal("reader", "salt", url=url)


def sent(source: demo_source.Source) -> set[str | None]:
    return {headers.get("Authorization") for _method, _path, headers in source.requests}


@pytest.fixture
def signed(add_harvest: Add, served: demo_source.Server) -> Harvest:
    """A source that asks for a user name and a password."""
    return add_harvest(credentials=sealed(served.url("nginx")))


@pytest.fixture
def page(client: Client) -> Callable[..., str]:
    """The page of the preview for somebody: `page(owner, harvest.url)`."""

    def text(user: User, url: str, kind: str = "WAF") -> str:
        client.force_login(user)
        answer = client.get("/registry/sources/preview", {"url": url, "harvest_type": kind})
        assert answer.status_code == 200
        return answer.content.decode()

    return text


@pytest.mark.parametrize("style", ["nginx", "csw"])
def test_preview_signs_in(
    style: str, add_harvest: Add, served: demo_source.Server, source: demo_source.Source, owner: User, page: Any
) -> None:
    """X51: the preview of one's own source signs in with its stored pair."""
    harvest = add_harvest(style, credentials=sealed(served.url(style)))
    text = page(owner, harvest.url, harvest.harvest_type)
    assert "6 documents" in text
    assert f"/registry/sources/{harvest.uid}" in text
    assert "Add this source" not in text
    assert sent(source) == {BASIC}


def test_preview_of_a_strangers_source(
    signed: Harvest, source: demo_source.Source, add_person: Callable[..., User], page: Any
) -> None:
    """X51: who may not manage a source is not signed in with its pair, and does not learn that it is there."""
    stranger = add_person("otto", member=False)
    stranger.registry_account.organizations.add(Organization.objects.create(name="Other", slug="Other"))
    Harvest.objects.update(name="Secret buoys", obey_robots=True, exclude=["*"])
    text = page(stranger, signed.url)
    assert "6 documents" in text
    assert "Add this source" in text
    assert "Secret buoys" not in text
    assert signed.uid not in text
    assert sent(source) == {None}
    assert "/robots.txt" not in source.paths()


def test_preview_of_a_source_being_deleted(signed: Harvest, source: demo_source.Source, owner: User, page: Any) -> None:
    """X52: a source that is being deleted lends its pair to nobody."""
    Harvest.objects.update(deleting=True)
    assert "6 documents" in page(owner, signed.url)
    assert sent(source) == {None}


def test_preview_with_the_settings(add_harvest: Add, source: demo_source.Source, owner: User, page: Any) -> None:
    """X51: the preview keeps to the source's scope, depth and CQL."""
    harvest = add_harvest(exclude=["moored/*", "*/moored/*"], max_depth=3)
    source.put("a/b/c/deep.xml", samples.iso19139(7))
    text = page(owner, harvest.url)
    assert "5 documents" in text
    assert "deep.xml" in text
    catalogue = add_harvest("csw", cql_filter="Title LIKE '%buoy%'")
    assert "7 documents" in page(owner, catalogue.url, "CSW")
    assert b"LIKE '%buoy%'" in source.posts[0]


def test_preview_of_a_forbidden_listing(
    add_harvest: Add, served: demo_source.Server, source: demo_source.Source, owner: User, page: Any
) -> None:
    """X51: what robots.txt forbids to a run it forbids to the preview, if the source is told to obey it."""
    source.robots = "User-agent: *\nDisallow: /nginx/\n"
    harvest = add_harvest(obey_robots=True)
    assert "robots.txt forbids" in page(owner, harvest.url)
    assert "/nginx/" not in source.paths()
    assert "6 documents" in page(owner, served.url("apache"))
    Harvest.objects.update(obey_robots=False)
    assert "6 documents" in page(owner, harvest.url)


def test_preview_without_the_key(signed: Harvest, owner: User, page: Any, settings: Settings) -> None:
    """X51: a pair that cannot be opened any more is told on the page."""
    settings.REGISTRY_CREDENTIAL_KEYS = ["another"]
    assert "enter them again" in page(owner, signed.url)


def test_link_to_the_preview(signed: Harvest, client: Client, owner: User, source: demo_source.Source) -> None:
    """X51: a source's page leads its owners to its preview."""
    path = f"/registry/sources/{signed.uid}"
    assert b"sources/preview" not in client.get(path).content
    client.force_login(owner)
    links = [part.partition('"')[0] for part in client.get(path).content.decode().split('href="')[1:]]
    (link,) = (link.replace("&amp;", "&") for link in links if "sources/preview" in link)
    assert b"6 documents" in client.get(link).content
    Harvest.objects.update(harvest_type="DOCUMENT")
    assert b"sources/preview" not in client.get(path).content


def test_check_signs_in_and_obeys(add_harvest: Add, served: demo_source.Server, source: demo_source.Source) -> None:
    """X48: `registry_check` of a stored source signs in, obeys robots.txt once read, and keeps to its settings."""
    source.robots = "User-agent: *\nDisallow: /nginx/station_000.xml\n"
    harvest = add_harvest(credentials=sealed(served.url("nginx")), obey_robots=True, exclude=["*/station_001.xml"])
    code, out, _ = command("registry_check", harvest.url)
    assert (code, out.splitlines()[-1]) == (2, "5 documents, 4 good, 1 bad; robots 1")
    assert sent(source) == {BASIC}
    assert source.paths().count("/robots.txt") == 1
    assert "/nginx/station_000.xml" not in source.paths()
    assert not Record.objects.exists()


@pytest.mark.parametrize("kind", ["CSW", "DOCUMENT"])
def test_check_of_other_types(
    kind: str, add_harvest: Add, served: demo_source.Server, source: demo_source.Source
) -> None:
    """X48: a stored source is checked by its own type, a new one by the type that is given; repeats count once."""
    source.csw_page, source.csw_fault = 4, "duplicates"
    url = served.url("csw") if kind == "CSW" else served.url("nginx") + "station_000.xml"
    told = f"{6 if kind == 'CSW' else 1} documents"
    assert command("registry_check", url, "--type", kind)[1].splitlines()[-1].startswith(told)
    add_harvest(url=url, harvest_type=kind)
    code, out, _ = command("registry_check", url)
    assert (code, out.splitlines()[-1].startswith(told)) == (0, True)


def test_check_counts_documents_only(add_harvest: Add, source: demo_source.Source) -> None:
    """X48: a remark on the listing is shown, but is no bad document."""
    source.put("a/b/c/deep.xml", samples.iso19139(7))
    code, out, _ = command("registry_check", add_harvest().url)
    assert (code, out.splitlines()[-1]) == (0, "6 documents, 6 good, 0 bad; depth 1")
    assert "1 folders lie deeper" in out


def test_check_has_the_limit_of_a_run(add_harvest: Add, settings: Settings) -> None:
    """X24, X48: a check of more documents than a run takes fails as the run does."""
    settings.REGISTRY_MAX_DOCUMENTS = 5
    code, _, err = command("registry_check", add_harvest().url)
    assert (code, err.strip()) == (1, "unreadable: The source lists more than 5 documents.")


def test_check_in_admin(signed: Harvest, client: Client, source: demo_source.Source) -> None:
    """X48: so does the check in admin."""
    client.force_login(User.objects.create_superuser("root", "root@example.org", PASSWORD))
    answer = client.post("/admin/registry/harvest/check/", {"url": signed.url, "harvest_type": ""})
    assert jobs.run_queued() == 1
    assert b"<td>6</td>" in client.get(answer["Location"]).content
    assert sent(source) == {BASIC}
