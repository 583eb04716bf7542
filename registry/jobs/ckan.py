"""Tell a CKAN catalogue to harvest its source again, once a run has succeeded (contract 4.1, CKAN hook)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import orjson
from django.conf import settings

from core import egress
from core import jobs as core_jobs
from registry.models import HarvestRun

SECONDS = 10.0


def work(attempt: core_jobs.Run) -> dict[str, Any]:
    """The job `registry.ckan`: `params` are `{"run": id, "url": harvest source page}`; its outcome is only noted."""
    outcome = ask(attempt.params["url"])
    HarvestRun.objects.filter(pk=attempt.params["run"]).update(ckan_outcome=outcome[:200])
    return {"outcome": outcome}


def ask(url: str) -> str:
    """Look the source up by the last path segment and create a harvest job; what happened, in words."""
    name = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    if (urlsplit(url).hostname or "") not in settings.REGISTRY_CKAN_HOSTS:
        return "not asked: the host is not in REGISTRY_CKAN_HOSTS"
    try:
        source_id = _action(urljoin(url, f"/api/3/action/harvest_source_show?id={quote(name, safe='')}"))["id"]
        job = _action(urljoin(url, "/api/3/action/harvest_job_create"), {"source_id": source_id})
    except (egress.Blocked, egress.Failed, egress.TooLarge) as error:
        return f"failed: {error.message}"
    except (KeyError, TypeError, ValueError):
        return "failed: the answer is not CKAN's"
    return f"ok: job {job.get('id', '')}"


def _action(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One CKAN action; the key goes along only because the host was checked, and redirects are not followed."""
    headers = {"Authorization": settings.REGISTRY_CKAN_KEY, "Content-Type": "application/json"}
    method, payload = ("GET", None) if body is None else ("POST", orjson.dumps(body))
    answer = egress.request(method, url, headers=headers, body=payload, redirects=0, limit=1_048_576, seconds=SECONDS)
    value = orjson.loads(answer.body)
    if not answer.is_success or not value.get("success") or not isinstance(value["result"], dict):
        raise ValueError("CKAN refused")
    result: dict[str, Any] = value["result"]
    return result
