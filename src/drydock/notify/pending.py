"""Gathers what happens at nearly the same time into one message per rule (notifications.md §7.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from drydock.clock import Clock
from drydock.core.model import Container
from drydock.notify.model import Document, Rule
from drydock.supervisor import Supervisor

QUIET_S = 0.25

Item = tuple[Container, Document]
Send = Callable[[Rule, Sequence[Item]], Awaitable[None]]


class Pending:
    """Waits until a rule was quiet for a quarter of a second, then hands over what came, one item per container."""

    def __init__(self, send: Send, clock: Clock, supervisor: Supervisor, name: str) -> None:
        self._send = send
        self._clock = clock
        self._supervisor = supervisor
        self._name = name
        self._items: dict[Rule, dict[str, Item]] = {}
        self._arrivals: dict[Rule, int] = {}

    def add(self, rule: Rule, key: str, container: Container, document: Document) -> None:
        """One more; the latest of a container counts."""
        waiting = rule in self._items
        self._items.setdefault(rule, {})[key] = (container, document)
        self._arrivals[rule] = self._arrivals.get(rule, 0) + 1
        if not waiting:
            self._supervisor.spawn(f"notify:{self._name}:{rule}", self._flush_when_quiet(rule))

    def keys(self, rule: Rule) -> frozenset[str]:
        """Keys of the containers that wait."""
        return frozenset(self._items.get(rule, ()))

    async def _flush_when_quiet(self, rule: Rule) -> None:
        arrivals = -1
        while arrivals != self._arrivals[rule]:
            arrivals = self._arrivals[rule]
            await self._clock.sleep(QUIET_S)
        await self._send(rule, list(self._items.pop(rule).values()))
