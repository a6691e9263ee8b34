"""How a registry's failures become the project's errors (registries.md §4.6). Texts from registries are cleaned here."""

from __future__ import annotations

import re

import msgspec

from drydock.core.errors import RegistryAuthFailed, RegistryError, RegistryNetworkError, RegistryRateLimited
from drydock.core.times import to_iso

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
LONGEST = 200


def clean(text: object) -> str:
    """A text of a registry for people and logs: no control characters, at most 200 characters."""
    return _CONTROL.sub(" ", str(text)).strip()[:LONGEST]


def registry_says(body: bytes) -> tuple[str, str]:
    """First code and message of a registry's error body; empty texts when it has none."""
    try:
        document = msgspec.json.decode(body)
        first = document["errors"][0]
        return clean(first.get("code") or ""), clean(first.get("message") or "")
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return "", ""


def refused(host: str, repository: str, status: int, body: bytes) -> RegistryAuthFailed:
    """401 or 403 after the whole sign-in flow."""
    code, _ = registry_says(body)
    shown = f"{status} {code}".strip()
    return RegistryAuthFailed(
        f"{host} refused {repository} ({shown})",
        hint="check that the image exists and that the configured credentials may pull it",
    )


def rate_limited(host: str, retry_at_ms: int) -> RegistryRateLimited:
    """429, or a paused host."""
    when = to_iso(retry_at_ms)
    return RegistryRateLimited(
        f"{host} rate limit reached, next try after {when[11:16]} UTC",
        retry_at=retry_at_ms,
        hint="sign in to the registry, or check less often",
    )


def network(host: str, cause: object, *, hint: str | None = None) -> RegistryNetworkError:
    """No usable answer: host and cause."""
    return RegistryNetworkError(f"{host}: {clean(cause) or 'no answer'}", hint=hint)


def unexpected(host: str, what: str, status: int, body: bytes) -> RegistryError:
    """A status that is none of the others."""
    code, message = registry_says(body)
    if status == 408 or status >= 500:
        return network(host, f"HTTP {status} {code} {message}".strip())
    if status == 404:
        return RegistryError(f"{host}: {what} not found" + (f" ({code})" if code else ""))
    return RegistryError(f"{host}: {what} failed with HTTP {status} {code} {message}".rstrip())
