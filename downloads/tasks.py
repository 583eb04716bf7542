"""Which jobs downloads has, in which lanes, and what it does by the clock."""

from __future__ import annotations

from datetime import timedelta

from core import clock, jobs
from core.models import Job
from downloads.jobs import expiry, imports, notices
from downloads.jobs.build import lanes, lead, outcome

SHORT, LONG = "downloads", "downloads.long"
_OFTEN = 100_000
"""Builds count their own crashes without progress (`lead.MOST_CRASHES`); the house's count must not come first."""


def _words(job: Job) -> dict[str, str]:
    return {"build": str(job.params.get("build", ""))}


BUILD = jobs.register(
    jobs.Kind(
        "downloads.build",
        lead.build,
        queue=SHORT,
        max_attempts=_OFTEN,
        settled=outcome.settled,
        describe=_words,
    )
)
BUILD_LONG = jobs.register(
    jobs.Kind(
        "downloads.build_long",
        lead.build,
        queue=LONG,
        max_attempts=_OFTEN,
        time_limit=24 * 3600,
        settled=outcome.settled,
        describe=_words,
    )
)
ASSIST = jobs.register(jobs.Kind(lead.ASSIST, lead.assist, queue=LONG, describe=_words))
INGEST = jobs.register(
    jobs.Kind(
        "downloads.ingest",
        imports.bring_in,
        queue=LONG,
        time_limit=24 * 3600,
        settled=imports.settled,
    )
)
EXPIRE = jobs.register(jobs.Kind("downloads.expire", expiry.sweep))


def _expire() -> None:
    jobs.submit(EXPIRE.name, {}, fingerprint="expire")


clock.register(clock.Tick("downloads.expire", timedelta(hours=1), _expire))
clock.register(clock.Tick(notices.TICK, timedelta(minutes=1), notices.send_late))
clock.register(clock.Tick("downloads.lanes", timedelta(seconds=15), lanes.let_everybody_in))
