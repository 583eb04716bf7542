"""Writing down that a client called: what was asked and how it ended, never the term itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from core import errors
from usermgmt.formats import networks
from usermgmt.jobs import calls
from usermgmt.selectors import callers, directory

USERS = "users"
SERVICE = "service"


@dataclass
class Search:
    """A search as it becomes known, step by step. `kind` as it was asked for, which may be anything."""

    kind: str
    term: str = ""
    ids: list[int] = field(default_factory=list)


def note(
    caller: callers.Caller,
    *,
    scheme: str,
    endpoint: str,
    status: int,
    address: networks.Address | None,
    search: Search | None = None,
) -> None:
    """Count a call of an admitted client, and audit its search."""
    details = (_type(search.kind), calls.hashed(search.term), tuple(search.ids)) if search else ("", "", ())
    calls.note(
        calls.Call(caller.client_id, scheme, endpoint, status, time.time(), str(address) if address else "", *details)
    )


def note_refusal(fact: errors.Fact, *, scheme: str, endpoint: str, status: int) -> None:
    """Count a refused call, when the credentials told whose it was."""
    client = fact.details.get("client")
    if client is not None:
        calls.note(calls.Call(client, scheme, endpoint, status, time.time()))


def _type(kind: str) -> str:
    return kind if kind in directory.STATEMENTS else "other"
