"""What the apps' seeds and demo checks share: the demo's credentials and a plain HTTP caller.

The demo gives every process the setting DEMO_CREDENTIALS, a file only its owner can read. Seeds take the passwords they
need from it with `secret` and add what they made (tokens, client pairs) with `remember`; an app's `demo_check` and
`demo_lines` get the whole as their argument `credentials`.
"""

from __future__ import annotations

import email.message
import fcntl
import json
import os
import pathlib
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings

T = TypeVar("T")


def is_on() -> bool:
    """Whether this process belongs to the demo, so that well-known accounts may be made."""
    return bool(settings.DEMO_CREDENTIALS)


def credentials() -> dict[str, str]:
    """All credentials of the demo by name; empty outside the demo."""
    if not is_on():
        return {}
    with _file() as handle:
        return _read(handle)


def secret(name: str) -> str:
    """The demo's random secret of this name, made at the first call; outside the demo a new one each time."""
    made = secrets.token_urlsafe(12)
    if not is_on():
        return made
    with _file() as handle:
        known = _read(handle)
        if name not in known:
            _write(handle, {**known, name: made})
        return known.get(name, made)


def remember(**values: str) -> None:
    """Add credentials for the demo's own use; nothing outside the demo."""
    if is_on():
        with _file() as handle:
            _write(handle, {**_read(handle), **values})


@contextmanager
def _file() -> Iterator[int]:
    handle = os.open(pathlib.Path(settings.DEMO_CREDENTIALS), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _read(handle: int) -> dict[str, str]:
    data = os.pread(handle, os.fstat(handle).st_size, 0)
    known: dict[str, str] = json.loads(data) if data else {}
    return known


def _write(handle: int, known: Mapping[str, str]) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(known, indent=1, sort_keys=True).encode(), 0)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers (names in any case) and the whole body."""

    status: int
    headers: email.message.Message
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Redirects are answers like any other."""


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json_body: object = None,
    body: bytes | None = None,
    timeout: float = 30,
) -> Answer:
    """One HTTP request, as a client of the API would send it; any status is an answer, redirects are not followed."""
    sent = dict(headers or {})
    if json_body is not None:
        body = json.dumps(json_body).encode()
        sent.setdefault("Content-Type", "application/json")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"not an http address: {url}")
    request = urllib.request.Request(url, data=body, method=method, headers=sent)  # noqa: S310 - checked above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    try:
        with opener.open(request, timeout=timeout) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return Answer(refused.code, refused.headers, refused.read())


def wait_for(condition: Callable[[], T | None], *, what: str, timeout: float = 60) -> T:
    """The first value of `condition` that is true; TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} seconds")
        time.sleep(0.1)
    return value
