"""The same guard for aiohttp: a connector that opens sockets only to checked addresses."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from core.egress import addresses


class _Resolver(AbstractResolver):
    """Resolves on a thread and checks every address; aiohttp then connects to these without another look-up."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family)
        except (OSError, UnicodeError) as error:
            raise addresses.Failed("The remote host has no address.") from error
        return [self._checked(host, entry) for entry in found]

    @staticmethod
    def _checked(host: str, entry: tuple[Any, ...]) -> ResolveResult:
        family, _, protocol, _, sockaddr = entry
        addresses.check_address(sockaddr[0])
        return ResolveResult(
            hostname=host,
            host=sockaddr[0],
            port=sockaddr[1],
            family=family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )

    async def close(self) -> None:
        """Nothing is held open."""


def _socket_for(entry: Any) -> socket.socket:
    """The last gate before every connection; address literals in a URL never meet the resolver."""
    family, kind, protocol, _, sockaddr = entry
    addresses.check_address(sockaddr[0])
    return socket.socket(family, kind, protocol)


def connector(*, limit: int = 16, limit_per_host: int = 0, keepalive_seconds: float = 15.0) -> aiohttp.TCPConnector:
    """A connector for ``aiohttp.ClientSession(connector=…)``, at most ``limit`` connections at a time.

    Requests raise ``Blocked`` or ``Failed`` for addresses and names it refuses; aiohttp's own errors stay as they
    are. Check URLs with ``check_url`` first and follow redirects one by one (``allow_redirects=False``), and leave
    ``trust_env`` off.
    """
    return aiohttp.TCPConnector(
        limit=limit,
        limit_per_host=limit_per_host,
        keepalive_timeout=keepalive_seconds,
        resolver=_Resolver(),
        use_dns_cache=True,
        ttl_dns_cache=60,
        socket_factory=_socket_for,
    )
