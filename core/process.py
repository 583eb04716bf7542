"""Child processes that never outlive us, loopback ports, and waiting for a condition."""

import contextlib
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

LAUNCH: Final = pathlib.Path(__file__).with_name("launch.py")
POLL_SECONDS: Final = 0.02
PORTS_FROM: Final = 15_000
DEFAULT_EPHEMERAL: Final = 32_768


class Failed(Exception):
    """A child did not start, become ready or stop; the message ends with the last lines of its log."""


def spawn(
    argv: Sequence[str],
    *,
    log: pathlib.Path | None,
    death_signal: signal.Signals = signal.SIGKILL,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: pathlib.Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a process group of its own, its output appended to `log` (None: ours).

    `death_signal` reaches it when the calling thread ends, so only the main thread may call this. `prefix` is a
    program that runs another one (unshare, setpriv); the death signal is set after it, for a change of credentials
    would clear it.
    """
    if threading.current_thread() is not threading.main_thread():
        raise Failed(f"{argv[0]} would die with this thread; start it from the main thread")
    launcher = [sys.executable, "-I", "-S", str(LAUNCH), str(int(death_signal)), str(os.getpid())]
    with log.open("ab") if log else contextlib.nullcontext() as output:
        return subprocess.Popen(
            [*prefix, *launcher, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            env=dict(os.environ if env is None else env),
            cwd=cwd,
            start_new_session=True,
        )


def await_until(
    condition: Callable[[], bool], *, what: str, timeout: float, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Return when `condition` holds; raise Failed after `timeout` seconds or when `process` has ended before."""
    deadline = time.monotonic() + timeout
    while not condition():
        if process is not None and process.poll() is not None:
            raise Failed(f"{what}: ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout:g} seconds")
        time.sleep(POLL_SECONDS)


def end(process: subprocess.Popen[bytes], stop_signal: signal.Signals, *, timeout: float) -> None:
    """Ask the process to stop, wait, and remove whatever is left of its process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
    end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill every process of the group with SIGKILL and reap its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def hold(port: int) -> socket.socket:
    """Keep a free loopback port from `is_free` and every other program until the socket is closed."""
    holder = socket.socket()  # without SO_REUSEADDR nobody else can bind it, though nothing listens
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        raise
    return holder


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports nobody listens on, below the range the kernel takes for outgoing connections.

    Below, because a server that restarts on its port must not find an outgoing connection there.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(PORTS_FROM, ephemeral_start())  # noqa: S311 - not a secret
        if port not in found and is_free(port):
            found.append(port)
    return found


def ephemeral_start() -> int:
    """First port of the range for outgoing connections (ip(7), ip_local_port_range)."""
    try:
        first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except FileNotFoundError:
        return DEFAULT_EPHEMERAL
    return first if first > PORTS_FROM + 1000 else DEFAULT_EPHEMERAL


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def log_tail(log: pathlib.Path, lines: int = 15) -> str:
    """The last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
