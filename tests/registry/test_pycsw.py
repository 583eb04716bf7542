"""Harvests of a real catalogue: pycsw over SQLite, in a process of its own (contract 4.3)."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from core import process
from registry.formats import samples
from registry.models import Harvest, Organization, Record, RunChange
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)

PROGRAM = pathlib.Path(__file__).with_name("pycsw_program.py")
PACKAGES = pathlib.Path(__file__).parents[2] / ".cache" / "pycsw"


class Catalogue:
    """pycsw on a loopback port; `hold` says what it has."""

    def __init__(self, folder: pathlib.Path) -> None:
        assert (PACKAGES / "pycsw").is_dir(), "run the tests with ./run test, which installs requirements-pycsw.lock"
        self.folder = folder
        self.port = process.free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}/csw"
        (folder / "xml").mkdir()

    def argv(self, *args: str) -> list[str]:
        # without site-packages: the versions of the other lock must not be mixed in
        return [sys.executable, "-S", str(PROGRAM), *args]

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONWARNINGS": "ignore"}

    def hold(self, documents: Mapping[str, bytes]) -> None:
        """Make these the records of the catalogue."""
        for path in (self.folder / "xml").iterdir():
            path.unlink()
        for name, body in documents.items():
            (self.folder / "xml" / f"{name}.xml").write_bytes(body)
        argv = self.argv("load", str(self.folder))
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip().rpartition("\n")[2]) == (0, str(len(documents))), done.stderr

    def serve(self) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("wb") as log:
            argv = self.argv("serve", str(self.folder), str(self.port))
            server = subprocess.Popen(argv, env=self.env, stdout=log, stderr=log)
        process.await_until(lambda: not process.is_free(self.port), what="pycsw", timeout=40, process=server)
        return server


@pytest.fixture(scope="module")
def pycsw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """A catalogue that serves; tests say what it holds."""
    made = Catalogue(tmp_path_factory.mktemp("pycsw"))
    made.hold({"first": samples.iso19139(0)})
    server = made.serve()
    yield made
    server.terminate()
    server.wait(20)


@pytest.fixture
def harvest(pycsw: Catalogue) -> Harvest:
    organization = Organization.objects.create(name="Real", slug="Real")
    return Harvest.objects.create(
        name="pycsw", url=pycsw.url, harvest_type="CSW", organization=organization, publish=True
    )


def documents() -> dict[str, bytes]:
    """Twenty-four records in every standard: more than two pages."""
    found = {f"data{n}": samples.iso19139(n, root="gmi" if n % 3 == 0 else "gmd") for n in range(20)}
    found |= {f"service{n}": samples.service(n) for n in (30, 31)}
    return found | {f"newer{n}": samples.iso19115_3(n) for n in (40, 41)}


def test_pages_and_standards(pycsw: Catalogue, harvest: Harvest) -> None:
    """X33, X37: a real catalogue's pages are read to the end; gmd, gmi, service and 19115-3 records are good."""
    pycsw.hold(documents())
    made = run(harvest)
    assert (made.state, made.failure_message, list(made.issues.values_list("code", flat=True))) == ("ok", "", [])
    assert (harvest.last_record_count, harvest.last_good_count, harvest.last_bad_count) == (24, 24, 0)
    assert made.requests == 4, "the capabilities and three pages"
    numbers = {*range(20), 30, 31, 40, 41}
    assert set(Record.objects.values_list("identity", flat=True)) == {samples.identifier(n) for n in numbers}
    standards = Record.objects.order_by("standard").values_list("standard", flat=True).distinct()
    assert list(standards) == ["gmd", "gmi", "mdb"]
    assert Record.objects.filter(kind="service").count() == 2
    titles = dict(Record.objects.values_list("file_id", "title"))
    assert titles[samples.identifier(5)] == samples.LANGUAGES["jpn"][0].format(n=5)


def test_changes_between_runs(pycsw: Catalogue, harvest: Harvest) -> None:
    """X34, X36: between two runs of a real catalogue what changed is noticed, what left is removed, the rest stays."""
    pycsw.hold(documents())
    run(harvest)
    again = run(harvest)
    assert (again.unchanged, again.added, again.changed, again.removed) == (24, 0, 0, 0)
    changed = documents() | {"data4": samples.iso19139(4, revision=1), "fresh": samples.iso19139(60)}
    del changed["data2"], changed["newer41"]
    pycsw.hold(changed)
    made = run(harvest)
    assert (made.state, made.added, made.changed, made.removed, made.unchanged) == ("ok", 1, 1, 2, 21)
    kinds = dict(RunChange.objects.filter(run=made).values_list("identity", "kind"))
    assert kinds == {
        samples.identifier(60): "added",
        samples.identifier(4): "changed",
        samples.identifier(2): "removed",
        samples.identifier(41): "removed",
    }
    pycsw.hold({"data0": samples.iso19139(0)})
    guarded = run(harvest)
    assert (guarded.failure_code, Record.objects.count()) == ("shrink_guard", 23)


def test_filter(pycsw: Catalogue, harvest: Harvest) -> None:
    """X33: a CQL filter chooses records of a real catalogue; one it cannot read fails as `csw_exception`."""
    pycsw.hold(documents())
    Harvest.objects.update(cql_filter="apiso:Type = 'service'")
    assert run(Harvest.objects.get()).state == "ok"
    assert set(Record.objects.values_list("kind", flat=True)) == {"service"}
    Harvest.objects.update(cql_filter="dc:title like '%tación 10'", waive_guard_once=True)
    assert run(Harvest.objects.get()).good == 1
    assert Record.objects.get().file_id == samples.identifier(10)
    Harvest.objects.update(cql_filter="nothing like 'this'")
    made = run(Harvest.objects.get())
    assert (made.state, made.failure_code, Record.objects.count()) == ("fail", "csw_exception", 1)
