"""The curl lines of docs/exports.md work as written."""

import pathlib
import re
import shutil
import subprocess

import pytest

from core import jobs
from core.models import Job, User
from exports.services import seeding, tokens
from tests import house

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "exports.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("curl ")]
#: what the page says of each, by a word of the line; the last match counts
ANSWERS = {
    "curl": "200", "curl -i $HOST": "303", "curl -i \"$HOST": "303", "-X POST": "201",
    '-X POST -H "Authorization: Token $TOKEN" $HOST': "202", '-X POST -H "Authorization: Token $TOKEN" "$HOST': "202",
    "-X PUT": "201", "-X DELETE": "200", "users/login": "200", "bulk-import": "202",
}  # fmt: skip
_FLAGS = '-w "\n%{http_code}\n" '


@pytest.fixture
def demo(transactional_db: None, web: house.Web) -> dict[str, str]:
    """What ``./run demo`` prints, over what it seeds."""
    seeding.world(lambda _: None)
    user = User.objects.get(username="demo")
    user.set_password("a-long-secret-9")
    user.save()
    return {"HOST": web.base_url, "TOKEN": tokens.issue(user)[1], "PATH": "/bin:/usr/bin"}


def test_commands(demo: dict[str, str], tmp_path: pathlib.Path) -> None:
    """X52: every curl line of the page is answered as the page says, by a real server."""
    assert len(COMMANDS) >= 14
    curl = shutil.which("curl")
    assert curl, "the documentation's lines need curl"
    seen = []
    for command in COMMANDS:
        line = command.replace("curl ", f"{curl} {_FLAGS}", 1).replace('"…"', '"a-long-secret-9"')
        done = subprocess.run(
            ["bash", "-c", line], env=demo, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        statuses = re.findall(r"^(\d{3})$", done.stdout, re.MULTILINE)
        wanted = [status for words, status in ANSWERS.items() if words in command][-1]
        assert statuses, (command, done.stdout)
        assert statuses[-1] == wanted, (command, done.stdout)
        seen.append(wanted)
        if wanted == "202":
            jobs.run_queued()
    assert {"200", "201", "202", "303"} == set(seen)
    assert (tmp_path / "CIEL.tgz").read_bytes()[:2] == b"\x1f\x8b"
    assert Job.objects.get(kind="exports.import").state == "succeeded"
