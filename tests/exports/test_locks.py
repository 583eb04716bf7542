"""Writers of different sources in each other's way: what mappings tell of their ends is true, and nobody is refused
because two waited for each other (contract §2.6, §3)."""

import functools
from typing import Any

import pytest

from core.db import locks
from exports.models import Concept, Fragment, Mapping
from exports.services import content
from exports.writing import clock, concepts, drafts, mappings, places, removal, versions
from tests import together
from tests.exports import meeting
from tests.exports.conftest import World
from tests.exports.test_content import whole
from tests.exports.test_moments import names, resolved


def named(name: str) -> dict[str, Any]:
    return {"names": [{"name": name, "locale": "en", "locale_preferred": True}]}


def new(mnemonic: str) -> dict[str, Any]:
    return {"id": mnemonic, "concept_class": "Misc", "datatype": "N/A", **named(f"Name of {mnemonic}")}


class Three:
    """Two sources, and mappings of a third one from each of them to the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sources = [world.repo("Left"), world.repo("Right")]
        self.urls = [world.concept(f"{one.mnemonic}1", source=one) for one in self.sources]
        left, right = self.urls
        self.mappings = [world.mapping(left, right), world.mapping(right, left)]

    def told(self) -> dict[str, tuple[Any, Any]]:
        return {row["id"]: resolved(row) for row in whole(self.world, self.world.path)["mappings"]}


@pytest.fixture(autouse=True)
def tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the order of locks that is tested, not what is done when it does not help."""
    monkeypatch.setattr(locks, "_TRIES", 1)


@pytest.fixture
def three(world: World) -> Three:
    return Three(world)


def test_concepts_that_appear_at_once(three: Three) -> None:
    """X47: two concepts that mappings of a third source point at, each the other's end, are written at once."""
    for url in three.urls:
        assert three.world.boss.delete(f"{url}?hardDelete=true").status_code == 204
    acts = [
        lambda source=source: three.world.api.post(f"{source.uri}concepts/", new(f"{source.mnemonic}1"))
        for source in three.sources
    ]
    answers = meeting.halfway(acts, at="UPDATE exports_mapping m")
    assert [answer.status_code for answer in answers] == [201, 201]
    left, right = "Name of Left1", "Name of Right1"
    assert three.told() == {"1": (left, right), "2": (right, left)}
    assert not Mapping.objects.filter(from_concept=None).exists()


def test_concepts_deleted_at_once(three: Three) -> None:
    """X47: two concepts that mappings of a third source join are deleted for good at once."""
    acts = [lambda url=url: three.world.boss.delete(f"{url}?hardDelete=true") for url in three.urls]
    answers = meeting.halfway(acts, at='UPDATE "exports_mapping"')
    assert [answer.status_code for answer in answers] == [204, 204]
    assert not Mapping.objects.exclude(from_concept=None, to_concept=None).exists()
    assert {row["from_concept_url"] for row in whole(three.world, three.world.path)["mappings"]} == {*three.urls}


def test_sources_deleted_at_once(three: Three) -> None:
    """X47: two sources that mappings of a third one join are deleted at once."""
    acts = [lambda source=source: three.world.api.delete(source.uri) for source in three.sources]
    answers = meeting.halfway(acts, at="UPDATE exports_mapping SET")
    assert [answer.status_code for answer in answers] == [204, 204]
    assert {len(row) for row in whole(three.world, three.world.path)["mappings"]} == {46}


def test_settings_changed_at_once(three: Three) -> None:
    """X47: two sources change their default locale at once, and the third one its access."""
    for side, url in zip(("left", "right"), three.urls, strict=True):
        assert three.world.api.put(url, {"names": names(side, f"{side} fr")}).status_code == 200
    to_french = {"default_locale": "fr"}
    acts = [functools.partial(three.world.api.put, source.uri, to_french) for source in three.sources]
    acts.append(functools.partial(three.world.api.put, three.world.path, {"public_access": "None"}))
    answers = meeting.halfway(acts, at="INSERT INTO exports_fragment")
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert three.told() == {"1": ("left fr", "right fr"), "2": ("right fr", "left fr")}
    shown = Fragment.objects.filter(replaced_at=None, body__contains='"type": "Mapping"')
    assert shown.count() == shown.filter(body__contains='"public_can_view": false').count() == 2


def test_mapping_while_its_end_is_renamed(three: Three) -> None:
    """X30: a mapping written or edited while its end is being renamed tells of the new name."""
    left, right = three.urls
    path, data = f"{three.world.path}mappings/", {"map_type": "X", "from_concept_url": left, "to_concept_url": right}
    with meeting.writing(three.sources[0], drafts.Draft("Left1", named("New"), "editor", "update")):
        post = meeting.begun(lambda: three.world.api.post(path, data))
    post.join(30)
    assert three.told()["3"] == ("New", "Name of Right1")
    with meeting.writing(three.sources[0], drafts.Draft("Left1", named("Newer"), "editor", "update")):
        put = meeting.begun(lambda: three.world.api.put(f"{path}1/", {"map_type": "Y"}))
    put.join(30)
    right_name = "Name of Right1"
    assert three.told() == {"1": ("Newer", right_name), "2": (right_name, "Newer"), "3": ("Newer", right_name)}


def test_end_renamed_while_a_mapping_is_written(three: Three) -> None:
    """X30: an end renamed while a mapping to it is being written is renamed in that too."""
    left, right = three.urls
    data = {"map_type": "X", "from_url": left, "to_source_url": three.sources[1].uri, "to_code": "Right1"}
    draft = drafts.Draft(None, data, "editor", "create")
    with meeting.writing(three.world.source, draft, writer=mappings.write):
        put = meeting.begun(lambda: three.world.api.put(right, named("New")))
    put.join(30)
    assert three.told() == {"1": ("Name of Left1", "New"), "2": ("New", "Name of Left1"), "3": ("Name of Left1", "New")}


def test_mapping_while_its_end_appears(three: Three) -> None:
    """X32: a mapping written while its target is being written tells of it, whichever comes first."""
    left = three.urls[0]
    path = f"{three.world.path}mappings/"

    def data(mnemonic: str) -> dict[str, Any]:
        url = f"{three.sources[1].uri}concepts/{mnemonic}/"
        return {"id": mnemonic, "map_type": "X", "from_concept_url": left, "to_concept_url": url}

    changes = {key: value for key, value in new("Later").items() if key != "id"}
    with meeting.writing(three.sources[1], drafts.Draft("Later", changes, "editor", "create")):
        post = meeting.begun(lambda: three.world.api.post(path, data("Later")))
    post.join(30)
    assert three.told()["Later"] == ("Name of Left1", "Name of Later")
    target = {"map_type": "X", "from_url": left, "to_source_url": three.sources[1].uri, "to_code": "Last"}
    with meeting.writing(three.world.source, drafts.Draft("Last", target, "editor", "create"), writer=mappings.write):
        concept = meeting.begun(lambda: three.world.api.post(f"{three.sources[1].uri}concepts/", new("Last")))
    concept.join(30)
    assert three.told()["Last"] == ("Name of Left1", "Name of Last")


def test_mapping_while_its_end_is_deleted(three: Three) -> None:
    """X32: a mapping written while its target is being deleted for good is one to an unknown concept."""
    left, right = three.urls
    answers: list[Any] = []
    data = {"map_type": "X", "from_concept_url": left, "to_concept_url": right}
    row = Concept.objects.get(uri=right)
    with meeting.doing(three.sources[1], lambda lock: removal.erase(lock, row)):
        post = meeting.begun(lambda: answers.append(three.world.api.post(f"{three.world.path}mappings/", data)))
    post.join(30)
    assert answers[0].status_code == 201, answers[0].content
    assert three.told()["3"] == ("Name of Left1", "absent")


def test_mapping_while_its_end_becomes_private(three: Three) -> None:
    """X13: a mapping written while its target's source becomes private shows no names of it."""
    theirs = three.world.repo("Theirs", owner=three.world.editor)
    url = three.world.concept("T", "Secret", source=theirs)
    data = {"map_type": "X", "from_concept_url": three.urls[0], "to_concept_url": url}

    def hide(lock: clock.Clock) -> None:
        places.edit_repo(lock, {"public_access": "None"}, user="editor")

    with meeting.doing(theirs, hide):
        post = meeting.begun(lambda: three.world.api.post(f"{three.world.path}mappings/", data))
    post.join(30)
    assert three.told()["3"] == ("Name of Left1", "absent")


def test_superseded_version(three: Three) -> None:
    """X32: a mapping's former version goes on telling of the end it had when the next one points elsewhere."""
    elsewhere = three.world.concept("Right2", source=three.sources[1])
    path = f"{three.world.path}mappings/1/"
    former = three.world.api.get(path).json()
    assert three.world.api.put(path, {"to_concept_url": elsewhere}).status_code == 200
    told = three.world.api.get(f"{path}{former['version']}/").json()
    assert told["is_latest_version"] is False
    assert resolved(told) == ("Name of Left1", "Name of Right1")
    assert {**told, "is_latest_version": True, "latest_source_version": former["latest_source_version"]} == former


def test_mapping_moved_meanwhile(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    """X47: who retires a mapping locks the sources of the ends it has by now, all in turn, not of those it had when it
    was looked up; a second try would meet the same deadlock again."""
    world, (left, right) = three.world, three.urls
    mine, path = world.concept("C"), f"{world.path}mappings/1/"
    assert world.api.put(path, {"from_concept_url": mine, "to_concept_url": mine}).status_code == 200
    row = Mapping.objects.select_related("source").get(uri=path)
    assert world.api.put(path, {"from_concept_url": left, "to_concept_url": right}).status_code == 200
    late: list[str] = []
    monkeypatch.setattr(clock, "_share", lambda condition, params: late.append(condition))
    content.retire(row, data={}, user=world.editor)
    assert late
    assert all(condition.startswith("uri = ANY(%s) AND id <> %s") for condition in late), late


def test_mapping_renewed_twice(three: Three) -> None:
    """X47: a batch that changes a concept twice renews a mapping of another source twice, and gets by that source's
    writer, who waits for the mapping."""
    answers: list[Any] = []
    inside = three.world.concept("C")
    three.world.mapping(inside, three.urls[0], id="about")
    twice = [drafts.Draft("Left1", named(name), "editor", "update") for name in ("New", "Newer")]
    with meeting.doing(three.sources[0], lambda lock: concepts.write(lock, twice)):
        put = meeting.begun(lambda: answers.append(three.world.api.put(inside, named("Mine"))))
        assert together.is_waiting()
    put.join(30)
    assert answers[0].status_code == 200
    assert three.told()["about"] == ("Mine", "Newer")


def test_gone_meanwhile(three: Three) -> None:
    """X4: who waits for somebody that deletes what he is about to change is told that it is not there."""
    world, answers = three.world, list[Any]()
    url, version = world.concept("A"), world.cut("v1")
    row = Concept.objects.select_related("source").get(uri=world.concept("B"))
    boss, path = world.boss, world.path
    for act, ask in (
        (lambda lock: removal.erase(lock, row), lambda: boss.put(row.uri, named("New"))),
        (lambda lock: versions.erase_version(version), lambda: boss.put(f"{path}v1/", {"released": True})),
        (lambda lock: versions.erase(lock), lambda: boss.put(f"{path}concepts/A/", named("New"))),
    ):
        with meeting.doing(world.source, act):
            asking = meeting.begun(lambda ask=ask: answers.append(ask()))  # type: ignore[misc]
        asking.join(30)
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, {"detail": "Not found."})] * 3, url


def test_label_of_what_is_gone_meanwhile(three: Three) -> None:
    """X4: so is who adds a name to a concept that is being deleted for good."""
    answers: list[Any] = []
    row = Concept.objects.select_related("source").get(uri=three.urls[0])
    with meeting.doing(three.sources[0], lambda lock: removal.erase(lock, row)):
        label = {"name": "More", "locale": "en"}
        asking = meeting.begun(lambda: answers.append(three.world.api.post(f"{three.urls[0]}names/", label)))
    asking.join(30)
    assert answers[0].status_code == 404


def test_organization_deleted_twice(world: World) -> None:
    """X4: of two that delete an organization at once one is told that it is not there."""
    assert world.api.post("/orgs/", {"id": "Brief"}).status_code == 201
    acts = [lambda: world.boss.delete("/orgs/Brief/")] * 2
    answers = meeting.halfway(acts, at='SELECT "exports_organization"."id"')
    assert sorted(answer.status_code for answer in answers) == [204, 404]
