"""Long work: its states, who may do it, and how it survives the death of everything round it.

The database is the truth and the broker a doorbell. ``submit`` commits a row and rings after commit; ``run`` claims
the row with one conditional UPDATE that writes a fresh lease token; every later write is filtered by that token, so a
worker that lost its lease can change nothing (fencing). A heartbeat thread with its own connection renews the lease,
writes progress and reads the cancel flag. ``sweep`` requeues what died and rings again for what nobody heard of.
"""

from core.jobs.asking import cancel, release, retry, ring, submit
from core.jobs.attempts import Heartbeat, Notice, Run, claim, in_words, run
from core.jobs.families import Cancelled, Failure, Kind, LeaseLost, Retry, kind_of, kinds, queues, register
from core.jobs.moves import ACTIVE, CANCELLED, CANCELLING, FAILED, FINAL, MOVES, QUEUED, RUNNING, SUCCEEDED
from core.jobs.watch import REANNOUNCE, prune, run_queued, seconds_left, sweep

__all__ = [
    "ACTIVE",
    "CANCELLED",
    "CANCELLING",
    "FAILED",
    "FINAL",
    "MOVES",
    "QUEUED",
    "REANNOUNCE",
    "RUNNING",
    "SUCCEEDED",
    "Cancelled",
    "Failure",
    "Heartbeat",
    "Kind",
    "LeaseLost",
    "Notice",
    "Retry",
    "Run",
    "cancel",
    "claim",
    "in_words",
    "kind_of",
    "kinds",
    "prune",
    "queues",
    "register",
    "release",
    "retry",
    "ring",
    "run",
    "run_queued",
    "seconds_left",
    "submit",
    "sweep",
]
