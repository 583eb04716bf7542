"""Jobs and ticks of the accessible library."""

from __future__ import annotations

from datetime import timedelta

from core import clock, jobs
from nnels.jobs import upkeep
from nnels.jobs.importing import work

# Three retries after a worker's death; finished titles come out unchanged.
IMPORT = jobs.register(
    jobs.Kind("nnels.import", work.job, queue="imports", max_attempts=4, time_limit=24 * 3600, settled=work.settled)
)
VERIFY = jobs.register(jobs.Kind("nnels.verify", upkeep.verify, queue="imports", time_limit=24 * 3600))


def request_verify() -> None:
    """Ask for the weekly check of all files; one at a time."""
    jobs.submit(VERIFY.name, {}, fingerprint="all")


clock.register(clock.Tick("nnels.purge", timedelta(hours=1), upkeep.purge))
clock.register(clock.Tick("nnels.sweep_retired", timedelta(days=1), upkeep.sweep_retired))
clock.register(clock.Tick("nnels.verify", timedelta(days=7), request_verify))
