"""Addresses that a message must never be sent to: link-local ones and cloud metadata services (notifications.md §12.5)."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

_LINK_LOCAL = ipaddress.IPv4Network("169.254.0.0/16")
_LINK_LOCAL_6 = ipaddress.IPv6Network("fe80::/10")
_METADATA_6 = IPv6Address("fd00:ec2::254")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_blocked(address: str) -> bool:
    """Whether a numeric address is one of them, also when written as an IPv6 address that embeds an IPv4 one."""
    try:
        found = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return found in _LINK_LOCAL
    if found in _LINK_LOCAL_6 or found == _METADATA_6:
        return True
    embedded = _embedded(found)
    return embedded is not None and embedded in _LINK_LOCAL


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
