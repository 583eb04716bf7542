"""Listings of real servers: Debian's nginx and Apache (contract 4.3)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import process
from registry.formats import samples
from registry.models import Harvest, Organization, Record
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("station 1.xml", "naïve.xml", "a&b.xml", "plain.xml", "UPPER.XML", "moored/deep.xml")


@pytest.fixture
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of records with awkward names that everybody may read."""
    folder = tmp_path_factory.mktemp("iso")
    old = time.time() - 30 * 86_400
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(samples.iso19139(number))
        os.utime(path, (old, old))
    (folder / "notes.txt").write_text("not a record")
    for path in (folder, *folder.parents):
        if path.owner() == folder.owner() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    return folder


def started(argv: list[str], port: int, folder: Path) -> Iterator[str]:
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        process.await_until(lambda: not process.is_free(port), what=argv[0], timeout=20, process=server)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def nginx(documents: Path, tmp_path: Path) -> Iterator[str]:
    program = shutil.which("nginx")
    assert program, "these tests need Debian's package nginx-light"
    port = process.free_ports(1)[0]
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1;\n"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ }}\n"
        f"http {{ types {{ application/xml xml; text/plain txt; }} access_log off; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; root {documents}; autoindex on; }} }}\n"
    )
    yield from started([program, "-c", str(tmp_path / "nginx.conf")], port, tmp_path)


@pytest.fixture
def apache(request: pytest.FixtureRequest, documents: Path, tmp_path: Path) -> Iterator[str]:
    program = shutil.which("apache2")
    assert program, "these tests need Debian's package apache2"
    port = process.free_ports(1)[0]
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "autoindex", "dir", "mime")
    )
    (tmp_path / "apache.conf").write_text(
        f"ServerRoot {tmp_path}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {tmp_path}/pid\n"
        f"ErrorLog {tmp_path}/error.log\nDefaultRuntimeDir {tmp_path}\n{modules}TypesConfig /etc/mime.types\n"
        f"{'User nobody' if os.geteuid() == 0 else ''}\n{'Group nogroup' if os.geteuid() == 0 else ''}\n"
        f"DocumentRoot {documents}\nIndexOptions {request.param}\n"
        f"<Directory {documents}>\nOptions Indexes\nRequire all granted\n</Directory>\n"
    )
    yield from started([program, "-f", str(tmp_path / "apache.conf"), "-DFOREGROUND"], port, tmp_path)


def harvested(url: str) -> Harvest:
    organization = Organization.objects.create(name="Real", slug="Real")
    harvest = Harvest.objects.create(name="Real", url=url, organization=organization)
    made = run(harvest)
    assert (made.state, made.failure_message) == ("ok", "")
    assert (harvest.last_record_count, harvest.last_good_count) == (6, 6)
    found = set(Record.objects.values_list("file_id", flat=True))
    assert found == {samples.identifier(number) for number in range(6)}
    return harvest


def test_nginx(nginx: str) -> None:
    """X30, X34: a real nginx listing yields its documents with dates and sizes, and costs nothing unchanged."""
    harvest = harvested(nginx)
    assert not Record.objects.filter(listed_date=None).exists()
    assert not Record.objects.filter(listed_size=None).exists()
    again = run(harvest)
    assert (again.unchanged, again.requests) == (6, 2)


@pytest.mark.parametrize(
    "apache",
    ["-FancyIndexing", "FancyIndexing NameWidth=*", "FancyIndexing HTMLTable NameWidth=*", "FancyIndexing XHTML"],
    indirect=True,
)
def test_apache(apache: str, request: pytest.FixtureRequest) -> None:
    """X30, X34: real Apache listings, plain, fancy and as tables, yield the same documents."""
    harvest = harvested(apache)
    has_dates = "-Fancy" not in request.node.name
    assert Record.objects.filter(listed_date=None).exists() is not has_dates
    again = run(harvest)
    assert (again.unchanged, again.requests, again.bytes) == (6, 8, 0)
