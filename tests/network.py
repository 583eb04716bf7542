"""Tests reach nothing but this machine."""

import ipaddress
import socket
from typing import Any

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
_NAMES_OF_THIS_MACHINE = {"", "localhost", socket.gethostname()}


class Closed(Exception):
    """A test tried to leave the machine. Not an OSError, so that no code takes it for a network that is down."""


def shut() -> None:
    """From now on connecting and name resolution beyond the loopback addresses raise Closed in this process."""

    def connect(self: socket.socket, address: Any) -> None:
        _check(self, address)
        _connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _check(self, address)
        return _connect_ex(self, address)

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host or "")
        if name not in _NAMES_OF_THIS_MACHINE and not _is_address(name):
            raise Closed(f"a test tried to resolve {name}")
        return _getaddrinfo(host, *args, **kwargs)

    # the stubs name the base class in C as the first argument
    socket.socket.connect = connect  # type: ignore[assignment, method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[assignment, method-assign]
    socket.getaddrinfo = getaddrinfo


def _check(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host = address[0]
        if host not in _NAMES_OF_THIS_MACHINE and not (_is_address(host) and ipaddress.ip_address(host).is_loopback):
            sock.close()
            raise Closed(f"a test tried to connect to {host}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
