"""Tell a CKAN catalogue to harvest its source again, once a run has succeeded (contract 4.1, CKAN hook)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import orjson
from django.conf import settings

from core import egress
from core import jobs as core_jobs
from registry.models import HarvestRun

SECONDS = 10.0
ASKED = "ok: job "


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
    return f"{ASKED}{job.get('id', '')}"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far CKAN is with the job a run asked for; `problem` says why that is not known."""

    state: str = ""
    gathered: str = ""
    finished: str = ""
    stats: dict[str, int] = field(default_factory=dict)
    problem: str = ""


def job_of(run: HarvestRun) -> str:
    """The id of the CKAN job a run asked for, or empty."""
    name = run.ckan_outcome.removeprefix(ASKED)
    return name if name != run.ckan_outcome and re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) else ""


def status(run: HarvestRun) -> JobStatus:
    """Ask CKAN for the job of a run (`harvest_job_show`); only an allowed host is asked, and gets the key."""
    job, url = job_of(run), run.harvest.ckan_harvest_url or run.harvest.organization.ckan_harvest_url
    if not job:
        return JobStatus(problem="This run has no CKAN job.")
    if (urlsplit(url).hostname or "") not in settings.REGISTRY_CKAN_HOSTS:
        return JobStatus(problem="The host is not in REGISTRY_CKAN_HOSTS.")
    try:
        told = _action(urljoin(url, f"/api/3/action/harvest_job_show?id={job}"))
    except (egress.Blocked, egress.Failed, egress.TooLarge) as error:
        return JobStatus(problem=error.message)
    except (KeyError, TypeError, ValueError):
        return JobStatus(problem="The answer is not CKAN's.")
    stats = told.get("stats")
    counts = stats if isinstance(stats, dict) else {}
    return JobStatus(
        state=_word(told.get("status")),
        gathered=_word(told.get("gather_finished")),
        finished=_word(told.get("finished")),
        stats={_word(name): count for name, count in counts.items() if type(count) is int},
    )


def _word(value: Any) -> str:
    """A short text of a remote answer; anything else is empty."""
    return value[:100] if isinstance(value, str) else ""


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
