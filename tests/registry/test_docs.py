"""The curl lines of docs/registry.md work as written."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import subprocess

import pytest
from django.core.management import call_command

from core.models import User
from registry.models import HarvestRun
from tests import house

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "registry.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.startswith("curl ")]
PASSWORD = "sand-and-sea-42"


def test_there_are_commands() -> None:
    """X50: the page has a line for each step of the story and more."""
    assert len(COMMANDS) >= 9


@pytest.mark.django_db(transaction=True)
def test_commands(web: house.Web) -> None:
    """X5, X16, X20, X50: every line, in the page's order, gets a 200 of the documented shape from a real server."""
    call_command("seed_registry", verbosity=0)
    person = User.objects.get(username="me")
    person.set_password(PASSWORD)
    person.save()
    env = {**os.environ, "BASE": web.base_url, "DIGEST": hashlib.sha256(PASSWORD.encode()).hexdigest()}
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        text, _, status = done.stdout.rpartition("\n")
        assert status == "200", (command, text)
        body = text.rpartition("\n\n")[2]
        if "/waf/" in command:
            assert body.startswith("<!DOCTYPE html>")
            continue
        answer = json.loads(body)
        assert answer["status"] == ("harvesting" if command.endswith('/harvest"') else "success"), command
        if "login" in command:
            assert answer["data"]["userId"] in "\n".join(COMMANDS)
            env["TOKEN"] = answer["data"]["authToken"]
    assert HarvestRun.objects.filter(trigger="api").count() == 1
