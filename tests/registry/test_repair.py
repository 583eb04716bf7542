"""Copies with widened point boxes, served where a source wants them (contract 10, item 11)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.models import User
from registry import selectors
from registry.demo import source as demo_source
from registry.formats import boxes, samples
from registry.forms import SourceForm
from registry.jobs import edit
from registry.models import Harvest, Record
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]
POINT = samples.iso19139(0, box=samples._box(-158, 21, -158, 21))


@pytest.fixture
def pointed(add_harvest: Add, source: demo_source.Source) -> Harvest:
    """A harvested source, one of whose records is a point; an hour ago."""
    source.put("station_000.xml", POINT)
    harvest = add_harvest()
    run(harvest)
    Record.objects.update(changed_at=timezone.now() - timedelta(hours=1))
    return harvest


def point() -> Record:
    return Record.objects.select_related("harvest", "organization").get(url__endswith="station_000.xml")


def file(client: Client, record: Record, **headers: str) -> Any:
    return client.get(f"/waf/PacIOOS/{record.waf_name}", headers=headers)


def switch(harvest: Harvest, owner: User, *, on: bool) -> None:
    edit.save(selectors.harvest(harvest.uid), {"widen_points": on}, access=selectors.access_of(owner))


def test_switch(pointed: Harvest, client: Client, owner: User) -> None:
    """X41: the option decides at once which bytes are served, with validators of their own; the original stays."""
    before, listing = file(client, point()), client.get("/waf/PacIOOS/")
    assert before.content == POINT
    others = set(Record.objects.exclude(pk=point().pk).values_list("waf_name", "changed_at"))
    switch(pointed, owner, on=True)
    after = file(client, point())
    assert after.content == boxes.widened(POINT) != POINT
    assert int(after["Content-Length"]) == len(after.content)
    head = client.head(f"/waf/PacIOOS/{point().waf_name}")
    assert (head["ETag"], head["Content-Length"]) == (after["ETag"], after["Content-Length"])
    assert after["ETag"] != before["ETag"]
    assert parsedate_to_datetime(after["Last-Modified"]) > parsedate_to_datetime(before["Last-Modified"])
    assert file(client, point(), if_none_match=before["ETag"]).status_code == 200
    assert file(client, point(), if_modified_since=before["Last-Modified"]).status_code == 200
    assert file(client, point(), if_none_match=after["ETag"]).status_code == 304
    fresh = client.get("/waf/PacIOOS/")
    assert fresh["ETag"] != listing["ETag"]
    line = next(line for line in fresh.getvalue().decode().splitlines() if point().waf_name in line)
    assert line.endswith(f" {len(after.content)}")
    assert set(Record.objects.exclude(pk=point().pk).values_list("waf_name", "changed_at")) == others
    assert client.get(f"/registry/records/{point().pk}/original.xml").content == POINT
    item = client.get(f"/registry/api/records/{point().pk}").json()["data"]
    assert (item["repaired"], item["bbox"]) == (True, [-158.0, 21.0, -158.0, 21.0])
    assert b"(point boxes widened)" in client.get(f"/registry/records/{point().pk}").content
    switch(pointed, owner, on=False)
    assert (file(client, point()).content, file(client, point())["ETag"]) == (POINT, before["ETag"])


def test_runs_keep_the_copy(pointed: Harvest, client: Client, owner: User, source: demo_source.Source) -> None:
    """X41: validators of a widened copy survive an unchanged run and a new validation, and move with the document."""
    switch(pointed, owner, on=True)
    before = file(client, point())
    run(pointed)
    run(pointed, mode="stored")
    again = file(client, point())
    assert [again[name] for name in ("ETag", "Last-Modified")] == [before[name] for name in ("ETag", "Last-Modified")]
    source.put("station_000.xml", samples.iso19139(0, box=samples._box(-150, 20, -150, 20), revision=1))
    assert run(pointed).changed == 1
    assert b"-149.99999" in file(client, point()).content


@pytest.mark.parametrize("on", [True, False])
def test_records_from_before(pointed: Harvest, client: Client, owner: User, *, on: bool) -> None:
    """X41: a record stored before there were copies gets its own by the next validation, new only if served."""
    switch(pointed, owner, on=on)
    Record.objects.update(repaired_sha256="", repaired_size=0, validator_version="2026-11")
    old = point().changed_at
    assert file(client, point()).content == POINT
    run(pointed)
    assert file(client, point()).content == (boxes.widened(POINT) if on else POINT)
    assert (point().changed_at > old) is on


def test_form(pointed: Harvest, client: Client, owner: User) -> None:
    """X51: an owner switches the option on the source's page."""
    client.force_login(owner)
    page = client.get(f"/registry/sources/{pointed.uid}/edit")
    assert b"Widen point boxes in the served copies" in page.content
    form = SourceForm(instance=pointed, access=selectors.access_of(owner))
    values = {name: "" if value is None else value for name, value in form.initial.items()}
    values |= {"include": "", "exclude": "", "widen_points": "on"}
    answer = client.post(f"/registry/sources/{pointed.uid}/edit", values)
    assert answer.status_code == 302
    pointed.refresh_from_db()
    assert pointed.widen_points
    assert file(client, point()).content == boxes.widened(POINT)
