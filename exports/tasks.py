"""Which Celery task does which job, with what limits, and what Flower sees of it. Leases are the house's 30 s."""

from datetime import timedelta

from celery import current_task

from core import clock, jobs
from exports.jobs import build, imports, upkeep


def _announce(line: str) -> None:
    """Flower lists a task that sends this event as being in state PROGRESS, with the line as its result."""
    if bool(current_task):  # a proxy, false outside a worker
        current_task.send_event("task-progress", result=line)


def _build(run: jobs.Run) -> None:
    build.build(run, _announce)


jobs.register(
    jobs.Kind(
        build.KIND, _build, queue="exports", settled=build.settled, describe=build.describe,
        time_limit=2 * 3600,
    )
)  # fmt: skip
jobs.register(jobs.Kind(imports.KIND, imports.do, queue="exports", time_limit=12 * 3600))
clock.register(clock.Tick("exports.upkeep", timedelta(minutes=5), upkeep.do))
