"""Who is at the other end: client address, effective origin, and the same-origin rules (platform.md §6.3, §6.6, §6.7)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog

from drydock.core.errors import Forbidden

log = structlog.get_logger("server")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAMED = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "linklocal": ("169.254.0.0/16", "fe80::/10"),
    "uniquelocal": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
PROXY_ADVICE = "Drydock is behind an HTTPS proxy that it does not trust: set DD_SERVER_TRUSTPROXY=1."


class Proxies:
    """Which proxy hops are trusted: none, all, the last N, or those of listed networks."""

    def __init__(self, trust: bool | int | str) -> None:
        self._hops = 1 << 30 if trust is True else int(trust) if isinstance(trust, int) else 0
        self._networks = tuple(_networks(trust)) if isinstance(trust, str) else ()
        self.trusted = bool(self._hops or self._networks)
        """Whether any proxy is."""
        self.untrusted_seen = False
        """A request came through an HTTPS proxy that is not trusted; the interface says so."""

    def client(self, peer: str, forwarded: str | None) -> str:
        """The client's address: right to left through `X-Forwarded-For`, past every trusted hop."""
        if not self.trusted or not forwarded:
            return peer
        chain = [*(part.strip() for part in forwarded.split(",") if part.strip()), peer]
        last = peer
        for hop, text in enumerate(reversed(chain)):
            address = peer if hop == 0 else plain_address(text)
            if address is None:
                return last  # no address: the request can only be counted against the hop that passed it on
            if self._networks:
                parsed = _address(address)
                trusted = parsed is not None and any(parsed in network for network in self._networks)
            else:
                trusted = hop < self._hops
            if not trusted:
                return address
            last = address
        return last

    def notice(self, scope: Mapping[str, Any]) -> None:
        """The most common configuration error, logged once: an HTTPS proxy that is not trusted (platform.md §6.3)."""
        if not self.untrusted_seen and proxy_advice(scope, self):
            self.untrusted_seen = True
            log.warning("server.untrusted_proxy", advice=PROXY_ADVICE)


def _networks(text: str) -> Iterable[Network]:
    for part in (item.strip() for item in text.split(",")):
        for network in _NAMED.get(part.lower(), (part,)) if part else ():
            yield ipaddress.ip_network(network, strict=False)


def _address(text: str) -> Address | None:
    try:
        parsed = ipaddress.ip_address(text.strip("[]").split("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def plain_address(text: str) -> str | None:
    """An entry of `X-Forwarded-For` without the port that some proxies add; None when it is no address.

    With the port kept, every connection would be a new client and no limit would apply.
    """
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    parsed = _address(bare)
    return None if parsed is None else str(parsed)


@lru_cache(maxsize=4096)
def bucket(address: str) -> str:
    """The key of a client in counters: an IPv6 address is folded to its /56."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 56), strict=False))
    return str(parsed) if parsed else address


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The first value of a header, decoded; None when absent."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def headers_joined(scope: Mapping[str, Any], name: bytes) -> str | None:
    """All values of a list header, in order: a proxy may add its own line instead of extending the client's."""
    found = [str(value.decode("latin-1")) for key, value in scope["headers"] if key == name]
    return ",".join(found) if found else None


def client_address(scope: Mapping[str, Any], proxies: Proxies) -> str:
    """The client's address of an ASGI scope."""
    peer = (scope.get("client") or ("unknown", 0))[0]
    return proxies.client(peer, headers_joined(scope, b"x-forwarded-for")) if proxies.trusted else peer


def own_origin(scope: Mapping[str, Any], proxies: Proxies) -> tuple[str, str, int] | None:
    """Scheme, host and port under which the client reached the server; forwarded headers only from trusted proxies."""
    scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    host = header(scope, b"host") or ""
    if proxies.trusted:
        scheme = _first(header(scope, b"x-forwarded-proto")) or scheme
        host = _first(header(scope, b"x-forwarded-host")) or host
    return origin_of(f"{scheme}://{host}")


def _first(value: str | None) -> str | None:
    return value.split(",")[0].strip() if value else None


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a URL, default ports filled in; None when it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None


def refuse_cross_site(scope: Mapping[str, Any]) -> None:
    """Refuse what a browser says to come from another site: `Forbidden`. Scripts do not say so."""
    if header(scope, b"sec-fetch-site") == "cross-site":
        raise Forbidden("CSRF validation failed")


def check_same_origin(scope: Mapping[str, Any], proxies: Proxies, public_url: str | None = None) -> None:
    """Refuse a cookie-carrying mutation from a foreign page: `Forbidden`."""
    if header(scope, b"cookie") is None:
        return
    site = header(scope, b"sec-fetch-site")
    claimed = header(scope, b"origin") or header(scope, b"referer")
    if claimed is None:
        allowed = site in (None, "same-origin", "none")
    else:
        origin = origin_of(claimed)
        expected = (own_origin(scope, proxies), origin_of(public_url or ""))
        allowed = site != "cross-site" and origin is not None and origin in expected
    if not allowed:
        advice = f". {PROXY_ADVICE}" if proxy_advice(scope, proxies) else ""
        raise Forbidden("CSRF validation failed" + advice)


def proxy_advice(scope: Mapping[str, Any], proxies: Proxies) -> bool:
    """Whether the request came over plain HTTP from what says to be an HTTPS proxy, and none is trusted."""
    if proxies.trusted or scope["scheme"] != "http":
        return False
    return (header(scope, b"x-forwarded-proto") or "").startswith("https")


def check_websocket_origin(scope: Mapping[str, Any], proxies: Proxies) -> None:
    """Refuse a WebSocket upgrade from a foreign page (platform.md §6.7); no `Origin` is no browser."""
    claimed = header(scope, b"origin")
    if claimed is not None and origin_of(claimed) != own_origin(scope, proxies):
        raise Forbidden("Origin not allowed")
