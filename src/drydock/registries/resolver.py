"""Order of addresses by DD_DNS_MODE (registries.md §1.6)."""

from __future__ import annotations

import socket
from typing import Literal

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

DnsMode = Literal["ipv4first", "ipv6first", "verbatim"]


class OrderedResolver(AbstractResolver):
    """Puts one address family first, or leaves the order of the system."""

    def __init__(self, mode: DnsMode, inner: AbstractResolver | None = None) -> None:
        self._inner = inner
        self._first = {"ipv4first": socket.AF_INET, "ipv6first": socket.AF_INET6}.get(mode)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if self._inner is None:  # it wants a running loop
            self._inner = aiohttp.ThreadedResolver()
        found = await self._inner.resolve(host, port, family)
        return sorted(found, key=lambda result: result["family"] != self._first) if self._first else found

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()
