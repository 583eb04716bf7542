"""The doorbell: telling Celery that a job waits. Losing a message costs seconds, never work."""

from __future__ import annotations

import threading
import time

import redis
import structlog
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

# What kombu and the Redis client raise, between them, when the broker is away.
UNREACHABLE = (OperationalError, redis.RedisError, OSError)

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
    except UNREACHABLE as error:
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
    except UNREACHABLE:
        return False
    return True
