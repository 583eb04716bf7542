"""The core's own ticks: the sweep of jobs and the house-keeping of the tables all five share."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from core import clock, jobs

clock.register(clock.Tick("jobs.sweep", timedelta(seconds=settings.JOB_SWEEP_SECONDS), jobs.sweep))
clock.register(clock.Tick("jobs.prune", timedelta(hours=1), jobs.prune))
