"""One parent for the service's processes: starts them, starts them again when they crash, stops them in order."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, NoReturn, Protocol

from core import process

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
# A process that lived this long was well; its next crash is a first one again.
SETTLED_SECONDS: Final = 30.0


class Stopped(BaseException):
    """Somebody asked us to stop (SIGTERM, SIGHUP); like KeyboardInterrupt, no `except Exception` swallows it."""


class Service(Protocol):
    """What the supervisor can keep alive; the embedded servers fit as they are."""

    @property
    def name(self) -> str: ...
    @property
    def is_running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


@dataclass
class Program:
    """A process of our own; ready as soon as it runs, unless `ready` says otherwise."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: pathlib.Path
    ready: Callable[[], bool] = lambda: True
    ready_seconds: float = 60
    stop_seconds: float = 10
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.child is not None and self.child.poll() is None

    def start(self) -> None:
        """Start and wait until ready; whatever is left of an earlier life is removed first."""
        if self.child is not None:
            process.end_group(self.child)
        self.child = process.spawn(self.argv, log=self.log, env=self.env)
        try:
            process.await_until(self.ready, what=self.name, timeout=self.ready_seconds, process=self.child)
        except process.Failed as failure:
            raise process.Failed(f"{failure}\n{process.log_tail(self.log)}") from failure

    def stop(self) -> None:
        """Ask to stop, then insist."""
        if self.child is not None:
            process.end(self.child, signal.SIGTERM, timeout=self.stop_seconds)


@dataclass
class _Kept:
    service: Service
    started: float
    pause: float = FIRST_PAUSE


class Supervisor:
    """Starts services in order, keeps them running, and stops them in the opposite order at the end of `with`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._kept: list[_Kept] = []

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_exc: object) -> None:
        with deaf():
            for kept in reversed(self._kept):
                kept.service.stop()

    def add(self, service: Service) -> None:
        """Start a service and keep it running from now on."""
        self._kept.append(_Kept(service, time.monotonic()))
        if not service.is_running:
            service.start()

    def keep(self) -> NoReturn:
        """Wait for a process to end and start it again, after a growing pause."""
        while True:
            wait_for_any_end()
            for kept in self._kept:
                if not kept.service.is_running:
                    self._revive(kept)

    def _revive(self, kept: _Kept) -> None:
        if time.monotonic() - kept.started > SETTLED_SECONDS:
            kept.pause = FIRST_PAUSE
        self.say(f"{kept.service.name} ended; starting it again in {kept.pause:g} s")
        time.sleep(kept.pause)  # a growing pause, so that what cannot live does not eat the machine
        kept.pause = min(kept.pause * 2, LONGEST_PAUSE)
        kept.started = time.monotonic()
        try:
            kept.service.start()
        except process.Failed as failure:
            self.say(str(failure))


def wait_for_any_end() -> None:
    """Sleep until a child has ended; whoever owns it reads its status."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


def run_once(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Run a command that ends, its output on ours; it dies with us. Returns its exit status."""
    with contextlib.ExitStack() as stack:
        child = process.spawn(argv, log=None, env=env)
        stack.callback(process.end_group, child)
        return child.wait()


def listen() -> None:
    """SIGTERM and SIGHUP raise Stopped in the main thread; Ctrl-C raises KeyboardInterrupt, also in the background."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    # A shell starts what it puts in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Signals that ask us to stop are ignored: we are stopping."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    yield
