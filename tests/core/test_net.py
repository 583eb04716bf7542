"""core.net: the caller's address behind trusted proxies, and addresses inside addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from core import net

PROXIES = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fd00::/8")]


def caller(peer: str, forwarded: str | None = None) -> str | None:
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    address = net.caller_address(RequestFactory().get("/", REMOTE_ADDR=peer, **headers))  # type: ignore[arg-type]
    return None if address is None else str(address)


def test_without_trusted_proxies_the_header_means_nothing(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = []
    assert caller("203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert caller("::ffff:203.0.113.9", "198.51.100.1") == "203.0.113.9"
    assert caller("10.0.0.1", "198.51.100.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # an untrusted peer may write what it likes
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # the left part is the caller's own claim
        ("10.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1,10.0.0.7 ,10.9.9.9", "198.51.100.1"),  # several lines arrive joined by commas
        ("10.0.0.1", "10.0.0.5, 10.0.0.7", "10.0.0.5"),  # all trusted: the farthest
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fd00::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("fd00::1", "[2001:db8::7]", "2001:db8::7"),
        ("fd00::1", "2001:db8::7%eth0", "2001:db8::7"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "unknown", None),
        ("10.0.0.1", "198.51.100.1, unknown", None),
        ("10.0.0.1", "198.51.100.1, ", None),
        ("10.0.0.1", "", None),
        ("10.0.0.1", "198.51.100.1, _hidden, 10.0.0.7", None),
        ("10.0.0.1", "198.51.100.256", None),
        ("nonsense", "198.51.100.1", None),
    ],
)
def test_the_right_most_untrusted_hop_counts(
    peer: str, forwarded: str | None, expected: str | None, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = PROXIES
    assert caller(peer, forwarded) == expected


def test_a_unix_socket_peer_needs_the_setting(settings: Settings) -> None:
    settings.TRUSTED_PROXIES, settings.TRUST_UNIX_SOCKET = [], False
    assert caller("", "198.51.100.1") is None
    settings.TRUST_UNIX_SOCKET = True
    assert caller("", "1.2.3.4, 198.51.100.1") == "198.51.100.1"
    assert caller("") is None


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = net.parse_address(text)
    assert address is None or net.parse_address(str(address)) == address


@given(st.ip_addresses(), st.integers(1, 65535))
def test_addresses_are_read_in_every_form_a_proxy_writes(address: Any, port: int) -> None:
    expected = net.unmapped(address)
    with_port = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert {net.parse_address(form) for form in (str(address), f" {address} ", with_port)} == {expected}


@given(st.ip_addresses(v=4))
def test_embedded_addresses_are_unwrapped(address: Any) -> None:
    number = int(address)
    for wrapped in (
        ipaddress.IPv6Address((0xFFFF << 32) + number),
        ipaddress.IPv6Address((0x64FF9B << 96) + number),
        ipaddress.IPv6Address((0x2002 << 112) + (number << 80) + 5),
    ):
        assert net.embedded(wrapped) == address
    assert net.embedded(address) == address


def test_throttling_counts_an_ipv6_subscriber_as_one() -> None:
    key = net.throttle_key
    assert (
        key(net.parse_address("2001:db8:1:2:3:4:5:6"))
        == key(net.parse_address("2001:db8:1:2::9"))
        == "2001:db8:1:2::/64"
    )
    assert key(net.parse_address("203.0.113.9")) == "203.0.113.9"
    assert key(None) == "?"
