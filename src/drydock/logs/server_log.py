"""The server's own log as data: the last entries, and live ones for viewers (platform-api.md §11).

`Buffer.processor` goes into structlog's chain. Formatting for terminal and files is `drydock.logs`' business, not ours.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import msgspec

from drydock.core.scrub import printable, scrub

KEPT = 1000
DEFAULT_TAIL = 100
LONGEST = 500
"""Characters of an event's name that are kept."""

RANKS: Final[dict[str, int]] = {"trace": 10, "debug": 10, "info": 30, "warn": 40, "error": 50, "fatal": 60}
"""Trace and debug count as equal."""

_NAMES = {"warning": "warn", "critical": "fatal", "exception": "error", "notset": "trace"}
_HIDDEN = frozenset({"event", "level", "timestamp", "logger", "component", "exc_info", "stack_info", "exception"})

Viewer = Callable[["LogEntry"], None]


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the log. `timestamp` in epoch ms, `display_timestamp` in the server's time zone."""

    timestamp: int
    display_timestamp: str
    level: str
    component: str
    msg: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted: a minimum level, a part of the component's name, a time (epoch ms)."""

    level: str | None = None
    component: str | None = None
    since: int | None = None

    def fits(self, entry: LogEntry) -> bool:
        """Whether an entry is among them."""
        return (
            (self.level is None or RANKS[entry.level] >= RANKS[self.level])
            and (self.component is None or self.component in entry.component)
            and (self.since is None or entry.timestamp >= self.since)
        )


class LogBuffer:
    """The last entries at or above `level`, and their viewers."""

    def __init__(self, now_ms: Callable[[], int], level: str = "info", enabled: bool = True) -> None:
        self.enabled = enabled
        self.level = level
        self._now_ms = now_ms
        self._entries: deque[LogEntry] = deque(maxlen=KEPT)
        self._viewers: set[Viewer] = set()

    def processor(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor: remembers the event, hands it on unchanged."""
        if self.enabled:
            self.add(logger, method, event)
        return event

    def add(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> None:
        """Remember one event and show it to the viewers."""
        level = level_name(str(event.get("level", method)))
        if RANKS[level] < RANKS[self.level]:
            return
        at = self._now_ms()
        local = time.localtime(at / 1000)
        component = str(event.get("component") or event.get("logger") or getattr(logger, "name", None) or "drydock")
        entry = LogEntry(
            timestamp=at,
            display_timestamp=f"[{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}.{at % 1000:03}]",
            level=level,
            component=printable(component),
            msg=message(event),
        )
        self._entries.append(entry)
        for viewer in tuple(self._viewers):
            viewer(entry)

    def entries(self, wanted: Wanted, tail: int | None = DEFAULT_TAIL) -> list[LogEntry]:
        """The last `tail` entries that fit (None: all), oldest first."""
        found = [entry for entry in self._entries if wanted.fits(entry)]
        return found if tail is None else found[-tail:] if tail > 0 else []

    async def since(self, ms: int) -> list[LogEntry]:
        """All entries from this moment on, for the debug dump."""
        return self.entries(Wanted(since=ms), None)

    def components(self) -> list[str]:
        """Names of the components that have entries, sorted."""
        return sorted({entry.component for entry in self._entries})

    def watch(self, viewer: Viewer) -> Callable[[], None]:
        """Call `viewer` with every new entry; gives the function that ends it."""
        self._viewers.add(viewer)
        return lambda: self._viewers.discard(viewer)


def level_name(text: str) -> str:
    """A level under the names of the API."""
    lowered = text.lower()
    found = _NAMES.get(lowered, lowered)
    return found if found in RANKS else "info"


def message(event: MutableMapping[str, Any]) -> str:
    """Event name and its fields on one line; values from outside are scrubbed and cut."""
    fields = [f"{name}={_shown(value)}" for name, value in event.items() if name not in _HIDDEN]
    trace = str(event.get("exception") or "").strip()
    if trace:
        fields.append(f"error={_shown(trace.splitlines()[-1])}")
    return " ".join([printable(scrub(str(event.get("event", ""))), LONGEST), *fields])


def _shown(value: Any) -> str:
    text = printable(scrub(str(value)))
    return f'"{text}"' if " " in text else text
