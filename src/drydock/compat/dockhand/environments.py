"""Environments: the hosts as Dockhand clients address them, by number (dockhand-stats.md §3).

Numbers are given once, for the life of the store, and never to another host. Nothing secret is here: no key, no token.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

import msgspec

from drydock.clock import Clock
from drydock.core import times
from drydock.core.errors import NotFound
from drydock.core.model import HostKey
from drydock.hosts.host import Hosts
from drydock.store.documents import Documents

COLLECTION = "environments"
NOT_FOUND = "Environment not found"


class Numbered(msgspec.Struct, frozen=True):
    """What the store keeps of an environment; times are ISO 8601."""

    id: int
    created_at: str
    updated_at: str


class Numbers(Protocol):
    """Gives numbers to keys, for the life of the store."""

    async def number(self, key: str) -> Numbered:
        """The number of `key`; an unknown key gets the next one, never one that was in use before."""
        ...


class StoredNumbers:
    """Numbers in the store's documents; read once, then from memory."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._known: dict[str, Numbered] | None = None
        self._turn = asyncio.Lock()

    async def number(self, key: str) -> Numbered:
        """The number of `key`; an unknown key gets the one after the highest ever given."""
        async with self._turn:
            if self._known is None:
                self._known = await self._documents.all(COLLECTION, Numbered)
            if key not in self._known:
                now = times.to_iso(self._clock.now_ms())
                highest = max((each.id for each in self._known.values()), default=0)
                fresh = Numbered(highest + 1, now, now)
                await self._documents.put(COLLECTION, key, fresh)
                self._known[key] = fresh
            return self._known[key]


class Environment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One environment as `GET /api/environments` shows it."""

    id: int
    name: str
    connection_type: Literal["socket", "direct", "agent", "agent-edge"]
    socket_path: str | None
    host: str | None
    port: int | None
    protocol: str | None
    labels: tuple[str, ...] = ()
    public_ip: str | None = None
    timezone: str | None = None
    created_at: str
    updated_at: str
    watcher: str
    agent: str | None
    online: bool

    @property
    def key(self) -> HostKey:
        """The host that is meant."""
        return HostKey(self.agent, self.watcher)


class Environments:
    """The environments of now, one per host."""

    def __init__(self, hosts: Hosts, numbers: Numbers) -> None:
        self._hosts = hosts
        self._numbers = numbers

    async def all(self) -> list[Environment]:
        """All of them by number. Call it once at the start too: it numbers the new ones in the order of the hosts."""
        numbered = []
        for host in self._hosts.all():
            # `agent::watcher`, as identity keys begin
            numbered.append((await self._numbers.number(f"{host.key.agent or ''}::{host.key.watcher}"), host))
        numbered.sort(key=lambda pair: pair[0].id)
        found: list[Environment] = []
        taken: set[str] = set()
        for number, host in numbered:
            name = f"{host.key.agent}/{host.key.watcher}" if host.key.agent else host.key.watcher
            tries = [name, *(f"{name} ({again})" for again in range(2, len(taken) + 3))]
            taken.add(name := next(each for each in tries if each not in taken))
            found.append(
                Environment(
                    id=number.id,
                    name=name,
                    connection_type=host.endpoint.kind,
                    socket_path=host.endpoint.socket,
                    host=host.endpoint.host,
                    port=host.endpoint.port,
                    protocol=host.endpoint.protocol,
                    created_at=number.created_at,
                    updated_at=number.updated_at,
                    watcher=host.key.watcher,
                    agent=host.key.agent,
                    online=host.state.connection not in ("lost", "refused"),
                )
            )
        return found

    async def get(self, env: str | None) -> Environment:
        """The environment that a client's `env` means, by number or by name; without one the lowest number.

        Raises `NotFound`: none is configured at all, or not this one.
        """
        known = await self.all()
        if not known:
            raise NotFound("No environment configured")
        if is_missing(env):
            return known[0]
        by_number = [each for each in known if str(each.id) == env]
        by_name = [each for each in known if each.name == env]
        if not (by_number or by_name):
            raise NotFound(NOT_FOUND)
        return (by_number or by_name)[0]


def is_missing(env: str | None) -> bool:
    """Whether the parameter counts as not given: absent, empty, or zero."""
    return not env or (env.isdecimal() and not env.strip("0"))


def canonical(env: str | None) -> str | None:
    """`007` is 7."""
    return env.lstrip("0") if env and env.isascii() and env.isdecimal() and not is_missing(env) else env
