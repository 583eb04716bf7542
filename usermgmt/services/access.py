"""Letting a program in: who calls, may it, and is it not too often (contract 2.2, steps 3 to 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from django.conf import settings

from core import errors, net, throttle
from usermgmt.formats import networks, peppers, secrets
from usermgmt.jobs import mails
from usermgmt.models import ApiClient
from usermgmt.selectors import callers

FAILURE_WINDOW = 300
CLIENT_WINDOW = 60


@dataclass(frozen=True)
class Presented:
    """Credentials as a request shows them: `basic` with name and secret, `bearer` with a token as secret, or `none`."""

    scheme: str = "none"
    name: str = ""
    secret: str = ""


def admit(presented: Presented, *, address: networks.Address | None, scope: str) -> callers.Caller:
    """Return the caller when every check passes, in the contract's order; raises the first that fails.

    `errors.Throttled`, `errors.Unauthenticated` (codes as in `dialect.SENTENCES`), `errors.Denied` (`scope`).
    """
    try:
        caller = authenticate(presented, address=address)
    except errors.Unauthenticated:
        note_failure(presented, address=address)
        raise
    check_rate(caller, presented, address=address)
    held = caller.token_scopes if presented.scheme == "bearer" else caller.scopes
    if scope not in held or scope not in caller.scopes:
        raise errors.Denied(code="scope", scheme=presented.scheme, client=caller.client_id)
    return caller


def authenticate(presented: Presented, *, address: networks.Address | None) -> callers.Caller:
    """Key, secret, approval, address: in this order, so that each answer tells no more than the caller proved."""
    if presented.scheme == "bearer":
        caller = _by_token(presented.secret)
    else:
        if presented.scheme == "basic" and not settings.USERMGMT_BASIC_ENABLED:
            _refuse("basic_disabled")
        caller = by_pair(presented.name, presented.secret)
    check_standing(caller, address=address)
    return caller


def by_pair(key: str, secret: str) -> callers.Caller:
    """The client with this key and secret, whatever its state."""
    caller = callers.by_key(key)
    # The HMAC is computed for unknown keys too, so that time does not tell which keys exist.
    is_secret = peppers.matches(secret, caller.secret_hmac if caller else None, caller.pepper_id if caller else "")
    if caller is None or not caller.is_pair_live:
        _refuse("invalid_key", caller)
    if not is_secret:
        _refuse("invalid_secret", caller)
    return caller


def check_standing(caller: callers.Caller, *, address: networks.Address | None) -> None:
    """Refuse a client that is not approved now, then one that calls from elsewhere; at each use, tokens included."""
    if not caller.is_approved:
        _refuse("not_approved", caller)
    if not networks.contains(caller.networks, address):
        _refuse("unrecognized", caller)


def check_failures(presented: Presented, *, address: networks.Address | None) -> None:
    """Refuse an address with too many failures, and a key from an address with too many; never a key everywhere."""
    _take(_failures(presented, address, cost=0))


def note_failure(presented: Presented, *, address: networks.Address | None) -> None:
    """Count a failure of the address and of the key from there; refuse beyond the limits, as `check_failures` does.

    The limits come before what the credentials are worth (contract 2.2), so past them nobody learns it.
    """
    _take(_failures(presented, address, cost=1))


def check_rate(caller: callers.Caller, presented: Presented, *, address: networks.Address | None) -> None:
    """Refuse an address with too many failures, right credentials or not, then a client that calls too often.

    All counters are asked in one go: a question to Valkey costs about as much as the search itself.
    """
    rate = throttle.Counter("usermgmt-client", str(caller.client_id), settings.USERMGMT_CLIENT_LIMIT, CLIENT_WINDOW)
    _take([*_failures(presented, address, cost=0), rate], client=caller.client_id)


def _take(counters: list[throttle.Counter], *, client: int | None = None) -> None:
    wait = throttle.take_all(counters).retry_after
    if wait:
        raise errors.Throttled(retry_after=wait, client=client)


def _failures(presented: Presented, address: networks.Address | None, *, cost: int) -> list[throttle.Counter]:
    # Of IPv6 the /64: who has one address of it has them all.
    caller = net.throttle_key(address)
    counters = [throttle.Counter("usermgmt-failures", caller, settings.USERMGMT_FAILURE_LIMIT, FAILURE_WINDOW, cost)]
    if presented.name:
        # Hashed: the name may be anything, even a secret typed into the wrong half.
        key = f"{secrets.token_digest(presented.name)}|{caller}"
        limit = settings.USERMGMT_KEY_FAILURE_LIMIT
        counters.append(throttle.Counter("usermgmt-key-failures", key, limit, FAILURE_WINDOW, cost))
    return counters


def _by_token(token: str) -> callers.Caller:
    caller = callers.by_token(secrets.token_digest(token))
    if caller is None or not caller.is_pair_live:
        _refuse("invalid_token", caller)
    return caller


def _refuse(code: str, caller: callers.Caller | None = None) -> NoReturn:
    raise errors.Unauthenticated(code=code, client=caller.client_id if caller else None)


def warn_of_clear_text(presented: Presented) -> None:
    """Tell the owner when a live pair was sent without encryption; anybody may have read it."""
    if presented.scheme != "basic":
        return
    caller = callers.by_key(presented.name)
    if caller is None or not caller.is_pair_live:
        return
    if peppers.matches(presented.secret, caller.secret_hmac, caller.pepper_id):
        mails.clear_text(
            ApiClient.objects.select_related("owner").get(pk=caller.client_id), credential_id=caller.credential_id
        )
