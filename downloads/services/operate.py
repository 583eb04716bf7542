"""What callers and operators can do to a download that exists."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from core import errors, jobs
from downloads.jobs import expiry, notices
from downloads.jobs.build import lanes, outcome
from downloads.models import Build, BuildKey, Claim, Download, Notification, RequestKey
from downloads.services import look
from downloads.services.ask import Caller, hashed

FINISHED = "This download has already finished."
NOT_YOURS = "This token does not belong to this download."


def withdraw(ident: str, *, token: str = "", caller: Caller | None = None) -> Download:
    """Take a caller back out of a download; it is cancelled when nobody is left.

    Allowed to the holder of a token, to the owner of the key it was asked with, and to staff (who cancel it for all).
    """
    download = look.find(ident)
    user = caller.user if caller else None
    claims = _claims_of(download, token, user)
    if not claims and not (user and user.is_staff):
        raise errors.Denied(NOT_YOURS)
    with transaction.atomic():
        _lock_keys(download)
        download = Download.objects.select_for_update().get(pk=download.pk)
        if download.state != Download.State.WAITING:
            raise errors.Conflict(FINISHED)
        if user and user.is_staff and not claims:
            claims = list(download.claims.filter(withdrawn_at=None).values_list("pk", flat=True))
        Claim.objects.filter(pk__in=claims, withdrawn_at=None).update(withdrawn_at=timezone.now())
        left = set(download.claims.filter(withdrawn_at=None).values_list("address", "user_id"))
        if left:
            _forget_notices(download, left)
        else:
            _cancel(download)
    return look.find(ident)


def cancel_all(download: Download) -> bool:
    """Cancel a download for everybody, as an operator; False when it had ended."""
    with transaction.atomic():
        _lock_keys(download)
        waiting = Download.objects.select_for_update().filter(pk=download.pk, state=Download.State.WAITING).first()
        if waiting is None:
            return False
        waiting.claims.filter(withdrawn_at=None).update(withdrawn_at=timezone.now())
        _cancel(waiting)
        return True


def _forget_notices(download: Download, left: Collection[tuple[object, object]]) -> None:
    """Nobody is told who has withdrawn; a caller (address and account) who also waits under another token has not."""
    withdrawn = download.claims.exclude(withdrawn_at=None).values_list("token_hash", "address", "user_id")
    keys = [key for key, address, user in withdrawn if (address, user) not in left]
    download.notifications.filter(queued_at=None, key__in=keys).delete()


def _claims_of(download: Download, token: str, user: object) -> list[int]:
    """The claims a token or a key's owner speaks for."""
    sought = hashed(token) if token else ""
    return [
        claim.pk
        for claim in download.claims.all()
        if (sought and hmac.compare_digest(claim.token_hash, sought))
        or (user is not None and claim.user_id == getattr(user, "pk", None))
    ]


def _lock_keys(download: Download) -> None:
    """The locks under which requests join: nobody can join while we leave."""
    list(RequestKey.objects.select_for_update().filter(key=download.request_key))
    if download.build is not None:
        list(BuildKey.objects.select_for_update().filter(key=download.build.build_key))


def _cancel(download: Download) -> None:
    Download.objects.filter(pk=download.pk).update(
        state=Download.State.CANCELLED, error=outcome.CANCELLED, finished_at=timezone.now()
    )
    build = download.build
    if build is None or build.downloads.filter(state=Download.State.WAITING).exists():
        return
    # The next equal request starts afresh, even while this build is still on its way down.
    BuildKey.objects.filter(build=build).update(build=None)
    if build.job_id is not None:
        jobs.cancel(build.job_id)
        return
    Build.objects.filter(pk=build.pk).update(
        state=Build.State.CANCELLED, error=outcome.CANCELLED, finished_at=timezone.now()
    )


def pin(download: Download, *, is_pinned: bool) -> None:
    """Keep a download beyond its time, or no longer: then it ends now if its time was over."""
    kept = Download.objects.filter(pk=download.pk)
    if is_pinned:
        kept.update(is_pinned=True)
    else:
        kept.filter(is_pinned=True).update(is_pinned=False, expires_at=Greatest("expires_at", Now()))


def expire_now(download: Download) -> bool:
    """Let a sweep delete a finished download now, links handed out or not; False while it is being built."""
    now = timezone.now()
    changed = (
        Download.objects.filter(pk=download.pk)
        .exclude(state__in=[Download.State.WAITING, Download.State.EXPIRED])
        .update(expires_at=now - expiry.LINKS_LAST, reuse_until=now, is_pinned=False)
    )
    if changed:
        jobs.submit("downloads.expire", {}, fingerprint="expire")
    return bool(changed)


def retry_failed(download: Download) -> bool:
    """Build a failed download again under its own uuid; False when it had not failed."""
    with transaction.atomic():
        _lock_keys(download)
        failed = Download.objects.select_for_update().filter(pk=download.pk, state=Download.State.FAILED).first()
        if failed is None or failed.build is None:
            return False
        old = failed.build
        build = Build.objects.create(
            build_key=old.build_key,
            request=old.request,
            data_version=old.data_version,
            snapshot_at=timezone.now(),
            lane=old.lane,
            caller=old.caller,
            running_limit=old.running_limit,
        )
        expires = timezone.now() + timedelta(days=settings.DOWNLOADS_KEEP_DAYS)
        Download.objects.filter(pk=failed.pk).update(
            build=build, state=Download.State.WAITING, error="", finished_at=None, expires_at=expires
        )
        failed.notifications.update(queued_at=None, mail=None, delivery=None)
        lanes.start(build)
        return True


def resend(notification: Notification) -> bool:
    """Send a mail or webhook once more; False when nothing can be sent."""
    with transaction.atomic():
        return notices.again(notification)
