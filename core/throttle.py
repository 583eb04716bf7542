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
from dataclasses import dataclass
from typing import Any, Final

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

# KEYS: the counter. ARGV: limit, window and cell in ms, what this call takes (0 to look only).
# Returns the hits that count, ms until the call would succeed (0: it did), ms until the oldest hit stops counting.
_SCRIPT: Final = """
local limit, window, cell, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stored = redis.call('HGETALL', KEYS[1])
local total, cells, dead = 0, {}, {}
for i = 1, #stored, 2 do
  local free = tonumber(stored[i]) * cell + window
  if free <= now then
    dead[#dead + 1] = stored[i]
  else
    total = total + tonumber(stored[i + 1])
    cells[#cells + 1] = {free, tonumber(stored[i + 1])}
  end
end
if #dead > 0 then redis.call('HDEL', KEYS[1], unpack(dead)) end
table.sort(cells, function(a, b) return a[1] < b[1] end)
if total + math.max(cost, 1) > limit then
  local freed, wait = 0, window
  for _, found in ipairs(cells) do
    freed = freed + found[2]
    wait = found[1] - now
    if total - freed + math.max(cost, 1) <= limit then break end
  end
  return {total, math.max(wait, 1), cells[1] and cells[1][1] - now or window}
end
if cost > 0 then
  local current = math.floor(now / cell)
  redis.call('HINCRBY', KEYS[1], current, cost)
  redis.call('PEXPIRE', KEYS[1], window + 2 * cell)
  total = total + cost
  cells[1] = cells[1] or {current * cell + window, cost}
end
return {total, 0, cells[1] and cells[1][1] - now or 0}
"""


@dataclass(frozen=True)
class Taken:
    """What became of a hit: ``retry_after`` seconds until it would be allowed (0: it was, and was counted).

    ``remaining`` hits are left in the window; after ``reset`` seconds the oldest one counted stops counting.
    """

    retry_after: int
    remaining: int
    reset: int


def take(name: str, key: str, limit: int, window: float, *, cost: int = 1) -> Taken:
    """Count ``cost`` hits of ``key`` against ``limit`` per ``window`` seconds; refused ones are not counted."""
    milliseconds = max(1, round(window * 1000))
    cell = max(1, milliseconds // CELLS)
    total, wait, reset = _count(_key(name, key), limit, milliseconds, cell, cost)
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


def _count(key: str, limit: int, window: int, cell: int, cost: int) -> tuple[int, int, int]:
    if not _breaker.is_open():
        try:
            total, wait, oldest = _script(settings.REDIS_URL)(keys=[key], args=[limit, window, cell, cost])
            return int(total), int(wait), int(oldest)
        except redis.RedisError as error:
            _breaker.trip(error)
    return _local.count(key, limit, window, cell, cost)


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

    def count(self, key: str, limit: int, window: int, cell: int, cost: int) -> tuple[int, int, int]:
        now = time.monotonic_ns() // 1_000_000
        with self._lock:
            cells = self._counters.setdefault(key, {})
            self._counters.move_to_end(key)
            if len(self._counters) > _LOCAL_KEYS:
                self._counters.popitem(last=False)
            for dead in [number for number in cells if number * cell + window <= now]:
                del cells[dead]
            return _slide(cells, now, limit, window, cell, cost)

    def pop(self, key: str) -> None:
        with self._lock:
            self._counters.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._counters.clear()


def _slide(cells: dict[int, int], now: int, limit: int, window: int, cell: int, cost: int) -> tuple[int, int, int]:
    """The script above on a dict of live cells; times in ms."""
    total = sum(cells.values())
    free = {number: number * cell + window - now for number in sorted(cells)}
    oldest = next(iter(free.values()), window)
    if total + max(cost, 1) > limit:
        freed, wait = 0, window
        for number, until_free in free.items():
            freed, wait = freed + cells[number], until_free
            if total - freed + max(cost, 1) <= limit:
                break
        return total, max(wait, 1), oldest
    if not cost:
        return total, 0, oldest if cells else 0
    current = now // cell
    cells[current] = cells.get(current, 0) + cost
    return total + cost, 0, oldest if free else current * cell + window - now


_breaker = _Breaker()
_local = _Local()


def forget() -> None:
    """Drop this process's own counters and ask Valkey again at once; what Valkey counted stays."""
    _local.clear()
    _breaker.close()
