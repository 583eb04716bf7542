"""One-time links (contract §2.5)."""

import base64
import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from pytest_django import Settings

from core import blobs
from exports.formats import names
from exports.models import LinkUse
from exports.services import links
from tests.exports.conftest import World
from tests.exports.test_export import body, download, location

GONE = {"detail": "This link has been used or has expired. Request a new one from the export URL."}


@pytest.fixture
def ready(world: World, settings: Settings) -> World:
    settings.EXPORTS_LINK_DELIVERY = "stream"
    world.fill()
    world.cut("v1")
    world.build(f"{world.path}v1/")
    return world


def fresh(world: World, query: str = "") -> str:
    return location(world.anonymous.get(f"{world.path}v1/export/{query}"))


def test_once(ready: World) -> None:
    """X19: a link works once, then 410; HEAD does not spend it."""
    link = fresh(ready)
    for _ in range(3):
        head = ready.anonymous.head(link)
        assert (head.status_code, head["Content-Type"]) == (200, "application/gzip")
    assert not LinkUse.objects.exists()
    answer = ready.anonymous.get(link)
    data = body(answer)
    assert len(data) == int(head["Content-Length"])
    assert answer["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert answer["Repr-Digest"].startswith("sha-256=:")
    assert answer["Cache-Control"] == "private, no-store, no-transform"
    assert "Content-Encoding" not in answer
    again = ready.anonymous.get(link)
    assert (again.status_code, again.json()) == (410, GONE)
    assert ready.anonymous.head(link).status_code == 410
    assert ready.anonymous.post(link).status_code == 405


@pytest.mark.parametrize("form", ["tgz", "zip", "tar", "ndjson"])
def test_headers(ready: World, form: str) -> None:
    """X25: what 200, 206 and HEAD of a link carry, in each format."""
    told = ready.anonymous.get(f"{ready.path}v1/export/?format={form}")
    link = location(told)
    head = ready.anonymous.head(link)
    part = ready.anonymous.get(link, Range="bytes=1-9")
    part_bytes = body(part)
    answer = ready.anonymous.get(fresh(ready, f"?format={form}"))
    data = body(answer)
    for one in (head, part, answer):
        assert one["Content-Type"] == names.CONTENT_TYPES[form]
        assert one["Content-Disposition"] == f'attachment; filename="{told["X-Export-Filename"]}"'
        assert (one["Cache-Control"], one["X-Content-Type-Options"]) == ("private, no-store, no-transform", "nosniff")
        assert one["Accept-Ranges"] == ("none" if form == "ndjson" else "bytes")
        for name in ("ETag", "Last-Modified", "Last-Updated"):
            assert one[name] == told[name]
        assert one["Date"].endswith(" GMT")
        assert "Content-Encoding" not in one
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert one.get("Repr-Digest") == (f"sha-256=:{digest}:" if form in ("tgz", "zip") else None)
    assert (head.status_code, head["Content-Length"], head.content) == (200, str(len(data)), b"")
    if form == "ndjson":
        assert (part.status_code, part_bytes) == (200, data)
    else:
        assert (part.status_code, part["Content-Length"], part_bytes) == (206, "9", data[1:10])
        assert part["Content-Range"] == f"bytes 1-9/{len(data)}"


def interrupted(world: World, link: str, after: int, **headers: str) -> bytes:
    """What a client holds when the connection breaks after so many bytes."""
    answer = world.anonymous.get(link, **headers)
    got = b""
    for block in answer.streaming_content:
        got += block
        break
    answer.close()
    return got[:after]


def test_starts(ready: World) -> None:
    """X20: at most five whole-body starts per link, also when they come as a range over everything."""
    link = fresh(ready)
    for number in range(links.MAX_STARTS):
        interrupted(ready, link, 100, **({"Range": "bytes=0-"} if number % 2 else {}))
    assert ready.anonymous.get(link, Range="bytes=0-").status_code == 410
    assert ready.anonymous.get(link).status_code == 410
    assert ready.anonymous.head(link).status_code == 410
    assert ready.anonymous.head(link, Range="bytes=100-").status_code == 206
    assert ready.anonymous.get(link, Range="bytes=100-").status_code == 206


def test_resume(ready: World) -> None:
    """X20: an interrupted download resumes with Range, joined bytes hash right, then 410."""
    whole = download(ready, f"{ready.path}v1/")
    link = fresh(ready)
    got = interrupted(ready, link, 100)
    rest = ready.anonymous.get(link, Range="bytes=100-")
    assert (rest.status_code, rest["Content-Range"]) == (206, f"bytes 100-{len(whole) - 1}/{len(whole)}")
    etag = rest["ETag"]
    assert got + body(rest) == whole
    assert ready.anonymous.get(link).status_code == 410
    # the lost tail: whoever can name the entity may fetch its end again within the grace
    assert body(ready.anonymous.get(link, Range="bytes=200-", **{"If-Range": etag})) == whole[200:]
    assert ready.anonymous.get(link, Range="bytes=0-", **{"If-Range": etag}).status_code == 410
    LinkUse.objects.update(first_byte_at=timezone.now() - timedelta(hours=2))
    assert ready.anonymous.get(link, Range="bytes=200-", **{"If-Range": etag}).status_code == 410


def test_pieces_and_starts(ready: World) -> None:
    """X20: pieces that cover the file spend the link; at most five starts; odd ranges."""
    whole = download(ready, f"{ready.path}v1/")
    link = fresh(ready)
    pieces = [body(ready.anonymous.get(link, Range=span)) for span in ("bytes=0-49", "bytes=50-99")]
    assert body(ready.anonymous.get(link, Range="bytes=0-9,20-29")) == whole
    assert b"".join(pieces) == whole[:100]
    other = fresh(ready)
    assert body(ready.anonymous.get(other, Range="bytes=-10")) == whole[-10:]
    far = ready.anonymous.get(other, Range="bytes=99999999-")
    assert (far.status_code, far["Content-Range"]) == (416, f"bytes */{len(whole)}")
    third = fresh(ready)
    for _ in range(links.MAX_STARTS):
        interrupted(ready, third, 10)
    assert ready.anonymous.get(third).status_code == 410


def test_expired_and_forged(ready: World, settings: Settings) -> None:
    """X21: link not started in time 410, forged 404; foreign Authorization ignored."""
    settings.EXPORTS_LINK_SECONDS = -5
    late = fresh(ready)
    settings.EXPORTS_LINK_SECONDS = 60
    assert ready.anonymous.get(late).status_code == 410
    link = fresh(ready)
    token = link.split("/")[3]
    forged = link.replace(token, ("0" if token[0] != "0" else "1") + token[1:])
    assert ready.anonymous.get(forged).status_code == 404
    assert ready.anonymous.get(link.replace(token, token.upper())).status_code == 404
    assert ready.anonymous.get(link, Authorization="Token nonsense").status_code == 200
    doomed = fresh(ready)
    assert ready.api.delete(f"{ready.path}v1/export/").status_code == 200
    assert ready.anonymous.get(doomed).status_code == 410


def test_gone_before_ranges(ready: World, settings: Settings) -> None:
    """X21: a link that is used up or too late is 410 whatever range is asked for; a good one with a bad range 416."""
    beyond = {"Range": "bytes=99999999-"}
    settings.EXPORTS_LINK_SECONDS = -5
    late = fresh(ready)
    settings.EXPORTS_LINK_SECONDS = 60
    assert ready.anonymous.get(late, **beyond).status_code == 410
    link = fresh(ready)
    refused = ready.anonymous.get(link, **beyond)
    assert refused.status_code == 416
    body(ready.anonymous.get(link))
    assert ready.anonymous.get(link, **beyond).status_code == 410
    assert ready.anonymous.get(link, **beyond, **{"If-Range": refused.get("ETag", '"x"')}).status_code == 410


def test_raw_paths(ready: World) -> None:
    """X22: raw link paths contain zip/tgz only as extension, also for repo zipline."""
    repo = ready.repo("zipline")
    ready.cut("tgz1", repo=repo)
    ready.build(f"{repo.uri}tgz1/")
    link = location(ready.anonymous.get(f"{repo.uri}tgz1/export/"))
    assert [found.end() for found in re.finditer("zip|tgz", link)] == [len(link)]
    stamp = re.search(r"([0-9]*).(tgz|zip)", link)
    assert stamp is not None
    assert len(stamp[1]) == 14
    answer = ready.anonymous.get(link)
    assert answer["Content-Disposition"] == f'attachment; filename="zipline_tgz1.{stamp[1]}.tgz"'
    assert body(answer)


def test_redirect_delivery(ready: World, settings: Settings) -> None:
    """X23: redirect delivery gives a URL of <= 60 s; stream delivery the bytes; tar and ndjson always stream."""
    settings.EXPORTS_LINK_DELIVERY = "redirect"
    link = fresh(ready)
    answer = ready.anonymous.get(link)
    assert answer.status_code == 302
    assert answer["Location"].startswith(django_settings.S3_PUBLIC_ENDPOINT_URL)
    assert "X-Amz-Expires=60" in answer["Location"]
    assert re.search(r"/\d{14}\.tgz\?", answer["Location"])
    assert ready.anonymous.get(link).status_code == 410
    assert ready.anonymous.get(link, Range="bytes=5-").status_code == 302
    for form in ("tar", "ndjson"):
        streamed = ready.anonymous.get(fresh(ready, f"?format={form}"))
        assert (streamed.status_code, streamed["Content-Type"]) == (200, names.CONTENT_TYPES[form])
        assert len(body(streamed)) == int(streamed["Content-Length"])


def test_store_down(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """X46: storage down: GET still answers, link 503."""

    def down(*_: Any, **__: Any) -> Any:
        raise blobs.StoreUnavailable

    monkeypatch.setattr(blobs, "reader", down)
    link = fresh(ready)
    answer = ready.anonymous.get(link)
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert answer.json() == {"detail": "Storage is unavailable. Try again later."}
    monkeypatch.undo()
    assert ready.anonymous.get(link).status_code in (200, 302)
