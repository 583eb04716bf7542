"""The real servers and processes that the tests run against, and how a test takes them down and up again.

Every pytest process (with xdist every worker) has its own PostgreSQL, Valkey and SeaweedFS, so a test may stop, kill
or freeze any of them without disturbing the others. They start when the first test needs them.
"""

import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from core import process, programs
from core.embedded import stack
from core.embedded.postgres import Postgres
from core.embedded.seaweedfs import SeaweedFS
from core.embedded.valkey import Valkey
from tests import processes, template

# Only a failing test waits so long; a machine with other work may be slow.
PATIENCE_SECONDS = 120
T = TypeVar("T")


class House:
    """Servers, addresses and environment of one pytest process."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="quincunx-test-"))
        self.stack = stack.Stack(self.folder, durable=False)
        self.is_migrated = template.restore(self.postgres)
        self.stack.reserve()
        self.web_port, self.smtp_port = process.free_ports(2)
        # What core.settings reads, in the pytest process and in every program a test starts.
        self.env = {
            **self.stack.env(),
            "SECRET_KEY": secrets.token_hex(32),
            "USERMGMT_SECRET_PEPPERS": f"test:{secrets.token_hex(32)}",
            "USERMGMT_WEBHOOK_SECRET": secrets.token_hex(32),
            "DEBUG": "0",
            "HTTPS": "0",
            "ALLOW_PRIVATE_NETWORKS": "1",
            "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver,.example.org",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.smtp_port}",
            "DEFAULT_FROM_EMAIL": "quincunx@example.org",
            "LOG_LEVEL": "INFO",
            "IDLE_TRANSACTION_SECONDS": "0",  # a test's own transaction may wait for anything
            "JOB_LEASE_SECONDS": "5",
            "JOB_SWEEP_SECONDS": "1",
        }

    @property
    def postgres(self) -> Postgres:
        """PostgreSQL."""
        assert self.stack.postgres is not None
        return self.stack.postgres

    @property
    def valkey(self) -> Valkey:
        """Valkey."""
        assert self.stack.valkey is not None
        return self.stack.valkey

    @property
    def store(self) -> SeaweedFS:
        """The object store."""
        assert self.stack.store is not None
        return self.stack.store

    def start(self) -> None:
        """Start the servers that do not run: all at first, later those that a test has stopped or frozen."""
        for each in self.stack.servers:
            each.resume()
        self.stack.start()

    def keep_tables(self) -> None:
        """The tables have just been made: spare the next run the work."""
        template.keep(self.postgres)
        self.is_migrated = True

    def close(self) -> None:
        """Stop everything and forget the data."""
        self.stack.stop()
        shutil.rmtree(self.folder)


class Program:
    """A real process of the service: start, stop, kill -9, freeze, and read what it logged."""

    stop_signal = signal.SIGTERM

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], folder: pathlib.Path) -> None:
        self.name = name
        self.argv = list(argv)
        self.env = dict(env)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.child: subprocess.Popen[bytes] | None = None
        self.is_frozen = False

    @property
    def is_running(self) -> bool:
        """Whether the main process lives."""
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the main process; its process group has the same number."""
        assert self.child is not None, f"{self.name} was never started"
        return self.child.pid

    def start(self) -> None:
        """Start the process and return when it is ready; nothing when it runs."""
        self.resume()
        if self.is_running:
            return
        self.child = process.spawn(self.argv, log=self.log, env=self.env)
        try:
            process.await_until(self.is_ready, what=self.name, timeout=PATIENCE_SECONDS, process=self.child)
        except process.Failed as failure:
            self.kill()
            raise process.Failed(f"{failure}\n{process.log_tail(self.log, 40)}") from failure

    def is_ready(self) -> bool:
        """Whether the program does its work now."""
        return True

    def stop(self, *, timeout: float = 20) -> None:
        """Stop as an operator would."""
        if self.child is not None:
            process.end(self.child, self.stop_signal, timeout=timeout)

    def kill(self) -> None:
        """kill -9 of the process and its children, at once."""
        if self.child is not None:
            process.end_group(self.child)
        self.is_frozen = False

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the whole process group."""
        if self.is_running:
            os.killpg(self.pid, signal.SIGSTOP)
            self.is_frozen = True

    def resume(self) -> None:
        """Let a frozen process group go on."""
        if self.is_running:
            os.killpg(self.pid, signal.SIGCONT)
        self.is_frozen = False

    def children(self) -> list[int]:
        """Process ids of the direct children (a worker's pool)."""
        return processes.children(self.pid)

    def log_text(self) -> str:
        """Everything logged so far."""
        return self.log.read_text(errors="replace")


class Web(Program):
    """gunicorn against the test database."""

    def __init__(self, *, port: int, env: Mapping[str, str], folder: pathlib.Path, workers: int = 1) -> None:
        argv = programs.web(f"127.0.0.1:{port}", workers=workers, threads=8)
        super().__init__(f"web-{port}", argv, env=env, folder=folder)
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Whether /livez answers 200."""
        try:
            with urllib.request.urlopen(f"{self.base_url}/livez", timeout=10) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as answer:
            answer.close()
            return False
        except OSError:
            return False


class Worker(Program):
    """A Celery worker against the test database; `queues=None` serves every queue there is."""

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        folder: pathlib.Path,
        queues: Sequence[str] | None = None,
        concurrency: int = 2,
        node: str = "",
    ) -> None:
        self.node = node or f"w{secrets.token_hex(4)}"
        argv = programs.worker(queues or (), concurrency=concurrency, node=self.node)
        super().__init__(f"worker-{self.node}", argv, env=env, folder=folder)

    def is_ready(self) -> bool:
        """Whether it answers a ping over the broker."""
        from core import announce  # needs Django's settings, as the next line does
        from core.celery import app

        try:
            return bool(app.control.ping(destination=[f"{self.node}@{socket.gethostname()}"], timeout=2))
        except announce.UNREACHABLE:  # a pooled connection from before the broker was killed
            return False


class Beat(Program):
    """Celery's clock."""

    def __init__(self, *, env: Mapping[str, str], folder: pathlib.Path) -> None:
        super().__init__("beat", programs.beat(folder / "beat-schedule"), env=env, folder=folder)

    def is_ready(self) -> bool:
        """Whether it has begun to send ticks."""
        return re.search(r"beat: Starting|Sending due task|Scheduler: Sending", self.log_text()) is not None


def wait_for(condition: Callable[[], T | None], *, what: str = "", timeout: float = PATIENCE_SECONDS) -> T:
    """The first true value of `condition`; fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} seconds: {what or condition}"
        time.sleep(process.POLL_SECONDS)
    return value
