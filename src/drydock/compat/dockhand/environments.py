"""Environments: the connections to Docker hosts as Dockhand clients address them, by number (dockhand-stats.md §3).

An environment is a watcher, or a watcher on an agent. Numbers are given once and never to another one; the store keeps
them behind `Numbers`. Nothing secret is here: no key, no token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from drydock.core.errors import NotFound

ConnectionType = Literal["socket", "direct", "agent", "agent-edge"]
NOT_FOUND = "Environment not found"
NONE_AT_ALL = "No environment configured"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A configured watcher, or a watcher on an agent, and how it is reached."""

    watcher: str
    connection_type: ConnectionType
    agent: str | None = None
    socket_path: str | None = None
    host: str | None = None
    port: int | None = None
    protocol: Literal["http", "https"] | None = None
    labels: tuple[str, ...] = ()
    public_ip: str | None = None
    timezone: str | None = None
    online: bool = True

    @property
    def key(self) -> str:
        """`agent::watcher`, as in identity keys."""
        return f"{self.agent or ''}::{self.watcher}"


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


class Environment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One environment as `GET /api/environments` shows it."""

    id: int
    name: str
    connection_type: ConnectionType
    socket_path: str | None
    host: str | None
    port: int | None
    protocol: str | None
    labels: tuple[str, ...]
    public_ip: str | None
    timezone: str | None
    created_at: str
    updated_at: str
    watcher: str
    agent: str | None
    online: bool


class Environments:
    """The environments of now: `hosts()` tells what is configured, local watchers first."""

    def __init__(self, hosts: Callable[[], Sequence[Host]], numbers: Numbers) -> None:
        self._hosts = hosts
        self._numbers = numbers

    async def all(self) -> list[Environment]:
        """All of them by number. Call it once at the start too: it numbers the new ones in the order of `hosts()`."""
        numbered = [(host, await self._numbers.number(host.key)) for host in self._hosts()]
        numbered.sort(key=lambda pair: pair[1].id)
        found: list[Environment] = []
        for host, number in numbered:
            found.append(_environment(host, number, _free_name(host, {each.name for each in found})))
        return found

    async def get(self, env: str | None) -> Environment:
        """The environment that a client's `env` means, by number or by name; without one the lowest number.

        Raises `NotFound`: none is configured at all, or not this one.
        """
        known = await self.all()
        if not known:
            raise NotFound(NONE_AT_ALL)
        if is_missing(env):
            return known[0]
        wanted = [each for each in known if env in (str(each.id), each.name)]
        by_number = [each for each in wanted if str(each.id) == env]
        if not wanted:
            raise NotFound(NOT_FOUND)
        return (by_number or wanted)[0]


def is_missing(env: str | None) -> bool:
    """Whether the parameter counts as not given: absent, empty, or zero."""
    return not env or (env.isdecimal() and not env.strip("0"))


def canonical(env: str | None) -> str | None:
    """`007` is 7."""
    return env.lstrip("0") if env and env.isascii() and env.isdecimal() and not is_missing(env) else env


def _free_name(host: Host, taken: set[str]) -> str:
    name = f"{host.agent}/{host.watcher}" if host.agent else host.watcher
    tries = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 3))]
    return next(each for each in tries if each not in taken)


def _environment(host: Host, number: Numbered, name: str) -> Environment:
    return Environment(
        id=number.id,
        name=name,
        connection_type=host.connection_type,
        socket_path=host.socket_path,
        host=host.host,
        port=host.port,
        protocol=host.protocol,
        labels=host.labels,
        public_ip=host.public_ip,
        timezone=host.timezone,
        created_at=number.created_at,
        updated_at=number.updated_at,
        watcher=host.watcher,
        agent=host.agent,
        online=host.online,
    )
