"""User names and passwords of sources (contract 10, item 12; 8, SSRF)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import errors
from core.models import User
from registry import selectors
from registry.demo import source as demo_source
from registry.formats import samples
from registry.forms import SourceForm
from registry.jobs import client as http
from registry.jobs import credentials
from registry.models import Harvest
from tests.registry.conftest import PASSWORD, run

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]
SECRET = "só-much salt:in the sea"
BASIC = "Basic " + base64.b64encode(f"reader:{SECRET}".encode()).decode()


def values_of(harvest: Harvest, owner: User, **more: str) -> dict[str, Any]:
    """What a browser sends from the form of a source."""
    form = SourceForm(instance=harvest, access=selectors.access_of(owner))
    shown = {name: "" if value is None else value for name, value in form.initial.items() if value is not False}
    return {**shown, "include": "", "exclude": "", **more}


def save(client: Client, harvest: Harvest, owner: User, **more: str) -> Any:
    """Save the form; the source as it is then."""
    client.force_login(owner)
    answer = client.post(f"/registry/sources/{harvest.uid}/edit", values_of(harvest, owner, **more))
    harvest.refresh_from_db()
    return answer


@pytest.fixture
def signed(harvest: Harvest, client: Client, owner: User) -> Harvest:
    """A source with a user name and a password, given on its page."""
    assert save(client, harvest, owner, source_user="reader", source_password=SECRET).status_code == 302
    return harvest


def sent(source: demo_source.Source) -> set[str | None]:
    return {headers.get("Authorization") for _method, _path, headers in source.requests}


def test_sent_to_the_source_only(signed: Harvest, source: demo_source.Source) -> None:
    """X43: every request to the source's own host carries the pair, none after a redirect to another host does."""
    foreign = demo_source.Source()
    foreign.put("station_000.xml", samples.iso19139(0))
    with demo_source.Server(foreign) as server:
        source.redirects["/nginx/station_000.xml"] = server.url("nginx") + "station_000.xml"
        made = run(signed)
    assert (made.state, made.good) == ("ok", 6)
    assert sent(source) == {BASIC}
    assert len(foreign.requests) == 1
    assert sent(foreign) == {None}


def test_a_moved_source_gets_nothing(signed: Harvest, source: demo_source.Source) -> None:
    """X43: a root that redirects to another host, and the documents listed there, are asked without the pair."""
    foreign = demo_source.Source()
    foreign.put("station_000.xml", samples.iso19139(0))
    with demo_source.Server(foreign) as server:
        source.redirects["/nginx/"] = server.url("nginx")
        assert run(signed).state == "ok"
    assert sent(source) == {BASIC}
    assert len(foreign.requests) == 2
    assert sent(foreign) == {None}


def test_exact_origin() -> None:
    """X43: the pair is for one scheme, host and port; http is not https although a folder counts them as one."""
    sealed = credentials.seal("reader", SECRET, url="https://Data.example.org/iso/")
    given = credentials.headers(sealed, url="https://data.example.org:443/elsewhere")
    assert given == {"Authorization": BASIC}
    for other in ("http://data.example.org/iso/", "https://data.example.org:8443/", "https://example.org/"):
        assert credentials.headers(sealed, url=other) == {}
        with http.Network(http.Limits.of(None), headers=given, origin="https://data.example.org/iso/") as network:
            assert network._own_headers(other) == {}
            assert network._own_headers("https://data.example.org/a.xml") == given


def test_never_shown(
    signed: Harvest, client: Client, source: demo_source.Source, caplog: pytest.LogCaptureFixture
) -> None:
    """X19, X51: the pair is in no row in clear, no page, no answer, no run and no log, also when a run fails."""
    source.faults["/nginx/"] = "500"
    made = run(signed)
    assert made.state == "fail"
    client.force_login(User.objects.create_superuser("root", "root@example.org", PASSWORD))
    paths = [f"/registry/sources/{signed.uid}", f"/registry/sources/{signed.uid}/edit", f"/registry/runs/{made.pk}"]
    paths += [f"/admin/registry/harvest/{signed.pk}/change/", f"/admin/registry/harvestrun/{made.pk}/change/"]
    paths += [f"/api/v1/Harvests/{signed.uid}", "/registry/api/harvests", f"/registry/api/runs/{made.pk}/report.json"]
    texts = [caplog.text, str(made.settings), made.failure_message, str(made.job.__dict__), signed.credentials]
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200
        body = answer.getvalue().decode()
        assert signed.credentials not in body
        texts.append(body)
    for text in texts:
        assert not any(secret in text for secret in (SECRET, "salt:in", BASIC.removeprefix("Basic "), ">reader<"))
    assert b"One is stored." in client.get(f"/admin/registry/harvest/{signed.pk}/change/").content


def test_kept_changed_forgotten(signed: Harvest, client: Client, owner: User, served: demo_source.Server) -> None:
    """X51: an empty password keeps the pair, a new pair replaces it, and it goes when asked or with the host."""
    first = signed.credentials
    save(client, signed, owner, name="Renamed")
    assert (signed.name, signed.credentials) == ("Renamed", first)
    save(client, signed, owner, url=served.url("apache"))
    assert signed.credentials == first
    save(client, signed, owner, source_user="writer", source_password="other")
    assert credentials.headers(signed.credentials, url=signed.url) != {"Authorization": BASIC}
    save(client, signed, owner, forget_password="on")
    assert signed.credentials == ""
    save(client, signed, owner, source_user="reader", source_password=SECRET)
    save(client, signed, owner, url="http://elsewhere.example.org/iso/")
    assert (signed.url, signed.credentials) == ("http://elsewhere.example.org/iso/", "")


def test_half_a_pair(harvest: Harvest, client: Client, owner: User) -> None:
    """X51: half a pair and what Basic cannot carry are refused, and nothing is saved."""
    for user, password in (("reader", ""), ("", SECRET), ("rea:der", SECRET), ("reader", "a\x07b")):
        answer = save(client, harvest, owner, name="Changed", source_user=user, source_password=password)
        assert answer.status_code == 200
        assert SECRET not in answer.content.decode()
        assert (harvest.name, harvest.credentials) == ("nginx source", "")
    with pytest.raises(errors.Invalid):
        credentials.seal("", "x", url="http://h/")


def test_admin(client: Client, organization: Any, served: demo_source.Server, source: demo_source.Source) -> None:
    """X51: an operator adds a source with its pair in admin, and changes it there."""
    client.force_login(User.objects.create_superuser("root", "root@example.org", PASSWORD))
    new = Harvest(name="New", url=served.url("nginx"), organization=organization)
    shown = SourceForm(instance=new, access=selectors.Access(is_admin=True)).initial
    values = {name: value for name, value in shown.items() if value is not False and value is not None}
    values |= {"include": "", "exclude": "", "organization": organization.pk}
    added = {**values, "source_user": "reader", "source_password": SECRET}
    assert client.post("/admin/registry/harvest/add/", added).status_code == 302
    made = Harvest.objects.get()
    run(made)
    assert sent(source) == {BASIC}
    change = f"/admin/registry/harvest/{made.pk}/change/"
    assert client.post(change, {**values, "name": "Kept"}).status_code == 302
    assert Harvest.objects.get().credentials == made.credentials
    assert client.post(change, {**values, "forget_password": "on"}).status_code == 302
    assert Harvest.objects.get().credentials == ""


def test_keys(signed: Harvest, source: demo_source.Source, settings: Settings) -> None:
    """X43: an older key still opens what it sealed; without it the run fails in words and asks nobody."""
    settings.REGISTRY_CREDENTIAL_KEYS = ["new", *settings.REGISTRY_CREDENTIAL_KEYS]
    assert run(signed).state == "ok"
    assert sent(source) == {BASIC}
    source.requests.clear()
    settings.REGISTRY_CREDENTIAL_KEYS = ["new"]
    made = run(signed)
    assert (made.state, made.failure_code) == ("fail", "internal")
    assert made.failure_message == "The stored user name and password cannot be read any more; enter them again."
    assert source.requests == []
