"""`./run demo`, as a person uses it."""

import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from core import apps
from tests import house, processes

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEMO = [sys.executable, "-m", "core.embedded.demo"]
SECONDS = 170


def clean_environment() -> dict[str, str]:
    """The environment of a person who has set nothing: without what tests/conftest.py has put there."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


@pytest.fixture
def demo(tmp_path: pathlib.Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo with its data under `tmp_path/demo`, in its own session as a terminal would have it."""
    running = subprocess.Popen(
        [*DEMO, "--data", str(tmp_path / "demo")],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield running
    running.terminate()
    running.wait(timeout=60)
    if running.stdout:
        running.stdout.close()


def read_until_up(demo: subprocess.Popen[str]) -> tuple[str, str]:
    """(everything printed so far, base URL)."""
    assert demo.stdout is not None
    text = ""
    for line in demo.stdout:
        text += line
        if found := re.match(r"demo: (http://127\.0\.0\.1:\d+) ", line):
            return text, found[1]
    raise AssertionError(f"the demo ended: {text}")


@pytest.mark.timeout(SECONDS * 2)
def test_every_api_is_tried_once_on_fresh_data() -> None:
    done = subprocess.run(
        [*DEMO, "--check"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for config in apps.api_configs():
        assert f"{config.title}: " in done.stdout


@pytest.mark.timeout(SECONDS * 2)
def test_a_crashed_worker_comes_back_and_nothing_survives_a_killed_demo(
    demo: subprocess.Popen[str], tmp_path: pathlib.Path
) -> None:
    text, base_url = read_until_up(demo)
    assert "curl" in text
    with urllib.request.urlopen(f"{base_url}/readyz") as response:
        assert json.load(response)["ready"]
    for private in ("env.json", "credentials.json", "secret_key"):
        assert stat.S_IMODE((tmp_path / "demo" / private).stat().st_mode) == 0o600

    worker = processes.find_child(demo.pid, "worker")
    os.kill(worker, signal.SIGKILL)
    house.wait_for(lambda: processes.find_child(demo.pid, "worker") not in (0, worker), what="another worker")

    everything = processes.descendants(demo.pid)
    assert len(everything) > 8
    demo.kill()
    house.wait_for(lambda: not [pid for pid in everything if processes.lives(pid)], what="end of everything")
