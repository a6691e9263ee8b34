"""A host whose Engine this process reaches by itself."""

from __future__ import annotations

import structlog

from drydock.clock import Clock
from drydock.core.errors import EngineError, HostUnavailable
from drydock.core.model import HostKey
from drydock.docker.api import Engine
from drydock.docker.connect import EngineAddress, connect, resolve
from drydock.docker.host import EngineFacts, identify
from drydock.docker.namespaces import Namespaces
from drydock.hosts.host import Endpoint, Host, HostState
from drydock.hosts.settings import WatcherSettings

log = structlog.get_logger("hosts")


class LocalHost:
    """Reads and changes the Engine of one watcher. `engine` is for what carries out operations, and for nobody else."""

    def __init__(self, settings: WatcherSettings, engine: Engine, address: EngineAddress, clock: Clock) -> None:
        self.key = HostKey(None, settings.name)
        self.settings = settings
        self.address = address
        self.endpoint = endpoint(address)
        self.engine = engine
        self.reader = engine
        self.facts: EngineFacts | None = None
        self.namespaces = Namespaces()
        self.state = HostState() if address.blocked is None else HostState(connection="refused", reason=address.blocked)
        self._clock = clock

    def note(self, failure: str | None) -> None:
        """Record the outcome of a call: None for an answer, else why there was none. Logs only when it changes."""
        connection, now = ("lost" if failure else "connected"), self._clock.now_ms()
        if (self.state.connection, self.state.reason) == (connection, failure):
            return
        self.state = HostState(connection="lost" if failure else "connected", reason=failure, since_ms=now)
        self.facts = None  # another Engine may answer at this address the next time
        if failure is None:
            log.info("host.connected", host=str(self.key))
        else:
            log.warning("host.lost", host=str(self.key), reason=failure)

    async def get_acquainted(self) -> None:
        """Ask the Engine for its name and version, once per connection (watching.md §1.2)."""
        if self.facts is None:
            try:
                self.facts = await identify(self.engine)
            except EngineError as error:
                log.debug("host.unknown", host=str(self.key), reason=error.message)

    async def close(self) -> None:
        """Close the connections."""
        await self.engine.close()


def local_host(settings: WatcherSettings, clock: Clock) -> LocalHost:
    """The host of a watcher; nothing is sent yet. Raises `ConfigError` when a TLS file cannot be read."""
    address = resolve(settings)
    for warning in address.warnings:
        log.warning("host.connection", host=settings.name, reason=warning)
    return LocalHost(settings, connect(address), address, clock)


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
