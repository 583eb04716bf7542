"""The bodies of both faces (contract §2.2-2.4)."""

import datetime
import zoneinfo
from typing import Any

from django.conf import settings

from downloads import services
from downloads.jobs import status
from downloads.models import Download
from downloads.selectors import request

QUICK, SLOW = 2, 30
"""Seconds: the shortest and the longest polling hint."""


def seed_body(download: Download, base_url: str, *, asked: request.DownloadRequest | None = None) -> dict[str, Any]:
    """The seed face's body; `asked` is this caller's own request, whose spelling is echoed."""
    stored, word = asked or status.asked(download), status.task_status(download)
    link = f"{base_url}/status/{download.uuid}"
    if stored is None or word == "UNKNOWN":
        return {"complete": False, "task_status": "UNKNOWN", "status_url": link, "error": status.UNREADABLE}
    body: dict[str, Any] = {
        "complete": word != "PENDING",
        "status_url": link,
        "expires": naive(download.reuse_until),
    }
    if word == "SUCCESS":
        body["download_url"] = status.file_url(download, base_url)
    query = {} if stored.rq is None else stored.rq
    body |= {"query_hash": download.query_hash, "query": query, "task_status": word}
    if word == "FAILURE":
        body["error"] = download.error
    return body


def naive(moment: datetime.datetime) -> str:
    """iDigBio: ISO 8601 with six fractional digits and no offset, in the service's own time zone."""
    local = moment.astimezone(zoneinfo.ZoneInfo(settings.DOWNLOADS_LOCAL_TZ))
    return local.replace(tzinfo=None).isoformat(timespec="microseconds")


def v2_body(download: Download, base_url: str, *, asked: request.DownloadRequest | None = None) -> dict[str, Any]:
    """The v2 face's body."""
    body = status.v2_body(download, base_url, position=services.position(download))
    if asked is not None and "query" in body:
        body["query"] = asked.seven
    return body


def listed_body(download: Download, base_url: str) -> dict[str, Any]:
    """The v2 body in a list: the place in the queue is left unknown, it would cost a query each."""
    return status.v2_body(download, base_url)


def estimate_body(asked: request.DownloadRequest, found: services.Estimate) -> dict[str, Any]:
    """What `dry_run` answers."""
    return {
        "dry_run": True,
        "hash": asked.hash,
        "query": asked.seven,
        "rows": {"records": found.records, "mediarecords": found.mediarecords},
        "bytes_estimate": found.bytes_estimate,
        "seconds_estimate": found.seconds_estimate,
        "data_version": found.data_version,
        "exact": found.is_exact,
    }


def polling_hint(body: dict[str, Any]) -> int | None:
    """Seconds to wait before asking again, or None when there is nothing to wait for."""
    if body["complete"]:
        return None
    eta = body.get("progress", {}).get("eta_seconds")
    return max(QUICK, min(SLOW, eta or QUICK))
