"""What a host is to the rest of Drydock, and how one is found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from drydock.core.errors import HostUnavailable
from drydock.core.model import HostKey
from drydock.docker.api import EngineReader
from drydock.docker.host import EngineFacts
from drydock.docker.namespaces import Namespaces
from drydock.docker.own import OwnFolders
from drydock.hosts.settings import WatcherSettings

Connection = Literal["connecting", "connected", "lost", "refused"]


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the host answers: since when (epoch ms), and why not.

    `connecting` until the first answer; `refused` where nothing may be sent (credentials that cannot be used safely).
    """

    connection: Connection = "connecting"
    reason: str | None = None
    since_ms: int | None = None

    @property
    def connected(self) -> bool:
        """Whether the Engine answered the last time it was asked."""
        return self.connection == "connected"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How the Engine is reached, without anything secret; `host`, `port` and `protocol` are those of a TCP connection."""

    kind: Literal["socket", "direct", "agent", "agent-edge"]
    socket: str | None = None
    host: str | None = None
    port: int | None = None
    protocol: Literal["http", "https"] | None = None
    docker_host: str | None = None
    """`DOCKER_HOST` for a program of this machine; None where that would need TLS files, credentials or an agent."""


class Host(Protocol):
    """One watched Engine."""

    @property
    def key(self) -> HostKey: ...
    @property
    def settings(self) -> WatcherSettings:
        """How it is watched: schedule, window, selection of containers, image sets."""
        ...

    @property
    def source(self) -> str:
        """Equal for two hosts on the same daemon (watching.md §1.3)."""
        ...

    @property
    def state(self) -> HostState: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def facts(self) -> EngineFacts | None:
        """Who the Engine is, asked once per connection; None before it answered."""
        ...

    @property
    def reader(self) -> EngineReader:
        """The Engine for reading; every call raises `HostUnavailable` or another `EngineError`."""
        ...

    @property
    def namespaces(self) -> Namespaces:
        """What is known of shared namespaces among its containers."""
        ...

    @property
    def folders(self) -> OwnFolders:
        """Where this process sees the folders of the host."""
        ...

    def note(self, failure: str | None) -> None:
        """Record the outcome of a call: None for an answer, else why there was none. Logs only when it changes."""
        ...

    async def identify(self) -> EngineFacts:
        """Who the Engine is, asked once per connection (watching.md §1.2). Raises `EngineError`."""
        ...

    async def get_acquainted(self) -> None:
        """`identify`, for callers that can do without: no answer is only logged."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class OnHost(Protocol):
    """Something that belongs to a host: a container, an operation, a backup."""

    @property
    def host(self) -> HostKey: ...


class Hosts:
    """Every host of this process, by key."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._hosts = {host.key: host for host in hosts}

    def of(self, about: OnHost | HostKey) -> Host:
        """The host of a container, an operation, or with this key. `HostUnavailable` when there is none."""
        key = about if isinstance(about, HostKey) else about.host
        found = self._hosts.get(key)
        if found is None:
            raise HostUnavailable(_missing(key))
        return found

    def get(self, key: HostKey) -> Host | None:
        """The host with this key, if there is one."""
        return self._hosts.get(key)

    def all(self) -> list[Host]:
        """Every host: this process's own first, then by agent and watcher."""
        return [self._hosts[key] for key in sorted(self._hosts, key=lambda key: (key.agent or "", key.watcher))]

    def same_source(self, host: Host) -> list[HostKey]:
        """Other hosts on the same daemon."""
        return [other.key for other in self.all() if other.source == host.source and other.key != host.key]

    async def close(self) -> None:
        """Close every host."""
        for host in self.all():
            await host.close()


def _missing(key: HostKey) -> str:
    if key.agent is not None:
        return f"Agent {key.agent} is not connected"
    return f"Watcher {key.watcher} is not running"
