"""What ``./run demo`` shows and tries of this API."""

import io
import json
import tarfile

from core import demo

_SOURCE = "/orgs/DemoHealth/sources/DEMO/"


def lines(base_url: str, credentials: dict[str, str]) -> list[str]:
    """curl lines of the document, with only the host changed."""
    token = credentials.get("exports_token", "")
    mine = f" -H 'Authorization: Token {token}'"
    return [
        f"curl -i {base_url}/orgs/CIEL/sources/CIEL/v2016-08-22/export/",
        f"curl -i {base_url}/orgs/CIEL/collections/StarterSet/v1.2/export/",
        f"curl -i -X POST{mine} {base_url}/orgs/CIEL/sources/CIEL/v2.2/export/",
        f"curl -i -X DELETE{mine} {base_url}/orgs/CIEL/sources/CIEL/v2.2/export/",
        f"curl '{base_url}{_SOURCE}latest/?includeConcepts=true&includeMappings=true&limit=2'",
    ]


def check(base_url: str, credentials: dict[str, str]) -> str:
    """Build the export of a version through the worker, fetch it by its link, read it; the line to print."""
    mine = {"Authorization": f"Token {credentials['exports_token']}"}
    url = f"{base_url}{_SOURCE}v1.1/export/"
    asked = demo.call("POST", url, headers=mine)
    _expect(asked.status in (202, 303, 409), f"POST {url} answered {asked.status}")
    found = demo.wait_for(lambda: _ready(url), what="the export of DEMO v1.1")
    link = demo.call("GET", str(found.headers["Location"]))
    if link.status == 302:
        link = demo.call("GET", str(link.headers["Location"]))
    _expect(link.status == 200, f"the link answered {link.status}")
    with tarfile.open(fileobj=io.BytesIO(link.body)) as tar:
        member = tar.extractfile("export.json")
        content = json.load(member) if member else {}
    again = demo.call("GET", str(found.headers["Location"]))
    _expect(again.status == 410, f"the used link answered {again.status}")
    count, mappings = len(content["concepts"]), len(content["mappings"])
    return f"exports: DEMO v1.1 built and fetched once, {len(link.body)} bytes, {count} concepts, {mappings} mappings"


def _ready(url: str) -> demo.Answer | None:
    answer = demo.call("GET", url)
    return answer if answer.status == 303 else None


def _expect(is_right: bool, words: str) -> None:
    if not is_right:
        raise RuntimeError(words)
