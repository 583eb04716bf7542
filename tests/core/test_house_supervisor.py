"""Nothing outlives its parent; what crashes comes back; what should stop stops."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from core import process, supervisor
from tests import house, processes

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: pathlib.Path) -> None:
    script = (
        "import pathlib, sys, time; from core import process;"
        "child = process.spawn(['sleep', '100'], log=None); print(child.pid, flush=True); time.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert processes.lives(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    house.wait_for(lambda: not processes.lives(child), what="end of the child")


def test_only_the_main_thread_may_spawn(tmp_path: pathlib.Path) -> None:
    raised: list[Exception] = []

    def attempt() -> None:
        try:
            process.spawn(["true"], log=None)
        except process.Failed as failure:
            raised.append(failure)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_waiting_for_a_process_that_ended_fails_at_once(tmp_path: pathlib.Path) -> None:
    child = process.spawn(["false"], log=tmp_path / "log")
    with pytest.raises(process.Failed, match="status 1"):
        process.await_until(lambda: False, what="false", timeout=60, process=child)


def test_a_stubborn_process_and_its_children_are_killed(tmp_path: pathlib.Path) -> None:
    script = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    script += "print(subprocess.Popen(['sleep', '100']).pid, flush=True); time.sleep(100)"
    child = process.spawn([sys.executable, "-c", script], log=tmp_path / "log")
    house.wait_for(lambda: (tmp_path / "log").read_text().endswith("\n"), what="grandchild")
    grandchild = int((tmp_path / "log").read_text())
    process.end(child, signal.SIGTERM, timeout=0.1)
    assert child.returncode == -signal.SIGKILL
    house.wait_for(lambda: not processes.lives(grandchild), what="end of the grandchild")


def test_ports_are_free_and_below_the_outgoing_range() -> None:
    ports = process.free_ports(20)
    assert len(set(ports)) == 20
    assert all(process.PORTS_FROM <= port < process.ephemeral_start() for port in ports)
    assert all(process.is_free(port) for port in ports)


SUPERVISED = """
import pathlib, sys
from core import supervisor
supervisor.listen()
folder = pathlib.Path(sys.argv[1])
with supervisor.Supervisor(lambda line: print(line, flush=True)) as keeper:
    for name in ("one", "two"):
        argv = ["sh", "-c", f"echo $$ >> {folder}/{name}; exec sleep 100"]
        keeper.add(supervisor.Program(name, argv, {}, folder / "log"))
    print("up", flush=True)
    keeper.keep()
"""


def test_what_crashes_comes_back_and_a_signal_stops_all(tmp_path: pathlib.Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"

    def started(name: str) -> list[int]:
        return [int(line) for line in (tmp_path / name).read_text().split()]

    def have_all_started() -> bool:
        return all((tmp_path / name).exists() and started(name) for name in ("one", "two"))

    house.wait_for(have_all_started, what="first start")
    os.kill(started("one")[0], signal.SIGKILL)
    house.wait_for(lambda: len(started("one")) == 2, what="second start")
    assert parent.stdout.readline().startswith(b"one ended; starting it again")
    assert len(started("two")) == 1
    parent.terminate()
    parent.wait(timeout=30)
    parent.stdout.close()
    assert not any(processes.lives(pid) for name in ("one", "two") for pid in started(name))


def test_a_program_that_never_becomes_ready_is_an_error_with_its_log(tmp_path: pathlib.Path) -> None:
    argv = ["sh", "-c", "echo what went wrong; exit 3"]
    program = supervisor.Program("broken", argv, {}, tmp_path / "log", ready=lambda: False)
    with pytest.raises(process.Failed, match="what went wrong"):
        program.start()
