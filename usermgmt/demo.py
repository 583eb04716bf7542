"""What `./run demo` prints and tries of this API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import quote

from core import demo


def lines(base_url: str, credentials: Mapping[str, str]) -> list[str]:
    """Curl lines of the documented requests, with the demo's approved client."""
    pair = f"{credentials.get('usermgmt_key', 'KEY')}:{credentials.get('usermgmt_secret', 'SECRET')}"
    return [
        f"curl -u {pair} {base_url}/api/v1/users/username/mgatt",
        f"curl -u {pair} {base_url}/api/v1/users/name/john+adams",
        f"curl -u {pair} {base_url}/api/v1/users/email/@example.org",
        f"curl -u {pair} -X POST {base_url}/api/v1/service/coge/add/mgatto10",
        f"curl -u {pair} -d grant_type=client_credentials {base_url}/oauth2/token",
        f"portal: {base_url}/portal/ as amal, password {credentials.get('amal', '(set one)')}; "
        f"review as reviewer, password {credentials.get('reviewer', '(set one)')}",
    ]


def check(base_url: str, credentials: Mapping[str, str]) -> str:
    """One search over HTTP with Basic and one with a bearer token; returns what was found."""
    pair = f"{credentials['usermgmt_key']}:{credentials['usermgmt_secret']}"
    basic = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    search = f"{base_url}/api/v1/users/username/{quote('mgatt')}"
    names = [user["username"] for user in _answer(demo.call("GET", search, headers=basic))["users"]]
    form = {**basic, "Content-Type": "application/x-www-form-urlencoded"}
    issued = _answer(demo.call("POST", f"{base_url}/oauth2/token", headers=form, body=b"grant_type=client_credentials"))
    bearer = {"Authorization": f"Bearer {issued['access_token']}"}
    again = [user["username"] for user in _answer(demo.call("GET", search, headers=bearer))["users"]]
    if names[:2] != ["mgatto10", "mgatto30"] or again != names:
        raise ValueError(f"unexpected people: {names}, {again}")
    return f"found {', '.join(names)} with Basic and with a bearer token"


def _answer(answer: demo.Answer) -> dict[str, list[dict[str, str]]]:
    if answer.status != 200:
        raise ValueError(f"{answer.status}: {answer.text()[:200]}")
    body: dict[str, list[dict[str, str]]] = answer.json()
    return body
