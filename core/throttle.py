"""Counting what callers do, in Valkey, so that all processes count together.

The window slides: hits are kept in cells of 1/240 of the window, and one counts for ``window`` seconds from the begin
of its cell. While Valkey is down each process counts for itself.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = structlog.get_logger(__name__)

CELLS: Final = 240
# After Valkey failed nobody asks it for this many seconds, so that a dead one costs a request now and then a moment.
SILENCE: Final = 5.0
_TIMEOUT: Final = 0.25
_LOCAL_KEYS: Final = 10_000

# KEYS: the counters. ARGV: for each its limit, window and cell in ms, and what this call takes (0 to look only).
# All are taken or none. Returns of the first that refuses, or of the last: its place, the hits that count, ms until the
# call would succeed (0: it did), ms until the oldest hit stops counting.
_SCRIPT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local total, oldest
for place, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[4 * place - 3]), tonumber(ARGV[4 * place - 2])
  local cell, cost = tonumber(ARGV[4 * place - 1]), math.max(tonumber(ARGV[4 * place]), 1)
  local stored = redis.call('HGETALL', key)
  local cells, dead = {}, {}
  total, oldest = 0, nil
  for i = 1, #stored, 2 do
    local free = tonumber(stored[i]) * cell + window
    if free <= now then
      dead[#dead + 1] = stored[i]
    else
      total = total + tonumber(stored[i + 1])
      cells[#cells + 1] = {free, tonumber(stored[i + 1])}
      if not oldest or free < oldest then oldest = free end
    end
  end
  if #dead > 0 then redis.call('HDEL', key, unpack(dead)) end
  if total + cost > limit then
    table.sort(cells, function(a, b) return a[1] < b[1] end)
    local freed, wait = 0, window
    for _, found in ipairs(cells) do
      freed = freed + found[2]
      wait = found[1] - now
      if total - freed + cost <= limit then break end
    end
    return {place, total, math.max(wait, 1), oldest and oldest - now or window}
  end
end
for place, key in ipairs(KEYS) do
  local window, cell = tonumber(ARGV[4 * place - 2]), tonumber(ARGV[4 * place - 1])
  local cost = tonumber(ARGV[4 * place])
  if cost > 0 then
    local current = math.floor(now / cell)
    redis.call('HINCRBY', key, current, cost)
    redis.call('PEXPIRE', key, window + 2 * cell)
    if place == #KEYS then
      total = total + cost
      oldest = oldest or current * cell + window
    end
  end
end
return {#KEYS, total, 0, oldest and oldest - now or 0}
"""


@dataclass(frozen=True)
class Taken:
    """What became of a hit: ``retry_after`` seconds until it would be allowed (0: it was, and was counted).

    ``remaining`` hits are left in the window; after ``reset`` seconds the oldest one counted stops counting.
    """

    retry_after: int
    remaining: int
    reset: int


@dataclass(frozen=True)
class Counter:
    """Hits of ``key`` against ``limit`` per ``window`` seconds; ``cost`` is what a call takes (0: it only looks)."""

    name: str
    key: str
    limit: int
    window: float
    cost: int = 1


def take(name: str, key: str, limit: int, window: float, *, cost: int = 1) -> Taken:
    """Count ``cost`` hits of ``key`` against ``limit`` per ``window`` seconds; refused ones are not counted."""
    return take_all([Counter(name, key, limit, window, cost)])


def take_all(counters: Sequence[Counter]) -> Taken:
    """Count against every counter, or against none when one refuses; one question to Valkey.

    Tells of the first counter that refuses, else of the last.
    """
    total, wait, reset, limit = _count([_Ask.of(counter) for counter in counters])
    return Taken(math.ceil(wait / 1000), max(0, limit - total), math.ceil(reset / 1000))


def hit(name: str, key: str, limit: int, window: float) -> int:
    """Count one hit: 0 when it is allowed, else the seconds until the next one would be."""
    return take(name, key, limit, window).retry_after


def peek(name: str, key: str, limit: int, window: float) -> int:
    """What ``hit`` would answer now, without counting."""
    return take(name, key, limit, window, cost=0).retry_after


def reset(name: str, key: str) -> None:
    """Forget the hits of ``key``."""
    hashed = _key(name, key)
    _local.pop(hashed)
    if _breaker.is_open():
        return
    try:
        _server(settings.REDIS_URL).delete(hashed)
    except redis.RedisError as error:
        _breaker.trip(error)


def _key(name: str, key: str) -> str:
    """Keys are hashed: they hold addresses and user names, of any length."""
    return f"throttle:{name}:{hashlib.blake2b(key.encode(errors='replace'), digest_size=16).hexdigest()}"


class _Ask(NamedTuple):
    """One counter as the script and the dict want it: times in ms."""

    key: str
    limit: int
    window: int
    cell: int
    cost: int

    @classmethod
    def of(cls, counter: Counter) -> _Ask:
        window = max(1, round(counter.window * 1000))
        return cls(_key(counter.name, counter.key), counter.limit, window, max(1, window // CELLS), counter.cost)


def _count(asked: list[_Ask]) -> tuple[int, int, int, int]:
    """Hits that count, ms to wait, ms until the oldest is gone, and the limit of the counter that decided."""
    if not _breaker.is_open():
        try:
            args = [number for ask in asked for number in ask[1:]]
            place, total, wait, oldest = _script(settings.REDIS_URL)(keys=[ask.key for ask in asked], args=args)
            return int(total), int(wait), int(oldest), asked[int(place) - 1].limit
        except redis.RedisError as error:
            _breaker.trip(error)
    return _local.count(asked)


@functools.lru_cache(maxsize=2)
def _server(url: str) -> redis.Redis:
    """Thread-safe; the library opens new connections after a fork by itself."""
    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        # One more try, at once: a connection kept from before a restart of the server fails the first time.
        retry=Retry(NoBackoff(), 1),
    )


@functools.lru_cache(maxsize=2)
def _script(url: str) -> Any:
    return _server(url).register_script(_SCRIPT)


class _Breaker:
    """Remembers that the server failed, so that others need not find out."""

    def __init__(self) -> None:
        self._until = 0.0

    def is_open(self) -> bool:
        return time.monotonic() < self._until

    def trip(self, error: redis.RedisError) -> None:
        self._until = time.monotonic() + SILENCE
        log.warning("throttle_counts_alone", error=str(error)[:200])

    def close(self) -> None:
        self._until = 0.0


class _Local:
    """The same counters in this process, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: collections.OrderedDict[str, dict[int, int]] = collections.OrderedDict()

    def count(self, asked: list[_Ask]) -> tuple[int, int, int, int]:
        now = time.monotonic_ns() // 1_000_000
        with self._lock:
            held = [(ask, self._cells(ask, now)) for ask in asked]
            for ask, cells in held:
                found = _look(cells, now, ask.limit, ask.window, ask.cell, ask.cost)
                if found[1]:
                    return *found, ask.limit
            taken = [_slide(cells, now, ask.limit, ask.window, ask.cell, ask.cost) for ask, cells in held]
            return *taken[-1], asked[-1].limit

    def _cells(self, ask: _Ask, now: int) -> dict[int, int]:
        cells = self._counters.setdefault(ask.key, {})
        self._counters.move_to_end(ask.key)
        if len(self._counters) > _LOCAL_KEYS:
            self._counters.popitem(last=False)
        for dead in [number for number in cells if number * ask.cell + ask.window <= now]:
            del cells[dead]
        return cells

    def pop(self, key: str) -> None:
        with self._lock:
            self._counters.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._counters.clear()


def _slide(cells: dict[int, int], now: int, limit: int, window: int, cell: int, cost: int) -> tuple[int, int, int]:
    """The script above on a dict of one counter's live cells; times in ms."""
    total, wait, oldest = _look(cells, now, limit, window, cell, cost)
    if wait or not cost:
        return total, wait, oldest
    current = now // cell
    cells[current] = cells.get(current, 0) + cost
    return total + cost, 0, oldest or current * cell + window - now


def _look(cells: dict[int, int], now: int, limit: int, window: int, cell: int, cost: int) -> tuple[int, int, int]:
    """What the script says before it counts."""
    total = sum(cells.values())
    free = {number: number * cell + window - now for number in sorted(cells)}
    if total + max(cost, 1) <= limit:
        return total, 0, next(iter(free.values()), 0)
    freed, wait = 0, window
    for number, until_free in free.items():
        freed, wait = freed + cells[number], until_free
        if total - freed + max(cost, 1) <= limit:
            break
    return total, max(wait, 1), next(iter(free.values()), window)


_breaker = _Breaker()
_local = _Local()


def forget() -> None:
    """Drop this process's own counters and ask Valkey again at once; what Valkey counted stays."""
    _local.clear()
    _breaker.close()
