"""Unlimited answers: in gzip when asked for, in constant memory, few statements (contract §2.1, §2.6, §2.7, §9)."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import db, streams
from exports.models import Concept, Organization
from exports.selectors import documents
from exports.services import seeding
from tests.exports.conftest import World
from tests.exports.test_export import QUERY, body

FRAME = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT")


def statements(ask: Callable[[], Any]) -> list[str]:
    """The statements of a request, without the marks of its transactions."""
    with CaptureQueriesContext(connection) as seen:
        answer = ask()
        assert answer.status_code == 200, answer.content
        body(answer)
    return [query["sql"] for query in seen.captured_queries if not query["sql"].startswith(FRAME)]


def test_squeezed(world: World) -> None:
    """X33: limit=0 comes in gzip when asked for, and its first byte leaves before the last row is read."""
    world.fill()
    plain = body(world.api.get(f"{world.path}{QUERY}"))
    answer = world.api.get(f"{world.path}{QUERY}", **{"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer["Vary"]
    blocks = iter(answer.streaming_content)
    inflater = zlib.decompressobj(31)
    first = inflater.decompress(next(blocks))
    assert first.endswith(b'"concepts": [')
    world.concept("late")  # the snapshot was taken when the stream began
    assert first + b"".join(inflater.decompress(block) for block in blocks) + inflater.flush() == plain
    assert inflater.eof
    rows = world.api.get(f"{world.path}concepts/?limit=0", **{"Accept-Encoding": "gzip"})
    assert len(json.loads(gzip.decompress(body(rows)))) == 3
    archive = world.api.get(f"{world.path}?includeConcepts=true", Compress="true", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in archive
    assert body(archive).startswith(b"PK")


@pytest.mark.parametrize(("accepted", "squeezed"), [("gzip;q=0", False), ("br, *;q=0.1", True), ("identity", False)])
def test_not_squeezed(world: World, accepted: str, squeezed: bool) -> None:
    """X33: gzip only for those who take it."""
    answer = world.api.get(f"{world.path}{QUERY}", **{"Accept-Encoding": accepted})
    assert answer.has_header("Content-Encoding") == squeezed
    body(answer)


def test_one_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: all of limit=0 is of one moment: a collection's references as well as its rows, and what stands above."""
    urls = world.fill()
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, urls[0])
    whole = body(world.api.get(f"{collection.uri}{QUERY}"))
    answer = world.api.get(f"{collection.uri}{QUERY}")
    blocks = iter(answer.streaming_content)
    first = next(blocks)
    world.refer(collection, urls[1])  # the snapshot was taken when the stream began
    assert first + b"".join(blocks) == whole

    begin = db.snapshot

    def after_an_edit() -> Any:
        assert world.api.put(collection.uri, {"description": "New words"}).status_code == 200
        world.refer(collection, f"{world.path}mappings/1/")
        return begin()

    for path in (collection.uri, f"{collection.uri}HEAD/"):
        assert world.api.delete(f"{collection.uri}references/", {"references": "*"}).status_code == 200
        assert world.api.put(collection.uri, {"description": "Old words"}).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(db, "snapshot", after_an_edit)
            told = json.loads(body(world.api.get(f"{path}{QUERY}")))
        assert told["description"] == "New words"
        assert (len(told["references"]), len(told["mappings"])) == (1, 1)


def test_broken_stream(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: a failure in the middle breaks the connection; what arrived is no whole gzip file."""
    world.fill()

    def break_off(*_: Any, **__: Any) -> Iterator[bytes]:
        yield b'{"concepts": ['
        raise OSError("the server closed the connection unexpectedly")

    monkeypatch.setattr(documents, "stream", break_off)
    answer = world.api.get(f"{world.path}{QUERY}", **{"Accept-Encoding": "gzip"})
    got: list[bytes] = []
    with pytest.raises(OSError, match="closed the connection"):
        got.extend(answer.streaming_content)
    answer.close()
    assert got
    with pytest.raises(EOFError):
        gzip.decompress(b"".join(got))


def test_all_of_a_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: limit=0 of an ordinary list streams in blocks too, and takes one of the few slots."""
    monkeypatch.setattr(streams, "BLOCK", 2000)
    for number in range(12):
        world.repo(f"r{number:02}")
    answer = world.api.get("/orgs/MyOrg/sources/?limit=0")
    assert answer.streaming
    blocks = list(answer.streaming_content)
    counts = [block.count(b'"short_code"') for block in blocks]
    assert sum(counts) == 13
    assert counts[0] == 0
    assert len(counts) > 3
    assert max(counts) < 8
    assert [row["id"] for row in json.loads(b"".join(blocks))][:2] == ["Src1", "r00"]
    assert answer["num_returned"] == "13"
    held = [documents.Slot() for _ in range(4)]
    refused = world.api.get("/orgs/MyOrg/sources/?limit=0")
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    for slot in held:
        slot.release()
    assert len(json.loads(body(world.api.get("/orgs/MyOrg/sources/?limit=0")))) == 13
    assert json.loads(body(world.api.get("/orgs/MyOrg/collections/?limit=0"))) == []
    zipped = world.api.get("/orgs/MyOrg/sources/", Compress="true")
    assert zipped["Content-Type"] == "application/zip"
    assert body(zipped).startswith(b"PK")


def test_few_statements(world: World) -> None:
    """X58: a page of any list takes at most four statements, however many rows it shows, verbose or not."""
    urls = world.fill()
    collection = world.repo("Coll", kind="collection")
    world.refer(collection, urls[0], f"{world.path}mappings/")
    world.cut("v1", released=True)
    world.cut("c1", repo=collection)
    for number in range(5):
        seeding.organization(f"Org{number}", "An org", world.editor, world.outsider)
        seeding.person(f"person{number}", name="Some Body")
    world.api.get("/user/")  # a token notes its first use
    lists = (
        "/users/", "/orgs/", "/sources/", "/collections/", "/concepts/", "/mappings/", "/users/editor/orgs/",
        "/orgs/MyOrg/members/", "/orgs/MyOrg/sources/", "/user/collections/", f"{world.path}versions/",
        f"{world.path}concepts/", f"{world.path}mappings/", f"{world.path}v1/concepts/", f"{urls[0]}versions/",
        f"{urls[0]}mappings/", f"{collection.uri}concepts/", f"{collection.uri}references/",
        f"{collection.uri}expansions/autoexpand-HEAD/concepts/", f"{collection.uri}c1/mappings/",
        f"{collection.uri}c1/expansions/autoexpand-c1/mappings/",
    )  # fmt: skip
    assert Organization.objects.count() > 5
    assert Concept.objects.exists()
    for path in lists:
        for query in ("", "?verbose=true", "?q=a&limit=2"):
            seen = statements(lambda path=path, query=query: world.api.get(f"{path}{query}"))  # type: ignore[misc]
            assert len(seen) <= 4, (f"{path}{query}", len(seen), seen)
