"""Which URLs and addresses may be reached."""

from __future__ import annotations

import functools
import ipaddress
import queue
import re
import socket
import threading
import urllib.parse
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from core import errors, net


class Blocked(errors.Invalid):
    """The URL or an address behind it is one we do not go to."""

    code = "address_blocked"


class TooLarge(errors.TooLarge):
    """The answer is longer than the caller's limit, as sent or after decompression."""

    code = "answer_too_large"


class Failed(errors.Unavailable):
    """The remote host gave no usable answer (no such name, refused, timed out, TLS, not HTTP)."""

    code = "remote_failed"


@dataclass(frozen=True)
class Target:
    """A URL taken apart: ``host`` in ASCII without brackets, ``netloc`` as the Host header wants it."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


_PORTS: Final = {"http": 80, "https": 443}
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)

# Where clouds answer with credentials, outside the link-local range: AWS over IPv6, Alibaba, Oracle, Azure.
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_LIFTABLE: Final = [
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]
# Denied although Python's ``is_global`` may say otherwise, in one version or another (RFC 6890 and its updates):
# shared space, protocol assignments, 6to4 relays, benchmarking, local NAT64, Teredo, site-local, discard-only.
_NEVER: Final = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",
        "fec0::/10",
    )
]


def check_url(url: str) -> Target:
    """Take a URL apart, or raise ``Blocked``: not http or https, user-info, no host, blanks or control characters."""
    if _UNSAFE.search(url):
        raise Blocked("The address holds blanks or control characters.")
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise Blocked("This is not a web address.") from error
    host, port, netloc = _host_of(parts.scheme, parts.netloc)
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return Target(parts.scheme, host, port, netloc, f"{path}?{query}" if query else path)


@functools.lru_cache(maxsize=256)  # a harvest asks one host for many documents
def _host_of(scheme: str, netloc: str) -> tuple[str, int, str]:
    """(host, port, netloc) of a ``Target``, or ``Blocked``, which is not kept."""
    parts = urllib.parse.SplitResult(scheme, netloc, "", "", "")
    try:
        port = parts.port
    except ValueError as error:
        raise Blocked("This is not a web address.") from error
    if scheme not in _PORTS:
        raise Blocked("Only http and https addresses are fetched.")
    if "@" in netloc:
        raise Blocked("An address with a user name or password is not fetched.")
    if port == 0:
        raise Blocked("This is not a web address.")
    host = _ascii_host(parts.hostname or "")
    shown = f"[{host}]" if ":" in host else host
    return host, port or _PORTS[scheme], shown if port in (None, _PORTS[scheme]) else f"{shown}:{port}"


def _ascii_host(host: str) -> str:
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host.partition("%")[0]))
        except ValueError as error:
            raise Blocked("This is not a web address.") from error
    try:
        name = host.encode("idna").decode().lower()
    except UnicodeError as error:
        raise Blocked("This is not a host name.") from error
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Blocked("This is not a host name.")
    return name


def check_address(address: str | net.Address) -> net.Address:
    """The address (mapped, NAT64 and 6to4 ones unwrapped), or ``Blocked`` when it may not be reached."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0] if isinstance(address, str) else address)
    except ValueError as error:
        raise Blocked("This is not an address.") from error
    final = net.embedded(parsed)
    if not _may_reach(final) or (final is not parsed and not _may_reach_wrapper(parsed)):
        raise Blocked("Addresses of this network are not fetched.")
    return final


def _may_reach(address: net.Address) -> bool:
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if any(address in network for network in _NEVER):
        return False
    if any(address in network for network in _LIFTABLE):
        return bool(settings.ALLOW_PRIVATE_NETWORKS)
    return address.is_global and not address.is_reserved


def _may_reach_wrapper(address: net.Address) -> bool:
    """Mapped addresses are the IPv4 ones; other wrappers count only as ways to a public address."""
    return net.unmapped(address) is not address or net.embedded(address).is_global


def resolve(host: str, port: int, *, seconds: float) -> list[Any]:
    """The socket addresses (entries of ``getaddrinfo``) of a host, all of them checked.

    Raises ``Blocked`` when a single one may not be reached, ``Failed`` when there is none or no answer in time.
    """
    found = _look_up(host, port, seconds)
    for *_, sockaddr in found:
        check_address(sockaddr[0])
    return found


def _look_up(host: str, port: int, seconds: float) -> list[Any]:
    """``getaddrinfo`` has no time limit of its own, so it runs on a thread that may be left behind."""
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()
    threading.Thread(target=functools.partial(_ask, host, port, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.001, seconds))
    except queue.Empty as error:
        raise Failed("The name of the remote host was not resolved in time.") from error
    if isinstance(answer, OSError) or not answer:
        raise Failed("The remote host has no address.") from (answer if isinstance(answer, OSError) else None)
    return answer


def _ask(host: str, port: int, answers: queue.SimpleQueue[list[Any] | OSError]) -> None:
    try:
        answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except OSError as error:
        answers.put(error)
    except UnicodeError as error:
        answers.put(OSError(str(error)))
