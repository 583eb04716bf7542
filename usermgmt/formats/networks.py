"""The IP address lists of API clients: what is typed, what is stored, what matches (contract 2.2, 7 and 8)."""

import functools
import ipaddress
import re

from core import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_NETWORKS = 20
_SEPARATORS = re.compile(r"[,;\s]+")


def parse(text: str) -> list[str]:
    """Return the canonical CIDRs of a list of addresses and networks, in order, duplicates merged.

    Commas separate; semicolons, spaces and line breaks are tolerated. Raises `errors.Invalid` naming the item.
    """
    items = [item for item in _SEPARATORS.split(text) if item]
    if not items:
        raise errors.Invalid("Enter at least one IP address.", field="networks")
    found = list(dict.fromkeys(canonical(item) for item in items))
    if len(found) > MAX_NETWORKS:
        raise errors.Invalid(
            f"At most {MAX_NETWORKS} addresses are allowed; you entered {len(found)}.", field="networks"
        )
    return found


def canonical(item: str) -> str:
    """Return the CIDR of one address or network; host bits are cleared, IPv4-mapped addresses become IPv4."""
    if "%" in item:
        raise _refused(item, "is not an IP address or network")
    try:
        network = _unmapped(ipaddress.ip_network(item, strict=False))
    except ValueError:
        raise _refused(item, "is not an IP address or network") from None
    if network.prefixlen == 0:
        raise _refused(item, "would admit every address")
    if network.is_multicast:
        raise _refused(item, "is a multicast address")
    if network.network_address.is_unspecified:
        raise _refused(item, "is the unspecified address")
    return str(network)


def contains(networks: list[str], address: Address | None) -> bool:
    """Tell whether one of the canonical CIDRs holds the address; an unknown address is in none."""
    if address is None:
        return False
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain.version == network.version and plain in network for network in map(_network, networks))


def is_wide(cidr: str) -> bool:
    """Tell whether a network is wider than a reviewer should pass unseen: over /16 (IPv4) or /48 (IPv6)."""
    network = _network(cidr)
    return network.prefixlen < (16 if network.version == 4 else 48)


def shown(cidr: str) -> str:
    """A CIDR as people write it: a single address without its prefix length."""
    network = _network(cidr)
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else cidr


@functools.lru_cache(maxsize=8192)
def _network(cidr: str) -> Network:
    return ipaddress.ip_network(cidr)


def _unmapped(network: Network) -> Network:
    if not isinstance(network, ipaddress.IPv6Network) or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else ipaddress.ip_network((mapped, network.prefixlen - 96), strict=False)


def _refused(item: str, why: str) -> errors.Invalid:
    return errors.Invalid(f"“{item[:60]}” {why}.", field="networks", item=item)
