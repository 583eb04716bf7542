"""Mail and webhooks at a download's end: once per (download, channel, address), in the transaction of that end.

Whoever asks for a download that has ended already is told by the clock, for which the request rings.
"""

from __future__ import annotations

import json

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import mail, throttle, webhooks
from downloads.jobs import status
from downloads.models import Download, Notification

READY_SUBJECT = "iDigBio Download Ready"
FAILED_SUBJECT = "iDigBio Download Failed"
EVENT = "downloads.finished"
SIGNATURE = "Download-Signature"
TICK = "downloads.notices"
_QUERY_SHOWN = 1000
_DAY = 24 * 3600
_BATCH = 500
_ENDED = (Download.State.DONE, Download.State.FAILED)


def send(download: Download) -> None:
    """Queue everything that is still to be sent for a download that has ended."""
    if not _has_ended(download):
        return
    waiting = Notification.objects.select_for_update().filter(download=download, queued_at=None).order_by("id")
    for notification in list(waiting):
        # A download built again under its own uuid has another build, and other news.
        _queue(download, notification, dedupe=f"downloads:{notification.pk}:{download.build_id}:{download.state}")


def send_late() -> int:
    """Tell whoever asked for a download after its end; for the clock. How many downloads there were."""
    late = Notification.objects.filter(queued_at=None, download__state__in=_ENDED)
    found = list(late.order_by("download").values_list("download", flat=True).distinct()[:_BATCH])
    for pk in found:
        with transaction.atomic():  # locked, a download is not built again under its own uuid meanwhile
            send(Download.objects.select_for_update(of=("self",)).select_related("build").get(pk=pk))
    return len(found)


def again(notification: Notification) -> bool:
    """Send once more, for an operator, in a transaction; False when there is nothing to tell or no more mail allowed.

    What has not gone out yet is tried anew; what has been delivered is written again.
    """
    found = Notification.objects.select_for_update(of=("self",)).select_related("download", "mail", "delivery")
    notification = found.get(pk=notification.pk)
    if not _has_ended(notification.download):
        return False
    if notification.mail is not None and mail.retry(notification.mail):
        return True
    if notification.delivery is not None and webhooks.retry(notification.delivery):
        return True
    return _queue(notification.download, notification, dedupe=None)


def _has_ended(download: Download) -> bool:
    return download.state in _ENDED


def _queue(download: Download, notification: Notification, *, dedupe: str | None) -> bool:
    """Write the mail or webhook and remember it; False when the address has had its mails of the day."""
    if notification.channel == Notification.Channel.MAIL:
        is_queued = _mail(download, notification, dedupe)
    else:
        is_queued = True
        _webhook(download, notification, dedupe)
    notification.queued_at = timezone.now()
    notification.save(update_fields=["queued_at", "mail", "delivery"])
    return is_queued


def _mail(download: Download, notification: Notification, dedupe: str | None) -> bool:
    if throttle.hit("downloads.mail", notification.address.lower(), settings.DOWNLOADS_MAILS_PER_ADDRESS, _DAY):
        return False  # nobody is flooded through us; the download itself is unharmed
    is_ready = download.state == Download.State.DONE
    notification.mail = mail.queue(
        EVENT,
        notification.address,
        READY_SUBJECT if is_ready else FAILED_SUBJECT,
        ready_text(download, notification.base_url) if is_ready else failed_text(download, notification.base_url),
        dedupe=dedupe,
    )
    return True


def _webhook(download: Download, notification: Notification, dedupe: str | None) -> None:
    notification.delivery = webhooks.queue(
        EVENT,
        notification.address,
        status.webhook_payload(download, notification.base_url),
        key=notification.key,
        header=SIGNATURE,
        dedupe=dedupe,
    )


def shown_query(download: Download) -> str:
    """The query as JSON, short, and with nothing a mail program would make a link of."""
    found = status.asked(download)
    query = None if found is None else (found.rq if download.face == Download.Face.SEED else found.seven)
    text = json.dumps(query, ensure_ascii=True).replace("://", ":/ /")
    return text if len(text) <= _QUERY_SHOWN else text[: _QUERY_SHOWN - 1] + "…"


def ready_text(download: Download, base_url: str) -> str:
    """The body of the mail that brings the link."""
    build = download.build
    rows = "\n".join(f"  {name}: {count}" for name, count in status.rows(download).items())
    size = build.size if build else 0
    sha256 = build.sha256 if build else ""
    return (
        "The download you asked for is ready:\n\n"
        f"{status.file_url(download, base_url)}\n\n"
        f"Rows:\n{rows}\n\n"
        f"Size: {size} bytes\n"
        f"SHA-256: {sha256}\n"
        f"Query: {shown_query(download)}\n"
        f"The link works until {download.expires_at:%Y-%m-%d}.\n\n"
        f"Questions: {settings.CONTACT_EMAIL}\n"
    )


def failed_text(download: Download, base_url: str) -> str:
    """The body of the mail that brings bad news."""
    return (
        "The download you asked for could not be made.\n\n"
        f"{download.error}\n\n"
        f"Query: {shown_query(download)}\n"
        f"Status: {status.status_url(download, base_url)}\n\n"
        f"Questions: {settings.CONTACT_EMAIL}\n"
    )
