"""What the demo shows of the registry: one real harvest over HTTP, and the document's curl lines."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from typing import Any, Final

HARVEST_SECONDS: Final = 60
SAMPLE_ID: Final = "n3N6xBLyZIs9LGwEF"
EMAIL: Final = "me@email.com"


def check(base_url: str, credentials: dict[str, str]) -> str:
    """Log in with a digest, trigger the local source, wait for its counters, log out; the line to print."""
    digest = hashlib.sha256(credentials["registry_password"].encode()).hexdigest()
    body = f"email={EMAIL}&password={digest}&hashed=true".encode()
    session = _json(f"{base_url}/api/v2/login", data=body)["data"]
    headers = {"X-Auth-Token": session["authToken"], "X-User-Id": session["userId"]}
    harvest = next(h for h in _json(f"{base_url}/api/v1/Harvests")["data"] if h["url"].startswith("http://127.0.0.1"))
    path = f"{base_url}/api/v1/Harvests/{harvest['_id']}"
    _json(f"{base_url}/api/v2/harvest/{harvest['_id']}/harvest", headers=headers)
    deadline = time.monotonic() + HARVEST_SECONDS
    while True:
        row = _json(path)["data"]
        if row.get("last_harvest_dt") not in ("pending", "harvesting", harvest.get("last_harvest_dt")):
            break
        if time.monotonic() > deadline:
            raise TimeoutError("the harvest did not end")
        time.sleep(0.2)
    _json(f"{base_url}/api/v2/logout", headers=headers)
    if row["last_harvest_status"] != "ok":
        raise RuntimeError(f"the harvest ended with {row['last_harvest_status']}")
    return f"harvested {row['last_record_count']} records, {row['last_good_count']} of them good"


def lines(base_url: str, credentials: dict[str, str]) -> list[str]:
    """The published document's curl lines, with only the host and the credentials changed."""
    password = credentials.get("registry_password", "PASSWORD")
    digest = hashlib.sha256(password.encode()).hexdigest()
    headers = '-H "X-Auth-Token: TOKEN" -H "X-User-Id: fbdpsNf4oHiX79vMJ"'
    return [
        f"curl {base_url}/api/v1/Harvests",
        f"curl -i -d 'email={EMAIL}&password={digest}&hashed=true' -XPOST {base_url}/api/v2/login",
        f"curl {headers} -i {base_url}/api/v2/harvest/{SAMPLE_ID}/harvest",
        f"curl {headers} -i {base_url}/api/v2/logout",
    ]


def _json(url: str, *, data: bytes | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, data=data, headers=headers or {})  # noqa: S310 - our own demo's address
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        value: dict[str, Any] = json.load(answer)
        return value
