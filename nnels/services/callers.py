"""Who is asking: tokens before passwords, flood control, few slow hashes (contract 2.4)."""

import dataclasses
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import hashers

from core import errors, net, throttle
from nnels.selectors import accounts
from nnels.services import tokens

Address = net.Address | None

NAME_LIMIT, NAME_WINDOW = 5, 6 * 3600
IP_LIMIT, IP_WINDOW = 50, 3600
SLOW_CHECKS = 2
SLOW_WAIT_SECONDS = 2.0
CACHE_SIZE = 10_000


@dataclasses.dataclass(frozen=True)
class Presented:
    """Credentials as they came: tokens in their order, name and password, and whether Basic was tried at all."""

    tokens: tuple[str, ...] = ()
    basic: tuple[str, str] | None = None
    is_basic_tried: bool = False
    address: Address = None

    @property
    def is_anything(self) -> bool:
        return bool(self.tokens) or self.is_basic_tried


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who it is; `pair` and `token` when an access token said so."""

    account: accounts.Account
    pair: accounts.Pair | None = None
    token: str | None = None


def identify(presented: Presented) -> Caller | None:
    """The caller, or None when nothing that was presented is valid. `Throttled` when they failed too often."""
    for token in presented.tokens:
        found = tokens.resolve(token)
        if found is not None:
            return Caller(found[0], found[1], token)
    if presented.is_basic_tried:
        account = _by_password(presented)
        return Caller(account) if account else None
    return None


def unauthenticated(presented: Presented) -> errors.Unauthenticated:
    """The one refusal for every kind of bad credential."""
    return errors.Unauthenticated(
        "Bad credentials. Anonymous user resolved for a resource that requires authentication.",
        is_token_presented=bool(presented.tokens),
    )


# --- Basic --------------------------------------------------------------------------------------------------------


def _by_password(presented: Presented) -> accounts.Account | None:
    name, password = presented.basic or ("", "")
    place = net.throttle_key(presented.address)
    name_key = f"{name.strip().lower()[:128]}|{place}"
    _refuse_flood(name_key, place)
    account = _verified(name, password) if presented.basic and "\0" not in name + password else None
    # Others may have failed while this password was checked. Nothing was said yet: counting before answering leaves
    # as many guesses as one after the other would, and many right logins at the same time do not refuse each other.
    if account is None:
        _refuse_flood(name_key, place, count=throttle.hit)
        return None
    _refuse_flood(name_key, place)
    throttle.reset("nnels.basic.name", name_key)
    return account


def _refuse_flood(name_key: str, place: str, *, count: Callable[[str, str, int, float], int] = throttle.peek) -> None:
    wait = count("nnels.basic.name", name_key, NAME_LIMIT, NAME_WINDOW)
    if wait:
        raise errors.Throttled("Rejected by user flood control.", retry_after=wait)
    wait = count("nnels.basic.ip", place, IP_LIMIT, IP_WINDOW)
    if wait:
        raise errors.Throttled("Rejected by ip flood control.", retry_after=wait)


def _verified(name: str, password: str) -> accounts.Account | None:
    found = accounts.by_username(name.strip())
    if found is None:
        _check_slowly(password, None)
        return None
    account, stored, is_active = found
    if is_active and _remembered.knows(account.id, password, stored):
        return account
    if not _check_slowly(password, stored) or not is_active:
        return None
    _remembered.keep(account.id, password, stored)
    return account


_slow = threading.BoundedSemaphore(SLOW_CHECKS)


def _check_slowly(password: str, stored: str | None) -> bool:
    """One slow hash, for unknown names too; at most two at a time in this process (contract 8)."""
    if not _slow.acquire(timeout=SLOW_WAIT_SECONDS):
        raise errors.Unavailable("Too many logins at the same time.", retry_after=2)
    try:
        if stored is None:
            hashers.make_password(password)
            return False
        return hashers.check_password(password, stored)
    finally:
        _slow.release()


class Remembered:
    """Passwords verified lately, as keyed marks in this process's memory; failures are never kept."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, float] = OrderedDict()

    def _mark(self, account_id: int, password: str, stored: str) -> bytes:
        parts = (str(account_id), password, stored)
        message = "|".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, "sha256")

    def knows(self, account_id: int, password: str, stored: str) -> bool:
        """Whether this very password was verified against this very stored hash within the setting's time."""
        mark = self._mark(account_id, password, stored)
        with self._lock:
            return self._held.get(mark, 0.0) > time.monotonic()

    def keep(self, account_id: int, password: str, stored: str) -> None:
        """Remember a success."""
        if settings.NNELS_BASIC_CACHE_SECONDS <= 0:
            return
        mark = self._mark(account_id, password, stored)
        with self._lock:
            self._held[mark] = time.monotonic() + settings.NNELS_BASIC_CACHE_SECONDS
            self._held.move_to_end(mark)
            while len(self._held) > self._size:
                self._held.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._held.clear()


_remembered = Remembered(CACHE_SIZE)
