"""What the three servers have in common: a folder, ports that stay, start, stop, kill, restart."""

import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import ClassVar

from core import process

ATTEMPTS = 3


class Server:
    """One server with its data under `folder`; keeps its ports and credentials there for the next start.

    `start`, `stop` and the rest may be called again and again; after the first start the ports never change while
    this object lives, so that clients find a restarted server where it was.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    start_seconds: ClassVar[float] = 30
    stop_seconds: ClassVar[float] = 15

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "log"
        self.ports: dict[str, int] = {}
        self.child: subprocess.Popen[bytes] | None = None
        self._settled = False
        self._holders: list[socket.socket] = []

    # -- what each server says ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the data folder ready for the first start; called before every start."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the server answers a real request now."""
        raise NotImplementedError

    def prefix(self) -> Sequence[str]:
        """A program to run the server through."""
        return ()

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port clients connect to."""
        return self.ports[self.port_names[0]]

    @property
    def is_running(self) -> bool:
        """Whether the process lives, ready or not."""
        return self.child is not None and self.child.poll() is None

    def reserve(self) -> None:
        """Choose ports and credentials for good before the first start, so that addresses can be told already."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.ports:
            self.ports = self._remembered_ports()
            self._holders = [process.hold(port) for port in self.ports.values()]
        self._settled = True

    def start(self) -> None:
        """Start the server and return when it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start the process; `await_ready` is to follow. Two calls so that several servers can start side by side."""
        if self.is_running:
            return
        if self.child is not None:
            process.end_group(self.child)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.ports:
            self.ports = self._remembered_ports()
        try:
            self.prepare()
        finally:
            self._let_go()
        self.child = process.spawn(
            self.command(), log=self.log, death_signal=self.death_signal, prefix=self.prefix(), cwd=self.folder
        )

    def _let_go(self) -> None:
        """Free the ports that were reserved for this start."""
        for holder in self._holders:
            holder.close()
        self._holders = []

    def await_ready(self) -> None:
        """Wait until the server answers; take other ports when someone was faster on ours before the first start."""
        for attempt in range(ATTEMPTS):
            try:
                process.await_until(self.is_ready, what=self.name, timeout=self.start_seconds, process=self.child)
            except process.Failed as failure:
                self.kill()
                if self._settled or attempt == ATTEMPTS - 1:
                    raise process.Failed(f"{failure}\n{process.log_tail(self.log)}") from failure
                self.ports = self._new_ports()
                self.launch()
            else:
                self._settled = True
                return

    def stop(self) -> None:
        """Stop as an administrator would, and return when the process is gone."""
        self._let_go()
        if self.child is not None:
            process.end(self.child, self.stop_signal, timeout=self.stop_seconds)

    def kill(self) -> None:
        """kill -9 of the server with all its processes."""
        self._let_go()
        if self.child is not None:
            process.end_group(self.child)

    def restart(self) -> None:
        """Stop, then start on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server: connections are accepted by the kernel, nothing answers."""
        if self.child is not None and self.is_running:
            os.killpg(self.child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self.child is not None and self.is_running:
            os.killpg(self.child.pid, signal.SIGCONT)

    # -- what stays in the folder -------------------------------------------------------------------------------------

    def secret(self, name: str) -> str:
        """A random credential of this folder, made at the first call (file mode 0600)."""
        path = self.folder / "credentials.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        if name not in known:
            known[name] = secrets.token_hex(20)
            write_private(path, json.dumps(known))
        return known[name]

    def _remembered_ports(self) -> dict[str, int]:
        path = self.folder / "ports.json"
        if path.exists():
            ports: dict[str, int] = json.loads(path.read_text())
            if set(ports) == set(self.port_names) and all(process.is_free(port) for port in ports.values()):
                return ports
        return self._new_ports()

    def _new_ports(self) -> dict[str, int]:
        ports = dict(zip(self.port_names, process.free_ports(len(self.port_names)), strict=True))
        (self.folder / "ports.json").write_text(json.dumps(ports))
        return ports


def write_private(path: pathlib.Path, text: str) -> None:
    """Write a file that only its owner can read, replacing an older one in one step."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    fresh.replace(path)
