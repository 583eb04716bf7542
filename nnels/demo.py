"""What `./run demo` shows of this API: one real round, and curl lines of the published document."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from core import demo

_ACCOUNT = "test-account:notReal"


def check(base_url: str, credentials: Mapping[str, str]) -> str:
    """Log in, read the document's item, fetch its EPUB from the store; raises when an answer is not right."""
    basic = {"Authorization": "Basic " + base64.b64encode(_ACCOUNT.encode()).decode()}
    login = demo.call("GET", f"{base_url}/api/login-token", headers=basic)
    if login.status != 200:
        raise RuntimeError(f"login-token answered {login.status}: {login.text()}")
    token = {"access-token": login.json()["access_token"]}
    found = demo.call("GET", f"{base_url}/api/v1.0/repo_items/6804", headers=token)
    if found.status != 200:
        raise RuntimeError(f"repo_items/6804 answered {found.status}: {found.text()}")
    row = found.json()["data"][0]
    file = next(file for file in row["files"] if file["format"] == "epub")
    data = demo.call("GET", file["url"]).body
    if hashlib.sha256(data).hexdigest() != file["sha256"]:
        raise RuntimeError("the EPUB from the store is not the one that was listed")
    search = demo.call("GET", f"{base_url}/api/basic_search/white+whale", headers=basic)
    return (
        f"NNELS: {row['label']!r} (nid 6804), {len(row['file_resources'])} signed links, EPUB of {len(data)} bytes "
        f"fetched; {search.json()['count']} title(s) for white+whale"
    )


def lines(base_url: str, credentials: Mapping[str, str]) -> list[str]:
    """The document's requests with only the host changed."""
    return [
        f"curl -u {_ACCOUNT} {base_url}/api/login-token",
        f"curl -u {_ACCOUNT} '{base_url}/api/basic_search/melville+white+whale'",
        f"curl -u {_ACCOUNT} {base_url}/api/v1.0/repo_items/6804",
    ]
