"""How a download stands: facts for both faces, pages, mail and webhooks. Reads what it is given; asks nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from django.utils import timezone

from core.models import Job
from downloads.formats import members
from downloads.models import Build, Download
from downloads.selectors import request

TaskStatus = Literal["PENDING", "SUCCESS", "FAILURE", "UNKNOWN"]
UNREADABLE = "The data of this download cannot be read at the moment."


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Contract 2.4; unknown numbers are None."""

    stage: str
    position: int | None
    rows_done: int | None
    rows_total: int | None
    bytes: int | None
    percent: float | None
    eta_seconds: int | None


def asked(download: Download) -> request.DownloadRequest | None:
    """The request behind a download; None when it cannot be read (task status UNKNOWN)."""
    try:
        return request.DownloadRequest.from_json(download.request)
    except (ValueError, TypeError, KeyError):
        return None


def task_status(download: Download) -> TaskStatus:
    """The original's four words."""
    if asked(download) is None or download.build is None:
        return "UNKNOWN"
    if download.state in (Download.State.DONE, Download.State.EXPIRED):
        return "SUCCESS"
    return "PENDING" if download.state == Download.State.WAITING else "FAILURE"


def extension(download: Download) -> str:
    return members.extension(download.form)


def status_url(download: Download, base_url: str) -> str:
    """The status link of the face the download was asked for on."""
    path = "status" if download.face == Download.Face.SEED else "v2/download"
    return f"{base_url}/{path}/{download.uuid}"


def file_url(download: Download, base_url: str) -> str:
    """The stable link to the file."""
    return f"{base_url}/downloads/{download.uuid}.{extension(download)}"


def progress(download: Download, *, position: int | None = None) -> Progress:
    """Stage, numbers and forecast; `position` is `lanes.ahead_of` where the caller wants to know it."""
    build = download.build
    if build is None or download.state in (Download.State.FAILED, Download.State.CANCELLED):
        stage = "cancelled" if download.state == Download.State.CANCELLED else "failed"
        return _progress(stage, 0, None, None, None, None)
    if build.state in (Build.State.DONE, Build.State.DELETED):
        stage = "expired" if download.state == Download.State.EXPIRED else "done"
        return _progress(stage, 0, build.rows_done, build.rows_total, build.size, None)
    live: dict[str, Any] = build.job.progress if build.job else {}
    stage = live.get("stage", "queued")
    if build.job is None or (build.job.state == Job.State.QUEUED and stage != "waiting_for_storage"):
        stage = "queued"
    total = live.get("rows_total", build.rows_total)
    since = build.started_at if stage == "building" else None
    return _progress(stage, position, live.get("rows_done"), total, live.get("bytes"), since)


def _progress(
    stage: str, position: int | None, done: int | None, total: int | None, size: int | None, since: datetime | None
) -> Progress:
    percent = eta = None
    if done is not None and total is not None:
        percent = round(100 * done / total, 1) if total else 100.0
        elapsed = (timezone.now() - since).total_seconds() if since else 0.0
        if done and elapsed > 1:
            eta = max(0, round(elapsed * (total - done) / done))
    return Progress(
        stage=stage, position=position, rows_done=done, rows_total=total, bytes=size, percent=percent, eta_seconds=eta
    )


def v2_body(download: Download, base_url: str, *, position: int | None = None) -> dict[str, Any]:
    """The body of the v2 face (contract 2.4), also what webhooks send."""
    found, word = asked(download), task_status(download)
    if found is None or word == "UNKNOWN" or download.build is None:
        return {
            "complete": False,
            "task_status": "UNKNOWN",
            "status_url": f"{base_url}/v2/download/{download.uuid}",
            "error": UNREADABLE,
        }
    body: dict[str, Any] = {
        "complete": word != "PENDING",
        "created": download.created_at.isoformat(timespec="microseconds"),
        "expires": download.expires_at.isoformat(timespec="microseconds"),
        "hash": download.hash,
        "query": found.seven,
        "status_url": f"{base_url}/v2/download/{download.uuid}",
        "task_status": word,
        "progress": asdict(progress(download, position=position)),
    }
    if word == "SUCCESS":
        build = download.build
        body |= {
            "download_url": file_url(download, base_url),
            "rows": rows(download),
            "bytes": build.size,
            "sha256": build.sha256,
            "data_version": download.data_version,
        }
    elif word == "FAILURE":
        body["error"] = download.error
    return body


def rows(download: Download) -> dict[str, int]:
    """Rows per file of a finished download. A build knows a bare file by its own name; here it has the download's."""
    found, build = asked(download), download.build
    if found is None or build is None:
        return {}
    counted: dict[str, int] = build.rows
    name = members.file_name(
        str(download.uuid), form=download.form, core_type=download.core_type, core_source=found.core_source
    )
    if not name.endswith(".zip"):
        return {name: sum(counted.values())}
    return members.in_order(counted, core_type=download.core_type, core_source=found.core_source)


def webhook_payload(download: Download, base_url: str) -> str:
    """The v2 body as compact JSON text; number forms of the query are kept."""
    return json.dumps(v2_body(download, base_url), ensure_ascii=False, separators=(",", ":"))
