"""The state of an export as server-sent events (contract §10.6)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from pytest_django import Settings

from core import errors, jobs
from exports.models import RepoVersion
from exports.selectors import builds
from exports.views import events
from tests import house
from tests.exports.conftest import World


@pytest.fixture
def cut(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(events, "PAUSE", 0.0)
    world.fill()
    world.cut("v1")
    return world


def parsed(block: bytes) -> tuple[str, Any]:
    """(name, data) of an event."""
    fields = dict(line.split(": ", 1) for line in block.decode().strip().split("\n"))
    return fields["event"], json.loads(fields["data"])


def opened(world: World, tail: str = "events/") -> tuple[Any, Iterator[bytes]]:
    answer = world.anonymous.get(f"{world.path}v1/export/{tail}")
    assert answer.status_code == 200, answer.content
    blocks = iter(answer.streaming_content)
    assert next(blocks) == b"retry: 3000\n\n"
    return answer, blocks


def test_until_ready(cut: World) -> None:
    """E1: a status event at each change, then end; the data are the status document."""
    assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
    answer, blocks = opened(cut)
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("text/event-stream", "no-store")
    name, data = parsed(next(blocks))
    assert (name, data) == ("status", cut.api.get(f"{cut.path}v1/export/status/").json())
    assert data["status"] == "queued"
    jobs.run_queued()
    assert [(name, data["status"]) for name, data in map(parsed, blocks)] == [("status", "ready"), ("end", "ready")]
    answer.close()


def test_nothing_built(cut: World) -> None:
    """E2: without a build the stream ends at once; a browser that comes back then is told 204 to stop."""
    answer, blocks = opened(cut)
    assert [(name, data["status"]) for name, data in map(parsed, blocks)] == [("status", "none"), ("end", "none")]
    answer.close()
    again = cut.anonymous.get(f"{cut.path}v1/export/events/", **{"Last-Event-ID": "2"})
    assert (again.status_code, again.content) == (204, b"")
    head = cut.anonymous.head(f"{cut.path}v1/export/events/")
    assert (head.status_code, head["Content-Type"], b"".join(head.streaming_content)) == (200, "text/event-stream", b"")


def test_failed_and_variants(cut: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """E3: a failure ends a stream with its error; each variant has its own stream."""
    assert cut.api.post(f"{cut.path}v1/export/csv.zip/").status_code == 202
    answer, blocks = opened(cut, "csv.zip/events/")
    assert parsed(next(blocks))[1]["status"] == "queued"
    with monkeypatch.context() as patch:
        patch.setattr("exports.jobs.build._write", lambda *_: 1 / 0)
        jobs.run_queued()
    told = [parsed(block) for block in blocks]
    assert told[0][1]["error"]["code"] == "internal_error"
    assert told[-1] == ("end", {"status": "failed"})
    answer.close()
    for tail in ("events/", "fhir.tgz/events/", "delta/events/?since=2016-01-01"):
        other, rest = opened(cut, tail)
        assert parsed(next(rest))[1]["status"] == "none", tail
        other.close()


def test_bounded(cut: World, settings: Settings) -> None:
    """E4: a stream ends by itself in time though the build goes on; a quiet one shows a comment now and then."""
    assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
    answer, blocks = opened(cut)
    assert parsed(next(blocks))[0] == "status"
    assert next(blocks) == b": nothing new\n\n"
    answer.close()
    settings.EXPORTS_EVENTS_SECONDS = 0
    answer, blocks = opened(cut)
    assert [name for name, _ in map(parsed, blocks)] == ["status"]
    answer.close()


def test_few(cut: World, settings: Settings) -> None:
    """E5: beyond EXPORTS_MAX_EVENT_STREAMS it is 503 with Retry-After; a closed stream frees its place, once."""
    settings.EXPORTS_MAX_EVENT_STREAMS = 1
    assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
    answer, _ = opened(cut)
    refused = cut.anonymous.get(f"{cut.path}v1/export/events/")
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    answer.close()
    answer.close()
    for _ in range(2):
        again, _ = opened(cut)
        assert cut.anonymous.get(f"{cut.path}v1/export/events/").status_code == 503
        again.close()
    # nor does one keep it that nobody closes
    lost = events.Watch(builds.state_of(RepoVersion.objects.get(name="v1")))
    with pytest.raises(errors.Unavailable):
        events.Watch(builds.state_of(RepoVersion.objects.get(name="v1")))
    del lost
    events.Watch(builds.state_of(RepoVersion.objects.get(name="v1"))).close()


def test_rights(cut: World) -> None:
    """E6: as the status: HEAD 405, unknown 404, private 401 and 403; a version deleted meanwhile ends the stream."""
    assert cut.api.get(f"{cut.path}HEAD/export/events/").status_code == 405
    assert cut.api.get(f"{cut.path}v9/export/events/").status_code == 404
    assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
    answer, blocks = opened(cut)
    next(blocks)
    assert cut.api.delete(f"{cut.path}v1/").status_code == 204
    assert [name for name, _ in map(parsed, blocks)] == ["status", "end"]
    answer.close()
    cut.cut("v1")
    type(cut.source).objects.filter(pk=cut.source.pk).update(public_access="None")
    assert cut.anonymous.get(f"{cut.path}v1/export/events/").status_code == 401
    assert cut.stranger.get(f"{cut.path}v1/export/events/").status_code == 403


def test_real_server(cut: World, web: house.Web, start_worker: Callable[..., house.Worker]) -> None:
    """E7: gunicorn passes events on as they happen, before the end is known; a client that leaves frees its place."""
    url = f"{web.base_url}{cut.path}v1/export/events/"
    assert cut.api.post(f"{cut.path}v1/export/").status_code == 202
    with requests.get(url, stream=True, timeout=60) as answer:
        lines = answer.iter_lines()
        first = next(line for line in lines if line.startswith(b"data:"))
        assert json.loads(first[5:])["status"] == "queued"
        assert RepoVersion.objects.get(name="v1").current_build is None
        start_worker()
        rest = [json.loads(line[5:])["status"] for line in lines if line.startswith(b"data:")]
        assert rest[-2:] == ["ready", "ready"]
    for _ in range(6):  # more than both processes have places for
        with requests.get(url, stream=True, timeout=60) as answer:
            assert answer.status_code == 200
            assert answer.text.count("event: end") == 1
