"""Asking for a download: one transaction, in which equal requests meet (contract 2.2, 3.1, 4).

Locks are taken in this order everywhere: request key, build key, lanes.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Q
from django.utils import timezone

from core import db, errors, net, throttle
from core.models import User
from downloads.jobs import notices
from downloads.jobs.build import lanes, selection
from downloads.jobs.ingest import publish
from downloads.models import Build, Download, Notification, Quota, StoreVersion
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

    def limits(self) -> tuple[int, int]:
        """Builds that may run, and that may wait."""
        running, queued = settings.DOWNLOADS_RUNNING_PER_CALLER, settings.DOWNLOADS_QUEUED_PER_CALLER
        if self.user is None:
            return running, queued
        quota = Quota.objects.filter(user=self.user).first()
        return (quota.running, quota.queued) if quota else (2 * running, 2 * queued)


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
    token = secrets.token_urlsafe(32)
    if asked.since:
        since_version(asked.since)
    with transaction.atomic():
        version = publish.current_version()
        key = asked.request_key(version)
        download = _of_key(key)
        is_new = asked.force or download is None or not _is_reusable(download)
        if is_new or download is None:
            download = _new_download(asked, key, version, caller)
        _claim(download, asked, caller, token, is_new=is_new)
        _promise_notices(download, asked, caller, token, base_url)
    return Placed(download=download, token=token, is_new=is_new)


def hashed(token: str) -> str:
    """How tokens are kept, and the key webhooks are signed with."""
    return hashlib.sha256(token.encode()).hexdigest()


def _of_key(key: str) -> Download | None:
    """Lock the key, made if need be; the download it led to last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO downloads_requestkey (key) VALUES (%s) "
            "ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING download_id",
            [key],
        )
        (found,) = cursor.fetchone()
    if found is None:
        return None
    download = Download.objects.select_related("build__job").annotate(earlier=lanes.ahead("build__")).get(pk=found)
    if download.build is not None:
        download.build.ahead = download.earlier
    return download


def _is_reusable(download: Download) -> bool:
    if download.state not in _REUSABLE or timezone.now() >= download.reuse_until:
        return False
    return download.build is not None and download.build.state in _SHARED


def _new_download(asked: request.DownloadRequest, key: str, version: int, caller: Caller) -> Download:
    now = timezone.now()
    build_key = asked.build_key(version)
    if asked.force:
        db.advisory_lock(_caller_lock(caller))
    build = None if asked.force else _shared_build(build_key, caller)
    if build is None:
        build = _new_build(asked, build_key, version, caller)
    is_done = build.state == Build.State.DONE
    expires = now + timedelta(days=settings.DOWNLOADS_KEEP_DAYS)
    return Download.objects.create(
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


def _caller_lock(caller: Caller) -> str:
    """Held while a caller's builds are counted and one more is added."""
    return f"downloads.caller:{caller.key}"


def _shared_build(build_key: str, caller: Caller) -> Build | None:
    """The build of equivalent requests, if it may still be shared; locks the key, then the caller."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO downloads_buildkey (key) VALUES (%s) "
            "ON CONFLICT (key) DO UPDATE SET key = excluded.key "
            "RETURNING build_id, pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [build_key, _caller_lock(caller)],
        )
        found, _ = cursor.fetchone()
    if found is None:
        return None
    builds = Build.objects.select_related("job").annotate(earlier=lanes.ahead())
    build = builds.select_for_update(of=("self",)).get(pk=found)
    build.ahead = build.earlier
    is_young = timezone.now() < build.created_at + timedelta(hours=settings.DOWNLOADS_REUSE_HOURS)
    return build if build.state in _SHARED and is_young else None


def _new_build(asked: request.DownloadRequest, build_key: str, version: int, caller: Caller) -> Build:
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
    if running.count < running.limit and not is_long:
        lanes.start(build)
        return build
    build.save(force_insert=True)
    if is_long:
        lanes.let_in(caller.key)
        build.refresh_from_db()
    return build


@dataclass(frozen=True)
class _Running:
    count: int
    limit: int
    ahead_short: int
    ahead_long: int


def _admit(caller: Caller) -> _Running:
    """How many builds the caller, whose lock is held, has under way; raises when too many wait."""
    limit, queued = caller.limits()
    waiting = Q(state=Build.State.WAITING)
    mine = Q(caller=caller.key)
    counts = Build.objects.filter(state__in=[Build.State.WAITING, Build.State.RUNNING]).aggregate(
        short=Count("pk", filter=waiting & Q(lane=Build.Lane.SHORT)),
        long=Count("pk", filter=waiting & Q(lane=Build.Lane.LONG)),
        waiting=Count("pk", filter=mine & waiting),
        running=Count("pk", filter=mine & Q(job__isnull=False)),
    )
    if counts["waiting"] >= queued:
        raise errors.Throttled(
            f"You have {counts['waiting']} downloads waiting; the limit is {queued}.", retry_after=30, limit=queued
        )
    if counts["short"] + counts["long"] >= settings.DOWNLOADS_QUEUE_LENGTH:
        raise errors.Unavailable("The download service cannot take requests right now.", retry_after=60)
    return _Running(counts["running"], limit, counts["short"], counts["long"])


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


def _claim(download: Download, asked: request.DownloadRequest, caller: Caller, token: str, *, is_new: bool) -> None:
    """Note who asked, renew the time of reuse, and let the keys lead here; one statement."""
    keys = ""
    params: list[Any] = []
    build = download.build
    if is_new and build is not None:
        keys = (
            "WITH rk AS (UPDATE downloads_requestkey SET download_id = %s WHERE key = %s), "
            "bk AS (INSERT INTO downloads_buildkey (key, build_id) VALUES (%s, %s) "
            "ON CONFLICT (key) DO UPDATE SET build_id = excluded.build_id) "
        )
        params = [download.pk, download.request_key, build.build_key, build.pk]
    else:
        until = timezone.now() + timedelta(hours=settings.DOWNLOADS_REUSE_HOURS)
        download.reuse_until = min(until, download.expires_at)
        keys = "WITH d AS (UPDATE downloads_download SET reuse_until = %s WHERE uuid = %s) "
        params = [download.reuse_until, download.pk]
    user = caller.user.pk if caller.user else None
    with connection.cursor() as cursor:
        cursor.execute(
            keys + "INSERT INTO downloads_claim (download_id, created_at, address, user_id, source, token_hash) "
            "VALUES (%s, now(), %s, %s, %s, %s)",
            [*params, download.pk, caller.address, user, asked.source[:200], hashed(token)],
        )


def _promise_notices(
    download: Download, asked: request.DownloadRequest, caller: Caller, token: str, base_url: str
) -> None:
    """Remember who is to be told; at once when there is something to tell."""
    wanted = [(Notification.Channel.MAIL, asked.email), (Notification.Channel.WEBHOOK, asked.webhook)]
    made = [
        Notification(download=download, channel=channel, address=address, key=hashed(token), base_url=base_url)
        for channel, address in wanted
        if address
    ]
    if not made:
        return
    if asked.email:
        _refuse_mail_flood(download, asked.email, caller)
    Notification.objects.bulk_create(made, ignore_conflicts=True)
    notices.send(download)


def _refuse_mail_flood(download: Download, address: str, caller: Caller) -> None:
    if Notification.objects.filter(download=download, channel=Notification.Channel.MAIL, address=address).exists():
        return
    limit = settings.DOWNLOADS_MAILS_PER_CALLER
    if wait := throttle.hit("downloads.mail.caller", caller.key, limit, _DAY):
        raise errors.Throttled(f"You have asked for {limit} mails today; the limit is {limit}.", retry_after=wait)


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
