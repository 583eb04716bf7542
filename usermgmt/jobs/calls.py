"""The book of calls: one small record a request into Valkey, and once a minute from there into SQL (contract 4).

A call costs one command and no SQL. Records are taken out before they are written down, so a crash loses at most the
minute in flight; while Valkey is away calls go on uncounted.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import hmac
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from usermgmt.jobs import mails
from usermgmt.models import ApiClient, ClientDailyUsage, SearchAudit

log = structlog.get_logger(__name__)

QUEUE = "usermgmt:calls"
LONGEST = 500_000
BATCH = 5_000
_TIMEOUT = 0.25
_SILENCE = 5.0
_silent_until = 0.0


@dataclass(frozen=True)
class Call:
    """One authenticated call. `type`, `term` and `found` (ids) are of searches; `term` is hashed already."""

    client: int
    scheme: str
    endpoint: str
    status: int
    at: float
    address: str = ""
    type: str = ""
    term: str = ""
    found: tuple[int, ...] = ()

    @property
    def is_ok(self) -> bool:
        # Nobody found is an answer, not a failure.
        return self.status < 400 or (self.status == 404 and bool(self.type))

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.at, UTC).date().isoformat()


def note(call: Call) -> None:
    """Put one call into the queue; never raises and never waits long."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    record = json.dumps([getattr(call, name) for name in Call.__dataclass_fields__])
    try:
        length: Any = _server(settings.REDIS_URL).rpush(QUEUE, record)
        if length > LONGEST:
            _server(settings.REDIS_URL).ltrim(QUEUE, -LONGEST // 2, -1)
    except redis.RedisError as error:
        _silent_until = time.monotonic() + _SILENCE
        log.warning("calls_not_counted", error=str(error)[:200])


def hashed(term: str) -> str:
    """A keyed hash of a search term: equal terms can be told, the term cannot."""
    return hmac.digest(settings.SECRET_KEY.encode(), term.encode("utf-8", "replace"), hashlib.blake2b).hex()[:32]


def flush() -> int:
    """Move what has gathered into SQL; how many calls that were. For the clock."""
    total = 0
    while records := _take():
        write(records)
        total += len(records)
    return total


def write(records: Iterable[Call]) -> None:
    """Add calls to the daily usage, the audit, the clients' last use and people's counts, in one transaction."""
    known = set(ApiClient.objects.filter(pk__in={call.client for call in records}).values_list("pk", flat=True))
    records = [call for call in records if call.client in known]
    with transaction.atomic():
        _write_usage(records)
        _write_last_use(records)
        _write_found(records)
        searches = [call for call in records if call.type]
        SearchAudit.objects.bulk_create([_audit(call) for call in searches], batch_size=1_000)
        _alert_on_volume(searches)


def _take() -> list[Call]:
    try:
        raw: Any = _server(settings.REDIS_URL).lpop(QUEUE, BATCH)
    except redis.RedisError as error:
        log.warning("calls_not_flushed", error=str(error)[:200])
        return []
    return [_call(json.loads(record)) for record in raw or []]


def _call(values: list[Any]) -> Call:
    fields: list[Any] = [*values[:-1], tuple(values[-1])]
    return Call(*fields)


def _write_usage(records: list[Call]) -> None:
    sums: collections.Counter[tuple[int, str, str, str, bool]] = collections.Counter(
        (call.client, call.day, call.scheme, call.endpoint, call.is_ok) for call in records
    )
    rows = [(*key[:4], count if key[4] else 0, 0 if key[4] else count) for key, count in sorted(sums.items())]
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO usermgmt_clientdailyusage AS u (client_id, day, scheme, endpoint, ok, failed)
               VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (client_id, day, scheme, endpoint)
               DO UPDATE SET ok = u.ok + excluded.ok, failed = u.failed + excluded.failed""",
            rows,
        )


def _write_last_use(records: list[Call]) -> None:
    last = {call.client: call for call in sorted(records, key=lambda call: call.at) if call.status != 401}
    for call in (last[client] for client in sorted(last)):
        used_at = datetime.fromtimestamp(call.at, UTC)
        ApiClient.objects.filter(pk=call.client).update(last_used_at=used_at, last_used_ip=call.address or None)


def _write_found(records: list[Call]) -> None:
    times: collections.Counter[tuple[str, int]] = collections.Counter(
        (call.day, user) for call in records for user in call.found
    )
    if not times:
        return
    keys = sorted(times)
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO usermgmt_foundcount AS f (day, user_id, times)
               SELECT c.day, c.user_id, c.times FROM unnest(%s::date[], %s::bigint[], %s::bigint[])
                    AS c (day, user_id, times) JOIN core_user u ON u.id = c.user_id
               ON CONFLICT (user_id, day) DO UPDATE SET times = f.times + excluded.times""",
            [[day for day, _ in keys], [user for _, user in keys], [times[key] for key in keys]],
        )


def _audit(call: Call) -> SearchAudit:
    return SearchAudit(
        at=datetime.fromtimestamp(call.at, UTC),
        client_id=call.client,
        type=call.type,
        term=call.term,
        rows=len(call.found),
        status=call.status,
    )


def _alert_on_volume(searches: list[Call]) -> None:
    for client_id, day in sorted({(call.client, call.day) for call in searches}):
        counts = ClientDailyUsage.objects.filter(client=client_id, day=day, endpoint="users").values_list(
            "ok", flat=True
        )
        if sum(counts) > settings.USERMGMT_VOLUME_ALERT:
            mails.volume(ApiClient.objects.select_related("owner").get(pk=client_id), day=day, searches=sum(counts))


@functools.lru_cache(maxsize=2)
def _server(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 1)
    )
