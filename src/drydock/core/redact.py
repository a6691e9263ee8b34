"""Environment variables that look like secrets never leave the server (container-api.md §1.13)."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from drydock.core.model import Details, EnvEntry

REDACTED = "***"

_CONTAINS = (
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "AUTH",
    "ACCESS_KEY",
)


@lru_cache(maxsize=4096)
def is_sensitive(key: str) -> bool:
    """Whether the value of this variable is hidden: by a tell-tale word anywhere, or `PASS` as a whole segment."""
    upper = key.upper()
    return any(word in upper for word in _CONTAINS) or "PASS" in upper.split("_")


def redact(details: Details) -> Details:
    """The same details with sensitive values, also empty ones, as `***`."""
    env = [
        EnvEntry(key=each.key, value=REDACTED, sensitive=True)
        if is_sensitive(each.key)
        else EnvEntry(key=each.key, value=each.value)
        for each in details.env
    ]
    return msgspec.structs.replace(details, env=env)
