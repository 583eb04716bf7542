"""Who is calling: the address of the client behind the proxies we trust."""

from __future__ import annotations

import ipaddress
from typing import Final

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291, 2.5.5.1, deprecated


def caller_address(request: HttpRequest) -> Address | None:
    """The right-most address of the chain that is not one of ``TRUSTED_PROXIES``.

    The chain is ``X-Forwarded-For`` (all its lines) followed by the peer; without trusted proxies it is the peer
    alone. None when that hop cannot be read (``unknown``, empty, anything that is no address), and for a peer on a
    Unix socket unless ``TRUST_UNIX_SOCKET`` says that a proxy sits there: who decides by address must refuse None.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    address = parse_address(peer)
    if address is None and (peer or not settings.TRUST_UNIX_SOCKET):
        return None
    if address is not None and not _is_trusted(address):
        return address
    # A WSGI server joins repeated header lines with commas.
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    if forwarded is None:
        return address
    for hop in reversed(forwarded.split(",")):
        address = parse_address(hop)
        if address is None or not _is_trusted(address):
            return address
    return address


def parse_address(text: str) -> Address | None:
    """An address as proxies write it: with brackets, port or zone id, IPv4 perhaps mapped into IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return unmapped(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def unmapped(address: Address) -> Address:
    """The IPv4 address inside ``::ffff:a.b.c.d``; any other address as it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def embedded(address: Address) -> Address:
    """The IPv4 address that packets to an IPv6 one end up at: mapped, compatible, NAT64, 6to4; else ``address``."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def throttle_key(address: Address | None) -> str:
    """What counts as one caller: an IPv4 address, or the /64 an IPv6 subscriber owns; ``"?"`` for the unreadable."""
    if address is None:
        return "?"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)
