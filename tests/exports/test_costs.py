"""What builds and long answers cost: statements and memory that do not grow with the rows (contract §9)."""

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from core import jobs, streams
from core.blobs import writing
from core.db import copying
from core.models import Job
from exports.invented import Invented
from exports.models import Repo
from exports.selectors import rows
from exports.services import seeding
from exports.writing import concepts, drafts, mappings
from tests.exports.conftest import World
from tests.exports.test_export import QUERY

#: a fiftieth of the long answers
BURST = 200 * 1024
#: length of a long row
WIDE = 1_000_000
FRAME = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT", "DECLARE", "CLOSE")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement this thread sends from now on over any connection, COPY too; not those of the heartbeat."""
    seen: list[str] = []
    here = threading.get_ident()

    def noted(whole: Callable[..., Any], place: int) -> Callable[..., Any]:
        def note(*arguments: Any, **more: Any) -> Any:
            if threading.get_ident() == here and not str(arguments[place]).lstrip().startswith(FRAME):
                seen.append(str(arguments[place]))
            return whole(*arguments, **more)

        return note

    monkeypatch.setattr(CursorWrapper, "execute", noted(CursorWrapper.execute, 1))
    monkeypatch.setattr(copying, "_copy_expert", noted(copying._copy_expert, 0))
    return seen


def filled(world: World, name: str, size: int) -> Repo:
    """A source with so many concepts and four times as many mappings, and a collection of all of it; both cut."""
    source = world.repo(name)
    invented = Invented(source.uri, seed=3)
    seeding.fill(source, invented.concepts(size), concepts.write)
    seeding.fill(source, invented.mappings(4 * size, concepts=size), mappings.write)
    collection = world.repo(name, kind="collection")
    world.refer(collection, f"{source.uri}concepts/", f"{source.uri}mappings/")
    for repo in (source, collection):
        world.cut("v1", repo=repo)
    return source


def test_statements_of_a_build(world: World, statements: list[str]) -> None:
    """X58: ten times the rows, the same SQL: a build takes at most twelve statements, from its claim to its end."""
    counts = []
    for name, size in (("Small", 20), ("Large", 200)):
        source = filled(world, name, size)
        for path in (source.uri, source.uri.replace("/sources/", "/collections/")):
            for query in ("", "?force=true"):
                assert world.boss.post(f"{path}v1/export/{query}").status_code == 202
                pk = Job.objects.get(state="queued").pk
                statements.clear()
                assert jobs.run(pk)
                counts.append(len(statements))
                assert len(statements) <= 12, statements
    assert counts[:4] == counts[4:]


def peak(act: Callable[[], Any]) -> int:
    """Most bytes held at once while doing something, beyond those held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def peak_of_build(world: World, path: str) -> int:
    """The same for the build of an export, which is ready afterwards."""
    assert world.boss.post(path).status_code == 202
    pk = Job.objects.get(state="queued").pk
    found = peak(lambda: jobs.run(pk))
    assert world.boss.get(path)["X-Export-Status"] == "ready"
    return found


def consumed(answer: Any) -> None:
    assert answer.status_code == 200
    for _ in answer.streaming_content:
        continue


def _let_go(self: writing.Writer, data: bytes, /) -> int:
    """Hash what is written as the writer does, and keep none of it."""
    assert self._hash is not None
    self._hash.update(data)
    return len(data)


def test_constant_memory(world: World, statements: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """X33, X58: limit=0 in both forms and a build take the same memory (±10 %) and statements at ten times the rows."""
    monkeypatch.setattr(rows, "BLOCK_ROWS", 20)  # so that few rows already fill every buffer
    monkeypatch.setattr(writing.Writer, "write", _let_go)  # the store takes no parts small enough for this test
    seen: list[list[int]] = []
    for name, size in (("Warm", 60), ("Small", 450), ("Large", 4500)):
        source = world.repo(name)
        seeding.fill(source, Invented(source.uri, seed=3).concepts(size), concepts.write)
        world.cut("v1", repo=source)
        found = []
        for path in (f"{source.uri}{QUERY}", f"{source.uri}v1/{QUERY}", f"{source.uri}concepts/?limit=0"):
            for headers in ({}, {"Accept-Encoding": "gzip"}):
                statements.clear()
                found.append(peak(lambda path=path, headers=headers: consumed(world.api.get(path, **headers))))  # type: ignore[misc]
                found.append(len([sql for sql in statements if not sql.startswith("FETCH")]))
        found.append(peak_of_build(world, f"{source.uri}v1/export/"))
        seen.append(found)
    _, small, large = seen
    assert large[1::2] == small[1::2]
    for few, many in zip(small[::2], large[::2], strict=True):
        # deflate hands out its output in bursts, the largest of which only a long stream meets
        assert many <= few * 1.1 + BURST, (small, large)


def test_constant_memory_of_variants(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X58: deltas, parts, the FHIR package and the tables take the same memory at ten times the rows, even when all
    mappings are from one concept."""
    monkeypatch.setattr(rows, "BLOCK_ROWS", 20)
    monkeypatch.setattr(streams, "BLOCK", 4096)
    monkeypatch.setattr(writing.Writer, "write", _let_go)
    origin = world.concept("A")
    seen: list[list[int]] = []
    for name, size in (("Warm", 60), ("Small", 400), ("Large", 4000)):
        source = world.repo(name)
        made = (
            drafts.Draft(None, {"map_type": "X", "from_url": origin, "to_source_url": "ICD", "to_code": f"C{number}"},
                         "editor", "create")
            for number in range(size)
        )  # fmt: skip
        seeding.fill(source, made, mappings.write)
        world.cut("v1", repo=source)
        variants = ("delta/?since=2001-01-01", "?locale=fr", "fhir.tgz/", "csv.zip/")
        seen.append([peak_of_build(world, f"{source.uri}v1/export/{tail}") for tail in variants])
    _, small, large = seen
    for few, many in zip(small, large, strict=True):
        assert many <= few * 1.1 + BURST, (small, large)


def wide(source: Repo, size: int) -> None:
    """Short rows, then so many of a megabyte each."""
    seeding.fill(source, Invented(source.uri, seed=3).concepts(40), concepts.write)
    labels = [{"name": "Wide", "locale": "en"}]
    made = (
        drafts.Draft(f"W{number}", {"concept_class": "Misc", "datatype": "N/A", "names": labels,
                                    "extras": {"text": f"{number}" * (WIDE // len(f"{number}"))}}, "editor", "create")
        for number in range(size)
    )  # fmt: skip
    seeding.fill(source, made, concepts.write)


def test_wide_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X33, X58: what limit=0, lists, deltas, parts and packages hold does not grow with the number of long rows."""
    monkeypatch.setattr(writing.Writer, "write", _let_go)
    seen: list[list[int]] = []
    for name, size in (("Warm", 1), ("Small", 4), ("Large", 24)):
        source = world.repo(name)
        wide(source, size)
        world.cut("v1", repo=source)
        urls = [f"{source.uri}{QUERY}", f"{source.uri}v1/{QUERY}", f"{source.uri}concepts/?limit=0"]
        found = [peak(lambda url=url: consumed(world.api.get(url))) for url in urls]  # type: ignore[misc]
        variants = ("delta/?since=2001-01-01", "?locale=en", "fhir.tgz/", "csv.zip/")
        found += [peak_of_build(world, f"{source.uri}v1/export/{tail}") for tail in variants]
        seen.append(found)
    _, small, large = seen
    for few, many in zip(small, large, strict=True):
        assert many <= few + WIDE, (small, large)
