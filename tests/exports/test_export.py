"""The export resource, request by request (contract §2.3)."""

import hashlib
import io
import json
import tarfile
import zipfile
from typing import Any
from urllib import parse

import pytest

from exports.formats import archives
from tests.exports.conftest import World


def location(response: Any) -> str:
    """Path of a redirect's target."""
    parts = parse.urlsplit(response["Location"])
    assert parts.scheme in ("http", "https")
    assert parts.netloc
    return parts.path


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def download(world: World, path: str, query: str = "") -> bytes:
    return body(world.anonymous.get(f"{path}export/?stream=true{query}"))


@pytest.fixture
def ready(world: World) -> World:
    world.fill()
    world.cut("v1")
    world.build(f"{world.path}v1/")
    return world


def test_ready(ready: World) -> None:
    """X1: GET and HEAD on a ready export: 303, absolute Location, empty body; oclapi2 302."""
    for method in ("GET", "HEAD"):
        answer = ready.anonymous(method, f"{ready.path}v1/export/")
        assert answer.status_code == 303
        assert location(answer).startswith("/exports/dl/")
        assert answer.content == b""
        assert ready.anonymous(method, f"{ready.path}v1/export/?dialect=oclapi2").status_code == 302


def test_archive(ready: World) -> None:
    """X26: common readers open tgz and zip; one export.json each."""
    tgz, zipped = download(ready, f"{ready.path}v1/"), download(ready, f"{ready.path}v1/", "&format=zip")
    with tarfile.open(fileobj=io.BytesIO(tgz)) as tar:
        assert tar.getnames() == [archives.MEMBER]
        inside = tar.extractfile(archives.MEMBER).read()  # type: ignore[union-attr]
    with zipfile.ZipFile(io.BytesIO(zipped)) as box:
        assert box.namelist() == [archives.MEMBER]
        assert box.testzip() is None
        assert box.read(archives.MEMBER) == inside
    assert len(json.loads(inside)["concepts"]) == 3


def test_equivalent(ready: World) -> None:
    """X29: the equivalent GET is byte-identical to export.json."""
    query = "?includeConcepts=true&includeMappings=true&includeRetired=true&limit=0"
    whole = body(ready.anonymous.get(f"{ready.path}v1/{query}"))
    tgz = download(ready, f"{ready.path}v1/")
    with tarfile.open(fileobj=io.BytesIO(tgz)) as tar:
        assert tar.extractfile(archives.MEMBER).read() == whole  # type: ignore[union-attr]
    status = ready.anonymous.get(f"{ready.path}v1/export/status/").json()
    assert status["json"]["sha256"] == hashlib.sha256(whole).hexdigest()
