"""A host whose Engine this process reaches by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import structlog

from drydock.clock import Clock
from drydock.core.errors import ConfigError, EngineError, HostUnavailable
from drydock.core.model import HostKey
from drydock.docker.api import Engine, EngineReader
from drydock.docker.connect import EngineAddress, connect, resolve
from drydock.docker.host import EngineFacts, identify
from drydock.docker.namespaces import Namespaces
from drydock.docker.own import OwnFolders
from drydock.hosts.host import Endpoint, Host, Hosts, HostState
from drydock.hosts.settings import WatcherSettings

log = structlog.get_logger("watcher")


class LocalHost:
    """Reads and changes the Engine of one watcher. `engine` is only for what carries out operations."""

    def __init__(
        self, settings: WatcherSettings, engine: Engine, clock: Clock, address: EngineAddress | None = None
    ) -> None:
        address = address or resolve(settings)
        self.key = HostKey(None, settings.name)
        self.settings = settings
        self.endpoint = endpoint(address)
        self.source = address.source_key()
        self.state = HostState() if address.blocked is None else HostState(connection="refused", reason=address.blocked)
        self.facts: EngineFacts | None = None
        self.engine = engine
        self.namespaces = Namespaces()
        self.folders = OwnFolders()
        self._clock = clock

    @property
    def reader(self) -> EngineReader:
        """The Engine for reading."""
        return self.engine

    def note(self, failure: str | None) -> None:
        """Record the outcome of a call: None for an answer, else why there was none. Logs only when it changes."""
        if self.state.connection == "refused":
            return  # nothing was sent: there is no outcome
        now = HostState(
            connection="connected" if failure is None else "lost", reason=failure, since_ms=self._clock.now_ms()
        )
        if (now.connection, now.reason) == (self.state.connection, self.state.reason):
            return
        self.state = now
        self.facts = None  # another Engine may answer at this address the next time
        if failure is None:
            log.info("watcher.engine_connected", watcher=self.settings.name)
        else:
            log.warning("watcher.engine_unreachable", watcher=self.settings.name, reason=failure)

    async def identify(self) -> EngineFacts:
        """Who the Engine is, asked once per connection (watching.md §1.2). Raises `EngineError`."""
        if self.facts is None:
            self.facts = await identify(self.engine)
        return self.facts

    async def get_acquainted(self) -> None:
        """`identify`, for callers that can do without: no answer is only logged."""
        try:
            await self.identify()
        except EngineError as error:
            log.debug("watcher.engine_unknown", watcher=self.settings.name, reason=error.message)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.close()


def local_hosts(watchers: Iterable[WatcherSettings], clock: Clock) -> Hosts:
    """The hosts of the configured watchers; nothing is sent yet. One whose TLS files cannot be read is `refused`."""
    made: list[Host] = []
    for settings in watchers:
        address = resolve(settings)
        for warning in address.warnings:
            log.warning("watcher.connection", watcher=settings.name, reason=warning)
        try:
            engine = connect(address)
        except ConfigError as error:
            log.warning("watcher.not_started", watcher=settings.name, reason=str(error))
            address = replace(address, blocked=str(error))
            engine = connect(address)
        made.append(LocalHost(settings, engine, clock, address))
    return Hosts(made)


def endpoint(address: EngineAddress) -> Endpoint:
    """How this process reaches an Engine."""
    if address.socket is not None:
        return Endpoint(kind="socket", socket=address.socket, docker_host=f"unix://{address.socket}")
    settings, encrypted = address.settings, address.base.startswith("https")
    plain = not encrypted and not settings.auth_given
    return Endpoint(
        kind="direct",
        host=settings.host,
        port=settings.port,
        protocol="https" if encrypted else "http",
        docker_host=f"tcp://{settings.host}:{settings.port}" if plain else None,
    )


def full_engine(host: Host) -> Engine:
    """The Engine with the calls that change something. `HostUnavailable` for a host that carries out operations itself."""
    if isinstance(host, LocalHost):
        return host.engine
    raise HostUnavailable(f"Operations of {host.key} are carried out by its agent")
