"""Outbound requests in general (platform.md §2.6)."""

from __future__ import annotations

from typing import Literal

from drydock.config import kinds
from drydock.config.schema import option, section

DnsMode = Literal["ipv4first", "ipv6first", "verbatim"]


@section("DD_", "Outbound requests", "What holds for every request to another host.")
class HttpSettings:
    """Time and address order of outbound requests."""

    dns_mode: DnsMode = option(
        "DNS_MODE",
        kinds.choice("ipv4first", "ipv6first", "verbatim"),
        default="ipv4first",
        help="Order of resolved addresses for every outbound connection.",
        lenient=True,
    )
    timeout_s: float = option(
        "OUTBOUND_HTTP_TIMEOUT_MS",
        kinds.milliseconds(1),
        default=30.0,
        help="Longest time of one outbound request.",
        lenient=True,
    )
