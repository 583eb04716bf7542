"""The doorbell: telling Celery that a job waits. Losing a message costs seconds, never work."""

from __future__ import annotations

import threading
import time

import structlog

log = structlog.get_logger(__name__)

# After a failed ring nobody tries for this many seconds, so that a dead broker costs requests nothing.
SILENCE = 5.0
_silent_until = 0.0
_lock = threading.Lock()


def message(task: str, kwargs: dict[str, str], *, queue: str) -> bool:
    """Send one Celery message and never wait for a broker that is away; False when it was not sent."""
    global _silent_until
    from core.celery import app  # the Celery app reads Django's settings, which must be ready first

    if time.monotonic() < _silent_until:
        return False
    try:
        app.send_task(task, kwargs=kwargs, queue=queue, retry=False, ignore_result=True)
    except app.connection_for_write().recoverable_connection_errors as error:
        with _lock:
            _silent_until = time.monotonic() + SILENCE
        log.warning("broker_unreachable", task=task, error=str(error))
        return False
    return True


def answers() -> bool:
    """Whether the broker takes messages now; never waits longer than the broker's short timeouts."""
    from core.celery import app  # see above

    if time.monotonic() < _silent_until:
        return False
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
    except connection.recoverable_connection_errors:
        return False
    return True
