"""The curl lines of docs/usermgmt.md work as written."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import pytest

from tests import house
from tests.usermgmt import world

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "usermgmt.md"


@pytest.mark.django_db(transaction=True)
def test_curl_lines(web: house.Web) -> None:
    """UM1: each documented request gets a documented answer."""
    curl = shutil.which("curl")
    assert curl, "the documentation's lines need curl"
    world.seed_people()
    world.person("jadams", "John", "Adams", "jadams@example.org")
    world.service("coge")
    program = world.program(world.person("owner"))
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("curl ")]
    assert len(lines) >= 10
    codes = []
    for line in lines:
        env = {
            "BASE": web.base_url,
            "USERMGMT_KEY": program.key,
            "USERMGMT_SECRET": program.secret,
            "PATH": "/bin:/usr/bin",
        }
        marked = re.sub(r"^curl ", f"{curl} -s -w '\\n%{{http_code}}' ", line)
        done = subprocess.run(["bash", "-c", marked], env=env, capture_output=True, text=True, timeout=60, check=True)
        body, _, code = done.stdout.rpartition("\n")
        codes.append(int(code))
        assert "error" not in body, (line, body)
    assert set(codes) <= {200, 202, 206}, dict(zip(lines, codes, strict=True))
