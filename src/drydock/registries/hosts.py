"""Hosts, authorities and addresses as registries see them (registries.md §2.1, §6.6).

Pure text work: grammar of hosts, repositories and digests, the authority of a URL, and the question whether a network
address is public. References are `core.reference`, choosing an instance for a host is `routing.py`.
"""

from __future__ import annotations

import ipaddress
import re

from yarl import URL

from drydock.core.reference import DOCKER_HUB, canonical_host

_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::\d{1,5})?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def is_host(text: str) -> bool:
    """Whether a canonical host is well-formed: no userinfo, no path, a plain name or an address."""
    return _HOST.fullmatch(text) is not None


def is_tag(text: object) -> bool:
    """Whether this is a tag by the OCI grammar."""
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


def is_digest(text: object) -> bool:
    """Whether this is a sha256 or sha512 digest."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether this is a repository path by the OCI grammar."""
    return len(text) <= 255 and _PATH.fullmatch(text) is not None


def official(host: str, repository: str) -> str:
    """Docker Hub's official images live under `library/`."""
    return f"library/{repository}" if host == DOCKER_HUB and "/" not in repository else repository


def authority(url: URL) -> str:
    """Host and port of a URL in canonical form, brackets kept for IPv6."""
    return canonical_host(f"{url.scheme}://{url.host_subcomponent or ''}:{url.port or 0}")


def origin(url: URL) -> tuple[str, str, int]:
    """Scheme, host and effective port: what decides whether two URLs are the same server."""
    return url.scheme, (url.host or "").lower(), url.port or 0


def is_public_address(text: str) -> bool:
    """Whether an address is global unicast: no loopback, private, CGNAT, link-local, multicast or mapped form of these."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return False
    inner = _embedded(address)
    return address.is_global and not address.is_multicast and (inner is None or is_public_address(str(inner)))


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def is_local_name(host: str) -> bool:
    """Whether a host can only be meant privately: localhost, a single label, or an address that is not public."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.startswith("[") or re.fullmatch(r"[0-9.]+", name):
        return not is_public_address(name)
    return "." not in name or name == "localhost" or name.endswith(".localhost")
