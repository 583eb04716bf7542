"""core.throttle: the same window in Valkey and alone, shared by processes, quick when Valkey is away."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from core import throttle
from tests import house, together


@pytest.fixture(params=["valkey", "alone"])
def counting(request: pytest.FixtureRequest, running_house: house.House) -> Iterator[str]:
    throttle._breaker.close()
    if request.param == "alone":
        throttle._breaker.trip(redis.RedisError("test"))
        throttle._breaker._until = float("inf")
    yield request.param
    throttle._breaker.close()


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_a_limit_is_kept_and_says_when_to_come_back(counting: str, key: str) -> None:
    assert [throttle.hit("t", key, 3, 600) for _ in range(3)] == [0, 0, 0]
    waits = [throttle.hit("t", key, 3, 600) for _ in range(3)]
    assert all(590 <= wait <= 600 for wait in waits)
    assert throttle.hit("t", key + "other", 3, 600) == 0
    assert throttle.hit("other", key, 3, 600) == 0


def test_peek_counts_nothing(counting: str, key: str) -> None:
    assert [throttle.peek("t", key, 1, 60) for _ in range(5)] == [0] * 5
    assert throttle.hit("t", key, 1, 60) == 0
    assert 1 <= throttle.peek("t", key, 1, 60) <= 60
    assert throttle.peek("t", key, limit=2, window=60) == 0


def test_reset_forgets(counting: str, key: str) -> None:
    assert throttle.hit("t", key, 1, 60) == 0
    assert throttle.hit("t", key, 1, 60) > 0
    throttle.reset("t", key)
    assert throttle.hit("t", key, 1, 60) == 0


def test_a_slot_frees_when_its_hit_leaves_the_window(counting: str, key: str) -> None:
    assert [throttle.hit("t", key, 2, 1), throttle.hit("t", key, 2, 1)] == [0, 0]
    assert throttle.hit("t", key, 2, 1) == 1
    assert house.wait_for(lambda: throttle.hit("t", key, 2, 1) == 0)


def test_what_is_left_is_told(counting: str, key: str) -> None:
    first, second = throttle.take("t", key, 3, 100), throttle.take("t", key, 3, 100)
    assert (first.retry_after, first.remaining, second.remaining) == (0, 2, 1)
    assert 99 <= first.reset <= 100
    assert throttle.take("t", key, 3, 100, cost=2).retry_after >= 99
    assert throttle.take("t", key, 3, 100).remaining == 0
    assert throttle.take("t", key, 3, 100) == throttle.Taken(pytest.approx(100, abs=2), 0, pytest.approx(100, abs=2))  # type: ignore[arg-type]


def test_several_counters_are_taken_together_or_not_at_all(counting: str, key: str) -> None:
    """The first that refuses decides; a counter that only looks counts nothing."""
    looked = throttle.Counter("looked", key, 2, 600, cost=0)
    taken = throttle.Counter("taken", key, 3, 600)
    assert [throttle.take_all([looked, taken]).remaining for _ in range(3)] == [2, 1, 0]
    assert throttle.take_all([looked, taken]).retry_after > 0
    assert throttle.peek("looked", key, 1, 600) == 0
    throttle.reset("taken", key)
    assert [throttle.hit("looked", key, 2, 600) for _ in range(2)] == [0, 0]
    refused = throttle.take_all([looked, taken])
    assert 0 < refused.retry_after <= 600
    assert refused.remaining == 0
    assert throttle.take("taken", key, 3, 600).remaining == 2


def test_one_question_for_all_counters(running_house: house.House, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    throttle._breaker.close()
    asked: list[Any] = []
    script = throttle._script(running_house.valkey.url())

    def counted(**sent: Any) -> Any:
        asked.append(sent)
        return script(**sent)

    monkeypatch.setattr(throttle, "_script", lambda _: counted)
    throttle.take_all([throttle.Counter(name, key, 5, 60) for name in ("a", "b", "c")])
    assert [len(sent["keys"]) for sent in asked] == [3]


def test_a_limit_of_nothing_refuses_everything(counting: str, key: str) -> None:
    assert throttle.hit("t", key, 0, 60) == 60
    assert throttle.peek("t", key, 0, 60) == 60


def test_simultaneous_hits_never_exceed_the_limit(counting: str, key: str) -> None:
    def work() -> int:
        return sum(throttle.hit("t", key, 20, 600) == 0 for _ in range(10))

    assert sum(together.at_once([work] * 8)) == 20


def test_keys_expire_and_hold_no_names(running_house: house.House, key: str) -> None:
    throttle._breaker.close()
    name = f"who-{key}"
    throttle.hit("login", f"{name}|203.0.113.9", 5, 60)
    server = throttle._server(running_house.valkey.url())
    (stored,) = list(server.scan_iter("throttle:login:*"))
    assert name.encode() not in stored
    assert 55_000 <= server.pttl(stored) <= 61_000


def test_a_dead_valkey_is_asked_once_in_a_while(settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first caller meets the failure; the next ones do not even try until the silence is over."""
    throttle._breaker.close()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings.REDIS_URL = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        assert [throttle.hit("t", key, 2, 60) for _ in range(2)] == [0, 0]
        assert throttle._breaker.is_open()
        asked: list[object] = []
        monkeypatch.setattr(throttle, "_script", lambda url: asked.append(url))
        assert throttle.hit("t", key, 2, 60) > 0
        throttle.reset("t", key)
        assert throttle.hit("t", key, 2, 60) == 0
        assert asked == []
    throttle._breaker.close()


def test_counting_goes_on_while_valkey_is_frozen_and_after(servers: house.House, key: str) -> None:
    throttle._breaker.close()
    assert throttle.hit("t", key, 2, 600) == 0
    servers.valkey.pause()
    assert [throttle.hit("t", key, 1, 600) == 0 for _ in range(3)] == [True, False, False]
    servers.valkey.resume()
    throttle._breaker.close()
    # Hits counted alone stay alone; those counted before the outage count again.
    assert house.wait_for(lambda: throttle.peek("t", key, 1, 600) > 0)


def test_memory_alone_is_bounded() -> None:
    local = throttle._Local()
    for number in range(throttle._LOCAL_KEYS + 500):
        local.count([throttle._Ask(str(number), 5, 60_000, 250, 1)])
    assert len(local._counters) == throttle._LOCAL_KEYS
    assert "0" not in local._counters


@hypothesis_settings(deadline=None)
@given(
    limit=st.integers(1, 6),
    window=st.integers(1, 5000),
    steps=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 2)), max_size=40),
)
def test_the_window_slides_like_a_list_of_hits(limit: int, window: int, steps: list[tuple[int, int]]) -> None:
    """Against the obvious model: never over the limit within the window less a cell, never refused without need."""
    cell, now = max(1, window // throttle.CELLS), 10_000_000
    cells: dict[int, int] = {}
    counted: list[int] = []
    for wait, cost in steps:
        now += wait
        cells = {number: count for number, count in cells.items() if number * cell + window > now}
        total, delay, _ = throttle._slide(cells, now, limit, window, cell, cost)
        recent = [at for at in counted if at > now - window]
        surely = [at for at in counted if at > now - window + cell]
        if delay:
            assert len(recent) + cost > limit
            assert delay <= window
        else:
            assert len(surely) + cost <= limit
            counted += [now] * cost
            assert total <= limit
