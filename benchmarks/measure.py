"""What every benchmark shares: its own servers, CPU seconds and peak memory per process tree, and one form of table.

A benchmark measures our figure and its limit in the same run and reports their ratio, which depends little on the
machine; a figure alone does.

    with measure.house() as house:                      # real servers, Django set up, tables made
        with measure.used(postgres=house.postgres_pid) as limit: …
        with measure.used(postgres=house.postgres_pid) as ours: …
        measure.report("Archive of 1M records", [
            measure.Row("rows per CPU second", rows / ours.cpu_total, limit=rows / limit.cpu_total, target=0.6),
        ], ours=ours, limit=limit)
"""

import argparse
import contextlib
import os
import pathlib
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from core import process, programs, supervisor
from core.embedded import stack

TICKS: Final = os.sysconf("SC_CLK_TCK")
MIB: Final = 1024 * 1024


# -- servers ----------------------------------------------------------------------------------------------------------


@dataclass
class House:
    """Servers of one benchmark run, with the environment programs need to reach them."""

    stack: stack.Stack
    env: Mapping[str, str]
    folder: pathlib.Path
    keeper: supervisor.Supervisor
    children: dict[str, supervisor.Program] = field(default_factory=dict)

    @property
    def postgres_pid(self) -> int:
        """The embedded postmaster; 0 when DATABASE_URL names another server, whose CPU nobody here can see."""
        child = self.stack.postgres.child if self.stack.postgres else None
        return child.pid if child else 0

    @property
    def store_pid(self) -> int:
        """The embedded object store; 0 when S3_ENDPOINT_URL names another."""
        child = self.stack.store.child if self.stack.store else None
        return child.pid if child else 0

    def worker(self, *, concurrency: int = 1, **env: str) -> int:
        """Start a Celery worker; its process id. Stopped at the end of the run."""
        return self._start("worker", programs.worker(concurrency=concurrency), env)

    def web(self, *, workers: int = 1, threads: int = 8, **env: str) -> tuple[str, int]:
        """Start gunicorn; (base URL, process id)."""
        port = process.free_ports(1)[0]
        pid = self._start("web", programs.web(f"127.0.0.1:{port}", workers=workers, threads=threads), env, port=port)
        return f"http://127.0.0.1:{port}", pid

    def _start(self, name: str, argv: Sequence[str], env: Mapping[str, str], *, port: int = 0) -> int:
        program = supervisor.Program(
            name,
            argv,
            {**self.env, **env},
            self.folder / f"{name}.log",
            ready=lambda: not port or not process.is_free(port),
        )
        self.keeper.add(program)
        self.children[name] = program
        if program.child is None:
            raise process.Failed(f"{name} did not start")
        return program.child.pid


@contextlib.contextmanager
def house(**settings: str) -> Iterator[House]:
    """Fresh servers, Django set up on them in this process, all tables made; everything is gone afterwards.

    `settings` are added to the environment Django reads. DATABASE_URL, REDIS_URL and S3_ENDPOINT_URL of the caller's
    environment replace the embedded servers, as in the demo.
    """
    supervisor.listen()
    with tempfile.TemporaryDirectory(prefix="quincunx-bench-") as name, supervisor.Supervisor(say) as keeper:
        folder = pathlib.Path(name)
        servers = stack.Stack(folder, given=os.environ, durable=False)
        servers.start()
        for each in servers.servers:
            keeper.add(each)
        fixed = {"SECRET_KEY": secrets.token_hex(32), "DERIVE_SECRETS": "1", "DEBUG": "0", "HTTPS": "0"}
        fixed |= {"ALLOW_PRIVATE_NETWORKS": "1", "LOG_LEVEL": "WARNING"}
        os.environ.update({**fixed, **servers.env(), **settings, "DJANGO_SETTINGS_MODULE": "core.settings"})
        _set_up_django()
        yield House(servers, dict(os.environ), folder, keeper)


def _set_up_django() -> None:
    import django  # only now do the settings have their addresses
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


# -- what was used ----------------------------------------------------------------------------------------------------


@dataclass
class Used:
    """Wall-clock seconds, CPU seconds and peak memory (MiB) by name; `self` is this process with its ended children."""

    wall: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_total(self) -> float:
        """CPU seconds of all watched processes together."""
        return sum(self.cpu.values())


@contextlib.contextmanager
def used(**pids: int) -> Iterator[Used]:
    """Measure the block: this process, and by name the whole tree below each process id (0 is left out)."""
    watched = {name: pid for name, pid in pids.items() if pid}
    result = Used()
    for pid in (os.getpid(), *(each for root in watched.values() for each in tree(root))):
        reset_peak(pid)
    before = {name: cpu_of_tree(pid) for name, pid in watched.items()}
    own, started = own_cpu(), time.monotonic()
    yield result
    result.wall = time.monotonic() - started
    result.cpu = {"self": own_cpu() - own}
    result.cpu |= {name: cpu_of_tree(pid) - before[name] for name, pid in watched.items()}
    result.peak = {"self": peak_of(os.getpid())}
    result.peak |= {name: max(peak_of(each) for each in tree(pid)) for name, pid in watched.items()}


def own_cpu() -> float:
    """CPU seconds of this process and of its children that have ended and been waited for."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process, its living descendants, and the dead ones they have waited for (proc(5), stat)."""
    return sum(_ticks(each) for each in tree(pid)) / TICKS


def _ticks(pid: int) -> int:
    """Clock ticks of one process and the children it has waited for; 0 when it has ended since it was listed."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return sum(_stat(pid)[11:15])
    return 0


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(_stat(int(entry.name))[1], []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, []))
    return found


def _stat(pid: int) -> list[int]:
    """The numbers of /proc/PID/stat from `state` on, which itself becomes 0."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *(int(each) for each in fields[1:])]


def peak_of(pid: int) -> float:
    """Largest resident memory of one process since `reset_peak`, MiB (VmHWM); 0 when it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def reset_peak(pid: int) -> None:
    """Forget the peak so far (proc(5), clear_refs)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


# -- the table --------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One figure. `limit` is the best that can be had, measured in this run in the same unit; `target` is the ratio
    asked for: at least that much, or at most with `less_is_better`."""

    name: str
    ours: float
    limit: float | None = None
    target: float | None = None
    less_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours over the limit."""
        return self.ours / self.limit if self.limit else None

    @property
    def verdict(self) -> str:
        """`met` or `MISSED`, when there is a target."""
        if self.target is None:
            return ""
        value = self.ratio if self.ratio is not None else self.ours
        return "met" if (value <= self.target if self.less_is_better else value >= self.target) else "MISSED"


def report(title: str, rows: Sequence[Row], **runs: Used) -> None:
    """Print the figures, then what each measured run took."""
    print(f"\n{title}")
    width = max(len(row.name) for row in rows)
    print(f"{'':<{width}} {'ours':>14} {'limit':>14} {'ratio':>7} {'target':>7}")
    for row in rows:
        target = "" if row.target is None else f"{'≤' if row.less_is_better else '≥'}{row.target:g}"
        print(
            f"{row.name:<{width}} {figure(row.ours):>14} {figure(row.limit):>14} {figure(row.ratio):>7} "
            f"{target:>7} {row.verdict}"
        )
    for name, run in runs.items():
        cpu = ", ".join(f"{who} {seconds:.2f}" for who, seconds in run.cpu.items())
        peak = ", ".join(f"{who} {mib:.0f}" for who, mib in run.peak.items())
        print(f"  {name}: wall {run.wall:.2f} s · CPU s {run.cpu_total:.2f} ({cpu}) · peak MiB {peak}")
    sys.stdout.flush()


def figure(value: float | None) -> str:
    """A number at a readable precision."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def arguments(description: str | None, **sizes: int) -> argparse.Namespace:
    """Command line of a benchmark: every size is an option, `--rows 1000000` for `rows=1_000_000`."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"{default:,}")
    return parser.parse_args()


def say(line: str) -> None:
    """Progress, beside the table."""
    print(line, file=sys.stderr, flush=True)
