"""Which jobs, mails and ticks this app has."""

from __future__ import annotations

from datetime import timedelta

from core import clock, jobs, mail
from usermgmt.jobs import calls, housekeeping, mails, provision

for kind in mails.kinds():
    mail.register(kind)

jobs.register(jobs.Kind(provision.KIND, provision.work, time_limit=120))

clock.register(clock.Tick("usermgmt.calls", timedelta(minutes=1), calls.flush))
clock.register(clock.Tick("usermgmt.requests", timedelta(minutes=1), provision.announce_pending))
clock.register(clock.Tick("usermgmt.reminders", timedelta(minutes=10), housekeeping.remind))
clock.register(clock.Tick("usermgmt.clean_up", timedelta(hours=1), housekeeping.clean_up))
