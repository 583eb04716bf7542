"""What ``./run demo`` shows and tries of this API."""

from __future__ import annotations

import io
import urllib.parse
import zipfile
from typing import Any

import orjson

from core import demo

_QUERY = '{"genus":"acer"}'


def lines(base_url: str, credentials: dict[str, str]) -> list[str]:
    """curl lines of the document, with only the host changed, and one of the newer face."""
    return [
        f"curl '{base_url}/?query=%7B%22genus%22%3A%22acer%22%7D&email=donotreply%40idigbio.org'",
        f"curl '{base_url}/?query=%7B%22scientificname%22%3A%22puma+concolor%22%7D'",
        "curl -H 'Content-Type: application/json' "
        f"""-d '{{"rq":{{"country":"日本"}},"form":"csv"}}' {base_url}/v2/download""",
    ]


def check(base_url: str, credentials: dict[str, str]) -> str:
    """Ask for the maples, follow the status to the link, open the archive; the line to print."""
    first = _json(f"{base_url}/?query={urllib.parse.quote(_QUERY)}")
    _expect(first["query_hash"] == "c91957c034f2a8c42796584c27ba3416acf81d94", "the hash is not the documented one")
    done = demo.wait_for(lambda: _finished(first["status_url"]), what="the archive of genus acer")
    _expect(done["task_status"] == "SUCCESS", f"the archive failed: {done.get('error')}")
    answer = demo.call("GET", done["download_url"])
    if answer.status == 302:
        answer = demo.call("GET", str(answer.headers["Location"]))
    _expect(answer.status == 200, f"the link answered {answer.status}")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        rows = archive.read("occurrence_raw.csv").count(b"\r\n") - 1
        members = len(archive.namelist())
    _expect(rows > 0, "the archive has no records")
    return f"genus acer built, {rows} records, {members} members, {len(answer.body)} bytes"


def _json(url: str) -> dict[str, Any]:
    answer = demo.call("GET", url)
    _expect(answer.status == 200, f"{url} answered {answer.status}")
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


def _finished(url: str) -> dict[str, Any] | None:
    found = _json(url)
    return found if found["complete"] else None


def _expect(is_right: bool, words: str) -> None:
    if not is_right:
        raise RuntimeError(words)
