"""What happens by the clock. An app registers a tick in its ``tasks`` module; beat sends it, a worker does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from core import announce

QUEUE: Final = "default"


@dataclass(frozen=True)
class Tick:
    """``act()`` is called about every ``every``; it must be short, safe to run twice and safe to miss."""

    name: str
    every: timedelta
    act: Callable[[], object]

    @property
    def task(self) -> str:
        return f"tick.{self.name}"


_ticks: dict[str, Tick] = {}


def register(tick: Tick) -> Tick:
    _ticks[tick.name] = tick
    return tick


def ring(name: str) -> bool:
    """Have a tick's work done now, beside its turn; False when nobody could be told, and it waits for that turn.

    For what a request leaves to be done: it costs no statement, as a job of its own would.
    """
    return announce.message(_ticks[name].task, {}, queue=QUEUE)


def ticks() -> list[Tick]:
    """Every registered tick, by name."""
    return [_ticks[name] for name in sorted(_ticks)]


def schedule() -> dict[str, dict[str, Any]]:
    """Celery's beat schedule; a tick nobody took before the next one is due is dropped."""
    return {
        tick.name: {
            "task": tick.task,
            "schedule": tick.every,
            "options": {"expires": max(10.0, tick.every.total_seconds()), "ignore_result": True},
        }
        for tick in ticks()
    }
