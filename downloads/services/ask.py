"""Asking for a download: one transaction, in which equal requests meet (contract 2.2, 3.1, 4).

Locks are taken in this order everywhere: request key, build key, lanes.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Q
from django.utils import timezone

from core import clock, errors, net, throttle
from core.models import User
from downloads.jobs import notices, status
from downloads.jobs.build import lanes, selection
from downloads.jobs.ingest import publish
from downloads.models import Build, Download, Notification, StoreVersion
from downloads.selectors import request

_DAY = 24 * 3600
_REUSABLE = (Download.State.WAITING, Download.State.DONE)
_SHARED = (Build.State.WAITING, Build.State.RUNNING, Build.State.DONE)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: an address, and the account of an API key if one was given."""

    address: str | None = None
    user: User | None = None

    @property
    def key(self) -> str:
        """What quotas are counted by: the account, else the address, or the /64 an IPv6 subscriber owns."""
        if self.user:
            return f"user:{self.user.pk}"
        return f"address:{net.throttle_key(net.parse_address(self.address or ''))}"

    def limits(self, own_running: int | None, own_queued: int | None) -> tuple[int, int]:
        """Builds that may run, and that may wait: the quota of the key's owner, or where none is set, the default."""
        running, queued = settings.DOWNLOADS_RUNNING_PER_CALLER, settings.DOWNLOADS_QUEUED_PER_CALLER
        if self.user is None:
            return running, queued
        return (
            2 * running if own_running is None else own_running,
            2 * queued if own_queued is None else own_queued,
        )


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An accepted request: its download, and the secret that withdraws it."""

    download: Download
    token: str
    is_new: bool


def request_download(asked: request.DownloadRequest, *, caller: Caller, base_url: str) -> Placed:
    """The download of a request: the one equal requests already have, or a new one on a new or shared build.

    `base_url` is where links in mails point. Raises `Throttled` over quota and `Unavailable` when the queue is full.
    """
    asking = _Asking(asked, caller, secrets.token_urlsafe(32), base_url)
    with transaction.atomic():
        version = publish.current_version()
        keys = _Keys(asked.request_key(version), asked.build_key(version))
        download, build = _met(asking, keys)
        is_new = download is None
        if download is None:
            build = build or _new_build(asked, keys.build, version, caller)
            download = _new_download(asked, keys.request, version, build)
            _save_new(download, build, asking)
    return Placed(download=download, token=asking.token, is_new=is_new)


def hashed(token: str) -> str:
    """How tokens are kept, and the key webhooks are signed with."""
    return hashlib.sha256(token.encode()).hexdigest()


class _Keys(NamedTuple):
    request: str
    build: str


@dataclass(frozen=True)
class _Asking:
    """One request: what is asked, by whom, and where links in mails point."""

    asked: request.DownloadRequest
    caller: Caller
    token: str
    base_url: str

    def claimed(self) -> list[Any]:
        """Who asked, as the columns of a claim."""
        user = self.caller.user
        return [self.caller.address, user.pk if user else None, self.asked.source[:200], hashed(self.token)]

    def told(self, download: Download) -> list[Notification]:
        """Who is to be told of the download's end, and how."""
        wanted = [(Notification.Channel.MAIL, self.asked.email), (Notification.Channel.WEBHOOK, self.asked.webhook)]
        return [
            Notification(
                download=download, channel=channel, address=address, key=hashed(self.token), base_url=self.base_url
            )
            for channel, address in wanted
            if address
        ]


def _met(asking: _Asking, keys: _Keys) -> tuple[Download | None, Build | None]:
    """The download the keys lead to, with this request noted, if it may be shared; else the build that may be.

    Most often the download is looked at without a lock, and the statement that joins it takes the lock and looks again.
    Without a download both keys and the caller are locked.
    """
    if asking.asked.force:
        _lock(keys, asking.caller)
        return None, None
    seen = _with_build(Q(requestkey=keys.request))
    if seen is not None and _is_reusable(seen) and _join(seen, asking):
        return seen, None
    found, build = _lock(keys, asking.caller)
    if found is not None and (seen is None or seen.pk != found or _is_reusable(seen)):
        seen = _with_build(Q(pk=found))
        if seen is not None and _is_reusable(seen) and _join(seen, asking):
            return seen, None
    return None, None if build is None else _shared_build(build)


def _with_build(which: Q) -> Download | None:
    """The download, with its build and how many are to begin before that."""
    found = Download.objects.select_related("build__job").annotate(earlier=lanes.ahead("build__")).filter(which)
    download = found.order_by("uuid").first()
    if download is not None and download.build is not None:
        download.build.ahead = download.earlier
    return download


def _lock(keys: _Keys, caller: Caller) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """Lock both keys, made if need be, then the caller, whose builds may be counted now.

    The uuids of the download and of the build they lead to; of the latter only if it may still be shared.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH rk AS (INSERT INTO downloads_requestkey (key) VALUES (%s) "
            "ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING download_id), "
            "bk AS (INSERT INTO downloads_buildkey (key) SELECT %s FROM rk "  # from rk: it comes first
            "ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING build_id) "
            "SELECT rk.download_id, bk.build_id, pg_advisory_xact_lock(hashtextextended(%s, 0)), "
            # as of the beginning of the statement, which is enough: these states are final
            "EXISTS (SELECT 1 FROM downloads_build b WHERE b.uuid = bk.build_id "
            "AND (b.state <> ALL(%s) OR b.created_at <= %s)) FROM bk, rk",
            [*keys, f"downloads.caller:{caller.key}", list(_SHARED), _youngest()],
        )
        download, build, _, is_over = cursor.fetchone()
    return download, None if is_over else build


def _youngest() -> datetime:
    """Builds that began before this are not shared any more."""
    return timezone.now() - timedelta(hours=settings.DOWNLOADS_REUSE_HOURS)


def _is_reusable(download: Download) -> bool:
    if download.state not in _REUSABLE or timezone.now() >= download.reuse_until:
        return False
    is_shared = download.build is not None and download.build.state in _SHARED
    return is_shared and status.asked(download) is not None  # what cannot be read is nobody's answer


def _new_download(asked: request.DownloadRequest, key: str, version: int, build: Build) -> Download:
    """A download on this build, not in the store yet."""
    now = timezone.now()
    is_done = build.state == Build.State.DONE
    expires = now + timedelta(days=settings.DOWNLOADS_KEEP_DAYS)
    return Download(
        request_key=key,
        request=asked.to_json(),
        face=asked.face,
        form=asked.form,
        core_type=asked.core_type,
        query_hash=asked.query_hash,
        hash=asked.hash,
        build=build,
        data_version=version,
        state=Download.State.DONE if is_done else Download.State.WAITING,
        created_at=now,
        finished_at=now if is_done else None,
        reuse_until=min(now + timedelta(hours=settings.DOWNLOADS_REUSE_HOURS), expires),
        expires_at=expires,
    )


def _shared_build(ident: uuid.UUID) -> Build | None:
    """The build of equivalent requests, whose key is locked, if it may still be shared."""
    builds = Build.objects.select_related("job").annotate(earlier=lanes.ahead())
    build = builds.select_for_update(of=("self",)).get(pk=ident)
    build.ahead = build.earlier
    return build if build.state in _SHARED and build.created_at > _youngest() else None


def _new_build(asked: request.DownloadRequest, build_key: str, version: int, caller: Caller) -> Build:
    """A build not in the store yet, with its job if it may start now; else its turn comes when another ends."""
    running, is_long = _admit(caller), _is_long(asked, version)
    build = Build(
        build_key=build_key,
        request=asked.to_json(),
        data_version=version,
        snapshot_at=timezone.now(),
        lane=Build.Lane.LONG if is_long else Build.Lane.SHORT,
        caller=caller.key,
        running_limit=running.limit,
    )
    build.ahead = running.ahead_long if is_long else running.ahead_short
    if running.count < running.limit and (not is_long or lanes.has_room()):
        lanes.start(build)
    return build


@dataclass(frozen=True)
class _Running:
    count: int
    limit: int
    ahead_short: int
    ahead_long: int


_COUNTS = """
SELECT count(*) FILTER (WHERE state = 'waiting' AND lane = 'short'),
    count(*) FILTER (WHERE state = 'waiting' AND lane = 'long'),
    count(*) FILTER (WHERE state = 'waiting' AND caller = %(caller)s),
    count(*) FILTER (WHERE job_id IS NOT NULL AND caller = %(caller)s),
    (SELECT running FROM downloads_quota WHERE user_id = %(user)s),
    (SELECT queued FROM downloads_quota WHERE user_id = %(user)s)
FROM downloads_build WHERE state IN ('waiting', 'running')
"""


def _admit(caller: Caller) -> _Running:
    """How many builds the caller, whose lock is held, has under way; raises when too many wait."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {"caller": caller.key, "user": caller.user.pk if caller.user else None})
        short, long, waiting, running, *quota = cursor.fetchone()
    limit, queued = caller.limits(*quota)
    if waiting >= queued:
        raise errors.Throttled(
            f"You have {waiting} downloads waiting; the limit is {queued}.", retry_after=30, limit=queued
        )
    if short + long >= settings.DOWNLOADS_QUEUE_LENGTH:
        raise errors.Unavailable("The download service cannot take requests right now.", retry_after=60)
    return _Running(running, limit, short, long)


def _is_long(asked: request.DownloadRequest, version: int) -> bool:
    """Whether the planner expects more rows than the short lane takes; it is asked, nothing is counted.

    Hidden recordsets make no difference that matters here.
    """
    if asked.fault:
        return False
    rows = selection.Selection(asked, version, []).rows("records", "1")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {rows.text}", rows.params or None)
        (plan,) = cursor.fetchone()[0]
    return float(plan["Plan"]["Plan Rows"]) > settings.DOWNLOADS_SHORT_ROWS


_CLAIM = "INSERT INTO downloads_claim (download_id, created_at, address, user_id, source, token_hash) "


def _join(download: Download, asking: _Asking) -> bool:
    """Note who asks and who is to be told, and renew the time of reuse; one statement, which locks the request key.

    False if the download ended or the key leads elsewhere by now. One finished since it was looked at is looked at
    again, as whoever asks is to be told of that.
    """
    renewed = min(timezone.now() + timedelta(hours=settings.DOWNLOADS_REUSE_HOURS), download.expires_at)
    told, promise, promised = asking.told(download), "", "ARRAY[]::text[]"
    into, values, params = _insert(told) if told else ("", "", [])
    if told:  # whoever is to be told already is not told twice
        promise = f", n AS ({into} SELECT v.* FROM d, ({values}) v ON CONFLICT DO NOTHING RETURNING channel)"
        promised = "ARRAY(SELECT channel FROM n)"
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH k AS (SELECT 1 FROM downloads_requestkey WHERE key = %s AND download_id = %s FOR UPDATE), "
            "d AS (UPDATE downloads_download SET reuse_until = %s WHERE uuid = %s AND state = ANY(%s) "
            "AND EXISTS (SELECT 1 FROM k) RETURNING uuid, state), "
            f"c AS ({_CLAIM} SELECT d.uuid, now(), %s, %s, %s, %s FROM d){promise} SELECT state, {promised} FROM d",
            [
                *(download.request_key, download.pk, renewed, download.pk, list(_REUSABLE)),
                *(*asking.claimed(), *params),
            ],
        )
        joined = cursor.fetchone()
    if joined is None:
        return False
    state, channels = joined
    if state != download.state:
        download.refresh_from_db(from_queryset=Download.objects.select_related("build__job"))
    download.reuse_until = renewed
    _tell(download, channels, asking.caller)
    return True


def _save_new(download: Download, build: Build, asking: _Asking) -> None:
    """Put into the store a download, its build if that is new, and who asks and is to be told; one statement.

    Both keys lead to them from now on.
    """
    told = asking.told(download)
    news: list[Sequence[models.Model]] = [[download], [build] if build._state.adding else [], told]
    pieces, params = [], []
    for number, rows in enumerate(rows for rows in news if rows):
        into, values, bound = _insert(rows)
        pieces.append(f"n{number} AS ({into} {values})")
        params += bound
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH {', '.join(pieces)}, "
            "rk AS (UPDATE downloads_requestkey SET download_id = %s WHERE key = %s), "
            "bk AS (UPDATE downloads_buildkey SET build_id = %s WHERE key = %s) "
            f"{_CLAIM} VALUES (%s, now(), %s, %s, %s, %s)",
            [
                *(*params, download.pk, download.request_key, build.pk, build.build_key),
                *(download.pk, *asking.claimed()),
            ],
        )
    download._state.adding = build._state.adding = False
    _tell(download, [each.channel for each in told], asking.caller)


def _insert(rows: Sequence[models.Model]) -> tuple[str, str, list[Any]]:
    """INSERT INTO a table, the VALUES of rows with the same fields set, and what is bound in them."""
    fields = [field for field in rows[0]._meta.concrete_fields if getattr(rows[0], field.attname) is not None]
    columns, places = ", ".join(str(field.column) for field in fields), ", ".join(["%s"] * len(fields))
    params = [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows for field in fields]
    into = f"INSERT INTO {rows[0]._meta.db_table} ({columns})"
    return into, f"VALUES {', '.join([f'({places})'] * len(rows))}", params


def _tell(download: Download, channels: list[str], caller: Caller) -> None:
    """Count the mails promised now; if the download has ended, have whoever was promised something told at once."""
    if Notification.Channel.MAIL in channels:
        limit = settings.DOWNLOADS_MAILS_PER_CALLER
        if wait := throttle.hit("downloads.mail.caller", caller.key, limit, _DAY):
            raise errors.Throttled(f"You have asked for {limit} mails today; the limit is {limit}.", retry_after=wait)
    if channels and download.state != Download.State.WAITING:
        transaction.on_commit(lambda: clock.ring(notices.TICK), robust=True)


def since_version(text: str) -> int:
    """The data version of the download a delta counts from; raises `Invalid` where there is none any more."""
    try:
        found = Download.objects.filter(pk=uuid.UUID(text)).values_list("data_version", flat=True).first()
    except ValueError:
        found = None
    if found is None:
        raise errors.Invalid("There is no download with the id given in since.", parameter="since")
    if StoreVersion.objects.filter(number=found, pruned=True).exists():
        raise errors.Invalid(
            "The data of the download given in since is no longer kept.",
            parameter="since",
            hint="Send the query without since to get everything.",
        )
    return found
