"""The lines of docs/nnels.md work as written."""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import subprocess

import pytest
from django.core.management import call_command
from pytest_django import Settings

from tests import house

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "nnels.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line]
COMMANDS = [line for line in LINES if line.startswith("curl ") or "=$(curl " in line]


def test_every_line_is_a_known_command() -> None:
    """Each line of the page's shell blocks is a request, tried below, or a command that exists."""
    others = [line.split()[:3] for line in LINES if line not in COMMANDS]
    folder = PAGE.parent.parent / "nnels" / "management" / "commands"
    assert len(COMMANDS) >= 20
    for run, manage, command in others:
        assert (run, manage) == ("./run", "manage")
        assert (folder / f"{command}.py").is_file(), command


@pytest.mark.django_db(transaction=True)
def test_commands(web: house.Web, settings: Settings, tmp_path: pathlib.Path) -> None:
    """N49: every line of the page, in its order, gets the answer the page tells of from a real server."""
    settings.DEBUG = True
    call_command("seed_nnels", "--demo-accounts", stdout=io.StringIO())
    script = ["set -e"]
    for number, line in enumerate(COMMANDS):
        shown = line.replace("curl ", f"curl -sS -o {tmp_path}/{number} -w '%{{http_code}}\\n' ", 1)
        script.append(line if "=$(" in line else f"echo -n '{number} '; {shown}")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        env={**os.environ, "BASE": web.base_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers = {int(number): status for number, status in (line.split() for line in done.stdout.splitlines())}
    assert len(answers) == sum("=$(" not in line for line in COMMANDS)
    for number, status in answers.items():
        line = COMMANDS[number]
        # The acquisition link is shown with its headers.
        assert status == ("303" if " -i " in line else "200"), line
        if status == "200":
            body = json.loads((tmp_path / str(number)).read_bytes())
            found = body.get("data", body.get("publications", body.get("_embedded", body)))
            assert found, (line, body)
            assert not (isinstance(found, list) and found[0].get("id") == 0), line
