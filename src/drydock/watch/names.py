"""Names of containers: the aliases that Docker uses for a moment while it recreates one (watching.md §5.4)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ALIAS_WINDOW_MS = 30_000
DECISIONS_KEPT = 1000
MS_FROM = 1_000_000_000_000
"""A creation time at least this large is in milliseconds, a smaller one in seconds."""

_ALIAS = re.compile(r"([0-9a-f]{12})_(.+)", re.IGNORECASE)

Reason = Literal[
    "not-recreated-alias",
    "base-name-present-in-docker",
    "base-name-present-in-store",
    "fresh-recreated-alias",
    "alias-allowed-no-collision",
]


@dataclass(frozen=True)
class AliasDecision:
    """Whether a listed container is kept, and by which rule; kept for the debug dump."""

    timestamp_ms: int
    container_id: str
    container_name: str
    base_name: str | None
    allowed: bool
    reason: Reason


def raw_names(entry: Mapping[str, Any]) -> list[str]:
    """Names of a list entry without their leading slash."""
    return [str(name).removeprefix("/") for name in entry.get("Names") or []]


def strip_alias(name: str) -> str:
    """The name without a leading `<12 hex>_`."""
    match = _ALIAS.fullmatch(name)
    return match[2] if match else name


def display_name(entry: Mapping[str, Any]) -> str:
    """The name to show for a list entry: the first that is no alias, else the first without its prefix."""
    names = raw_names(entry)
    real = next((name for name in names if not _ALIAS.fullmatch(name)), None)
    return real or (strip_alias(names[0]) if names else "")


def is_own_alias(container_id: str, name: str) -> bool:
    """True when the name is `<12 hex>_…` and the digits are the beginning of this very container's id."""
    match = _ALIAS.fullmatch(name)
    return match is not None and container_id.lower().startswith(match[1].lower())


def created_ms(value: Any) -> int | None:
    """Creation time of a list entry in ms, from seconds or milliseconds, number or text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number if number >= MS_FROM else number * 1000)


class AliasFilter:
    """Decides which list entries are passing aliases, and remembers the last thousand decisions."""

    def __init__(self) -> None:
        self.decisions: deque[AliasDecision] = deque(maxlen=DECISIONS_KEPT)

    def keep(
        self,
        entry: Mapping[str, Any],
        listed: Callable[[str], bool],
        stored: Callable[[str], bool],
        now_ms: int,
    ) -> bool:
        """True when `entry` is a real container. `listed`: whether *another* entry has that raw name."""
        names = raw_names(entry)
        container_id, first = str(entry.get("Id", "")), names[0] if names else ""
        reason = self._reason(entry, container_id, names, listed, stored, now_ms)
        base = strip_alias(first) if is_own_alias(container_id, first) else None
        allowed = reason in ("not-recreated-alias", "alias-allowed-no-collision")
        self.decisions.append(AliasDecision(now_ms, container_id, first, base, allowed, reason))
        return allowed

    def _reason(
        self,
        entry: Mapping[str, Any],
        container_id: str,
        names: list[str],
        listed: Callable[[str], bool],
        stored: Callable[[str], bool],
        now_ms: int,
    ) -> Reason:
        if not names or not is_own_alias(container_id, names[0]):
            return "not-recreated-alias"
        base = strip_alias(names[0])
        if listed(base) or base in names:
            return "base-name-present-in-docker"
        if stored(base):
            return "base-name-present-in-store"
        created = created_ms(entry.get("Created"))
        if created is not None and 0 <= now_ms - created <= ALIAS_WINDOW_MS:
            return "fresh-recreated-alias"
        return "alias-allowed-no-collision"
