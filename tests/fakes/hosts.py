"""Hosts over Engines that a test brings, without connections."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from drydock.clock import Clock
from drydock.core.errors import EngineError, HostUnavailable
from drydock.core.model import HostKey
from drydock.docker.host import EngineFacts, identify
from drydock.docker.namespaces import Namespaces
from drydock.docker.own import OwnFolders
from drydock.hosts.host import Connection, Endpoint, Host, Hosts, HostState
from drydock.hosts.local import LocalHost
from drydock.hosts.settings import WatcherSettings

LOCAL = HostKey(None, "local")


class FakeHost:
    """A host whose `reader` is the test's; with `lost` set every call of it fails with that reason.

    `settings` are those of its watcher, which sees a new container at once.
    """

    def __init__(
        self,
        key: HostKey,
        engine: Any,
        endpoint: Endpoint = Endpoint(kind="socket"),  # noqa: B008 - frozen
        connection: Connection = "connected",
        **settings: Any,
    ) -> None:
        self.key = key
        self.engine = engine
        self.endpoint = endpoint
        self.settings = WatcherSettings(name=key.watcher, **{"discovery_settle_ms": 0, **settings})
        self.source = str(key)
        self.facts: EngineFacts | None = None
        self.namespaces = Namespaces()
        self.folders = OwnFolders()
        self.lost: str | None = None
        self._connection = connection

    def note(self, failure: str | None) -> None:
        """What watching says of the connection; `lost` is the test's word."""

    async def identify(self) -> EngineFacts:
        if self.facts is None:
            self.facts = await identify(self.reader)
        return self.facts

    async def get_acquainted(self) -> None:
        with suppress(EngineError):
            await self.identify()

    async def close(self) -> None:
        """Nothing was opened."""

    @property
    def state(self) -> HostState:
        return HostState(connection="lost" if self.lost else self._connection, reason=self.lost)

    @property
    def reader(self) -> Any:
        return self.engine if self.lost is None else Lost(self.lost)

    @property
    def host(self) -> Host:
        """This object as a host."""
        return self


class Lost:
    """An Engine behind a connection that is gone."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise HostUnavailable(self._reason)

        return fail


def hosts_of(engines: Mapping[str, Any]) -> Hosts:
    """One local host per watcher name."""
    return Hosts(FakeHost(HostKey(None, name), engine).host for name, engine in engines.items())


def one_host(engine: Any) -> Hosts:
    """The watcher `local` alone."""
    return hosts_of({LOCAL.watcher: engine})


def local_host(engine: Any, clock: Clock, settings: WatcherSettings | None = None) -> LocalHost:
    """A host of this process over the test's Engine: what carries out operations may change it."""
    return LocalHost(settings or WatcherSettings(name=LOCAL.watcher), engine, clock)
