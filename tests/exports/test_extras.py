"""Extra files beside an export (contract §10.6)."""

import hashlib
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from core import blobs
from exports.jobs import build as building
from exports.jobs import doctor
from exports.models import ExtraFile, Repo
from tests.exports.conftest import World, person
from tests.exports.test_export import body


@pytest.fixture
def cut(world: World) -> World:
    world.fill()
    world.cut("v1")
    return world


def put(api: Any, path: str, data: bytes, kind: str = "text/plain") -> Any:
    headers = {"Authorization": f"Token {api.token}"} if api.token else {}
    return api.client.generic("PUT", path, data, content_type=kind, headers=headers)


def test_put_and_get(cut: World) -> None:
    """K1: PUT stores (201, then 200), GET and HEAD give the bytes with sums, DELETE ends it (204, then 404)."""
    path = f"{cut.path}v1/export/README.txt/"
    made = put(cut.api, path, b"Read me")
    assert made.status_code == 201
    assert made["Location"].endswith(path)
    digest = hashlib.sha256(b"Read me").hexdigest()
    assert (made.json()["size"], made.json()["sha256"]) == (7, digest)
    for address in (path, path[:-1]):
        read = cut.anonymous.get(address)
        assert (read.status_code, body(read)) == (200, b"Read me")
        assert (read["Content-Type"], read["ETag"], read["Content-Length"]) == ("text/plain", f'"{digest}"', "7")
    head = cut.anonymous.head(path)
    assert (head.status_code, head["Content-Length"], head.content) == (200, "7", b"")
    same = cut.anonymous.get(path, **{"If-None-Match": f'"{digest}"'})
    assert (same.status_code, same.content) == (304, b"")
    assert put(cut.api, path, b"New", "text/markdown; charset=utf-8").status_code == 200
    read = cut.anonymous.get(path)
    assert (body(read), read["Content-Type"]) == (b"New", "text/markdown; charset=utf-8")
    listed = cut.anonymous.get(f"{cut.path}v1/export/files/").json()
    assert [(one["name"], one["url"], one["size"]) for one in listed] == [("README.txt", path, 3)]
    assert "README.txt" in cut.anonymous.get(f"/exports{cut.path}").content.decode()
    assert cut.api.delete(path).status_code == 204
    assert cut.api.delete(path).status_code == 404
    assert cut.anonymous.get(path).json() == {"detail": "Not found."}


def test_never_a_page(cut: World) -> None:
    """K2: somebody's HTML is sent as an attachment without sniffing; what is no media type becomes unknown bytes."""
    path = f"{cut.path}v1/export/page.html/"
    assert put(cut.api, path, b"<script>alert(1)</script>", "text/html").status_code == 201
    read = cut.anonymous.get(path)
    assert read["Content-Disposition"] == 'attachment; filename="page.html"'
    assert (read["X-Content-Type-Options"], read["Content-Security-Policy"]) == ("nosniff", "sandbox")
    assert put(cut.api, path, b"x", "nothing").json()["content_type"] == "application/octet-stream"
    assert put(cut.api, path, b"", "image/png").json()["size"] == 0
    assert body(cut.anonymous.get(path)) == b""


def test_rights(cut: World) -> None:
    """K3: everybody who sees the repository reads; its administrators write; HEAD has none."""
    path = f"{cut.path}v1/export/notes/"
    assert put(cut.api, path, b"x").status_code == 201
    Repo.objects.filter(pk=cut.source.pk).update(public_access="Edit")
    assert [put(api, path, b"y").status_code for api in (cut.anonymous, cut.stranger)] == [401, 403]
    assert [api.delete(path).status_code for api in (cut.anonymous, cut.stranger)] == [401, 403]
    Repo.objects.filter(pk=cut.source.pk).update(public_access="None")
    for below in ("notes/", "files/"):
        statuses = [
            api.get(f"{cut.path}v1/export/{below}").status_code for api in (cut.anonymous, cut.stranger, cut.api)
        ]
        assert statuses == [401, 403, 200]
    for answer in (put(cut.api, f"{cut.path}HEAD/export/notes/", b"x"), cut.api.get(f"{cut.path}HEAD/export/files/")):
        assert answer.status_code == 405
    assert cut.api.post(path, {}).status_code == 405


@pytest.mark.parametrize("name", ["status", "delta", "events", "files", "fhir.tgz", "csv.zip"])
def test_reserved(cut: World, name: str) -> None:
    """K4: reserved names cannot be put; names that are no names are 404."""
    assert put(cut.api, f"{cut.path}v1/export/{name}/", b"x").status_code == 405
    for bad in ("..", "a b", "%00", "x" * 101):
        assert put(cut.api, f"{cut.path}v1/export/{bad}/", b"x").status_code in (404, 405)
    assert not ExtraFile.objects.exists()


def test_limits(cut: World, settings: Settings) -> None:
    """K5: a file too long is 413, one too many 409; replacing is always allowed."""
    settings.EXPORTS_EXTRA_MAX_BYTES, settings.EXPORTS_MAX_EXTRA_FILES = 5, 2
    path = f"{cut.path}v1/export/"
    assert put(cut.api, f"{path}a/", b"123456").status_code == 413
    assert [put(cut.api, f"{path}{name}/", b"12345").status_code for name in ("a", "b", "c", "a")] == [
        201, 201, 409, 200,
    ]  # fmt: skip


def test_kept(cut: World) -> None:
    """K6: the sweep keeps what is there and lets go what was replaced or deleted with its version; doctor sees gaps."""
    path = f"{cut.path}v1/export/a/"
    put(cut.api, path, b"one")
    old = ExtraFile.objects.get().key
    put(cut.api, path, b"two")
    new = ExtraFile.objects.get().key
    assert building.live_blobs([old, new]) == {new}
    assert list(doctor.invariants()) == []
    blobs.delete(new)
    assert len(list(doctor.invariants())) == 1
    assert cut.anonymous.get(path).status_code in (404, 503)
    assert cut.api.delete(f"{cut.path}v1/").status_code == 204
    assert building.live_blobs([old, new]) == set()


def test_admin(cut: World) -> None:
    """K7: the admin lists extra files and deletes them."""
    put(cut.api, f"{cut.path}v1/export/a/", b"one")
    person("root", is_staff=True, is_superuser=True)
    client = Client()
    assert client.login(username="root", password="a-long-secret-9")
    url = "/admin/exports/extrafile/"
    file = ExtraFile.objects.get()
    assert file.sha256 in client.get(url).content.decode()
    assert client.post(url, {"action": "remove", "_selected_action": [str(file.pk)]}).status_code == 302
    assert not ExtraFile.objects.exists()
