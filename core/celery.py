"""The Celery application: one task per kind of job, and the clock.

A task is a shell: it hands the job's id to ``jobs.run``. Redis may lose or repeat messages; the job table decides.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import uuid
from typing import Any

import django
from celery import Celery
from celery.signals import setup_logging, worker_process_init
from django.apps import apps
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
# Celery runs Django's checks and looks at no answer of theirs; they load every view of the service into the worker.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
if not apps.ready:
    django.setup()

from django.conf import settings
from django.db import connections

from core import announce, clock, jobs, launch, memory

app = Celery("quincunx", set_as_current=True)
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    # A message comes back only after the longest task could have ended; until then the lease is the safety net.
    broker_transport_options={
        "visibility_timeout": 24 * 3600,
        "socket_connect_timeout": 2,
        "socket_timeout": 5,
        "socket_keepalive": True,
        "max_retries": 1,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=2,
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue="default",
    task_create_missing_queues=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    task_send_sent_event=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
    beat_schedule=clock.schedule(),
    beat_max_loop_interval=5,
)


@setup_logging.connect
def _keep_our_logging(**_kwargs: Any) -> None:
    """Celery must not replace the log shape that Django's LOGGING has set up."""


@worker_process_init.connect
def _begin_child(**_kwargs: Any) -> None:
    """A forked child must not use its parent's database connections, nor work on when its parent was killed."""
    launch.die_with_parent(signal.SIGKILL)
    memory.keep_small()
    memory.settle()
    for connection in connections.all(initialized_only=True):
        connection.inc_thread_sharing()
        connection.close()


def _show_progress(task_id: str, hostname: str, text: str) -> None:
    """Tell those who watch the events (Flower lists the task as PROGRESS); nobody may be there to hear it."""
    with contextlib.suppress(*announce.UNREACHABLE), app.events.default_dispatcher(hostname=hostname) as dispatcher:
        dispatcher.send("task-progress", uuid=task_id, result=text, retry=False)


def _task_for(kind: jobs.Kind) -> None:
    @app.task(name=kind.name, queue=kind.queue, bind=True)
    def do(self: Any, /, job_id: str, **_words: str) -> None:
        # The heartbeat tells of progress from its own thread, where Celery's request is not known.
        notice = functools.partial(_show_progress, self.request.id, self.request.hostname)
        jobs.run(uuid.UUID(job_id), notice=notice)


for _kind in jobs.kinds():
    _task_for(_kind)


def _tick_for(tick: clock.Tick) -> None:
    @app.task(name=tick.task, queue=clock.QUEUE)
    def do() -> None:
        tick.act()


# Named here, a worker that is told no queue listens to all of them.
app.conf.task_queues = [Queue(name, routing_key=name) for name in jobs.queues()]

for _tick in clock.ticks():
    _tick_for(_tick)
