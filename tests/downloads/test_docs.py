"""The curl lines of docs/downloads.md work as written."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest

from tests import house
from tests.downloads import making

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "downloads.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.startswith("curl ")]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.django_db(transaction=True)
def test_commands(tmp_path: pathlib.Path, web: house.Web) -> None:
    """D1, D13: every line of the page gets a 200 and a body of the documented shape from a real server."""
    making.bring_in(making.archive(tmp_path, making.specimens(3)))
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)],
            env={**os.environ, "BASE": web.base_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        text, _, status = done.stdout.rpartition("\n")
        assert status == "200", (command, text)
        body = json.loads(text)
        assert body.get("task_status") == "PENDING" or body.get("dry_run") is True, command
