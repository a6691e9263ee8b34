"""Which network addresses a request may be sent to, and in which order they are tried. Pure, but for the resolver."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from drydock.http.settings import DnsMode

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
_LINK_LOCAL_6 = ipaddress.ip_network("fe80::/10")
_METADATA_6 = IPv6Address("fd00:ec2::254")


@dataclass(frozen=True)
class AddressRule:
    """A restriction of where a request may go.

    `allows` judges the numeric address that is connected to; `text` says the rule. `public_names`: behind a proxy, where
    the address is not known here, names that can only be private are refused. `resolve`: behind a proxy the name is
    resolved here and its addresses are judged.
    """

    allows: Callable[[str], bool]
    text: str
    public_names: bool = False
    resolve: bool = False


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text, brackets and zone removed; None when it is none."""
    try:
        return ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None


def embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 or 6to4."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def is_public_address(text: str) -> bool:
    """Whether an address is global unicast: no loopback, private, CGNAT, link-local, multicast or mapped form of these."""
    address = parse_address(text)
    if address is None:
        return False
    inner = embedded(address)
    return address.is_global and not address.is_multicast and (inner is None or is_public_address(str(inner)))


def is_metadata_address(text: str) -> bool:
    """Whether an address is link-local or that of a cloud metadata service, embedded in IPv6 too (notifications.md §12.5)."""
    address = parse_address(text)
    if address is None:
        return False
    inner = embedded(address) or address
    if isinstance(inner, IPv4Address):
        return inner in _LINK_LOCAL
    return inner in _LINK_LOCAL_6 or inner == _METADATA_6


def is_local_name(host: str) -> bool:
    """Whether a host can only be meant privately: localhost, a single label, or an address that is not public."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.startswith("[") or re.fullmatch(r"[0-9.]+", name):
        return not is_public_address(name)
    return "." not in name or name == "localhost" or name.endswith(".localhost")


PUBLIC_ONLY = AddressRule(is_public_address, "address is not public", public_names=True)
NO_METADATA = AddressRule(
    lambda address: not is_metadata_address(address),
    "link-local and metadata addresses are blocked",
    resolve=True,
)


class OrderedResolver(AbstractResolver):
    """Puts one address family first, or leaves the order of the system (DD_DNS_MODE)."""

    def __init__(self, mode: DnsMode, inner: AbstractResolver | None = None) -> None:
        self._inner = inner
        self._first = {"ipv4first": socket.AF_INET, "ipv6first": socket.AF_INET6}.get(mode)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError when there are none."""
        if self._inner is None:  # it wants a running loop
            self._inner = aiohttp.ThreadedResolver()
        try:
            found = await self._inner.resolve(host, port, family)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, f"{host} is no host name") from error
        return sorted(found, key=lambda result: result["family"] != self._first) if self._first else found

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()
