"""The debug dump: everything that helps to find a fault, in one document without secrets (platform-api.md §4.6).

The sections are callables that `app` collects; redaction is here, and is the last step, whatever they give.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from drydock.clock import Clock
from drydock.core.scrub import scrub
from drydock.core.secret import MASK
from drydock.core.times import to_iso

WORDS: Final = frozenset(
    {
        "password",
        "passwd",
        "pass",
        "secret",
        "secrets",
        "token",
        "tokens",
        "credential",
        "credentials",
        "hash",
        "key",
        "apikey",
        "accesskey",
        "privatekey",
    }
)
ENV_WORDS: Final = WORDS | {"auth", "bearer", "login", "url", "cmd", "webhook"}
SUFFIXES: Final = ("secret", "token", "tokens", "password", "passwd", "apikey", "credentials")
"""Variables run words together: `CLIENTSECRET`, `REGISTRYTOKEN`."""
HARMLESS: Final = frozenset({"identityKey", "containerIdentityKey", "hashed"})

_ENV_STYLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

Section = Callable[[int], Awaitable[Any]]
"""Gives one part of the dump; its argument is how far back events go, epoch ms."""


class DebugDump:
    """Builds the document. `sections` are its top-level keys beside `metadata`, in order."""

    def __init__(self, clock: Clock, version: str, sections: Mapping[str, Section]) -> None:
        self._clock = clock
        self._version = version
        self._sections = dict(sections)
        self._began = clock.monotonic()

    async def build(self, minutes: int) -> bytes:
        """The dump as pretty-printed JSON; events go `minutes` back."""
        now = self._clock.now_ms()
        since = now - minutes * 60_000
        document: dict[str, Any] = {"metadata": self._metadata(now, since, minutes)}
        for name, section in self._sections.items():
            document[name] = await section(since)
        plain = redacted(msgspec.to_builtins(document))
        return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"

    def _metadata(self, now: int, since: int, minutes: int) -> dict[str, Any]:
        return {
            "generatedAt": to_iso(now),
            "generatedAtWindowStart": to_iso(since),
            "recentMinutes": minutes,
            "drydockVersion": self._version,
            "pythonVersion": platform.python_version(),
            "uptimeSeconds": round(self._clock.monotonic() - self._began, 1),
        }


def redacted(node: Any) -> Any:
    """The same tree with secret values masked by the words in their keys, and credentials cut out of texts.

    Lists of `{key, value}` (container environments) are judged by `key` and masked `***`. Empty values stay.
    """
    if isinstance(node, dict):
        if isinstance(node.get("key"), str) and set(node) <= {"key", "value", "sensitive"} and "value" in node:
            return _entry(node)
        return {key: _value(str(key), value) for key, value in node.items()}
    if isinstance(node, list):
        return [redacted(item) for item in node]
    return scrub(node) if isinstance(node, str) else node


def _entry(node: dict[str, Any]) -> dict[str, Any]:
    hidden = node.get("sensitive") is True or is_secret(node["key"]) or is_secret(node["key"].lower())
    return {**node, "value": "***" if hidden else redacted(node["value"])}


def _value(key: str, value: Any) -> Any:
    if not is_secret(key) or value in (None, "") or isinstance(value, bool):
        return redacted(value)
    return MASK


def is_secret(key: str) -> bool:
    """Whether the value of this key is a secret, by the words that the key is made of."""
    if key in HARMLESS:
        return False
    words = {word.lower() for word in _WORD.findall(key)}
    listed = ENV_WORDS if _ENV_STYLE.fullmatch(key) else WORDS
    return bool(words & listed) or any(word.endswith(SUFFIXES) for word in words)
